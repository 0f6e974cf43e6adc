"""What ranks wrote is read as one list, survives crashes, and a resume with other ranks gives the list of one run."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mammut_clip.config.atomic import DiskFullError
from mammut_clip.runs import quarantine
from mammut_clip.runs.layout import RunDir
from mammut_clip.runs.quarantine import Replaced
from small_disk import small_disk


def one(position: int, key: str = "k", shard: str = "a.tar") -> Replaced:
    return Replaced(position, "broken_picture", "train", shard, key, "4 bytes that start with ff")


def positions(folder: Path) -> list[int]:
    return [entry.position for entry in quarantine.read(folder)]


def test_nothing_replaced_is_no_folder(run: RunDir) -> None:
    quarantine.append(run.quarantine_folder, 0, [])
    quarantine.rewind(run.quarantine_folder, 0)
    assert not run.quarantine_folder.exists()
    assert quarantine.read(run.quarantine_folder) == []


def test_what_ranks_wrote_is_one_list_by_position(run: RunDir) -> None:
    folder = run.quarantine_folder
    quarantine.append(folder, 1, [one(3), one(7)])
    quarantine.append(folder, 0, [one(4), one(4, "other"), one(4, shard="b.tar")])
    quarantine.append(folder, 10, [one(3)])
    found = quarantine.read(folder)
    assert found == [one(3), one(4), one(4, "other"), one(4, shard="b.tar"), one(7)]
    assert sorted(path.name for path in folder.iterdir()) == ["0.jsonl", "1.jsonl", "10.jsonl"]


def test_names_that_are_no_text_are_kept(tmp_path: Path) -> None:
    entry = Replaced(1, "no_caption", "été", "x.tar", b"\xff\n\xe2\x80\xa8".decode("utf-8", "surrogateescape"), 'a "b"')
    quarantine.append(tmp_path, 0, [entry, one(2)])
    assert quarantine.read(tmp_path) == [entry, one(2)]


def test_a_cut_off_line_is_passed_over_and_does_not_spoil_the_next(tmp_path: Path) -> None:
    quarantine.append(tmp_path, 0, [one(1), one(2)])
    file = tmp_path / "0.jsonl"
    file.write_bytes(file.read_bytes()[:-20])
    assert positions(tmp_path) == [1]
    quarantine.rewind(tmp_path, 2)
    quarantine.append(tmp_path, 0, [one(2), one(5)])
    assert positions(tmp_path) == [1, 2, 5]


def test_a_line_without_its_end_does_not_spoil_the_next(tmp_path: Path) -> None:
    quarantine.append(tmp_path, 0, [one(1)])
    file = tmp_path / "0.jsonl"
    file.write_bytes(file.read_bytes()[:-1])
    quarantine.rewind(tmp_path, 100)
    quarantine.append(tmp_path, 0, [one(2)])
    assert positions(tmp_path) == [1, 2]


def test_rewinding_to_the_start_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "quarantine"
    quarantine.append(folder, 0, [one(0)])
    quarantine.rewind(folder, 0)
    assert not folder.exists()


@given(
    bad=st.sets(st.integers(0, 63)),
    worlds=st.tuples(st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 4, 8])),
    checkpoint=st.integers(0, 64),
    reached=st.integers(0, 64),
)
@settings(deadline=None)
def test_a_resume_on_other_ranks_gives_the_list_of_one_run(
    tmp_path_factory: pytest.TempPathFactory,
    bad: set[int],
    worlds: tuple[int, int],
    checkpoint: int,
    reached: int,
) -> None:
    folder = tmp_path_factory.mktemp("run") / "quarantine"

    def train(world: int, start: int, stop: int) -> None:
        for position in range(start, stop):
            quarantine.append(folder, position % world, [one(position)] if position in bad else [])

    checkpoint = min(checkpoint, reached)
    train(worlds[0], 0, reached)
    quarantine.rewind(folder, checkpoint)
    train(worlds[1], checkpoint, 64)
    assert quarantine.read(folder) == [one(position) for position in sorted(bad)]
    assert len(list(quarantine.walk(folder))) == len(bad), "nothing is there twice"


def test_a_full_disk_is_said_so(tmp_path: Path) -> None:
    with small_disk(tmp_path, "16k"), pytest.raises(DiskFullError, match=r"0\.jsonl: No space left"):
        quarantine.append(tmp_path / "quarantine", 0, [one(n) for n in range(1000)])
