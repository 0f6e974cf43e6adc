"""Evaluation sets in CLIP_benchmark's layout: several shards, all types, and what is missing or twice said by name."""

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from mammut_clip.config.errors import InputError
from mammut_clip.data.evalsets import IGNORED, TarEvalSet
from mammut_clip.data.shards.shard_writer import ShardSetWriter, eval_key, eval_shard_name, write_eval_description
from mammut_clip.data.shards.tar_writer import TarWriter


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def write(folder: Path, targets: list[bytes], extension: str, type_: str | None, per_shard: int = 2) -> None:
    with ShardSetWriter(folder / "test", per_shard, eval_shard_name) as writer:
        for number, target in enumerate(targets):
            writer.add(eval_key(number), {"webp": b"picture %d" % number, extension: target})
    names, templates = (None, None) if type_ == "retrieval" else (["cat", "dog"], ["a {c}", "the {c}"])
    write_eval_description(folder, "test", writer.shards, dataset_type=type_, classnames=names, templates=templates)


def write_members(folder: Path, shards: list[list[str]]) -> None:
    """A classification set whose shards have members of these names."""
    for number, names in enumerate(shards):
        path = folder / "test" / f"{number}.tar"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            tar = TarWriter(file)
            for name in names:
                tar.add(name, b"0")
            tar.close()
    write_eval_description(folder, "test", len(shards), classnames=["cat"], templates=["{c}"])


def test_classification_over_several_shards(tmp_path: Path) -> None:
    write(tmp_path, [b"0", b"1", b"1\n", b"0", b"1"], "cls", None)
    assert (tmp_path / "test" / "nshards.txt").read_text() == "3\n"
    found = TarEvalSet.open(tmp_path)
    assert (found.type, len(found), found.classnames, found.templates) == (
        "classification",
        5,
        ["cat", "dog"],
        ["a {c}", "the {c}"],
    )
    assert [sample.target for sample in found] == [0, 1, 1, 0, 1]
    assert [sample.image for sample in found] == [b"picture %d" % number for number in range(5)]
    assert found[3].key == "s0000003"
    assert found.where(3) == f"{tmp_path}/test/1.tar: sample 's0000003'"
    assert {sample.group for sample in found} == {None}


def test_retrieval_has_captions_a_line_each(tmp_path: Path) -> None:
    write(tmp_path, [b"a cat\n  eine Katze \n\n", "日本".encode()], "txt", "retrieval")
    found = TarEvalSet.open(tmp_path)
    assert [sample.target for sample in found] == [["a cat", "eine Katze"], ["日本"]]
    assert [found.target(number) for number in range(2)] == [["a cat", "eine Katze"], ["日本"]]


def test_the_type_is_read_in_any_case(tmp_path: Path) -> None:
    write(tmp_path, [b"a cat"], "txt", "retrieval")
    (tmp_path / "dataset_type.txt").write_text(" Retrieval \n")
    assert TarEvalSet.open(tmp_path).type == "retrieval"


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float32"])
def test_multilabel_has_a_truth_per_class(tmp_path: Path, dtype: str) -> None:
    hot = np.array([[1, 0], [1, 1], [0, 0]])
    write(tmp_path, [npy(row.astype(dtype)) for row in hot], "npy", "multilabel")
    found = TarEvalSet.open(tmp_path)
    assert found.type == "multilabel"
    assert all(found.target(number).dtype == np.bool_ for number in range(3))
    assert np.array_equal(np.stack([sample.target for sample in found]), hot)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (np.array([[0, 1, 255]], np.uint8), [[0, 1, IGNORED]]),
        (np.array([[0, 1, 65535]], np.uint16), [[0, 1, IGNORED]]),
    ],
)
def test_segmentation_has_masks(tmp_path: Path, stored: np.ndarray, expected: list[list[int]]) -> None:
    write(tmp_path, [npy(stored)], "npy", "segmentation")
    mask = TarEvalSet.open(tmp_path)[0].target
    assert isinstance(mask, np.ndarray)
    assert (mask.dtype, mask.tolist()) == (np.uint16, expected)


def test_a_mask_of_bytes_may_have_256_classes(tmp_path: Path) -> None:
    write(tmp_path, [npy(np.array([[0, 255]], np.uint8))], "npy", "segmentation")
    (tmp_path / "classnames.txt").write_text("".join(f"class {n}\n" for n in range(256)))
    assert TarEvalSet.open(tmp_path).target(0).tolist() == [[0, 255]]


