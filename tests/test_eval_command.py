"""`mammut-clip eval` over everything that it can be pointed at, on a small toy world."""

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from mammut_clip.config.errors import InputError
from mammut_clip.config.load import validate
from mammut_clip.config.run import RunConfig
from mammut_clip.convert import convert
from mammut_clip.data.toy_shards import write_toy_evals, write_toy_train
from mammut_clip.distributed import Process
from mammut_clip.eval_command import Request, Summary, run_request
from mammut_clip.eval_targets import RunTarget
from mammut_clip.evals.progress import Report
from mammut_clip.evals.run import Outcome, missing
from mammut_clip.evals.run import evaluate as measure
from mammut_clip.evals.subject import Subject
from mammut_clip.evals.suite import OpenTask
from mammut_clip.evals.training import evaluation_callback
from mammut_clip.runs.layout import Checkpoint, RunDir
from mammut_clip.runs.records import EvalRecord
from mammut_clip.train.trainer import Trainer

ONE = Process(0, 1, 0, torch.device("cpu"))
TASKS = {"toy_pairs", "toy_retrieval"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    write_toy_train(folder / "train", 256, samples_per_shard=128)
    write_toy_evals(folder / "evals", pairs_per_class=2, retrieval=70, segmentation=1)
    return folder


def config_of(data: Path, **changes: Any) -> RunConfig:
    values = {
        "name": "a-run",
        "sweep": "tests",
        "model": "toy-XS",
        "samples_seen": 128,
        "global_batch_size": 32,
        "data": {"train": [str(data / "train")], "workers": 0},
        "optimizer": {"lr": 1e-3},
        "checkpoint": {"every": 64},
        "parallel": {"threads": 1},
        "evaluation": {"suite": "toy", "data_root": str(data / "evals")},
    }
    return validate(RunConfig, values | changes, "test")


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run with checkpoints at 64 and 128 samples, evaluated at its end."""
    config = config_of(data)
    run = RunDir.create(tmp_path_factory.mktemp("runs"), config)
    Trainer(run, ONE, evaluation_callback(config)).train()
    return run


@pytest.fixture
def run(trained: RunDir, tmp_path: Path) -> RunDir:
    """A copy of the trained run, without results."""
    folder = tmp_path / "runs" / "tests" / "a-run"
    shutil.copytree(trained.path, folder, ignore=shutil.ignore_patterns("evals"))
    return RunDir(folder)


def evaluate(
    *targets: Path | str, data: Path, said: list[str] | None = None, suite: str = "toy", **options: Any
) -> Summary:
    request = Request([str(target) for target in targets], suite, data / "evals", **options)
    summary, _ = run_request(request, (said if said is not None else []).append)
    return summary


def metrics(run: RunDir) -> dict[tuple[int, str], dict[str, float]]:
    return {key: record.metrics for key, record in run.evals.items()}


def test_a_checkpoint_from_disk_gives_the_results_of_training(trained: RunDir, run: RunDir, data: Path) -> None:
    evaluate(run.path, data=data)
    assert metrics(run) == metrics(trained) != {}
    identities = [{record.checkpoint for record in each.evals.values()} for each in (run, trained)]
    assert identities[0] == identities[1]


def test_every_checkpoint_or_the_one_that_is_named(run: RunDir, data: Path) -> None:
    evaluate(f"{run.path}@64", data=data)
    assert {at for at, _ in run.evals} == {64}
    shutil.rmtree(run.path / "evals")
    evaluate(run.checkpoint(64).path, data=data)
    assert {at for at, _ in run.evals} == {64}
    summary = evaluate(run.path, data=data, all_checkpoints=True)
    assert set(run.evals) == {(at, task) for at in (64, 128) for task in TASKS}
    assert len(summary.records) == 4


def test_a_sweep_with_a_run_that_has_not_begun(run: RunDir, data: Path) -> None:
    RunDir.create(run.path.parents[1], config_of(data, name="not-begun"))
    said: list[str] = []
    summary = evaluate(run.path.parent, data=data, said=said)
    assert {record.pretrained for record in summary.records} == {str(run.checkpoint(128).path)}
    assert any("not-begun: this run has no complete checkpoint yet" in line for line in said)
    table = pd.read_parquet(run.path.parent / "results.parquet")
    assert set(table.loc[table["kind"] != "train", "task"]) == TASKS
    assert table.loc[table["main"].astype(bool) & (table["task"] == "toy_pairs"), "metric"].tolist() == ["acc1"]


def test_a_run_without_a_checkpoint_alone(data: Path, tmp_path: Path) -> None:
    empty = RunDir.create(tmp_path, config_of(data))
    with pytest.raises(InputError, match="no complete checkpoint yet"):
        evaluate(empty.path, data=data)


def test_what_another_process_measures_meanwhile_is_kept(
    trained: RunDir, run: RunDir, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[int | None] = []

    def evaluate_beside(subject: Subject, left: list[OpenTask], outcome: Outcome, report: Report) -> None:
        shutil.copytree(trained.path / "evals" / "128", run.path / "evals" / "128")
        measured.append(outcome.point.samples_seen)
        measure(subject, left, outcome, report)

    monkeypatch.setattr("mammut_clip.eval_command.evaluate", evaluate_beside)
    summary = evaluate(run.path, data=data, all_checkpoints=True)
    assert measured == [64]
    assert len(summary.records) == 4
    assert {task: run.evals[128, task] for task in TASKS} == {task: trained.evals[128, task] for task in TASKS}


@pytest.mark.parametrize("every", [True, False])
def test_a_checkpoint_that_is_removed_before_its_turn(
    run: RunDir, data: Path, monkeypatch: pytest.MonkeyPatch, every: bool
) -> None:
    """Training removes checkpoints, also those that were listed and wait. Of every one that is fine; the last one is
    owed."""
    listed = RunTarget.checkpoints

    def list_and_remove(target: RunTarget, *, every: bool) -> list[Checkpoint]:
        found = listed(target, every=every)
        target.run.remove_checkpoint(found[0])
        return found

    monkeypatch.setattr(RunTarget, "checkpoints", list_and_remove)
    said: list[str] = []
    summary = evaluate(run.path, data=data, said=said, all_checkpoints=every)
    if every:
        assert summary.problems == []
        assert said == ["a-run@64: this checkpoint was removed meanwhile"]
        assert set(run.evals) == {(128, task) for task in TASKS}
    else:
        assert [line.partition(":")[0] for line in summary.problems] == ["a-run@128"]


def test_a_damaged_checkpoint_is_named_and_the_others_are_evaluated(run: RunDir, data: Path) -> None:
    largest = max(run.checkpoint(128).path.glob("*.distcp"), key=lambda file: file.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-100])
    summary = evaluate(run.path, data=data, all_checkpoints=True)
    assert {at for at, _ in run.evals} == {64}
    assert len(summary.problems) == 1
    assert summary.problems[0].startswith("a-run@128: ")
    assert largest.name in summary.problems[0]


@pytest.fixture(scope="module")
def exported(trained: RunDir, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    convert(trained.path, folder / "folder", None)
    convert(trained.path, folder / "weights.safetensors", None)
    return folder


def test_models_from_elsewhere(
    trained: RunDir, exported: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same weights as a folder of open_clip, a file, and a repository in the hub's cache: the run's results."""
    snapshot = tmp_path / "hub" / "models--some--clip" / "snapshots" / "0123abcd"
    shutil.copytree(exported / "folder", snapshot)
    reference = snapshot.parents[1] / "refs" / "main"
    reference.parent.mkdir()
    reference.write_text("0123abcd")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    names = [str(exported / "folder"), str(exported / "weights.safetensors"), "hf-hub:some/clip"]
    summary = evaluate(*names, data=data, model="toy-XS", out=tmp_path / "out")
    assert [r.pretrained for r in summary.records] == [name for name in names for _ in TASKS]
    expected = {task: values for (_, task), values in metrics(trained).items()}
    assert [r.metrics for r in summary.records] == [expected[task] for _ in names for task in sorted(TASKS)]
    files = sorted(tmp_path.glob("out/*/*.json"))
    assert len(files) == 6
    # all are one file of weights, byte for byte
    assert len({EvalRecord.read(file).checkpoint for file in files}) == 1  # type: ignore[union-attr]


def test_weights_that_are_replaced_before_their_turn_are_not_taken_for_the_old_ones(
    exported: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "weights.safetensors"
    shutil.copy(exported / "weights.safetensors", weights)
    before = weights.stat()

    def replace_and_look(*arguments: Any) -> list[Any]:
        (tmp_path / "new").write_bytes(weights.read_bytes()[:-4] + bytes(4))
        os.utime(tmp_path / "new", ns=(0, before.st_mtime_ns + 1))
        (tmp_path / "new").replace(weights)
        return missing(*arguments)

    monkeypatch.setattr("mammut_clip.eval_command.missing", replace_and_look)
    with pytest.raises(InputError, match=r"weights\.safetensors: was replaced meanwhile"):
        evaluate(weights, data=data, model="toy-XS", out=tmp_path / "out")
    assert not list(tmp_path.glob("out/*/*.json"))


def test_a_model_that_open_clip_builds(trained: RunDir, data: Path, tmp_path: Path) -> None:
    """Its own architecture, preprocessing and tokenizer; weights from a file, and once more from the records."""
    open_clip = pytest.importorskip("open_clip")
    torch.manual_seed(0)
    model = open_clip.create_model("ViT-S-32-alt")
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    name = f"open_clip:ViT-S-32-alt/{tmp_path / 'weights.pt'}"
    summary = evaluate(name, data=data, out=tmp_path / "out", tasks=["toy_pairs"])
    (record,) = summary.records
    assert (record.model, record.samples) == ("ViT-S-32-alt", 64)
    assert "224" in str(record.preprocessing)
    (file,) = tmp_path.glob("out/*/toy_pairs.json")
    before = file.stat().st_mtime_ns
    evaluate(name, data=data, out=tmp_path / "out", tasks=["toy_pairs"])
    assert file.stat().st_mtime_ns == before
    (losses,) = evaluate(name, data=data, suite="toy-full", out=tmp_path / "out", tasks=["toy_losses"]).records
    assert 0 < losses.metrics["contrastive_loss"] < 10


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nothing/here", "no such file or folder; expected a run, a sweep"),
        ("open_clip:ViT-B-32", "expected open_clip:NAME/PRETRAINED"),
        ("open_clip:ViT-B-33/openai", "open_clip has no model ViT-B-33; did you mean"),
        ("open_clip:ViT-B-32/no_such_tag", "open_clip cannot build it"),
        ("{weights}", "does not say which model it is of; name it with --model"),
        ("{folder}", "nothing here says which model this is"),
    ],
)
def test_targets_that_are_none(target: str, message: str, exported: Path, data: Path, tmp_path: Path) -> None:
    name = target.format(weights=exported / "weights.safetensors", folder=tmp_path)
    with pytest.raises(InputError, match=message):
        evaluate(name, data=data)


