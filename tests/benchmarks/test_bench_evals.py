"""The evaluation benchmark at tiny sizes: what it draws, that unlike results are refused, and its rows."""

from pathlib import Path

import pytest
from benchmarks.peers import FOLDER
from benchmarks.result import Settings

from benchmarks import evals
from mammut_clip.config.model import load_model_config
from mammut_clip.data.evalsets import TarEvalSet

PETS = evals.Dataset("vtab/pets", (60, 40), 5)
FLICKR = evals.Dataset("flickr8k", (48, 48), 0)


def test_what_is_drawn_can_be_read_by_as_many_workers_as_are_tried(tmp_path: Path) -> None:
    for dataset in (PETS, FLICKR):
        evals._write_dataset((tmp_path, dataset, 10))
    pets, flickr = TarEvalSet.open(tmp_path / "wds_vtab-pets"), TarEvalSet.open(tmp_path / "wds_flickr8k")
    assert (pets.type, len(pets), len(pets.classnames), len(set(pets.classnames))) == ("classification", 10, 5, 5)
    assert {sample.target for sample in pets} <= set(range(5))
    assert (flickr.type, len(flickr)) == ("retrieval", 10)
    assert all(isinstance(sample.target, list) and len(sample.target) == 5 for sample in flickr)
    assert len({sample.image for dataset in (pets, flickr) for sample in dataset}) == 20
    for folder in (pets.folder, flickr.folder):
        assert len(list((folder / "test").glob("*.tar"))) >= max(evals.WORKERS)


def test_the_datasets_are_ten_of_both_kinds_with_names_of_their_own() -> None:
    assert len({dataset.name for dataset in evals.DATASETS}) == 10
    assert {dataset.classes > 0 for dataset in evals.DATASETS} == {True, False}


def test_results_that_differ_compare_nothing() -> None:
    ours = {"pets": {"acc1": 0.5, "acc5": 0.75, "more": 1.0}}
    evals._compare(ours, {"pets": {"acc1": 0.5 + 1e-7, "acc5": 0.75}}, "theirs")
    for value in (0.5 + 2e-6, float("nan")):
        with pytest.raises(RuntimeError, match=r"pets: acc1 is .* by theirs and 0\.5 by ours 1"):
            evals._compare(ours, {"pets": {"acc1": value}}, "theirs")


@pytest.mark.slow
@pytest.mark.skipif(not (FOLDER / ".installed").is_file(), reason="the peers' environment is not there: make bench")
def test_evals_has_rows_of_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    architecture = {
        "family": "clip",
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 32, "layers": 1, "head_width": 16},
        "text_cfg": {"width": 32, "heads": 2, "layers": 1},
    }
    small = evals.Case("small", load_model_config(architecture), 12, 0.5)
    monkeypatch.setattr(evals, "cases", lambda: [small])
    monkeypatch.setattr(evals, "DATASETS", (PETS, FLICKR))
    found = evals.measure(Settings(repeats=1))
    assert [(row.unit, row.target) for row in found.rows] == [
        ("s", 1.0), ("CPU s", None), ("s", 0.5), ("CPU s", None), ("s", None), ("CPU s", None),
        ("mean of all metrics", None),
    ]  # fmt: skip
    assert all(row.ours[0] > 0 and row.theirs[0] > 0 for row in found.rows)
    assert found.rows[-1].ratio == pytest.approx(1.0, abs=1e-5)
    assert any(note.startswith("small: clip_benchmark's mean times by its workers are") for note in found.notes)
