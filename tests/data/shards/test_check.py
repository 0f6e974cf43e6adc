"""Checking shards: every way in which one can differ from what is stored of it, bad samples by kind, and that nothing
is written."""

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from mammut_clip.config.errors import InputError
from mammut_clip.data.bad_samples import Bad
from mammut_clip.data.shards import check_samples
from mammut_clip.data.shards.build import known_shards
from mammut_clip.data.shards.check import CheckReport, check_sources
from mammut_clip.data.shards.index_files import Depth
from mammut_clip.data.shards.index_places import INDEX_NAME
from mammut_clip.data.shards.shard_writer import ShardSetWriter, train_shard_name
from mammut_clip.data.shards.sources import expand_sources
from mammut_clip.data.shards.storage import ShardStorage


def picture(side: int = 8) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side, side), "red").save(file, "JPEG")
    return file.getvalue()


def write_shards(folder: Path, shards: int, samples: int = 3) -> None:
    image = picture()
    for number in range(shards):
        with ShardSetWriter(folder, samples, lambda _, n=number: train_shard_name(n)) as writer:
            for sample in range(samples):
                writer.add(f"{number}_{sample}", {"jpg": image, "txt": f"{number} {sample}".encode()})


def index(folder: Path, depth: Depth = Depth.CHECKSUMMED) -> None:
    known_shards(expand_sources([str(folder)]), ShardStorage(), enough=depth, wanted=depth)


def checked(source: Path | str, *, decode: bool = False, workers: int = 1) -> CheckReport:
    return check_sources([str(source)], ShardStorage(), decode=decode, workers=workers)


def problems(source: Path | str) -> dict[str, list[str]]:
    return {Path(shard.url).name: shard.problems for shard in checked(source).damaged}


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """Three shards and their index, of which no check may change anything."""
    write_shards(tmp_path, 3)
    index(tmp_path)
    stored = (tmp_path / INDEX_NAME).read_bytes()
    yield tmp_path
    assert (tmp_path / INDEX_NAME).read_bytes() == stored
    assert {path.suffix for path in tmp_path.iterdir()} <= {".tar", ".index", ".json"}


def test_what_is_as_it_was_is_clean(data: Path) -> None:
    seen: list[tuple[int, int]] = []
    report = check_sources([str(data)], ShardStorage(), progress=lambda done, total: seen.append((done, total)))
    assert report.is_clean
    size = sum(path.stat().st_size for path in data.glob("*.tar"))
    assert report.as_dict() == {
        "shards": 3,
        "samples": 9,
        "bytes": size,
        "problems": [],
        "bad_samples": {},
        "bad_samples_listed": [],
    }
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert checked(data, workers=2).as_dict() == checked(data, decode=True).as_dict() == report.as_dict()