@pytest.mark.parametrize(
    ("targets", "extension", "type_", "message"),
    [
        ([b"2"], "cls", None, r"0\.tar: sample 's0000000': label '2'; expected a class number from 0 to 1"),
        ([b"cat"], "cls", None, "label 'cat'"),
        ([b"-1"], "cls", None, "label '-1'"),
        ([b"\xff"], "txt", "retrieval", "captions are not UTF-8"),
        ([b" \n"], "txt", "retrieval", "no captions"),
        ([b"xyz"], "npy", "segmentation", r"no \.npy array"),
        ([npy(np.zeros((2, 2)))], "npy", "segmentation", r"float64 \[2, 2\]"),
        ([npy(np.full((2, 2), 9, np.uint8))], "npy", "segmentation", "values up to 9; expected class numbers up to 1"),
        ([npy(np.full((2, 2), 255, np.uint16))], "npy", "segmentation", "values up to 255"),
        ([npy(np.array([{}], dtype=object))], "npy", "segmentation", r"no \.npy array"),
        ([npy(np.array([0, 1, 1]))], "npy", "multilabel", "labels for 3 classes; expected one 0 or 1 for each of 2"),
        ([npy(np.array([0, 2]))], "npy", "multilabel", r"labels of int64 \[2\]; expected one 0 or 1 per class"),
        ([npy(np.array([0.5, 1]))], "npy", "multilabel", "one 0 or 1 per class"),
    ],
)
def test_bad_targets_are_named(
    tmp_path: Path, targets: list[bytes], extension: str, type_: str | None, message: str
) -> None:
    write(tmp_path, targets, extension, type_)
    with pytest.raises(InputError, match=message):
        TarEvalSet.open(tmp_path)[0]


def test_missing_pieces_are_named(tmp_path: Path) -> None:
    write(tmp_path, [b"0", b"1", b"1"], "cls", None)
    with pytest.raises(InputError, match=r"train/nshards\.txt: no such file.*splits that are there: test"):
        TarEvalSet.open(tmp_path, "train")
    with pytest.raises(InputError, match="no such folder"):
        TarEvalSet.open(tmp_path / "gone")
    (tmp_path / "classnames.txt").write_text("cat\n\ndog\n")
    with pytest.raises(InputError, match=r"classnames\.txt: line 2 is empty"):
        TarEvalSet.open(tmp_path)
    (tmp_path / "classnames.txt").unlink()
    with pytest.raises(InputError, match=r"classnames\.txt: no such file; expected one class name per line"):
        _ = TarEvalSet.open(tmp_path).classnames
    (tmp_path / "zeroshot_classification_templates.txt").write_text("a photo\n")
    with pytest.raises(InputError, match=r"'a photo' has no \{c\}"):
        _ = TarEvalSet.open(tmp_path).templates
    (tmp_path / "zeroshot_classification_templates.txt").write_text("\n")
    with pytest.raises(InputError, match="empty; expected prompts"):
        _ = TarEvalSet.open(tmp_path).templates
    (tmp_path / "dataset_type.txt").write_text("retrieval")
    with pytest.raises(InputError, match=r"0\.tar: sample 's0000000' has no \.txt; it has \.webp, \.cls"):
        TarEvalSet.open(tmp_path)
    (tmp_path / "dataset_type.txt").write_text("retreival")
    with pytest.raises(InputError, match="did you mean retrieval"):
        TarEvalSet.open(tmp_path)
    (tmp_path / "dataset_type.txt").unlink()
    (tmp_path / "test" / "1.tar").unlink()
    with pytest.raises(InputError, match=r"1\.tar: no such shard, although nshards\.txt counts 2"):
        TarEvalSet.open(tmp_path)
    (tmp_path / "test" / "nshards.txt").write_text("many")
    with pytest.raises(InputError, match="'many'; expected the number of shards"):
        TarEvalSet.open(tmp_path)


def test_classes_that_the_set_does_not_name_are_checked_once_they_are_named(tmp_path: Path) -> None:
    write(tmp_path, [b"0", b"7"], "cls", None)
    (tmp_path / "classnames.txt").unlink()
    found = TarEvalSet.open(tmp_path)
    assert [sample.target for sample in found] == [0, 7]
    found.name_classes(["a", "b", "c"])
    assert found.classnames == ["a", "b", "c"]
    with pytest.raises(InputError, match="label '7'; expected a class number from 0 to 2"):
        found[1]


