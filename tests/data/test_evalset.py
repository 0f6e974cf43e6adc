"""Evaluation sets in CLIP_benchmark's layout: several shards, all three types, and what is missing said by name."""

import io
from pathlib import Path

import numpy as np
import pytest

from mammut_clip.config.errors import InputError
from mammut_clip.data.evalset import EvalSet
from mammut_clip.data.shards.shard_writer import ShardSetWriter, eval_key, eval_shard_name, write_eval_description


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


def test_classification_over_several_shards(tmp_path: Path) -> None:
    write(tmp_path, [b"0", b"1", b"1\n", b"0", b"1"], "cls", None)
    assert (tmp_path / "test" / "nshards.txt").read_text() == "3\n"
    found = EvalSet.open(tmp_path)
    assert (found.type, len(found), found.classnames, found.templates) == (
        "classification",
        5,
        ["cat", "dog"],
        ["a {c}", "the {c}"],
    )
    assert [sample.target for sample in found] == [0, 1, 1, 0, 1]
    assert [sample.image for sample in found] == [b"picture %d" % number for number in range(5)]
    assert found[3].key == "s0000003"


def test_retrieval_has_captions_a_line_each(tmp_path: Path) -> None:
    write(tmp_path, [b"a cat\n  eine Katze \n\n", "日本".encode()], "txt", "retrieval")
    found = EvalSet.open(tmp_path)
    assert [sample.target for sample in found] == [["a cat", "eine Katze"], ["日本"]]


def test_segmentation_has_masks(tmp_path: Path) -> None:
    mask = np.array([[0, 1, 1]], dtype=np.uint8)
    write(tmp_path, [npy(mask)], "npy", "segmentation")
    assert np.array_equal(EvalSet.open(tmp_path)[0].target, mask)


@pytest.mark.parametrize(
    ("targets", "extension", "type_", "message"),
    [
        ([b"2"], "cls", None, r"'s0000000': label '2'; expected a class number from 0 to 1"),
        ([b"cat"], "cls", None, "label 'cat'"),
        ([b"\xff"], "txt", "retrieval", "captions are not UTF-8"),
        ([b" \n"], "txt", "retrieval", "no captions"),
        ([b"xyz"], "npy", "segmentation", r"no \.npy array"),
        ([npy(np.zeros((2, 2)))], "npy", "segmentation", r"float64 \[2, 2\]"),
        ([npy(np.full((2, 2), 9, np.uint8))], "npy", "segmentation", "values up to 9"),
        ([npy(np.array([{}], dtype=object))], "npy", "segmentation", r"no \.npy array"),
    ],
)
def test_bad_targets_are_named(
    tmp_path: Path, targets: list[bytes], extension: str, type_: str | None, message: str
) -> None:
    write(tmp_path, targets, extension, type_)
    with pytest.raises(InputError, match=message):
        EvalSet.open(tmp_path)[0]


def test_missing_pieces_are_named(tmp_path: Path) -> None:
    write(tmp_path, [b"0", b"1", b"1"], "cls", None)
    with pytest.raises(InputError, match=r"train/nshards\.txt: no such file.*splits that are there: test"):
        EvalSet.open(tmp_path, "train")
    with pytest.raises(InputError, match="no such folder"):
        EvalSet.open(tmp_path / "gone")
    (tmp_path / "classnames.txt").unlink()
    with pytest.raises(InputError, match=r"classnames\.txt: no such file; expected one class name per line"):
        EvalSet.open(tmp_path)[0]
    (tmp_path / "zeroshot_classification_templates.txt").write_text("a photo\n")
    with pytest.raises(InputError, match=r"'a photo' has no \{c\}"):
        _ = EvalSet.open(tmp_path).templates
    (tmp_path / "zeroshot_classification_templates.txt").write_text("\n")
    with pytest.raises(InputError, match="empty; expected prompts"):
        _ = EvalSet.open(tmp_path).templates
    (tmp_path / "dataset_type.txt").write_text("retrieval")
    with pytest.raises(InputError, match=r"0\.tar: sample 's0000000' has no \.txt, which a retrieval set needs"):
        EvalSet.open(tmp_path)
    (tmp_path / "dataset_type.txt").write_text("retreival")
    with pytest.raises(InputError, match="did you mean retrieval"):
        EvalSet.open(tmp_path)
    (tmp_path / "dataset_type.txt").unlink()
    (tmp_path / "test" / "1.tar").unlink()
    with pytest.raises(InputError, match=r"1\.tar: no such shard, although nshards\.txt counts it"):
        EvalSet.open(tmp_path)
    (tmp_path / "test" / "nshards.txt").write_text("many")
    with pytest.raises(InputError, match="'many'; expected the number of shards"):
        EvalSet.open(tmp_path)


def test_descriptions_that_would_not_read_back_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"template without \{c\}"):
        write_eval_description(tmp_path, "test", 1, classnames=["a"], templates=["a photo"])
    with pytest.raises(InputError, match="line of its own"):
        write_eval_description(tmp_path, "test", 1, classnames=["a\nb"], templates=["{c}"])
