"""The committed results: every file parses, carries its facts, and the table is the one made from them."""

import math
import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from benchmarks.result import Result, Row, read_results, write_result
from benchmarks.run import BENCHMARKS, BESIDE_PEERS, ON_A_DEVICE
from benchmarks.table import table
from pydantic import ValidationError

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"


@pytest.fixture(scope="module")
def results() -> list[Result]:
    return read_results(RESULTS)


def test_there_is_a_result_for_every_benchmark(results: list[Result]) -> None:
    expected = {f"{name}_cpu" if name in ON_A_DEVICE else name for name in BENCHMARKS}
    assert expected <= {result.name for result in results}


def test_every_result_carries_all_facts(results: list[Result]) -> None:
    for result in results:
        facts = result.facts
        assert datetime.fromisoformat(facts.date).tzinfo is not None, result.name
        assert facts.command.startswith("python -m benchmarks.run --only "), result.name
        assert facts.git_commit is not None and re.fullmatch(r"[0-9a-f]{40}", facts.git_commit), result.name
        assert facts.cpu and facts.cores >= 1 and facts.memory_gb > 0 and facts.seconds > 0, result.name
        assert {"python", "torch", "open_clip_torch", "webdataset", "numpy"} <= set(facts.versions), result.name
        assert len(facts.load_before) == len(facts.load_after) == 3, result.name
        if result.name.removesuffix("_cpu").removesuffix("_cuda") in BESIDE_PEERS:
            assert {"python", "torch", "open_clip_torch", "webdataset"} <= set(facts.peer_versions)
            assert facts.peer_versions["torch"] == facts.versions["torch"], "unlike PyTorch on the two sides"


def test_every_row_has_finite_values_of_both_sides(results: list[Result]) -> None:
    rows = [row for result in results for row in result.rows]
    assert rows
    for row in rows:
        assert row.ours and all(math.isfinite(value) and value > 0 for value in [*row.ours, *row.theirs]), row
        assert len(row.theirs) == (len(row.ours) if row.peer else 0), row


def test_both_sides_of_the_training_benchmark_learn_alike(results: list[Result]) -> None:
    """Speed at unlike losses would compare two different trainings."""
    losses = [row for result in results if result.name == "train_cpu" for row in result.rows if row.unit == "mean loss"]
    assert losses
    for row in losses:
        assert row.ratio == pytest.approx(1.0, abs=0.1), row


def test_the_table_is_generated_from_the_files(results: list[Result]) -> None:
    assert (RESULTS / "README.md").read_text() == table(results), "the table is stale or was edited: make bench"


def test_a_result_survives_the_file(results: list[Result], tmp_path: Path) -> None:
    for result in results:
        write_result(result, tmp_path)
    assert read_results(tmp_path) == results


def test_a_file_with_an_unknown_key_is_refused(results: list[Result], tmp_path: Path) -> None:
    path = write_result(results[0], tmp_path)
    path.write_text(path.read_text().replace('"question"', '"answer"'))
    with pytest.raises(ValidationError, match="answer"):
        read_results(tmp_path)


def test_ratio_is_the_median_over_neighbouring_repetitions() -> None:
    row = Row("s", "samples/s", "higher", [100.0, 10.0, 50.0], "peer", [50.0, 10.0, 20.0])
    assert row.ratio == 2.0  # 2, 1, 2.5; the ratio of medians would be 2.5
    assert Row("s", "s", "lower", [1.0]).ratio is None


def test_a_target_is_of_the_ratio_where_there_is_a_peer(results: list[Result]) -> None:
    rows = [
        Row("s", "samples/s", "higher", [3.0], "peer", [2.0], target=1.25),
        Row("s", "s", "lower", [3.0], target=4.0),
    ]
    page = table([replace(results[0], rows=rows)])
    assert "| 1.5 (1.5 to 1.5) | higher (target ratio at least 1.25) |" in page
    assert "| lower (target at most 4) |" in page
