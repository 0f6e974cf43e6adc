"""The tar reader against Python's tarfile on every kind of tar that shards come in, and the writer against both."""

import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mammut_clip.config.errors import InputError
from mammut_clip.data import tar
from mammut_clip.data.tar_writer import TarWriter

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "pax": tarfile.PAX_FORMAT, "gnu": tarfile.GNU_FORMAT}


def write_with_tarfile(path: Path, members: dict[str, bytes], format_: int) -> None:
    with tarfile.open(path, "w", format=format_) as file:
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        file.addfile(folder)
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            # webdataset's TarWriter has a fractional time, which forces a PAX header
            info.mtime = 1.5 if format_ == tarfile.PAX_FORMAT else 1
            file.addfile(info, io.BytesIO(data))


def expected(path: Path) -> list[tuple[str, int, int]]:
    with tarfile.open(path) as file:
        return [(m.name, m.offset_data, m.size) for m in file if m.isfile()]


names = st.text("abcü0/_", min_size=1, max_size=40).map(lambda text: "s/" + text.strip("/") + ".txt")


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=25, deadline=None)
@given(st.dictionaries(names, st.binary(max_size=1500), min_size=1, max_size=6), st.booleans())
def test_reader_finds_what_tarfile_finds(
    tmp_path_factory: pytest.TempPathFactory, kind: str, members: dict[str, bytes], long_name: bool
) -> None:
    path = tmp_path_factory.mktemp("tar") / "a.tar"
    if long_name:
        stem = "d" * 90 + "/" + "e" * 90 if kind == "ustar" else "x" * 300
        members = {**members, stem + ".txt": b"long"}
    write_with_tarfile(path, members, FORMATS[kind])
    assert [tuple(member) for member in tar.walk(path)] == expected(path)


def test_reader_reads_what_webdataset_writes(tmp_path: Path) -> None:
    import webdataset

    path = tmp_path / "w.tar"
    with webdataset.TarWriter(str(path)) as writer:
        for number in range(5):
            writer.write({"__key__": f"{number:05d}", "jpg": b"\xff" * number, "txt": f"caption {number}"})
    found = list(tar.samples(path))
    assert [sample.key for sample in found] == [f"{number:05d}" for number in range(5)]
    data = path.read_bytes()
    member = found[4].members["txt"]
    assert data[member.offset : member.offset + member.size] == b"caption 4"


def test_writer_makes_tars_that_tarfile_and_webdataset_read(tmp_path: Path) -> None:
    import webdataset

    path = tmp_path / "a.tar"
    with path.open("wb") as file:
        writer = TarWriter(file)
        for number in range(30):
            writer.add(f"key{number}.jpg", bytes(number * 40))
            writer.add(f"key{number}.txt", f"ü {number}".encode())
        writer.close()
    assert path.stat().st_size % 10240 == 0
    assert [tuple(member) for member in tar.walk(path)] == expected(path)
    read = list(webdataset.WebDataset(str(path), shardshuffle=False))
    assert [sample["txt"].decode() for sample in read] == [f"ü {number}" for number in range(30)]


@pytest.mark.parametrize("cut", [0, 100, 700, 2000, 2048])
def test_truncated_tars_are_named_with_the_offset(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "cut.tar"
    write_with_tarfile(path, {"a.jpg": bytes(900), "b.jpg": bytes(900)}, tarfile.USTAR_FORMAT)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputError, match=rf"cut\.tar.*truncated.*ends at byte {cut}"):
        list(tar.walk(path))


def test_what_is_no_tar_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(b"\x1f\x8b" + bytes(2000))
    with pytest.raises(InputError, match="not a tar header at byte 0"):
        list(tar.walk(path))
    with pytest.raises(InputError, match=r"gone\.tar"):
        list(tar.walk(tmp_path / "gone.tar"))


def test_keys_end_at_the_first_dot_of_the_base_name(tmp_path: Path) -> None:
    assert tar.split_name("a.b/0001.seg.PNG") == ("a.b/0001", "seg.png")
    path = tmp_path / "a.tar"
    members = {"0.jpg": b"1", "0.txt": b"2", ".hidden": b"", "noextension": b"", "1.txt": b"3"}
    write_with_tarfile(path, members, tarfile.GNU_FORMAT)
    assert [(s.key, sorted(s.members)) for s in tar.samples(path)] == [("0", ["jpg", "txt"]), ("1", ["txt"])]


def test_two_members_of_a_kind_under_one_key_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with path.open("wb") as file:
        writer = TarWriter(file)
        writer.add("7.txt", b"a")
        writer.add("7.txt", b"b")
        writer.close()
    with pytest.raises(InputError, match=r"'7' has two members \.txt"):
        list(tar.samples(path))
    with path.open("wb") as file, pytest.raises(InputError, match="100 or less"):
        TarWriter(file).add("x" * 101, b"")
