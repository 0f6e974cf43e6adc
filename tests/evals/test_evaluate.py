"""Suites over models and runs, on a small toy world."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mammut_clip.config.errors import InputError
from mammut_clip.config.evals import SuiteConfig
from mammut_clip.config.load import validate
from mammut_clip.config.model import load_model_config
from mammut_clip.config.run import RunConfig
from mammut_clip.data.toy_shards import write_toy_evals, write_toy_train
from mammut_clip.distributed import Process
from mammut_clip.evals.command import evaluate_targets
from mammut_clip.evals.run import evaluate_model, evaluation_callback, make_encoder
from mammut_clip.evals.suite import load_suite, open_suite
from mammut_clip.models import build_model
from mammut_clip.runs.layout import RunDir
from mammut_clip.train.trainer import Trainer

ONE = Process(0, 1, 0, torch.device("cpu"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    write_toy_train(folder / "train", 256, samples_per_shard=128)
    write_toy_evals(folder / "evals", pairs_per_class=3, retrieval=90, segmentation=2)
    return folder


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    values = {
        "name": "a-run",
        "model": "toy-XS",
        "samples_seen": 128,
        "global_batch_size": 32,
        "data": {"train": [str(data / "train")], "workers": 0},
        "optimizer": {"lr": 1e-3},
        "checkpoint": {"every": 64},
        "evaluation": {"suite": "toy", "data_root": str(data / "evals")},
    }
    config = validate(RunConfig, values, "test")
    run = RunDir.create(tmp_path_factory.mktemp("runs"), config)
    Trainer(run, ONE, evaluation_callback(config)).train()
    return run


def test_zero_shot_classification_equals_open_clip(data: Path) -> None:
    """The same model, prompts and pictures through open_clip's own classifier builder and transform."""
    open_clip = pytest.importorskip("open_clip")
    config = load_model_config("toy-XS")
    model = build_model(config, seed=3).eval()
    encoder = make_encoder(model, config, ONE)
    tasks = open_suite(load_suite("toy"), data / "evals", ["toy_pairs"])
    task = tasks[0].task
    features = task.collect(encoder)

    dataset = task.dataset  # type: ignore[attr-defined]

    class Reference(torch.nn.Module):
        def encode_text(self, ids: torch.Tensor, normalize: bool = False) -> torch.Tensor:
            return model.encode_text(ids, normalize=normalize)  # type: ignore[operator, no-any-return]

        def forward(self, text: torch.Tensor) -> torch.Tensor:
            return self.encode_text(text, normalize=True)

    templates = [lambda c, t=template: t.replace("{c}", c) for template in dataset.templates]
    expected = open_clip.build_zero_shot_classifier(
        Reference(), encoder.tokenizer, dataset.classnames, templates, device="cpu"
    )  # [E, C]
    torch.testing.assert_close(features["classes"], expected.T, atol=1e-5, rtol=1e-5)

    from PIL import Image

    from mammut_clip.data.images import open_picture

    transform = open_clip.image_transform(config.vision_cfg.image_size, is_train=False)
    pictures = [open_picture(sample.image) for sample in dataset]
    assert isinstance(pictures[0], Image.Image)
    with torch.no_grad():
        reference = model.encode_image(torch.stack([transform(p) for p in pictures]))  # type: ignore[operator]
    torch.testing.assert_close(features["images"], reference, atol=1e-4, rtol=1e-4)


def test_features_do_not_depend_on_the_batch_size(data: Path) -> None:
    config = load_model_config("toy-XS")
    encoder = make_encoder(build_model(config), config, ONE)
    pictures = [sample.image for sample in open_suite(load_suite("toy"), data / "evals")[1].task.dataset]  # type: ignore[attr-defined]
    small = type(encoder)(encoder.model, encoder.transform, encoder.tokenizer, ONE, batch_size=7)
    with torch.no_grad():
        np.testing.assert_allclose(small.images(pictures), encoder.images(pictures), atol=1e-6)


def test_records_have_clip_benchmark_keys(run: RunDir) -> None:
    record = json.loads(run.eval_file(128, "toy_pairs").read_text())
    assert set(record) == {"dataset", "model", "pretrained", "task", "metrics", "language"}
    assert (record["dataset"], record["model"], record["task"]) == ("toy_pairs", "toy-XS", "zeroshot_classification")
    retrieval = json.loads(run.eval_file(128, "toy_retrieval").read_text())
    assert retrieval["task"] == "zeroshot_retrieval"
    assert set(retrieval["metrics"]) == {f"{a}_retrieval_recall@{k}" for a in ("image", "text") for k in (1, 5, 10)}


def test_a_checkpoint_from_disk_gives_the_results_of_training(run: RunDir, data: Path) -> None:
    before = {key: record.metrics for key, record in run.evals.items()}
    for file in run.path.glob("evals/*/*.json"):
        file.unlink()
    evaluate_targets([run.path], "toy", data / "evals")
    assert {key: record.metrics for key, record in run.evals.items()} == before


def test_only_what_is_missing_is_evaluated(run: RunDir, data: Path) -> None:
    evaluate_targets([run.path], "toy", data / "evals", all_checkpoints=True)
    said: list[str] = []
    run.eval_file(64, "toy_pairs").write_text("{broken")
    records = evaluate_targets([run.path.parent], "toy", data / "evals", all_checkpoints=True, report=said.append)
    assert len(records) == 4
    assert len(said) == 1
    assert "toy_pairs" in said[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: (root / "wds_toy_pairs" / "classnames.txt").unlink(), r"classnames\.txt"),
        (lambda root: (root / "wds_toy_retrieval" / "test" / "0.tar").unlink(), r"0\.tar"),
    ],
)
def test_an_incomplete_dataset_is_named_before_training(tmp_path: Path, change: object, message: str) -> None:
    write_toy_evals(tmp_path, pairs_per_class=1, retrieval=4, segmentation=1)
    change(tmp_path)  # type: ignore[operator]
    with pytest.raises(InputError, match=message):
        open_suite(load_suite("toy"), tmp_path)


def test_a_task_of_the_wrong_kind_and_an_unknown_task(data: Path) -> None:
    task = {"name": "x", "kind": "classification", "folder": "wds_toy_retrieval"}
    suite = validate(SuiteConfig, {"name": "s", "tasks": [task]}, "test")
    with pytest.raises(InputError, match="retrieval dataset"):
        open_suite(suite, data / "evals")
    with pytest.raises(InputError, match="did you mean toy_pairs"):
        open_suite(load_suite("toy"), data / "evals", ["toy_pair"])


def test_the_model_is_scored_by_its_own_features(data: Path) -> None:
    """A model that maps each picture to its class must reach 100%: the scoring is not what limits it."""
    config = load_model_config("toy-XS")
    encoder = make_encoder(build_model(config), config, ONE)
    task = open_suite(load_suite("toy"), data / "evals", ["toy_pairs"])[0].task
    with torch.no_grad():
        features = task.collect(encoder)
    features["images"] = features["classes"][features["labels"]]
    assert task.score(features)["acc1"] == 1.0


def test_every_model_is_named_in_the_record(data: Path) -> None:
    config = load_model_config("toy-XS")
    encoder = make_encoder(build_model(config), config, ONE)
    tasks = open_suite(load_suite("toy"), data / "evals")
    records = evaluate_model(encoder, tasks, "my-model", "my-weights")
    assert [name for name, _ in records] == ["toy_pairs", "toy_retrieval"]
    assert {(r.model, r.pretrained) for _, r in records} == {("my-model", "my-weights")}
