"""ADE20K's folders: pictures with their masks, 0 left out, names from its own list."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mammut_clip.config.errors import InputError
from mammut_clip.config.evals import TaskConfig
from mammut_clip.data.evalsets import IGNORED, EvalSet, open_eval_set

INFO = (
    "Idx\tRatio\tTrain\tVal\tStuff\tName\n1\t0.1576\t11664\t1172\t1\twall\n2\t0.1072\t6046\t612\t1\tbuilding, edifice\n"
)


def open_set(folder: Path, split: str = "validation") -> EvalSet:
    return open_eval_set(TaskConfig(name="ade", kind="segmentation", layout="ade20k", split=split), folder)


def write(folder: Path, name: str, mask: Image.Image, split: str = "validation") -> None:
    picture, annotation = folder / "images" / split / f"{name}.jpg", folder / "annotations" / split / f"{name}.png"
    for path in (picture, annotation):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", mask.size).save(picture)
    mask.save(annotation)


def grey(values: list[list[int]], dtype: type = np.uint8) -> Image.Image:
    return Image.fromarray(np.array(values, dtype=dtype))


def test_masks_count_from_one_and_zero_is_none_of_them(tmp_path: Path) -> None:
    write(tmp_path, "ADE_val_00000002", grey([[0, 1], [2, 150], [150, 3]]))
    write(tmp_path, "ADE_val_00000001", grey([[7]]))
    write(tmp_path, "ADE_train_1", grey([[1]]), "training")
    found = open_set(tmp_path)
    assert (found.type, [sample.key for sample in found]) == ("segmentation", ["ADE_val_00000001", "ADE_val_00000002"])
    mask = found[1].target
    assert isinstance(mask, np.ndarray)
    assert (mask.dtype, mask.tolist()) == (np.uint16, [[IGNORED, 0], [1, 149], [149, 2]])
    assert np.array_equal(found.target(1), mask)
    assert Image.open(io.BytesIO(found[1].image)).size == (2, 3)
    assert found.where(0) == str(tmp_path / "images/validation/ADE_val_00000001.jpg")
    assert [len(open_set(tmp_path, split)) for split in ("val", "train", "training")] == [2, 1, 1]


def test_masks_may_have_a_palette_or_16_bits(tmp_path: Path) -> None:
    palette = grey([[0, 2, 1]]).convert("P")
    palette.putdata([0, 2, 1])
    write(tmp_path, "a", palette)
    write(tmp_path, "b", grey([[0, 2, 1]], np.uint16))
    assert [found.target.tolist() for found in open_set(tmp_path)] == [[[IGNORED, 1, 0]]] * 2


def test_names_are_the_first_of_each_line(tmp_path: Path) -> None:
    write(tmp_path, "a", grey([[2]]))
    with pytest.raises(InputError, match=r"objectInfo150\.txt: no such file"):
        _ = open_set(tmp_path).classnames
    (tmp_path / "objectInfo150.txt").write_text(INFO + "3\t0.1\t1\t1\t1\tsky; heaven\n")
    assert open_set(tmp_path).classnames == ["wall", "building", "sky"]
    (tmp_path / "classnames.txt").write_text("a wall\nan edifice\n")
    assert open_set(tmp_path).classnames == ["a wall", "an edifice"]
    (tmp_path / "zeroshot_classification_templates.txt").write_text("there is {c}\n")
    assert open_set(tmp_path).templates == ["there is {c}"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Idx,Name\n1,wall\n", r"the header is \['Idx,Name'\]; expected tab separated"),
        (INFO + "4\t0\t0\t0\t0\tfloor\n", "line 4 is not class 3 in 6 columns"),
        (INFO + "3\tfloor\n", "line 4 is not class 3 in 6 columns"),
    ],
)
def test_a_list_of_classes_that_cannot_be_read_is_named(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, "a", grey([[2]]))
    (tmp_path / "objectInfo150.txt").write_text(text)
    with pytest.raises(InputError, match=rf"objectInfo150\.txt: {message}"):
        open_set(tmp_path)


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    write(tmp_path, "a", grey([[0, 151]]))
    with pytest.raises(
        InputError, match=r"annotations/validation/a\.png: the mask has values up to 151; expected 0 to 150"
    ):
        open_set(tmp_path)[0]
    found = open_set(tmp_path)
    found.name_classes(["wall", "floor"])
    with pytest.raises(InputError, match="expected 0 to 2"):
        found[0]
    write(tmp_path, "a", Image.new("RGB", (2, 2)))
    with pytest.raises(InputError, match=r"a\.png: pixels \[2, 2, 3\] of uint8; expected one class number each"):
        open_set(tmp_path)[0]
    (tmp_path / "annotations/validation/a.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"a\.png: not in any known format"):
        open_set(tmp_path)[0]
    (tmp_path / "annotations/validation/b.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"b\.png: no picture for this mask"):
        open_set(tmp_path)
    (tmp_path / "annotations/validation/b.png").rename(tmp_path / "images/validation/b.jpg")
    with pytest.raises(InputError, match=r"b\.jpg: no mask for this picture; expected .*annotations/validation/b\.png"):
        open_set(tmp_path)
    (tmp_path / "images/validation/b.jpg").rename(tmp_path / "images/validation/a.png")
    with pytest.raises(InputError, match=r"a\.png: a second picture 'a' beside a\.jpg"):
        open_set(tmp_path)
    with pytest.raises(InputError, match="no split 'test' in this layout"):
        open_set(tmp_path, "test")
    with pytest.raises(InputError, match=r"images/training: no such folder; expected ADE20K's pictures"):
        open_set(tmp_path, "train")
