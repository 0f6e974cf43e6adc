"""The command line as a user meets it: exit codes, messages, and JSON that is alone on standard output."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from commands import run_command
from mammut_clip.config.run import FORMAT
from mammut_clip.data.toy_shards import write_toy_evals, write_toy_train
from small_disk import resize, small_disk


def refused(*arguments: str | Path, cwd: Path | None = None) -> str:
    """The message of a command that must end with exit code 2, no traceback, and nothing on standard output."""
    done = run_command(*arguments, cwd=cwd)
    assert done.returncode == 2, (done.returncode, done.stderr)
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return done.stderr


def printed(*arguments: str | Path) -> Any:
    done = run_command(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    write_toy_train(folder / "train", 256, samples_per_shard=128)
    write_toy_evals(folder / "evals", pairs_per_class=2, retrieval=50, segmentation=1)
    return folder


@pytest.fixture
def tiny(data: Path) -> list[str]:
    """Overrides that make the toy recipe a run of a second."""
    return [
        "toy",
        "model=mammut_toy-XS",
        "name=tiny",
        "samples_seen=128",
        "global_batch_size=32",
        "schedule.warmup=32",
        f"data.train={data / 'train'}",
        f"evaluation.data_root={data / 'evals'}",
    ]


def test_train_eval_caption_and_status(tiny: list[str], data: Path, tmp_path: Path) -> None:
    outcome = printed("train", *tiny, "--runs", tmp_path)
    assert [(o["state"], o["samples_seen"]) for o in outcome] == [("finished", 128)]
    folder = tmp_path / "single" / "tiny"
    again = printed("train", folder)
    assert again[0]["note"] == "was finished before"
    assert again[0]["attempts"] == 1
    records = printed("eval", folder, "--suite", "toy", "--data-root", data / "evals")
    assert all({"dataset", "model", "pretrained", "task", "metrics", "language"} < set(r) for r in records)
    assert [r["dataset"] for r in records] == ["toy_pairs", "toy_retrieval"]
    picture = tmp_path / "p.jpg"
    from mammut_clip.data.evalsets import TarEvalSet

    picture.write_bytes(TarEvalSet.open(data / "evals" / "wds_toy_pairs")[0].image)
    captions = printed("caption", picture, "--model", folder)
    assert captions[0]["image"] == str(picture)
    assert isinstance(captions[0]["caption"], str)
    status = printed("sweep", "status", tmp_path / "single")
    assert "tiny" in json.dumps(status)


def test_print_config_is_complete_and_trains_as_it_is(tiny: list[str], tmp_path: Path) -> None:
    done = run_command("train", *tiny, "--print-config")
    config = yaml.safe_load(done.stdout)
    assert config["model"]["architecture"]["family"] == "mammut"
    assert config["samples_seen"] == "128"
    file = tmp_path / "copy.yaml"
    file.write_text(done.stdout)
    assert printed("train", file, "--runs", tmp_path)[0]["state"] == "finished"


def test_models_json_has_the_agreed_keys() -> None:
    rows = printed("models")
    keys = {
        "name",
        "family",
        "params_m",
        "image_params_m",
        "text_params_m",
        "gflops_paper",
        "gflops_exact_forward",
        "gflops_exact_step",
    }
    assert all(keys <= set(row) for row in rows)
    assert {"ViT-B-32", "mammut_ViT-B-32"} <= {row["name"] for row in rows}


def test_sweep_plan_json_has_the_agreed_keys() -> None:
    plan = printed("sweep", "plan", "quickstart")
    assert {"id", "model", "samples_seen", "gpus", "gpu_hours"} <= set(plan["runs"][0])
    assert plan["totals"]["runs"] == len(plan["runs"])
    assert {"runs", "gpu_hours", "gflops"} <= set(plan["totals"])


def test_fit_law_json_has_the_agreed_keys(tmp_path: Path) -> None:
    table = tmp_path / "points.csv"
    rows = [f"{10**e},{5 * (10**e + 1000.0) ** -0.3 + 0.1}" for e in range(2, 12)]
    table.write_text("compute,error\n" + "\n".join(rows) + "\n")
    law = printed("fit", "law", "--csv", table, "--x", "compute", "--y", "error", "--form", "saturation")
    assert {"form", "params", "se", "n", "rmse"} <= set(law)
    assert law["params"] == pytest.approx({"a": 5, "b": 1000, "c": -0.3, "d": 0.1}, rel=1e-4)


def test_data_index_json_has_the_agreed_keys(data: Path) -> None:
    assert printed("data", "index", data / "train") | {"bytes": 0} == {"shards": 2, "samples": 256, "bytes": 0}


def test_an_unknown_key_names_file_key_and_the_nearest_one(tmp_path: Path, tiny: list[str]) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("model: toy-XS\nsamples_sen: 1K\n")
    message = refused("train", file)
    assert "mine.yaml" in message
    assert "did you mean samples_seen" in message
    assert "samples_seen: this key is required" in message
    assert "did you mean lr" in refused("train", *tiny, "optimizer.lrr=1")


def test_a_missing_shard_is_named_before_a_run_exists(tmp_path: Path, tiny: list[str]) -> None:
    message = refused("train", *tiny, f"data.train={tmp_path}/{{00000..00002}}.tar", "--runs", tmp_path / "runs")
    assert "data.train" in message
    assert "00000.tar" in message
    assert not (tmp_path / "runs").exists()


def test_a_mixture_names_the_data_set_whose_shards_are_missing(data: Path, tmp_path: Path, tiny: list[str]) -> None:
    mixture = [{"name": "a", "sources": str(data / "train")}, {"name": "b", "sources": str(tmp_path / "nowhere")}]
    message = refused("train", *tiny, f"data.train={json.dumps(mixture)}", "--runs", tmp_path / "runs")
    assert "data.train.1.sources" in message and "nowhere" in message
    assert "data.train.0" not in message
    assert not (tmp_path / "runs").exists()


def test_a_cache_in_an_unset_variable_is_refused_before_a_run_exists(tmp_path: Path, tiny: list[str]) -> None:
    message = refused("train", *tiny, "data.cache.folder=$NO_SUCH_FOLDER/shards", "--runs", tmp_path / "runs")
    assert "data.cache.folder" in message and "NO_SUCH_FOLDER" in message
    assert not (tmp_path / "runs").exists()


def test_a_config_from_another_version_is_refused(tmp_path: Path, tiny: list[str]) -> None:
    printed("train", *tiny, "--runs", tmp_path)
    file = tmp_path / "single" / "tiny" / "config.yaml"
    file.write_text(file.read_text().replace(f"format: {FORMAT}", "format: 7"))
    message = refused("train", file.parent)
    assert "format 7" in message
    assert "config.yaml" in message


def test_a_run_keeps_its_config(tmp_path: Path, tiny: list[str]) -> None:
    printed("train", *tiny, "--runs", tmp_path)
    assert "seed = 1: this run exists with 0" in refused("train", *tiny, "seed=1", "--runs", tmp_path)
    assert "overrides" in refused("train", tmp_path / "single" / "tiny", "seed=1")


def test_other_bad_input(tmp_path: Path, tiny: list[str]) -> None:
    assert "did you mean" in refused("train", *tiny, "model=mammut_toy-XXS")
    assert "longer than the run" in refused("train", *tiny, "schedule.warmup=1K")
    assert "no file of this name in configs/train" in refused("train", "toyy")
    assert "--jsno" in refused("models", "--jsno")
    empty = tmp_path / "empty.csv"
    empty.write_text("image,caption\n")
    assert "empty.csv" in refused("data", "pack", "train", empty, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_picture_that_is_not_one(tmp_path: Path, tiny: list[str]) -> None:
    (tmp_path / "a.jpg").write_text("hello")
    table = tmp_path / "t.csv"
    table.write_text("image,caption\na.jpg,a cat\n")
    message = refused("data", "pack", "train", table, tmp_path / "out", "--images", tmp_path)
    assert "a.jpg" in message
    printed("train", *tiny, "--runs", tmp_path)
    message = refused("caption", tmp_path / "a.jpg", "--model", tmp_path / "single" / "tiny")
    assert "a.jpg" in message
    assert "not in any known format" in message


def test_a_full_disk_is_reported_and_loses_nothing(tmp_path: Path, tiny: list[str]) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, "1500k"):
        more = ["samples_seen=2048", "checkpoint.every=64", "checkpoint.keep_last=8"]
        message = refused("train", *tiny, *more, "--runs", disk)
        assert "No space left on device" in message
        assert "run the same command again" in message
        folder = disk / "single" / "tiny"
        kept = sorted(int(p.name) for p in (folder / "checkpoints").iterdir() if p.name.isdigit())
        assert kept
        resize(disk, "64m")
        outcome = printed("train", *tiny, *more, "--runs", disk)[0]
        assert (outcome["state"], outcome["samples_seen"]) == ("finished", 2048)
        assert f"start at {kept[-1]} " in "".join(p.read_text() for p in (folder / "logs").glob("attempt-*"))
