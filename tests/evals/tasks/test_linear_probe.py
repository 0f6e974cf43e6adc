"""The linear probe as a task: beside clip_benchmark on real pictures, few shots, validation, several processes."""

import contextlib
import io
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from subjects import ONE, random_subject
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from clip_benchmark_peer import clip_benchmark_linear_probe
from gloo_processes import Results, run_processes
from mammut_clip.config.errors import InputError
from mammut_clip.data.evalsets import EvalSet
from mammut_clip.data.toy_shards import write_toy_evals
from mammut_clip.distributed import Process
from mammut_clip.evals.sharing import Shared
from mammut_clip.evals.subject import Subject
from mammut_clip.evals.tasks.linear_probe import KIND, LinearProbe, LinearProbeConfig
from real_pictures import DIGITS, digits, encoded, write_set

SPLITS = {"train": (0, 500), "val": (500, 797), "test": (797, 1797)}


def write_splits(folder: Path, splits: dict[str, tuple[int, int]], classes: int = 10) -> Path:
    """Handwritten digits below `classes` in random order, from first to last for each split."""
    pictures, labels = digits()
    order = [int(n) for n in np.random.default_rng(0).permutation(len(labels)) if labels[n] < classes]
    for split, (first, last) in splits.items():
        samples = [encoded(pictures[n], n) | {"cls": str(labels[n]).encode()} for n in order[first:last]]
        write_set(folder, samples, split=split, classnames=DIGITS[:classes])
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_splits(tmp_path_factory.mktemp("sets") / "wds_digits", SPLITS)


class Projection(torch.nn.Module):
    """A model whose features tell digits apart: random directions in the space of pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.directions = torch.randn(3 * 32 * 32, 64, generator=torch.Generator().manual_seed(0))
        self.pictures = 0

    def encode_image(self, images: Tensor, normalize: bool = False) -> Tensor:
        """[B, 3, 32, 32] -> [B, 64]."""
        self.pictures += len(images)
        features = images.flatten(1) @ self.directions
        return F.normalize(features, dim=-1) if normalize else features


def projection(shared: Shared | None = None) -> Subject:
    """That model, with all else as toy-XS has it."""
    return replace(random_subject("toy-XS"), model=Projection(), shared=shared or Shared(ONE))


class ModelInputs(Dataset):  # type: ignore[type-arg]
    """The pictures of a split as the model takes them, with their labels."""

    def __init__(self, split: EvalSet) -> None:
        self.split, self.subject = split, projection()

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        sample = self.split[number]
        assert isinstance(sample.target, int)
        return self.subject.batch([self.subject.pixels(sample.image, "")])[0], sample.target


def open_probe(folder: Path, **keys: Any) -> LinearProbe:
    config = LinearProbeConfig.model_validate({"name": "digits", "kind": "linear_probe", "batch_size": 50} | keys)
    return KIND.open(config, folder)  # type: ignore[return-value]


def scores(folder: Path, **keys: Any) -> dict[str, float]:
    probe = open_probe(folder, **keys)
    return probe.score(probe.collect(projection()), ONE.device)


@pytest.mark.filterwarnings("ignore")  # pinned memory and autocast without CUDA
def test_accuracy_is_within_half_a_point_of_clip_benchmark(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its evaluate, whole, on the same model and pictures. It takes the samples in another order, and so means of two
    seeds are compared; one picture of 1,000 is 0.1 points."""
    peer = clip_benchmark_linear_probe(monkeypatch)
    probe = open_probe(folder, val_split="val")
    assert probe.validation is not None
    train, test, val = (DataLoader(ModelInputs(split), 50) for split in (probe.train, probe.test, probe.validation))
    theirs, ours = [], []
    for seed in range(2):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            theirs += [
                peer.evaluate(
                    Projection(), train, test, -1, 64, 0, 0.1, 10, "model", seed, str(tmp_path / str(seed)), "cuda",
                    val_dataloader=val, amp=False,
                )
            ]  # fmt: skip
        ours.append(scores(folder, val_split="val", seed=seed))
    assert set(ours[0]) < set(theirs[0])
    for metric in ("lp_acc1", "lp_acc5", "lp_mean_per_class_recall"):
        assert mean(s[metric] for s in ours) == pytest.approx(mean(s[metric] for s in theirs), abs=0.005), metric
    assert 0.8 < ours[0]["lp_acc1"] < 0.99


def test_features_are_the_models_own_and_of_unit_length_unless_told(folder: Path) -> None:
    plain = open_probe(folder, normalize=False)
    expected = Projection().encode_image(torch.stack([pixels for pixels, _ in ModelInputs(plain.test)]))
    found = plain.collect(projection()).test
    torch.testing.assert_close(found.features, expected, rtol=1e-4, atol=1e-3)
    assert found.labels.tolist() == [sample.target for sample in plain.test]
    unit = open_probe(folder).collect(projection()).test.features
    torch.testing.assert_close(unit, F.normalize(expected, dim=1), rtol=1e-4, atol=1e-5)


def test_without_validation_there_is_no_weight_decay(folder: Path) -> None:
    assert scores(folder, epochs=2)["weight_decay"] == 0.0
    assert scores(folder, epochs=2, val_split="val")["weight_decay"] > 0.0
    assert open_probe(folder).definition() != open_probe(folder, val_split="val").definition()


