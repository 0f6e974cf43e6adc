"""Linear probes: beside torch's own layers and optimiser, beside clip_benchmark, and their properties."""

import contextlib
import io
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from clip_benchmark_peer import clip_benchmark_linear_probe
from mammut_clip.evals import probe
from mammut_clip.evals.probe import LabelledFeatures, Recipe, best_weight_decay, few_shot, train_probes


def clusters(samples: int, width: int, classes: int, spread: float, seed: int = 0) -> LabelledFeatures:
    """Features of unit length around one centre for each class."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, width, generator=torch.Generator().manual_seed(1000))
    labels = torch.arange(samples) % classes
    features = centres[labels] + spread * torch.randn(samples, width, generator=generator)
    return LabelledFeatures(F.normalize(features, dim=1), labels)


def digits() -> tuple[LabelledFeatures, LabelledFeatures, LabelledFeatures]:
    """1,797 pictures of handwritten digits, 8 x 8 pixels as features: 600 to learn from, 300 to validate on, 897."""
    datasets = pytest.importorskip("sklearn.datasets")
    features, labels = (torch.from_numpy(values) for values in datasets.load_digits(return_X_y=True))
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
    features, labels = F.normalize(features.float(), dim=1)[order], labels[order]
    return tuple(LabelledFeatures(features[a:b], labels[a:b]) for a, b in ((0, 600), (600, 900), (900, 1797)))  # type: ignore[return-value]


def torch_probe(samples: LabelledFeatures, classes: int, weight_decay: float, recipe: Recipe) -> torch.nn.Linear:
    """The same, written with torch's Linear, DataLoader, CrossEntropyLoss, AdamW and LambdaLR."""
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        model = torch.nn.Linear(samples.features.shape[1], classes)
        dataset = torch.utils.data.TensorDataset(samples.features, samples.labels)
        loader = torch.utils.data.DataLoader(dataset, recipe.batch_size, shuffle=True)
        optimizer = torch.optim.AdamW(model.parameters(), recipe.lr, weight_decay=weight_decay)
        half = torch.pi / (recipe.epochs * len(loader))
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: float(1 + torch.cos(torch.tensor(half * step))) / 2
        )
        for _ in range(recipe.epochs):
            for features, labels in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(features), labels).backward()
                optimizer.step()
                schedule.step()
    return model


