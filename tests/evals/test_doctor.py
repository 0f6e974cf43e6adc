"""The doctor: which datasets of a suite are there and complete, and how to get the others."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from mammut_clip.config.evals import SuiteConfig
from mammut_clip.data.toy_shards import write_toy_evals
from mammut_clip.evals.doctor import DatasetReport, advice, examine, rows
from mammut_clip.evals.suite import load_suite, open_suite, parse_suite

PAIRS = {"name": "toy_pairs", "kind": "classification"}
RETRIEVAL = {"name": "toy_retrieval", "kind": "retrieval"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_toy_evals(tmp_path / "evals", pairs_per_class=1, retrieval=12, segmentation=2)
    return tmp_path / "evals"


def suite_of(*tasks: dict[str, Any]) -> SuiteConfig[Any]:
    return parse_suite({"name": "s", "tasks": list(tasks)}, "test")


def examined(root: Path, *, thorough: bool = False, **keys: Any) -> DatasetReport:
    (report,) = examine(suite_of(PAIRS | keys), root, thorough=thorough)
    return report


def rewrite(shard: Path, changed: dict[str, bytes]) -> None:
    """The same tar with the bytes of some members replaced."""
    with tarfile.open(shard) as tar:
        members = [(member.name, tar.extractfile(member).read()) for member in tar.getmembers()]  # type: ignore[union-attr]
    assert changed.keys() <= {name for name, _ in members}
    with tarfile.open(shard, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(changed.get(name, data))
            tar.addfile(info, io.BytesIO(changed.get(name, data)))


def members(shard: Path) -> list[str]:
    with tarfile.open(shard) as tar:
        return tar.getnames()


def test_a_dataset_that_is_there_is_ready(root: Path) -> None:
    pairs, retrieval = examine(load_suite("toy"), root, thorough=True)
    assert (pairs.task, pairs.state, pairs.samples, pairs.expected, pairs.reason) == (
        "toy_pairs",
        "ready",
        32,
        None,
        None,
    )
    assert (retrieval.state, retrieval.samples, retrieval.folder) == ("ready", 12, root / "wds_toy_retrieval")
    assert advice([pairs, retrieval]) == []


def test_every_entry_is_examined_where_none_is_there(tmp_path: Path) -> None:
    suite = load_suite("datacomp38")
    reports = examine(suite, tmp_path, thorough=True)
    assert [report.task for report in reports] == [task.name for task in suite.tasks]
    assert {report.state for report in reports} == {"absent"}
    assert all(str(report.folder) in str(report.reason) for report in reports)
    assert json.loads(json.dumps([report.to_json_dict() for report in reports]))[0]["folder"] == str(reports[0].folder)
    assert [row["state"] for row in rows(reports)] == ["absent"] * 38


def test_files_and_samples_that_lack_make_it_incomplete(root: Path) -> None:
    folder = root / "wds_toy_pairs"
    fewer = examined(root, samples=33)
    assert (fewer.state, fewer.samples, fewer.expected) == ("incomplete", 32, 33)
    assert str(fewer.reason).endswith("wds_toy_pairs: 32 samples; expected 33")
    (folder / "classnames.txt").rename(folder / "elsewhere.txt")
    nameless = examined(root)
    assert (nameless.state, nameless.samples) == ("incomplete", None)
    assert "classnames.txt: no such file" in str(nameless.reason)
    (folder / "elsewhere.txt").rename(folder / "classnames.txt")
    (folder / "test" / "0.tar").unlink()
    assert examined(root).state == "incomplete"
    (folder / "test" / "nshards.txt").unlink()
    assert examined(root).state == "incomplete"


def test_what_is_not_what_the_task_needs_is_unusable(root: Path) -> None:
    assert examined(root, kind="retrieval").state == "unusable"
    more = examined(root, samples=31)
    assert (more.state, more.samples) == ("unusable", 32)
    (root / "wds_toy_pairs" / "test" / "nshards.txt").write_text("many")
    assert examined(root).state == "unusable"


def test_a_thorough_look_finds_broken_pictures_and_labels(root: Path) -> None:
    shard = root / "wds_toy_pairs" / "test" / "0.tar"
    pictures = [name for name in members(shard) if not name.endswith(".cls")]
    labels = [name for name in members(shard) if name.endswith(".cls")]
    rewrite(shard, {pictures[4]: b"no picture", pictures[9]: b"", labels[7]: b"32"})
    assert examined(root).state == "ready"
    report = examined(root, thorough=True)
    assert (report.state, report.samples) == ("unusable", 32)
    key = Path(pictures[4]).stem
    assert f"0.tar: sample '{key}'" in str(report.reason)
    assert str(report.reason).endswith("(and 2 more like it)")


def test_captions_and_masks_are_read_as_well(root: Path) -> None:
    shard = root / "wds_toy_retrieval" / "test" / "0.tar"
    captions = [name for name in members(shard) if name.endswith(".txt")]
    rewrite(shard, {captions[3]: b" \n"})
    masks = root / "wds_toy_segmentation" / "test" / "0.tar"
    rewrite(masks, {[name for name in members(masks) if name.endswith(".npy")][1]: b"no mask"})
    segmentation = {"name": "toy_segmentation", "kind": "zeroshot_segmentation", "templates": ["{c}"]}
    reports = examine(suite_of(RETRIEVAL, segmentation), root, thorough=True)
    assert [report.state for report in reports] == ["unusable", "unusable"]
    assert "no captions" in str(reports[0].reason)
    assert "no .npy array" in str(reports[1].reason)


def test_splits_that_are_trained_on_are_read_as_well(root: Path) -> None:
    folder = root / "wds_toy_pairs"
    (folder / "train").mkdir()
    (folder / "train" / "nshards.txt").write_text("1\n")
    (folder / "train" / "0.tar").write_bytes((folder / "test" / "0.tar").read_bytes())
    assert examined(root, kind="linear_probe", thorough=True).state == "ready"
    pictures = [name for name in members(folder / "train" / "0.tar") if not name.endswith(".cls")]
    rewrite(folder / "train" / "0.tar", {pictures[0]: b"no picture"})
    report = examined(root, kind="linear_probe", thorough=True)
    assert report.state == "unusable"
    assert "train/0.tar" in str(report.reason)


def test_progress_counts_the_samples_of_all_datasets(root: Path) -> None:
    told: list[tuple[int, int]] = []
    absent = {"name": "absent", "kind": "classification"}
    examine(suite_of(PAIRS, absent, RETRIEVAL), root, thorough=True, progress=lambda *now: told.append(now))
    assert told == [(done, 44) for done in range(1, 45)]


def test_datacomps_names_of_folders_are_found(root: Path) -> None:
    (root / "wds_toy_pairs").rename(root / "wds_toy_pairs_test")
    report = examined(root)
    assert (report.state, report.folder) == ("ready", root / "wds_toy_pairs_test")
    assert open_suite(suite_of(PAIRS), root)[0].samples == 32
    (root / "wds_toy_pairs").mkdir()  # CLIP_benchmark's name comes first
    assert examined(root).state == "incomplete"


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        (
            "djghosh/wds_cars_test",
            ["hf download djghosh/wds_cars_test --repo-type dataset --local-dir '{root}/my sets/wds_x'"],
        ),
        ("sign here\nunzip it -d {folder}\n", ["sign here", "unzip it -d '{root}/my sets/wds_x'"]),
        ("below {data_root}", ["below '{root}/my sets'"]),
        (None, ["the suite does not say where to get a/x; it belongs in {root}/my sets/wds_x"]),
    ],
)
def test_how_to_get_a_dataset(tmp_path: Path, source: str | None, lines: list[str]) -> None:
    entry = {"name": "x", "dataset": "a/x", "folder": "wds_x", "kind": "classification", "source": source}
    reports = examine(suite_of(entry), tmp_path / "my sets")
    expected = [line.replace("{root}", str(tmp_path)) for line in lines]
    assert list(reports[0].how_to_get) == expected
    assert advice(reports) == ["x: absent", *(f"  {line}" for line in expected)]


def test_what_several_tasks_need_is_said_once(root: Path) -> None:
    shared = {"folder": "wds_other", "kind": "classification", "source": "some/where"}
    tasks = [{"name": name, **shared} for name in ("a", "b")]
    broken = {"name": "c", "folder": "wds_toy_retrieval", "kind": "classification", "source": "else/where"}
    reports = examine(suite_of(tasks[0], broken, PAIRS, tasks[1]), root)
    assert advice(reports) == [
        "a, b: absent",
        f"  hf download some/where --repo-type dataset --local-dir {root}/wds_other",
        f"c: unusable: {reports[1].reason}",
        f"  hf download else/where --repo-type dataset --local-dir {root}/wds_toy_retrieval",
    ]
