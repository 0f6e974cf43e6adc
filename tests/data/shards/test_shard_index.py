"""The shard index: what it finds, that it is stored and renewed, how missing or damaged shards are named, and that
copies of it in other processes find the rows again."""

import json
import logging
import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mammut_clip.config.data import DatasetConfig
from mammut_clip.config.errors import InputError
from mammut_clip.data.shards.build import known_shards
from mammut_clip.data.shards.byte_ranges import ByteReader
from mammut_clip.data.shards.index import IndexedDataset, ShardIndex
from mammut_clip.data.shards.index_files import Depth
from mammut_clip.data.shards.index_places import INDEX_NAME
from mammut_clip.data.shards.rows import MISSING
from mammut_clip.data.shards.shard_writer import ShardSetWriter, train_shard_name
from mammut_clip.data.shards.sources import expand_sources
from mammut_clip.data.shards.storage import ShardStorage


class Recording(ShardStorage):
    """Remembers which shards were walked."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[str] = []

    @contextmanager
    def open(self, url: str) -> Iterator[ByteReader]:
        self.opened.append(Path(url).name)
        with super().open(url) as reader:
            yield reader


def write_shards(folder: Path, counts: list[int], first: int = 0) -> None:
    for number, count in enumerate(counts, start=first):
        with ShardSetWriter(folder, count, lambda _, n=number: train_shard_name(n)) as writer:
            for sample in range(count):
                image = bytes([number, sample]) * (sample + 1)
                writer.add(f"{number}_{sample}", {"jpg": image, "txt": f"caption {number} {sample}".encode()})


def open_index(folder: Path | str, storage: ShardStorage | None = None) -> ShardIndex:
    return ShardIndex.open([DatasetConfig(name="d", sources=[str(folder)])], storage or ShardStorage())


def members(index: ShardIndex, shard: int, sample: int) -> tuple[bytes | None, ...]:
    """Picture, caption and JSON, None for those that are not there."""
    image_at, image_size, text_far, text_size, json_far, json_size = index.rows(shard)[sample].item()
    wanted = [(image_at, image_size), (image_at + text_far, text_size), (image_at + json_far, json_size)]
    ranges = [(at, at + size) for at, size in wanted if size != MISSING]
    data = iter(ShardStorage().read(index.url(shard), ranges))
    return tuple(None if size == MISSING else next(data) for _, size in wanted)


def assert_complete(index: ShardIndex, counts: list[int]) -> None:
    """Every sample is where the index says, as `write_shards` wrote it."""
    assert index.counts.tolist() == counts
    for shard, count in enumerate(counts):
        assert len(index.rows(shard)) == count
        number = int(Path(index.url(shard)).stem)
        for sample in range(count):
            text = f"caption {number} {sample}".encode()
            assert members(index, shard, sample) == (bytes([number, sample]) * (sample + 1), text, None)
            assert index.key(shard, sample) == f"{number}_{sample}"


def test_every_sample_is_found(tmp_path: Path) -> None:
    write_shards(tmp_path, [3, 5, 2])
    index = ShardIndex.of_sources([str(tmp_path)])
    assert_complete(index, [3, 5, 2])
    size = sum(path.stat().st_size for path in tmp_path.glob("*.tar"))
    assert index.summary() == {"shards": 3, "samples": 10, "bytes": size}
    assert len(index) == 10
    assert index.key(0, 99) == "number 99"
    (tmp_path / "00001.tar").unlink()
    assert ShardIndex.of_sources([str(tmp_path)]).key(0, 1) == "0_1"
    assert pickle.loads(pickle.dumps(index)).key(1, 4) == "number 4"


def test_members_may_stand_in_any_order_and_any_may_be_missing(tmp_path: Path) -> None:
    with ShardSetWriter(tmp_path, 9, train_shard_name) as writer:
        writer.add("a", {"txt": b"first", "json": b"{}", "png": b"picture"})
        writer.add("b", {"jpg": b"picture b", "json": bytes(9000), "txt": b"second"})
        writer.add("c", {"txt": b"alone"})
        writer.add("d", {"webp": b"", "cls": b"3"})
        writer.add("e", {"mp3": b"neither"})
        writer.add("f", {"png": b"png", "jpg": b"jpg", "json": b"[]"})
    index = ShardIndex.of_sources([str(tmp_path)])
    assert [members(index, 0, sample) for sample in range(6)] == [
        (b"picture", b"first", b"{}"),
        (b"picture b", b"second", bytes(9000)),
        (None, b"alone", None),
        (b"", None, None),
        (None, None, None),
        (b"jpg", None, b"[]"),
    ]


def test_the_stored_index_is_used_until_a_shard_changes(tmp_path: Path) -> None:
    write_shards(tmp_path, [3, 5])
    storage = Recording()
    open_index(tmp_path / "{00000..00001}.tar", storage)
    assert storage.opened == ["00000.tar", "00001.tar"]
    assert len(open_index(tmp_path, storage)) == 8
    assert len(storage.opened) == 2
    os.utime(tmp_path / "00001.tar", ns=(1, 1))
    seen: list[tuple[int, int]] = []
    dataset = DatasetConfig(name="d", sources=[str(tmp_path)])
    index = ShardIndex.open([dataset], storage, progress=lambda done, total: seen.append((done, total)))
    assert_complete(index, [3, 5])
    assert (storage.opened[2], seen) == ("00001.tar", [(1, 1)])
    # A part of the shards leaves what is known of the others in place.
    os.utime(tmp_path / "00000.tar", ns=(2, 2))
    storage.opened.clear()
    open_index(tmp_path / "00000.tar", storage)
    open_index(tmp_path, storage)
    assert storage.opened == ["00000.tar"]
    # Another size at the same time is a change, too.
    write_shards(tmp_path, [20])
    os.utime(tmp_path / "00000.tar", ns=(2, 2))
    assert_complete(open_index(tmp_path), [20, 5])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\x00",
        b"[",
        b'{"format": 99}\n',
        b'{"format": 2, "shards": [{}]}\n',
        b'{"format": 2, "shards": 5}\n',
        b'{"format":2,"shards":[{"name":"00000.tar","size":1,"version":"","samples":"x","found_at":1}]}\n',
        b'{"format": 1, "shards": []}\n',
    ],
)
def test_a_damaged_index_is_passed_over_with_a_warning_and_made_anew(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    write_shards(tmp_path, [2])
    (tmp_path / INDEX_NAME).write_bytes(content)
    (tmp_path / f"{INDEX_NAME}.1.part").write_bytes(content)
    assert_complete(open_index(tmp_path), [2])
    assert f"{INDEX_NAME} is passed over" in caplog.text
    assert f"{INDEX_NAME}.1.part is passed over" in caplog.text
    caplog.clear()
    assert_complete(open_index(tmp_path), [2])
    assert caplog.text == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000.tar", INDEX_NAME]


@pytest.mark.parametrize("cut", [-30, -1, 40])
def test_a_half_written_index_is_made_anew(tmp_path: Path, cut: int) -> None:
    write_shards(tmp_path, [20])
    open_index(tmp_path)
    stored = tmp_path / INDEX_NAME
    stored.write_bytes(stored.read_bytes()[:cut])
    assert_complete(open_index(tmp_path), [20])


def test_missing_shards_are_named_with_their_source(tmp_path: Path) -> None:
    write_shards(tmp_path, [2, 2])
    pattern = str(tmp_path / "{00000..00003}.tar")
    with pytest.raises(InputError, match=r"00002\.tar \(and 1 more\).*\{00000\.\.00003\}\.tar of 4 files"):
        ShardIndex.of_sources([pattern])
    with pytest.raises(InputError, match="no such file or folder"):
        ShardIndex.of_sources([str(tmp_path / "nowhere")])
    with pytest.raises(InputError, match=r"00001\.tar: named twice"):
        ShardIndex.of_sources([str(tmp_path), str(tmp_path / "00001.tar")])


def test_a_truncated_shard_keeps_its_whole_samples_and_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_shards(tmp_path, [4, 6])
    third = int(open_index(tmp_path).rows(1)[3]["image_offset"])
    os.truncate(tmp_path / "00001.tar", third)  # in the middle of 1_3, so that 1_2 is known to be whole
    for _ in range(2):  # found, and stored
        caplog.clear()
        index = open_index(tmp_path)
        assert_complete(index, [4, 3])
        problem = index.shards[1].problem
        assert problem is not None
        assert problem.startswith(f"truncated tar: the file ends at byte {third}")
        assert "1 of 2 shards have problems" in caplog.text
    assert index.summary()["problems"] == [{"shard": str(tmp_path / "00001.tar"), "problem": problem}]


def test_an_empty_shard_is_a_problem_and_an_empty_data_set_an_error(tmp_path: Path) -> None:
    write_shards(tmp_path, [2])
    (tmp_path / "00001.tar").write_bytes(bytes(10240))
    (tmp_path / "00002.tar").write_bytes(b"")
    index = open_index(tmp_path)
    assert_complete(index, [2, 0, 0])
    assert [shard.problem is None for shard in index.shards] == [True, False, False]
    with pytest.raises(InputError, match=r"the data set 'd' has no samples in its 2 shards.*00001\.tar: no samples"):
        open_index(tmp_path / "{00001..00002}.tar")


def test_what_is_no_tar_is_named_and_the_rest_is_stored(tmp_path: Path) -> None:
    write_shards(tmp_path, [2, 2, 2])
    (tmp_path / "00001.tar").write_bytes(b"\x1f\x8b" * 2000)
    with pytest.raises(InputError, match=r"00001\.tar: not a tar header at byte 0"):
        open_index(tmp_path)
    (tmp_path / "00001.tar").unlink()
    storage = Recording()
    assert len(open_index(tmp_path, storage)) == 4
    assert storage.opened == ["00002.tar"]  # 00000.tar was found before


def test_shards_that_are_gone_are_dropped_from_the_stored_index(tmp_path: Path) -> None:
    write_shards(tmp_path, [2, 2])
    open_index(tmp_path)
    (tmp_path / "00001.tar").unlink()
    write_shards(tmp_path, [3], first=2)
    assert_complete(open_index(tmp_path), [2, 3])
    names = [shard["name"] for shard in json.loads((tmp_path / INDEX_NAME).open("rb").readline())["shards"]]
    assert names == ["00000.tar", "00002.tar"]


def test_a_mixture_is_indexed_as_one_and_may_share_shards(tmp_path: Path) -> None:
    write_shards(tmp_path / "a", [2, 3])
    write_shards(tmp_path / "b", [4], first=7)
    datasets = [
        DatasetConfig(name="one", sources=[str(tmp_path / "a")], weight=2.0),
        DatasetConfig(name="two", sources=[str(tmp_path / "b"), str(tmp_path / "a" / "00001.tar")]),
    ]
    index = ShardIndex.open(datasets, ShardStorage())
    assert_complete(index, [2, 3, 4, 3])
    assert index.datasets == [IndexedDataset("one", 2.0, 0, 2), IndexedDataset("two", 1.0, 2, 4)]
    assert [index.dataset_of(shard) for shard in range(4)] == ["one", "one", "two", "two"]
    assert index.summary()["shards"] == 3
    assert index.summary()["samples"] == 9
    assert (tmp_path / "b" / INDEX_NAME).exists()


def test_a_copy_maps_the_rows_and_finds_them_again_when_the_files_were_merged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_shards(tmp_path, [30] * 6)
    index = open_index(tmp_path)
    pickled = pickle.dumps(index)
    assert len(pickled) < 180 * 28  # no rows in it
    copy = pickle.loads(pickled)
    assert_complete(copy, [30] * 6)
    assert all((copy.rows(shard) == index.rows(shard)).all() for shard in range(6))
    # Somebody adds a shard that sorts first, so that all others lie elsewhere in the new file.
    with ShardSetWriter(tmp_path, 50, lambda _: "-first.tar") as writer:
        for number in range(50):
            writer.add(f"k{number}", {"jpg": b"1", "txt": b"2"})
    before = (tmp_path / INDEX_NAME).stat().st_ino
    assert len(open_index(tmp_path)) == 230
    assert (tmp_path / INDEX_NAME).stat().st_ino != before
    late = pickle.loads(pickled)
    assert_complete(late, [30] * 6)
    assert_complete(copy, [30] * 6)  # what was mapped stays mapped
    # And where the index is gone, the shards say themselves.
    (tmp_path / INDEX_NAME).unlink()
    assert_complete(pickle.loads(pickled), [30] * 6)


def test_a_shard_that_changed_after_it_was_indexed_gets_no_rows_of_its_new_self(tmp_path: Path) -> None:
    write_shards(tmp_path, [5, 5])
    pickled = pickle.dumps(open_index(tmp_path))
    write_shards(tmp_path, [9])
    open_index(tmp_path)
    late = pickle.loads(pickled)
    assert late.counts.tolist() == [5, 5]
    assert len(late.rows(1)) == 5
    assert len(late.rows(0)) == 9  # walked anew: longer than it was counted, which the contract allows


def count(sources: list[str], storage: ShardStorage) -> None:
    known_shards(expand_sources(sources), storage, enough=Depth.COUNTED, wanted=Depth.COUNTED)


@pytest.mark.parametrize("noted", ["img2dataset", "open_clip"])
def test_with_noted_counts_shards_are_walked_when_they_are_used(tmp_path: Path, noted: str) -> None:
    write_shards(tmp_path, [3, 5])
    counts = {"00000.tar": 4, "00001.tar": 5}  # the first is wrong
    if noted == "open_clip":
        (tmp_path / "sizes.json").write_text(json.dumps(counts))
    else:
        for name, number in counts.items():
            stats = {"count": 10, "successes": number, "failed_to_download": 10 - number}
            (tmp_path / name.replace(".tar", "_stats.json")).write_text(json.dumps(stats))
    storage = Recording()
    count([str(tmp_path)], storage)
    index = open_index(tmp_path, storage)
    assert storage.opened == []
    assert index.counts.tolist() == [4, 5]
    assert index.summary()["samples"] == 9
    assert len(index.rows(0)) == 3
    for sample in range(5):
        assert members(index, 1, sample)[1] == f"caption 1 {sample}".encode()
    assert storage.opened == ["00000.tar", "00001.tar"]  # each once
    assert pickle.loads(pickle.dumps(index)).rows(1)[4] == index.rows(1)[4]
    # What was found by walking wins, and counting again does not undo it.
    known_shards(expand_sources([str(tmp_path)]), storage, enough=Depth.WALKED)
    count([str(tmp_path)], storage)
    assert_complete(open_index(tmp_path), [3, 5])


def test_counts_that_nobody_noted_and_those_that_are_none_are_named(tmp_path: Path) -> None:
    write_shards(tmp_path, [3, 5, 2])
    (tmp_path / "sizes.json").write_text('{"00001.tar": 5}')
    with pytest.raises(InputError, match=r"00000\.tar \(and 1 more of 3\).*sizes\.json.*_stats\.json"):
        count([str(tmp_path)], ShardStorage())
    (tmp_path / "sizes.json").write_text('{"00001.tar": "five"}')
    with pytest.raises(InputError, match=r"sizes\.json: 00001\.tar = 'five': expected a number of samples"):
        count([str(tmp_path)], ShardStorage())
    (tmp_path / "sizes.json").write_text("{")
    with pytest.raises(InputError, match=r"sizes\.json: not JSON"):
        count([str(tmp_path)], ShardStorage())


def test_walked_shards_are_dropped_when_they_are_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mammut_clip.data.shards.walked_shards._ROW_BYTES", 2 * 28 * 10)
    write_shards(tmp_path, [10] * 4)
    (tmp_path / "sizes.json").write_text(json.dumps({train_shard_name(n): 10 for n in range(4)}))
    storage = Recording()
    count([str(tmp_path)], storage)
    index = open_index(tmp_path, storage)
    for shard in (0, 1, 0, 2, 0, 1):
        assert len(index.rows(shard)) == 10
    assert storage.opened == ["00000.tar", "00001.tar", "00002.tar", "00001.tar"]


def test_where_the_index_is_kept_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    write_shards(tmp_path, [1])
    open_index(tmp_path)
    assert f"is kept in {tmp_path / INDEX_NAME}" in caplog.text