def test_probes_side_by_side_are_those_of_torch_one_by_one() -> None:
    samples, recipe = clusters(150, 12, 7, 2.0), Recipe(lr=0.05, epochs=3, batch_size=32, seed=5)
    decays = [0.0, 1e-3, 0.2, 3.0]
    probes = train_probes(samples, 7, decays, recipe)
    for number, decay in enumerate(decays):
        model = torch_probe(samples, 7, decay, recipe)
        torch.testing.assert_close(probes.matrix[:-1, number], model.weight.T.detach(), atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(probes.matrix[-1, number], model.bias.detach(), atol=2e-5, rtol=1e-4)
        with torch.no_grad():
            expected = model(samples.features)
        torch.testing.assert_close(probes.logits(samples.features)[number], expected, atol=5e-5, rtol=1e-4)
        accuracy = (expected.argmax(1) == samples.labels).double().mean()
        assert probes.accuracies(samples)[number] == accuracy


@given(
    decays=st.lists(st.sampled_from(probe.WEIGHT_DECAYS[:80]), min_size=1, max_size=5),
    samples=st.integers(3, 90),
    batch_size=st.integers(2, 50),
    seed=st.integers(0, 2**32),
)
def test_a_probe_does_not_depend_on_those_beside_it(
    decays: list[float], samples: int, batch_size: int, seed: int
) -> None:
    data, recipe = clusters(samples, 6, 3, 1.0), Recipe(epochs=2, batch_size=batch_size, seed=seed)
    together = train_probes(data, 3, decays, recipe).matrix
    for number, decay in enumerate(decays):
        alone = train_probes(data, 3, [decay], recipe).matrix
        torch.testing.assert_close(together[:, number], alone[:, 0], atol=1e-4, rtol=1e-3)


def test_a_probe_that_diverges_harms_no_other() -> None:
    """A learning rate of 0.1 and a weight decay of 100 multiply the weights by -9 in each step."""
    data = clusters(200, 8, 4, 0.5)
    probes = train_probes(data, 4, [1e-4, 100.0], Recipe(epochs=40, batch_size=10))
    assert not probes.matrix[:, 1].isfinite().all()
    assert probes.accuracies(data)[0] > 0.9


def test_training_again_gives_the_same_bits_and_another_seed_others() -> None:
    data = clusters(100, 8, 4, 1.0)
    state = torch.get_rng_state()
    first, again, other = (train_probes(data, 4, [0.01], Recipe(epochs=2, seed=seed)).matrix for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-3)
    assert torch.equal(state, torch.get_rng_state()), "the program's own random numbers were drawn from"


def test_weight_decay_makes_weights_smaller() -> None:
    data = clusters(300, 20, 5, 2.0)
    norms = train_probes(data, 5, [0.0, 0.01, 0.1, 1.0, 5.0], Recipe()).matrix[:-1].norm(dim=(0, 2))
    assert (norms.diff() < 0).all() and norms[-1] < norms[0] / 4


def test_the_search_finds_that_wrong_labels_need_weight_decay() -> None:
    """Few samples of many dimensions, a quarter of them mislabelled: without weight decay they are learnt by heart."""
    generator = torch.Generator().manual_seed(0)

    def noisy(count: int) -> LabelledFeatures:
        labels = torch.arange(count) % 2
        features = torch.randn(count, 40, generator=generator)
        features[:, :4] += 2.0 * labels[:, None] - 1
        wrong = torch.rand(count, generator=generator) < 0.25
        return LabelledFeatures(features, labels ^ wrong)

    train, validation, test = noisy(100), noisy(2000), noisy(4000)
    recipe = Recipe(epochs=60)
    found = best_weight_decay(train, validation, 2, recipe)
    plain, regularised = train_probes(train, 2, [0.0, found], recipe).accuracies(test)
    assert regularised > plain + 0.04


def test_the_search_tries_each_weight_decay_once_and_its_choice_is_the_best_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train, validation = clusters(80, 10, 4, 2.5, seed=1), clusters(300, 10, 4, 2.5, seed=2)
    tried: list[float] = []

    def noted(samples: LabelledFeatures, classes: int, decays: list[float], recipe: Recipe) -> probe.Probes:
        tried.extend(decays)
        return train_probes(samples, classes, decays, recipe)

    monkeypatch.setattr(probe, "train_probes", noted)
    recipe = Recipe(epochs=3)
    found = best_weight_decay(train, validation, 4, recipe)
    assert len(tried) == len(set(tried)) <= 15
    accuracies = dict(zip(tried, train_probes(train, 4, tried, recipe).accuracies(validation).tolist(), strict=True))
    assert accuracies[found] == max(accuracies.values())


@given(counts=st.lists(st.integers(1, 9), min_size=1, max_size=6), shots=st.integers(1, 9), seed=st.integers(0, 2**32))
def test_few_shots_of_each_class_in_random_order(counts: list[int], shots: int, seed: int) -> None:
    labels = torch.repeat_interleave(torch.arange(len(counts)) * 3, torch.tensor(counts))
    chosen = few_shot(labels, shots, torch.Generator().manual_seed(seed))
    assert len(chosen.unique()) == len(chosen)
    assert torch.equal(labels[chosen].unique(return_counts=True)[1], torch.tensor(counts).clamp(max=shots))
    # the earliest of each class in the order of all
    every = few_shot(labels, None, torch.Generator().manual_seed(seed))
    assert sorted(every.tolist()) == list(range(sum(counts)))
    seen: dict[int, int] = {}
    expected = [n for n in every.tolist() if seen.setdefault(int(labels[n]), 0) < shots and _count(seen, labels[n])]
    assert chosen.tolist() == expected


def _count(seen: dict[int, int], label: Tensor) -> bool:
    seen[int(label)] += 1
    return True


def their_result(
    module: Any, folder: Path, sets: dict[str, LabelledFeatures], recipe: Recipe, shots: int, seed: int
) -> dict[str, float]:
    """What clip_benchmark's evaluate finds with features in its own files; `seed` decides the program's own random
    numbers, by which it shuffles the train split once."""
    (folder / "model").mkdir(parents=True)
    for name, data in sets.items():
        torch.save(data.features, folder / "model" / f"features_{name}.pt")
        torch.save(data.labels, folder / "model" / f"targets_{name}.pt")
    loaders = [object() if name in sets else None for name in ("train", "test", "val")]  # features are there already
    torch.manual_seed(seed)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        found: dict[str, float] = module.evaluate(
            torch.nn.Identity(), loaders[0], loaders[1], shots, recipe.batch_size, 0, recipe.lr, recipe.epochs,
            "model", recipe.seed, str(folder), "cuda", val_dataloader=loaders[2], amp=False,
        )  # fmt: skip
    return found


@pytest.mark.filterwarnings("ignore")  # pinned memory and autocast without CUDA
@pytest.mark.parametrize("shots", [-1, 8])
def test_accuracy_equals_clip_benchmarks_on_real_pictures(
    shots: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same random numbers make both the same but for rounding; one picture of 897 is 0.11 points."""
    train, validation, test = digits()
    sets = {"train": train, "val": validation, "test": test}

    recipe = Recipe(epochs=4)
    chosen = few_shot(train.labels, None if shots < 0 else shots, torch.Generator().manual_seed(7))
    learnt = LabelledFeatures(train.features[chosen], train.labels[chosen])
    weight_decay = best_weight_decay(learnt, validation, 10, recipe)
    final = learnt + validation if shots < 0 else learnt
    accuracy = train_probes(final, 10, [weight_decay], recipe).accuracies(test).item()

    theirs = their_result(clip_benchmark_linear_probe(monkeypatch), tmp_path, sets, recipe, shots, seed=7)
    assert theirs["weight_decay"] == weight_decay
    assert theirs["lp_acc1"] == pytest.approx(accuracy, abs=0.0012)
    assert 0.5 < accuracy < 0.99