def test_changes_are_told_apart(data: Path) -> None:
    one = data / "00001.tar"
    state = one.stat()
    os.utime(one, ns=(5, 5))
    assert problems(data) == {"00001.tar": ["changed since it was indexed"]}
    # Other bytes, of the same size and time: only the checksum tells.
    raw = bytearray(one.read_bytes())
    raw[600] ^= 1
    one.write_bytes(raw)
    os.utime(one, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert problems(data) == {"00001.tar": ["other bytes than when it was indexed (sha256)"]}
    write_shards(data, 3, samples=40)
    assert set(problems(data)) == {train_shard_name(number) for number in range(3)}
    found = problems(data)["00000.tar"]
    assert found[0].endswith("bytes, 10240 when it was indexed")
    assert "sha256" in found[1]
    assert found[2] == "40 samples, the index has 3"


def test_samples_that_lie_elsewhere_are_found_without_a_checksum(tmp_path: Path) -> None:
    write_shards(tmp_path, 1)
    index(tmp_path, Depth.WALKED)
    path = tmp_path / "00000.tar"
    state = path.stat()
    with ShardSetWriter(tmp_path, 3, train_shard_name) as writer:
        for sample in range(3):
            writer.add(f"0_{sample}", {"jpg": picture() if sample < 1 else picture(30), "txt": f"0 {sample}".encode()})
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert path.stat().st_size == state.st_size
    assert problems(tmp_path) == {
        "00000.tar": ["2 samples lie elsewhere than the index says, the first is number 1"],
    }


def test_damage_and_shards_that_came_and_went_are_found(data: Path) -> None:
    os.truncate(data / "00000.tar", 3 * 512 + 2)
    (data / "00001.tar").unlink()
    (data / "00002.tar").write_bytes(b"\x1f\x8b" * 2000)
    with ShardSetWriter(data, 1, lambda _: "new.tar") as writer:
        writer.add("a", {"jpg": picture(), "txt": b"a"})
    found = problems(data)
    assert found["00000.tar"][2].startswith("truncated tar: the file ends at byte 1538")
    assert found["00000.tar"][3] == "0 samples, the index has 3"
    assert found["00001.tar"] == ["in the index, but not there"]
    assert found["00002.tar"][-1].startswith("not a tar header at byte 0")
    assert found["new.tar"] == ["not in the index"]
    report = checked(data)
    assert report.shards == 3
    assert report.samples == 1
    # Of shards named one by one, those that are not named are nobody's business.
    assert set(problems(data / "{00000,00002}.tar")) == {"00000.tar", "00002.tar"}
    with pytest.raises(InputError, match="nothing is stored"):
        problems(data / "new.tar")


def test_noted_counts_are_counted_again(tmp_path: Path) -> None:
    write_shards(tmp_path, 2)
    (tmp_path / "sizes.json").write_text(json.dumps({"00000.tar": 3, "00001.tar": 5}))
    index(tmp_path, Depth.COUNTED)
    assert problems(tmp_path) == {"00001.tar": ["3 samples, noted were 5"]}


def test_without_an_index_there_is_nothing_to_check(tmp_path: Path) -> None:
    write_shards(tmp_path, 1)
    with pytest.raises(InputError, match="nothing is stored of these shards; first run `mammut-clip data index`"):
        checked(tmp_path)
    with pytest.raises(InputError, match="no such file or folder"):
        checked(tmp_path / "nowhere")


def test_bad_samples_are_listed_by_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = picture()
    bad: dict[str, tuple[dict[str, bytes], set[Bad]]] = {
        "good": ({"jpg": good, "txt": b"a"}, set()),
        "record": ({"jpg": good, "json": b'{"caption": "a"}'}, set()),
        "no_picture": ({"txt": b"a"}, {Bad.NO_PICTURE}),
        "empty": ({"png": b"", "txt": b"a"}, {Bad.EMPTY_PICTURE}),
        "broken": ({"jpg": b"\xff\xd8nothing", "txt": b"a"}, {Bad.BROKEN_PICTURE}),
        "cut": ({"jpg": good[:-20], "txt": b"a"}, {Bad.BROKEN_PICTURE}),
        "giant": ({"jpg": picture(40), "txt": b"a"}, {Bad.GIANT_PICTURE}),
        "no_caption": ({"jpg": good, "cls": b"1"}, {Bad.NO_CAPTION}),
        "space": ({"jpg": good, "txt": b" \n"}, {Bad.EMPTY_CAPTION}),
        "latin": ({"jpg": good, "txt": b"caf\xe9"}, {Bad.CAPTION_NOT_UTF8}),
        "json": ({"jpg": good, "json": b"{"}, {Bad.BROKEN_JSON}),
        "both": ({"jpg": b"x", "txt": b""}, {Bad.BROKEN_PICTURE, Bad.EMPTY_CAPTION}),
    }
    monkeypatch.setattr(check_samples, "_MAX_PIXELS", 1000)
    with ShardSetWriter(tmp_path, 5, train_shard_name) as writer:
        for key, (members, _) in bad.items():
            writer.add(key, members)
    index(tmp_path)
    report = checked(tmp_path, decode=True)
    found: dict[str, set[Bad]] = {}
    for shard in report.damaged:
        assert shard.problems == []
        for member in shard.bad:
            found.setdefault(member.key, set()).add(member.kind)
    assert found == {key: kinds for key, (_, kinds) in bad.items() if kinds}
    assert report.bad_samples[Bad.BROKEN_PICTURE] == 3
    assert report.bad_samples.total() == sum(len(kinds) for _, kinds in bad.values())
    assert not report.is_clean
    as_json = json.loads(json.dumps(report.as_dict()))
    assert as_json["bad_samples"]["giant_picture"] == 1
    shard = str(tmp_path / "00001.tar")
    assert {"shard": shard, "key": "giant", "kind": "giant_picture", "reason": "40 x 40 pixels"} in as_json[
        "bad_samples_listed"
    ]
    assert checked(tmp_path).is_clean  # they are the run's business, not the index's


def test_of_many_bad_samples_the_first_are_listed_and_all_counted(tmp_path: Path) -> None:
    with ShardSetWriter(tmp_path, 130, train_shard_name) as writer:
        for number in range(130):
            writer.add(f"{number:03d}", {"jpg": b"", "txt": b"a"})
    index(tmp_path, Depth.WALKED)
    report = checked(tmp_path, decode=True)
    assert report.bad_samples == {Bad.EMPTY_PICTURE: 130}
    assert [bad.key for bad in report.damaged[0].bad] == [f"{number:03d}" for number in range(100)]


def test_what_is_whole_of_a_truncated_shard_is_decoded(tmp_path: Path) -> None:
    with ShardSetWriter(tmp_path, 9, train_shard_name) as writer:
        for number in range(9):
            writer.add(f"{number}", {"jpg": b"", "txt": b"a"})
    os.truncate(tmp_path / "00000.tar", 512 * 8)
    index(tmp_path, Depth.WALKED)
    report = checked(tmp_path, decode=True)
    assert report.damaged[0].problems[0].startswith("truncated tar")
    assert report.bad_samples == {Bad.EMPTY_PICTURE: 2}
