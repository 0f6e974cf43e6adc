"""A suite at one point: what is measured, kept, done again, noted, and averaged."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from subjects import random_subject

from mammut_clip.config.errors import ConfigError, InputError
from mammut_clip.config.evals import SuiteConfig
from mammut_clip.data.toy_shards import write_toy_evals
from mammut_clip.evals.points import Point
from mammut_clip.evals.run import Outcome, evaluate, missing, write_averages
from mammut_clip.evals.subject import Precision
from mammut_clip.evals.suite import load_suite, open_suite, parse_suite, require_ready
from mammut_clip.runs.records import EvalRecord

PAIRS = {"name": "toy_pairs", "kind": "classification"}
RETRIEVAL = {"name": "toy_retrieval", "kind": "retrieval"}


@pytest.fixture(scope="module")
def evals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evals")
    write_toy_evals(folder, pairs_per_class=2, retrieval=30, segmentation=1)
    return folder


@pytest.fixture
def point(tmp_path: Path) -> Point:
    return Point("toy-XS", "some/weights", "identity", tmp_path / "results")


def suite_of(*tasks: dict[str, Any], **more: Any) -> SuiteConfig[Any]:
    return parse_suite({"name": "s", "tasks": list(tasks), **more}, "test")


def run_suite(suite: SuiteConfig[Any], root: Path, point: Point, **options: Any) -> Outcome:
    """Do what is missing; says what it was in `measured`."""
    tasks = open_suite(suite, root)
    outcome = Outcome(point)
    left = missing(tasks, point, outcome, options.get("precision"))
    subject = replace(random_subject(options.get("model", "toy-XS")), precision=options.get("precision") or "fp32")
    evaluate(subject, left, outcome, should_stop=options.get("should_stop", lambda: False))
    write_averages(suite.averages, outcome)
    return outcome


def written(point: Point) -> dict[str, dict[str, Any]]:
    return {file.stem: json.loads(file.read_text()) for file in sorted(point.folder.glob("*.json"))}


def touched(point: Point) -> dict[str, int]:
    return {file.stem: file.stat().st_mtime_ns for file in point.folder.glob("*.json")}


def test_results_have_clip_benchmarks_keys_and_say_how_they_came_about(evals: Path, point: Point) -> None:
    outcome = run_suite(suite_of(PAIRS, RETRIEVAL), evals, point)
    records = written(point)
    assert set(records) == {"toy_pairs", "toy_retrieval"} == set(outcome.records)
    for name, kind, samples in (
        ("toy_pairs", "zeroshot_classification", 64),
        ("toy_retrieval", "zeroshot_retrieval", 30),
    ):
        record = records[name]
        assert {"dataset", "model", "pretrained", "task", "metrics", "language"} < set(record)
        assert (record["dataset"], record["model"], record["pretrained"]) == (name, "toy-XS", "some/weights")
        assert (record["task"], record["samples"], record["precision"]) == (kind, samples, "fp32")
        assert (record["checkpoint"], record["processes"]) == ("identity", 1)
        assert record["metric"] in record["metrics"]
        assert record["seconds"] > 0
        assert EvalRecord.read(point.result_file(name)) == outcome.records[name]


def test_what_is_there_is_kept(evals: Path, point: Point) -> None:
    first = run_suite(suite_of(PAIRS, RETRIEVAL), evals, point)
    before = touched(point)
    again = run_suite(suite_of(PAIRS, RETRIEVAL), evals, point)
    assert touched(point) == before
    assert again.records == first.records


INVALID: list[tuple[str, Callable[[Path], object]]] = [
    ("cut off", lambda file: file.write_text(file.read_text()[:40])),
    ("no record", lambda file: file.write_text("[1, 2]")),
    ("absent", lambda file: file.unlink()),
    ("of other weights", lambda file: file.write_text(file.read_text().replace("identity", "another"))),
    (
        "from before definitions were recorded",
        lambda file: file.write_text(json.dumps({**json.loads(file.read_text()), "definition": None})),
    ),
]


@pytest.mark.parametrize(("_", "spoil"), INVALID, ids=[name for name, _ in INVALID])
def test_what_is_invalid_is_done_again(evals: Path, point: Point, _: str, spoil: Callable[[Path], object]) -> None:
    first = run_suite(suite_of(PAIRS, RETRIEVAL), evals, point)
    before = touched(point)
    spoil(point.result_file("toy_pairs"))
    again = run_suite(suite_of(PAIRS, RETRIEVAL), evals, point)
    assert again.records["toy_pairs"].metrics == first.records["toy_pairs"].metrics
    assert touched(point)["toy_pairs"] != before["toy_pairs"]
    assert touched(point)["toy_retrieval"] == before["toy_retrieval"]


def test_another_definition_is_measured_anew_and_another_batch_size_is_not(evals: Path, point: Point) -> None:
    run_suite(suite_of(PAIRS), evals, point)
    before = written(point)["toy_pairs"]
    run_suite(suite_of({**PAIRS, "batch_size": 7, "source": "the toy world"}), evals, point)
    assert written(point)["toy_pairs"] == before
    run_suite(suite_of({**PAIRS, "templates": ["not a {c}"]}), evals, point)
    assert written(point)["toy_pairs"]["definition"] != before["definition"]


@pytest.mark.parametrize(("precision", "expected"), [(None, "fp32"), ("fp32", "fp32"), ("bf16", "bf16")])
def test_a_precision_that_was_asked_for_counts(
    evals: Path, point: Point, precision: Precision | None, expected: str
) -> None:
    run_suite(suite_of(PAIRS), evals, point)
    run_suite(suite_of(PAIRS), evals, point, precision=precision)
    assert written(point)["toy_pairs"]["precision"] == expected


def test_one_bad_dataset_does_not_stop_the_suite(evals: Path, tmp_path: Path, point: Point) -> None:
    """Both one that cannot be opened and one whose picture turns out to be damaged on the way."""
    root = tmp_path / "data"
    write_toy_evals(root, pairs_per_class=1, retrieval=10, segmentation=1)
    shard = next((root / "wds_toy_pairs").glob("test/0.tar"))
    data = bytearray(shard.read_bytes())
    start = data.index(b"\x89PNG") if b"\x89PNG" in data else data.index(b"\xff\xd8\xff")
    data[start : start + 64] = bytes(64)
    shard.write_bytes(data)
    gone = {**RETRIEVAL, "name": "gone", "dataset": "gone"}
    outcome = run_suite(suite_of(gone, PAIRS, RETRIEVAL), root, point)
    assert set(outcome.records) == {"toy_retrieval"} == set(written(point))
    assert "wds_gone: no such folder" in outcome.failed["gone"]
    assert str(shard) in outcome.failed["toy_pairs"]
    assert "sample 's0000000'" in outcome.failed["toy_pairs"]


def test_no_usable_dataset_at_all_is_an_error_of_the_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"wds_toy_pairs: no such folder[\s\S]*wds_toy_retrieval: no such folder"):
        open_suite(load_suite("toy"), tmp_path)


def test_the_trainer_wants_every_dataset(evals: Path) -> None:
    tasks = open_suite(suite_of(PAIRS, {**RETRIEVAL, "name": "gone"}), evals)
    with pytest.raises(InputError, match="wds_gone: no such folder"):
        require_ready(tasks)


def test_another_number_of_samples_than_the_suite_says(evals: Path, point: Point) -> None:
    outcome = run_suite(suite_of({**PAIRS, "samples": 65}, {**RETRIEVAL, "samples": 30}), evals, point)
    assert "64 samples; expected 65" in outcome.failed["toy_pairs"]
    assert set(outcome.records) == {"toy_retrieval"}


def test_tasks_that_a_model_cannot_do_are_left_out_and_said(evals: Path, point: Point) -> None:
    outcome = run_suite(suite_of(PAIRS, RETRIEVAL), evals, point, model="cap_toy-XS")
    assert set(outcome.unfit) == {"toy_pairs", "toy_retrieval"}
    assert not outcome.failed
    assert not written(point)


def test_averages_are_of_each_tasks_own_metric_and_follow_them(evals: Path, point: Point) -> None:
    average = {"name": "both", "tasks": ["toy_pairs", "toy_retrieval"]}
    suite = suite_of(PAIRS, {**RETRIEVAL, "metric": "text_retrieval_recall@10"}, averages=[average])
    outcome = run_suite(suite, evals, point)
    records = written(point)
    own = [records["toy_pairs"]["metrics"]["acc1"], records["toy_retrieval"]["metrics"]["text_retrieval_recall@10"]]
    assert outcome.records["both"].metrics["average"] == pytest.approx(sum(own) / 2, abs=1e-15)
    assert (records["both"]["task"], records["both"]["samples"]) == ("average", 2)
    before = touched(point)
    run_suite(suite, evals, point)
    assert touched(point) == before


def test_a_result_that_another_suite_knows_by_another_metric(evals: Path, point: Point) -> None:
    run_suite(suite_of(RETRIEVAL), evals, point)
    average = {"name": "mean", "tasks": ["toy_retrieval"]}
    outcome = run_suite(suite_of({**RETRIEVAL, "metric": "mean_recall@1"}, averages=[average]), evals, point)
    record = written(point)["toy_retrieval"]
    assert record["metric"] == "mean_recall@1"
    assert outcome.records["mean"].metrics["average"] == record["metrics"]["mean_recall@1"]


def test_an_average_waits_for_all_its_tasks(evals: Path, point: Point) -> None:
    average = {"name": "both", "tasks": ["toy_pairs", "gone"]}
    outcome = run_suite(suite_of(PAIRS, {**RETRIEVAL, "name": "gone"}, averages=[average]), evals, point)
    assert set(outcome.records) == {"toy_pairs"}


def test_a_metric_that_the_task_does_not_give(evals: Path, point: Point) -> None:
    outcome = run_suite(suite_of({**PAIRS, "metric": "acc7"}), evals, point)
    assert "metric = 'acc7': expected one of acc1, acc5, mean_per_class_recall" in outcome.failed["toy_pairs"]
    assert not written(point)


def test_stopping_between_tasks_leaves_the_rest(evals: Path, point: Point) -> None:
    asked: list[bool] = []

    def second_time() -> bool:
        asked.append(True)
        return len(asked) > 1

    outcome = run_suite(suite_of(PAIRS, RETRIEVAL), evals, point, should_stop=second_time)
    assert outcome.stopped
    assert set(outcome.records) == {"toy_pairs"}
    assert set(run_suite(suite_of(PAIRS, RETRIEVAL), evals, point).records) == {"toy_pairs", "toy_retrieval"}


def test_a_folder_that_cannot_be_written_is_named(evals: Path, tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file where the folder should be")
    point = Point("toy-XS", "w", "i", tmp_path / "results")
    with pytest.raises(InputError, match=r"toy_pairs\.json: cannot be written"):
        run_suite(suite_of(PAIRS), evals, point)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"name": "a", "kind": "classificaton"}, "tasks.0.kind = 'classificaton': no such kind of task; did you mean"),
        ({"name": "a", "kind": "retrieval", "templates": []}, "tasks.0.templates: unknown key"),
        ({"name": "a", "kind": "retrieval", "batch_size": 0}, "tasks.0.batch_size = 0"),
        ({"name": "a b", "kind": "retrieval"}, "tasks.0.name"),
    ],
)
def test_mistakes_in_a_suite_are_named(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        suite_of(entry)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("averages", "message"),
    [
        ([{"name": "toy_pairs", "tasks": ["toy_pairs"]}], "the same name: toy_pairs"),
        ([{"name": "mean", "tasks": ["toy_pair"]}], "did you mean toy_pairs"),
    ],
)
def test_averages_are_checked(averages: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        suite_of(PAIRS, averages=averages)


def test_an_unknown_task_has_a_hint(evals: Path) -> None:
    with pytest.raises(InputError, match="did you mean toy_pairs"):
        open_suite(load_suite("toy"), evals, ["toy_pair"])