def test_following_a_run_that_trains(data: Path, tmp_path: Path) -> None:
    """An evaluation of its own beside the training: every checkpoint has its results when the run has ended."""
    # training may outrun the evaluation, and would remove what is neither permanent nor among the last
    checkpoint = {"every": 64, "keep_last": 4}
    config = config_of(data, evaluation={"suite": None}, samples_seen=256, checkpoint=checkpoint)
    run = RunDir.create(tmp_path / "runs", config)
    following = threading.Thread(target=evaluate, args=(run.path,), kwargs={"data": data, "follow": 0.1}, daemon=True)
    following.start()
    Trainer(run, ONE).train()
    following.join(timeout=600)
    assert not following.is_alive()
    assert set(run.evals) == {(at, task) for at in (64, 128, 192, 256) for task in TASKS}


def command(*arguments: str | Path, launcher: tuple[str, ...] = (sys.executable,), cwd: Path) -> Any:
    return subprocess.run(
        [*launcher, "-m", "mammut_clip.cli", "eval", *map(str, arguments)],
        capture_output=True, text=True, cwd=cwd, timeout=600, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.mark.distributed
def test_several_processes_give_the_same_results_to_the_last_digit(
    trained: RunDir, run: RunDir, data: Path, tmp_path: Path
) -> None:
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    done = command(run.path, "--suite", "toy", "--data-root", data / "evals", "--json", launcher=torchrun, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    records = json.loads(done.stdout)
    assert [record["processes"] for record in records] == [2, 2]
    assert metrics(run) == metrics(trained)


def test_the_exit_code_says_that_a_dataset_is_bad(run: RunDir, data: Path, tmp_path: Path) -> None:
    shutil.copytree(data / "evals", tmp_path / "evals")
    (tmp_path / "evals" / "wds_toy_pairs" / "classnames.txt").unlink()
    done = command(run.path, "--suite", "toy", "--data-root", tmp_path / "evals", "--json", cwd=tmp_path)
    assert done.returncode == 3
    assert "failed: toy_pairs: " in done.stderr
    assert "classnames.txt" in done.stderr
    assert [record["dataset"] for record in json.loads(done.stdout)] == ["toy_retrieval"]