@pytest.mark.parametrize(
    ("shards", "message"),
    [
        ([["s1.jpg", "s1.png", "s1.cls"]], r"0\.tar: sample 's1' has 2 pictures, \.jpg and \.png; expected one"),
        ([["s1.jpg", "s1.cls", "s1.cls"]], r"0\.tar: key 's1' has two members \.cls"),
        ([["s1.jpg", "s1.JPG", "s1.cls"]], r"0\.tar: key 's1' has two members \.jpg"),
        (
            [["s0.jpg", "s0.cls"], ["s1.jpg", "s1.cls", "s2.jpg", "s2.cls", "s1.jpg", "s1.cls"]],
            r"1\.tar: key 's1' stan",
        ),
        ([["s1.cls"]], r"0\.tar: sample 's1' has no picture \(\.jpg, \.jpeg, \.png, \.webp\); it has \.cls"),
        ([["s1.jpg", "s2.jpg", "s2.cls"]], r"0\.tar: sample 's1' has no \.cls; it has \.jpg"),
        ([[]], r"test: no samples in its shards"),
    ],
)
def test_every_sample_has_one_picture_and_one_label(tmp_path: Path, shards: list[list[str]], message: str) -> None:
    write_members(tmp_path, shards)
    with pytest.raises(InputError, match=message):
        TarEvalSet.open(tmp_path)


def test_shards_may_use_the_same_keys_and_may_be_empty(tmp_path: Path) -> None:
    write_members(tmp_path, [["s1.jpg", "s1.cls"], [], ["s1.png", "s1.cls"]])
    found = TarEvalSet.open(tmp_path)
    assert [sample.key for sample in found] == ["s1", "s1"]
    assert found.where(0) != found.where(1)


@pytest.mark.parametrize("name", ["2.tar", "00001.tar", "more.tar"])
def test_a_shard_that_is_not_counted_is_named(tmp_path: Path, name: str) -> None:
    write_members(tmp_path, [["s1.jpg", "s1.cls"], ["s2.jpg", "s2.cls"]])
    (tmp_path / "test" / "._0.tar").write_bytes(b"what macOS leaves beside a file")
    assert len(TarEvalSet.open(tmp_path)) == 2
    (tmp_path / "test" / name).write_bytes((tmp_path / "test" / "0.tar").read_bytes())
    with pytest.raises(InputError, match=rf"{name}: one of 3 shards, although nshards\.txt counts 2"):
        TarEvalSet.open(tmp_path)


def test_a_tar_that_was_cut_is_named(tmp_path: Path) -> None:
    write(tmp_path, [b"0", b"1"], "cls", None)
    tar = tmp_path / "test" / "0.tar"
    found = TarEvalSet.open(tmp_path)
    tar.write_bytes(tar.read_bytes()[:1024])
    with pytest.raises(InputError, match=r"0\.tar: sample 's0000001'.*shorter"):
        found[1]
    with pytest.raises(InputError, match=r"0\.tar: truncated tar"):
        TarEvalSet.open(tmp_path)


def test_threads_read_what_one_reads(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.bytes(int(size)) for size in rng.integers(0, 9000, 300)]
    with ShardSetWriter(tmp_path / "test", 7, eval_shard_name) as writer:
        for number, picture in enumerate(pictures):
            writer.add(eval_key(number), {"png": picture, "cls": b"%d" % (number % 5)})
    write_eval_description(tmp_path, "test", writer.shards, classnames=list("abcde"))
    found = TarEvalSet.open(tmp_path)
    start = threading.Barrier(8)

    def read(thread: int) -> None:
        start.wait()
        for number in np.random.default_rng(thread).permutation(len(pictures)):
            sample = found[int(number)]
            assert (sample.image, sample.target) == (pictures[number], number % 5)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read, range(8)))


def test_descriptions_that_would_not_read_back_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"template without \{c\}"):
        write_eval_description(tmp_path, "test", 1, classnames=["a"], templates=["a photo"])
    with pytest.raises(InputError, match="line of its own"):
        write_eval_description(tmp_path, "test", 1, classnames=["a\nb"], templates=["{c}"])
