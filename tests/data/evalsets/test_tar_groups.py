"""Groups of samples, from metadata beside their labels: numbers in .npy as DataComp has them, fields of .json."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mammut_clip.config.errors import InputError
from mammut_clip.config.evals import TaskConfig
from mammut_clip.data.evalsets import TarEvalSet, open_eval_set
from mammut_clip.data.shards.shard_writer import ShardSetWriter, eval_key, eval_shard_name, write_eval_description


def npy(values: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(values))
    return file.getvalue()


def write(folder: Path, metadata: list[bytes], extension: str, type_: str | None = None) -> None:
    with ShardSetWriter(folder / "test", 2, eval_shard_name) as writer:
        for number, data in enumerate(metadata):
            target = {"txt": b"words"} if type_ == "retrieval" else {"cls": b"0"}
            writer.add(eval_key(number), {"jpg": b"picture", **target, extension: data})
    write_eval_description(folder, "test", writer.shards, dataset_type=type_, classnames=["a"], templates=["{c}"])


def groups(folder: Path, field: int | str) -> list[int | None]:
    return [sample.group for sample in TarEvalSet.open(folder, group_field=field)]


def test_numbers_beside_the_label_are_groups_by_column(tmp_path: Path) -> None:
    fields = [[3, 2016, 7], [0, 2017, 1], [3, 2002, 0]]
    write(tmp_path, [npy(row) for row in fields], "npy")
    for column in range(3):
        assert groups(tmp_path, column) == [row[column] for row in fields]
    assert [sample.group for sample in TarEvalSet.open(tmp_path)] == [None] * 3
    assert TarEvalSet.open(tmp_path, group_field=0).group_names is None


def test_texts_are_groups_in_their_sorted_order(tmp_path: Path) -> None:
    regions = ["Europe", "Africa", "Asia", "Africa"]
    write(
        tmp_path,
        [json.dumps({"region": region, "year": 2000 + n}).encode() for n, region in enumerate(regions)],
        "json",
    )
    found = TarEvalSet.open(tmp_path, group_field="region")
    assert found.group_names == ["Africa", "Asia", "Europe"]
    assert [found.group_names[sample.group] for sample in found] == regions
    assert groups(tmp_path, "year") == [2000, 2001, 2002, 2003]
    assert TarEvalSet.open(tmp_path, group_field="year").group_names is None


def test_captions_may_have_groups_too(tmp_path: Path) -> None:
    write(tmp_path, [npy([5])], "npy", "retrieval")
    assert groups(tmp_path, 0) == [5]


@pytest.mark.parametrize(
    ("metadata", "extension", "field", "message"),
    [
        (
            [npy([1, 2])],
            "npy",
            2,
            r"0\.tar: sample 's0000000': metadata of int64 \[1, 2\]; expected integers.*number 2",
        ),
        ([npy([-1])], "npy", 0, "0 or more"),
        ([npy([1.5])], "npy", 0, "metadata of float64"),
        ([npy([[1]])], "npy", 0, "expected integers"),
        ([b"?"], "npy", 0, r"no \.npy array"),
        ([b"{}"], "json", 0, r"sample 's0000000' has no \.npy; it has \.jpg, \.cls, \.json"),
        ([b"{}"], "json", "region", r"sample 's0000000': region = None in \.json; expected a text, or a number"),
        ([b'{"region": true}'], "json", "region", "region = True"),
        ([b'{"region": -2}'], "json", "region", "region = -2"),
        ([b"[1]"], "json", "region", "region = None"),
        ([b"{"], "json", "region", r"sample 's0000000': broken \.json"),
        ([b'{"r": 1}', b'{"r": "x"}'], "json", "r", r"sample 's0000001': r = 'x' in \.json; expected as in the others"),
    ],
)
def test_bad_metadata_are_named(
    tmp_path: Path, metadata: list[bytes], extension: str, field: int | str, message: str
) -> None:
    write(tmp_path, metadata, extension)
    with pytest.raises(InputError, match=message):
        groups(tmp_path, field)


def test_labels_in_npy_leave_no_room_for_metadata_there(tmp_path: Path) -> None:
    write(tmp_path, [npy([1])], "npy")
    (tmp_path / "dataset_type.txt").write_text("multilabel")
    with pytest.raises(InputError, match=r"group_field = 0 is a number in \.npy metadata, and a multilabel set"):
        TarEvalSet.open(tmp_path, group_field=0)


def test_tasks_ask_for_groups(tmp_path: Path) -> None:
    write(tmp_path, [npy([4])], "npy")
    config = TaskConfig(name="fmow", kind="classification")
    assert open_eval_set(config, tmp_path, group_field=0)[0].group == 4
    with pytest.raises(InputError, match="task fmow: group_field = 0, and the layout image_folder has no groups"):
        open_eval_set(config.model_copy(update={"layout": "image_folder"}), tmp_path, group_field=0)