def test_a_share_of_the_train_split_is_held_out(folder: Path) -> None:
    whole = open_probe(folder).collect(projection()).train
    found = open_probe(folder, val_proportion=0.3).collect(projection())
    assert found.validation is not None and (len(found.train), len(found.validation)) == (350, 150)
    both = found.train + found.validation
    which = torch.cdist(both.features, whole.features).argmin(dim=1)
    assert sorted(which.tolist()) == list(range(500))
    assert torch.equal(both.labels, whole.labels[which])
    other = open_probe(folder, val_proportion=0.3, seed=1).collect(projection())
    assert other.validation is not None
    assert len({*which[350:].tolist()} & nearest(other.validation.features, whole.features)) < 100


def nearest(rows: Tensor, among: Tensor) -> set[int]:
    return {*torch.cdist(rows, among).argmin(dim=1).tolist()}


def test_few_shots_are_so_many_of_each_class_and_only_they_pass_through_the_model(folder: Path) -> None:
    model = Projection()
    found = open_probe(folder, fewshot_k=7, val_split="val").collect(replace(projection(), model=model))
    assert found.train.labels.bincount().tolist() == [7] * 10
    assert model.pictures == 70 + 297 + 1000
    whole = open_probe(folder).collect(projection()).train
    which = torch.cdist(found.train.features, whole.features).argmin(dim=1)
    assert len(which.unique()) == 70 and torch.equal(found.train.labels, whole.labels[which])


@pytest.mark.parametrize("shots", [None, 7])
def test_validation_pictures_are_learnt_from_in_the_end_but_not_beside_few_shots(
    folder: Path, shots: int | None
) -> None:
    """Each of them twice makes the same choice of a weight decay."""
    probe = open_probe(folder, fewshot_k=shots, val_split="val", epochs=3)
    once = probe.collect(projection())
    assert once.validation is not None
    twice = replace(once, validation=once.validation + once.validation)
    first, second = probe.score(once, ONE.device), probe.score(twice, ONE.device)
    assert first["weight_decay"] == second["weight_decay"]
    assert (first == second) == (shots is not None)


def test_acc5_is_left_out_where_it_says_nothing(tmp_path: Path) -> None:
    splits = {"train": (0, 100), "test": (100, 200)}
    four = scores(write_splits(tmp_path / "four", splits, classes=4), epochs=1)
    five = scores(write_splits(tmp_path / "five", splits, classes=5), epochs=1)
    assert set(four) == {"lp_acc1", "lp_mean_per_class_recall", "weight_decay"}
    assert set(five) == set(four) | {"lp_acc5"}


def test_what_is_missing_is_said_before_a_model_runs(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"training.*nshards\.txt.*splits that are there: test, train, val"):
        open_probe(folder, train_split="training")
    with pytest.raises(
        InputError, match=r"val_proportion: 0\.001 .* less than one of the 500 samples of split 'train'"
    ):
        open_probe(folder, val_proportion=0.001)
    with pytest.raises(ValidationError, match="both val_split and val_proportion"):
        open_probe(folder, val_split="val", val_proportion=0.1)
    with pytest.raises(ValidationError, match="fewshot_k"):
        open_probe(folder, fewshot_k=-1)
    write_toy_evals(tmp_path, pairs_per_class=1, retrieval=4, segmentation=1)
    with pytest.raises(InputError, match="a retrieval dataset, and task digits asks for one label per picture"):
        open_probe(tmp_path / "wds_toy_retrieval", train_split="test")
    assert (
        open_probe(folder).unfit(random_subject("cap_toy-XS"))
        == "a probe learns from features, and this model has none"
    )


def test_too_few_pictures_of_a_class_are_an_error_that_names_it(folder: Path) -> None:
    counts = torch.tensor([sample.target for sample in open_probe(folder).train]).bincount()
    fewest = int(counts.argmin())
    message = (
        rf"wds_digits: class '{DIGITS[fewest]}' has {counts[fewest]} pictures to learn from in split 'train'; "
        rf"fewshot_k: {counts[fewest] + 1} of task digits needs as many of each"
    )
    with pytest.raises(InputError, match=message):
        open_probe(folder, fewshot_k=int(counts[fewest]) + 1).collect(projection())


KEYS: tuple[dict[str, Any], ...] = ({"val_split": "val"}, {"val_proportion": 0.2, "seed": 4}, {"fewshot_k": 5})


def rank_results(rank: int, folder: Path, world: int) -> Results:
    found: Results = {}
    shared = Shared(Process(rank, world, rank, torch.device("cpu")))
    for number, keys in enumerate(KEYS):
        probe = open_probe(folder, epochs=2, **keys)
        collected = probe.collect(projection(shared))
        found[f"rows {number}"] = torch.tensor([len(collected.train), len(collected.test)])
        if rank == 0:
            found[f"features {number}"] = collected.train.features
            found[f"metrics {number}"] = torch.tensor(list(probe.score(collected, ONE.device).values()))
    with pytest.raises(InputError, match="fewshot_k: 400"):
        open_probe(folder, fewshot_k=400).collect(projection(shared))
    return found


@pytest.mark.distributed
@pytest.mark.slow
def test_results_do_not_depend_on_the_number_of_processes(folder: Path, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the other processes have
    alone = rank_results(0, folder, 1)
    torch.set_num_threads(threads)
    first, second = run_processes(partial(rank_results, folder=folder, world=2), 2, tmp_path)
    assert set(first) == set(alone)
    for key, values in alone.items():
        assert torch.equal(first[key], values), key
    assert all(rows.tolist() == [0, 0] for rows in second.values())
