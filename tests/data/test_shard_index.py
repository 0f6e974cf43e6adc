"""The shard index: what it finds, that it is kept and renewed, and how missing or damaged shards are named."""

import os
from pathlib import Path

import pytest

from mammut_clip.config.errors import InputError
from mammut_clip.data import index as index_module
from mammut_clip.data.index import INDEX_NAME, ShardIndex
from mammut_clip.data.reader import ShardReader
from mammut_clip.data.shard_writer import ShardSetWriter, train_shard_name


def write_shards(folder: Path, counts: list[int]) -> None:
    for number, count in enumerate(counts):
        with ShardSetWriter(folder, count, lambda _, n=number: train_shard_name(n)) as writer:
            for sample in range(count):
                image = bytes([number, sample]) * (sample + 1)
                writer.add(f"{number}_{sample}", {"jpg": image, "txt": f"caption {number} {sample}".encode()})


def test_every_sample_is_found_and_read(tmp_path: Path) -> None:
    write_shards(tmp_path, [3, 5, 2])
    index = ShardIndex.open([str(tmp_path)])
    assert index.counts.tolist() == [3, 5, 2]
    assert index.summary() == {
        "shards": 3,
        "samples": 10,
        "bytes": sum(path.stat().st_size for path in tmp_path.glob("*.tar")),
    }
    reader = ShardReader(index)
    for shard, count in enumerate([3, 5, 2]):
        for sample in range(count):
            expected = (bytes([shard, sample]) * (sample + 1), f"caption {shard} {sample}")
            assert reader.read(shard, sample) == expected
            assert index.key(shard, sample) == f"{shard}_{sample}"


def test_members_may_stand_in_any_order_and_far_apart(tmp_path: Path) -> None:
    with ShardSetWriter(tmp_path, 2, train_shard_name) as writer:
        writer.add("a", {"txt": b"first", "json": b"{}", "png": b"picture"})
        writer.add("b", {"jpg": b"picture b", "json": bytes(9000), "txt": b"second"})
    reader = ShardReader(ShardIndex.open([str(tmp_path)]))
    assert [reader.read(0, 0), reader.read(0, 1)] == [(b"picture", "first"), (b"picture b", "second")]


def test_the_stored_index_is_used_until_a_shard_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_shards(tmp_path, [3, 5])
    ShardIndex.open([str(tmp_path / "{00000..00001}.tar")])
    walked: list[str] = []
    walk = index_module._walk
    monkeypatch.setattr(index_module, "_walk", lambda path: walked.append(path.name) or walk(path))
    assert len(ShardIndex.open([str(tmp_path)])) == 8
    assert walked == []
    os.utime(tmp_path / "00001.tar", ns=(1, 1))
    seen: list[tuple[int, int]] = []
    assert len(ShardIndex.open([str(tmp_path)], progress=lambda done, total: seen.append((done, total)))) == 8
    assert (walked, seen) == (["00001.tar"], [(1, 1)])
    # A part of the shards leaves what is known of the others in place.
    os.utime(tmp_path / "00000.tar", ns=(2, 2))
    ShardIndex.open([str(tmp_path / "00000.tar")])
    ShardIndex.open([str(tmp_path)])
    assert walked == ["00001.tar", "00000.tar"]


@pytest.mark.parametrize("content", [b"", b"\xff\x00", b'{"format": 99}\n', b'{"format": 1, "shards": [{}]}\n'])
def test_a_damaged_index_is_made_anew(tmp_path: Path, content: bytes) -> None:
    write_shards(tmp_path, [2])
    (tmp_path / INDEX_NAME).write_bytes(content)
    assert len(ShardIndex.open([str(tmp_path)])) == 2


def test_a_half_written_index_is_made_anew(tmp_path: Path) -> None:
    write_shards(tmp_path, [20])
    ShardIndex.open([str(tmp_path)])
    stored = tmp_path / INDEX_NAME
    stored.write_bytes(stored.read_bytes()[:-30])
    assert len(ShardIndex.open([str(tmp_path)])) == 20


def test_missing_shards_are_named_with_their_source(tmp_path: Path) -> None:
    write_shards(tmp_path, [2, 2])
    pattern = str(tmp_path / "{00000..00003}.tar")
    with pytest.raises(InputError, match=r"00002\.tar \(and 1 more\).*\{00000\.\.00003\}\.tar of 4 files"):
        ShardIndex.open([pattern])
    for source, message in [
        (str(tmp_path / "nowhere"), "no such file or folder"),
        (str(tmp_path / "{0..1.tar"), "unbalanced braces"),
        (str(tmp_path.parent / "empty"), "no .tar files in this folder"),
    ]:
        (tmp_path.parent / "empty").mkdir(exist_ok=True)
        with pytest.raises(InputError, match=message):
            ShardIndex.open([source])
    with pytest.raises(InputError, match=r"00001\.tar: named twice"):
        ShardIndex.open([str(tmp_path), str(tmp_path / "00001.tar")])


@pytest.mark.parametrize(
    ("members", "missing"), [({"jpg": b"1"}, r"no caption \(\.txt\)"), ({"txt": b"1"}, r"no picture \(\.jpg")]
)
def test_a_sample_without_a_part_is_named(tmp_path: Path, members: dict[str, bytes], missing: str) -> None:
    with ShardSetWriter(tmp_path, 1, train_shard_name) as writer:
        writer.add("k7", members)
    with pytest.raises(InputError, match=rf"00000\.tar: sample 'k7' has {missing}"):
        ShardIndex.open([str(tmp_path)])


def test_captions_that_are_not_utf8_and_shards_that_shrank_are_named(tmp_path: Path) -> None:
    with ShardSetWriter(tmp_path, 1, train_shard_name) as writer:
        writer.add("k7", {"jpg": b"1", "txt": b"caf\xe9"})
    index = ShardIndex.open([str(tmp_path)])
    with pytest.raises(InputError, match=r"00000\.tar: sample 'k7': caption is not UTF-8"):
        ShardReader(index).read(0, 0)
    os.truncate(tmp_path / "00000.tar", 600)
    with pytest.raises(InputError, match=r"00000\.tar: shorter than when it was opened"):
        ShardReader(index).read(0, 0)


def test_more_shards_than_open_files_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mammut_clip.data.reader._OPEN_FILES", 2)
    write_shards(tmp_path, [1] * 5)
    reader = ShardReader(ShardIndex.open([str(tmp_path)]))
    assert [reader.read(s, 0)[1] for s in (0, 1, 2, 3, 4, 0, 1)] == [f"caption {s} 0" for s in (0, 1, 2, 3, 4, 0, 1)]
