"""The tar reader against Python's tarfile on every kind of tar that shards come in, whole and cut off at every byte;
the writer against both and webdataset."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mammut_clip.config.errors import InputError
from mammut_clip.data.shards import tar
from mammut_clip.data.shards.tar_writer import TarWriter

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "pax": tarfile.PAX_FORMAT, "gnu": tarfile.GNU_FORMAT}
BLOCK = 512


class BytesReader:
    """A ByteReader of bytes in memory, of known or unknown size."""

    def __init__(self, data: bytes, *, sized: bool = True) -> None:
        self._data = data
        self.size = len(data) if sized else None

    def read_at(self, offset: int, count: int) -> bytes:
        return self._data[offset : offset + count]


def tar_of(members: dict[str, bytes], format_: int) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=format_) as written:
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        written.addfile(folder)
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            # webdataset's TarWriter has a fractional time, which forces a PAX header
            info.mtime = 1.5 if format_ == tarfile.PAX_FORMAT else 1
            written.addfile(info, io.BytesIO(data))
    return file.getvalue()


def expected(data: bytes) -> list[tuple[str, int, int]]:
    with tarfile.open(fileobj=io.BytesIO(data)) as file:
        return [(m.name, m.offset_data, m.size) for m in file if m.isfile()]


def walked(data: bytes, *, sized: bool = True) -> list[tuple[str, int, int]]:
    return [tuple(member) for member in tar.walk(BytesReader(data, sized=sized), "a.tar")]


def until_broken(found: Iterator[object]) -> tuple[list[object], tar.BrokenTarError | None]:
    listed = []
    try:
        for one in found:
            listed.append(one)  # noqa: PERF402 (the error must not lose what came before)
    except tar.BrokenTarError as error:
        return listed, error
    return listed, None


names = st.text("abcü0/_", min_size=1, max_size=40).map(lambda text: "s/" + text.strip("/") + ".txt")
# Small and large ones, so that headers lie within what was read ahead, on its edge, and far beyond it.
sizes = st.one_of(st.integers(0, 1500), st.integers(3000, 5000), st.integers(60_000, 70_000))


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=40, deadline=None)
@given(st.dictionaries(names, sizes, min_size=1, max_size=8), st.booleans(), st.booleans())
def test_reader_finds_what_tarfile_finds(kind: str, members: dict[str, int], long_name: bool, sized: bool) -> None:
    contents = {name: bytes(size) for name, size in members.items()}
    if long_name:
        stem = "d" * 90 + "/" + "e" * 90 if kind == "ustar" else "x" * 300
        contents[stem + ".txt"] = b"long"
    data = tar_of(contents, FORMATS[kind])
    assert walked(data, sized=sized) == expected(data)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.text("abü_0", min_size=1, max_size=90), sizes), min_size=1, max_size=6, unique_by=lambda m: m[0]
    )
)
def test_reader_finds_what_webdataset_and_our_writer_wrote(members: list[tuple[str, int]]) -> None:
    import webdataset

    theirs, ours = io.BytesIO(), io.BytesIO()
    with webdataset.TarWriter(theirs) as writer:
        for key, size in members:
            writer.write({"__key__": key, "jpg": bytes(size), "txt": key})
    own = TarWriter(ours)
    for key, size in members:
        if len(key.encode()) <= 96:
            own.add(f"{key}.jpg", bytes(size))
    own.close()
    for data in (theirs.getvalue(), ours.getvalue()):
        assert walked(data) == expected(data)
    found = list(tar.samples(BytesReader(theirs.getvalue()), "w.tar"))
    assert [(sample.key, set(sample.members)) for sample in found] == [(key, {"jpg", "txt"}) for key, _ in members]
    for sample in found:
        text = sample.members["txt"]
        assert theirs.getvalue()[text.offset : text.offset + text.size].decode() == sample.key


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
    assert [tuple(member) for member in tar.walk_file(path)] == expected(path.read_bytes())
    read = list(webdataset.WebDataset(str(path), shardshuffle=False))
    assert [sample["txt"].decode() for sample in read] == [f"ü {number}" for number in range(30)]


@pytest.mark.parametrize("sized", [True, False])
@pytest.mark.parametrize("kind", FORMATS)
def test_cut_off_at_any_byte_exactly_the_whole_members_are_given(kind: str, sized: bool) -> None:
    long_name = "n" * 80 + ".jpg" if kind == "ustar" else "n" * 120 + ".jpg"
    members = {"a.jpg": bytes(600), "a.txt": b"", "b.jpg": bytes(512), "b.txt": b"12", long_name: bytes(700)}
    data = tar_of(members, FORMATS[kind])
    every = expected(data)
    end = max(offset + -(-size // BLOCK) * BLOCK for _, offset, size in every)
    for cut in range(1, end + BLOCK + 1):
        found, error = until_broken(tar.walk(BytesReader(data[:cut], sized=sized), "cut.tar"))
        assert found == [member for member in every if member[1] + member[2] <= cut], cut
        assert isinstance(error, tar.TruncatedTarError) == (cut < end + BLOCK), cut
        # A sample is whole once the header of another one's member is there, or the end of the archive.
        keys = ["a", "a", "b", "b", long_name[:-4]]
        begun = [key for key, (_, offset, _) in zip(keys, every, strict=True) if offset <= cut]
        whole = sorted(set(keys)) if cut >= end + BLOCK else sorted(set(begun))[:-1]
        samples, _ = until_broken(tar.samples(BytesReader(data[:cut], sized=sized), "cut.tar"))
        assert [sample.key for sample in samples] == whole, cut
        assert all(set(sample.members) == {"jpg", "txt"} for sample in samples[:2])


@pytest.mark.parametrize("cut", [0, 100, 700, 2000, 2048])
def test_truncated_tars_are_named_with_the_offset(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "cut.tar"
    path.write_bytes(tar_of({"a.jpg": bytes(900), "b.jpg": bytes(900)}, tarfile.USTAR_FORMAT)[:cut])
    with pytest.raises(tar.TruncatedTarError, match=rf"cut\.tar.*truncated.*ends at byte {cut}"):
        list(tar.walk_file(path))


def test_what_is_no_tar_is_refused_and_damage_further_on_ends_the_walk(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(b"\x1f\x8b" + bytes(2000))
    with pytest.raises(InputError, match="not a tar header at byte 0") as refused:
        list(tar.walk_file(path))
    assert not isinstance(refused.value, tar.BrokenTarError)
    with pytest.raises(InputError, match=r"gone\.tar"):
        list(tar.walk_file(tmp_path / "gone.tar"))
    data = bytearray(tar_of({f"{n}.jpg": bytes(600) for n in range(4)}, tarfile.USTAR_FORMAT))
    third = expected(bytes(data))[2][1] - BLOCK
    data[third : third + BLOCK] = b"\xff" * BLOCK
    found, error = until_broken(tar.walk(BytesReader(bytes(data)), "b.tar"))
    assert [member[0] for member in found] == ["0.jpg", "1.jpg"]
    assert f"b.tar: not a tar header at byte {third}" in str(error)
    assert not isinstance(error, tar.TruncatedTarError)


def test_members_of_8_gib_and_more_are_understood() -> None:
    info = tarfile.TarInfo("a.mp4")
    info.size = 2**33 + 256
    header = info.tobuf(tarfile.GNU_FORMAT)

    class Sparse(BytesReader):
        def read_at(self, offset: int, count: int) -> bytes:
            return (header + bytes(count) if offset == 0 else bytes(count))[:count]

    reader = Sparse(b"")
    reader.size = 2**34
    assert [tuple(member) for member in tar.walk(reader, "a.tar")] == [("a.mp4", BLOCK, 2**33 + 256)]


def test_keys_end_at_the_first_dot_of_the_base_name() -> None:
    assert tar.split_name("a.b/0001.seg.PNG") == ("a.b/0001", "seg.png")
    members = {"0.jpg": b"1", "0.txt": b"2", ".hidden": b"", "noextension": b"", "1.txt": b"3"}
    found = tar.samples(BytesReader(tar_of(members, tarfile.GNU_FORMAT)), "a.tar")
    assert [(s.key, sorted(s.members)) for s in found] == [("0", ["jpg", "txt"]), ("1", ["txt"])]


def test_two_members_of_a_kind_under_one_key_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with path.open("wb") as file:
        writer = TarWriter(file)
        writer.add("7.txt", b"a")
        writer.add("7.txt", b"b")
        writer.close()
    with pytest.raises(InputError, match=r"'7' has two members \.txt"):
        list(tar.samples_of_file(path))
    with path.open("wb") as file, pytest.raises(InputError, match="100 or less"):
        TarWriter(file).add("x" * 101, b"")
