"""SugarCrepe, Winoground and WinoGAViL as published, and what is missing in them said by name."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from mammut_clip.config.errors import InputError
from mammut_clip.config.evals import Layout, TaskConfig
from mammut_clip.data.evalsets import open_eval_set, open_selection_set, open_winogavil_set


def config(layout: Layout, split: str = "test") -> TaskConfig:
    return TaskConfig(name="pick", kind="selection", layout=layout, split=split)


def pictures(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(name.encode())


CREPE = {
    "7": {"filename": "b.jpg", "caption": "a red hat", "negative_caption": "a blue hat"},
    "0": {"filename": "a.jpg", "caption": "two dogs", "negative_caption": "two cats"},
}


@pytest.mark.parametrize("folder", ["val2017", "images"])
def test_sugar_crepe_keeps_its_order_and_the_right_caption_first(tmp_path: Path, folder: str) -> None:
    (tmp_path / "add_att.json").write_text(json.dumps(CREPE))
    pictures(tmp_path / folder, ["a.jpg", "b.jpg", "c.jpg"])
    found = open_selection_set(config("sugar_crepe", "add_att"), tmp_path)
    assert [(s.key, s.images, s.captions) for s in found] == [
        ("7", (b"b.jpg",), ("a red hat", "a blue hat")),
        ("0", (b"a.jpg",), ("two dogs", "two cats")),
    ]
    assert len(found) == 2
    assert found.where(1).startswith(f"{tmp_path}/add_att.json: sample '0'")
    assert "a.jpg" in found.where(1)


def test_sugar_crepe_is_read_as_clip_benchmark_reads_it(tmp_path: Path) -> None:
    reference = pytest.importorskip("clip_benchmark.datasets.sugar_crepe")
    (tmp_path / "swap_obj.json").write_text(json.dumps(CREPE))
    (tmp_path / "val2017").mkdir()
    for number, name in enumerate(("a.jpg", "b.jpg")):
        Image.new("RGB", (4, 3), (number, 0, 0)).save(tmp_path / "val2017" / name, format="PNG")
    theirs = reference.SugarCrepe(str(tmp_path / "val2017"), str(tmp_path / "swap_obj.json"), transform=np.asarray)
    ours = open_selection_set(config("sugar_crepe", "swap_obj"), tmp_path)
    assert [list(sample.captions) for sample in ours] == [theirs[number][1] for number in range(len(theirs))]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "expected an object"),
        ("{}", "expected an object"),
        ('{"1":', "not JSON"),
        ('{"1": 5}', "sample '1': filename = None"),
        (json.dumps({"1": CREPE["0"] | {"negative_caption": " "}}), "sample '1': negative_caption = ' '"),
        (json.dumps({"1": CREPE["0"] | {"filename": "z.jpg"}}), r"sample '1': no picture .*val2017/z\.jpg"),
        (json.dumps({"1": CREPE["0"] | {"filename": "../a.jpg"}}), "a name without folders"),
        (json.dumps({"1": CREPE["0"]})[:-1] + ', "1": {}}', "sample '1' stands twice"),
    ],
)
def test_a_bad_sugar_crepe_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "add_att.json").write_text(text)
    pictures(tmp_path / "val2017", ["a.jpg"])
    with pytest.raises(InputError, match=rf"add_att\.json: .*{message}"):
        open_selection_set(config("sugar_crepe", "add_att"), tmp_path)


def test_a_sugar_crepe_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"add_att\.json: no such file; expected SugarCrepe's data"):
        open_selection_set(config("sugar_crepe", "add_att"), tmp_path)
    (tmp_path / "add_att.json").write_text(json.dumps(CREPE))
    with pytest.raises(InputError, match=r"add_atr\.json: no such file; did you mean add_att"):
        open_selection_set(config("sugar_crepe", "add_atr"), tmp_path)
    with pytest.raises(InputError, match="val2017: no such folder; expected the pictures of COCO's val2017"):
        open_selection_set(config("sugar_crepe", "add_att"), tmp_path)


def example(number: int, **changes: Any) -> dict[str, Any]:
    names = {"image_0": f"ex_{number}_img_0", "image_1": f"ex_{number}_img_1"}
    return {
        "id": number,
        **names,
        "caption_0": f"a {number} b",
        "caption_1": f"b {number} a",
        "tag": "Object",
    } | changes


def winoground(folder: Path, rows: list[dict[str, Any]], level: str = ".") -> None:
    pictures(folder / level / "images", [f"ex_{n}_img_{i}.png" for n in range(2) for i in range(2)])
    (folder / level / "examples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


EXPECTED = [
    (str(n), (f"ex_{n}_img_0.png".encode(), f"ex_{n}_img_1.png".encode()), (f"a {n} b", f"b {n} a")) for n in (1, 0)
]


@pytest.mark.parametrize("level", [".", "data"])
def test_winoground_pairs_pictures_and_captions(tmp_path: Path, level: str) -> None:
    winoground(tmp_path, [example(1), example(0)], level)
    found = open_selection_set(config("winoground"), tmp_path)
    assert [(s.key, s.images, s.captions) for s in found] == EXPECTED
    assert found.where(0).endswith("examples.jsonl: sample '1'")


def test_winoground_in_one_parquet_file(tmp_path: Path) -> None:
    rows = [
        {"id": int(key), "caption_0": captions[0], "caption_1": captions[1]}
        | {f"image_{i}": {"bytes": image, "path": f"{i}.png"} for i, image in enumerate(images)}
        for key, images, captions in EXPECTED
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "test.parquet")
    found = open_selection_set(config("winoground"), tmp_path)
    assert [(s.key, s.images, s.captions) for s in found] == EXPECTED
    rows[1]["image_1"]["bytes"] = None
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "test.parquet")
    with pytest.raises(InputError, match=r"test\.parquet: sample '0': no bytes in image_1"):
        open_selection_set(config("winoground"), tmp_path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([example(0), example(0)], "sample '0' stands twice"),
        ([example(0, caption_1="")], "sample '0': an empty caption"),
        ([example(0, image_1="ex_9_img_1")], r"sample '0': no picture .*images/ex_9_img_1\.png"),
        ([{"id": 1}], "no column 'image_0'"),
    ],
)
def test_a_bad_winoground_is_named(tmp_path: Path, rows: list[dict[str, Any]], message: str) -> None:
    winoground(tmp_path, rows)
    with pytest.raises(InputError, match=rf"examples\.jsonl: .*{message}"):
        open_selection_set(config("winoground"), tmp_path)


def test_a_winoground_whose_pictures_are_still_packed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"examples\.jsonl: no such file"):
        open_selection_set(config("winoground"), tmp_path)
    (tmp_path / "examples.jsonl").write_text(json.dumps(example(0)) + "\n")
    with pytest.raises(
        InputError, match=r"images: no such folder; expected Winoground's pictures \(unpack images\.zip\)"
    ):
        open_selection_set(config("winoground"), tmp_path)


GAVIL = (
    "candidates,cue,associations,score_fool_the_ai,num_associations,ID\n"
    '"[""bison"", ""flea"", ""beard""]",pogonophile,"[""beard"", ""bison""]",80,2,11\n'
    '"[""flea"", ""bison""]",itch,"[""flea""]",60,1,10\n'
)


@pytest.mark.parametrize("file", ["winogavil_dataset.csv", "test.csv"])
def test_winogavil_numbers_what_goes_with_the_cue(tmp_path: Path, file: str) -> None:
    (tmp_path / file).write_text(GAVIL)
    pictures(tmp_path / "winogavil_images", ["bison.jpg", "flea.jpg", "beard.jpg"])
    found = open_winogavil_set(config("winogavil"), tmp_path)
    assert [(s.key, s.cue, s.associations) for s in found] == [("11", "pogonophile", (0, 2)), ("10", "itch", (0,))]
    assert [s.images for s in found] == [(b"bison.jpg", b"flea.jpg", b"beard.jpg"), (b"flea.jpg", b"bison.jpg")]
    assert (len(found), found[1].candidates) == (2, ("flea", "bison"))
    assert found.where(1).endswith(f"{file}: sample '10'")


def test_winogavil_in_json_lines(tmp_path: Path) -> None:
    row = {"ID": 3, "cue": "itch", "candidates": ["bison", "flea"], "associations": ["flea"]}
    (tmp_path / "test.jsonl").write_text(json.dumps(row) + "\n")
    pictures(tmp_path / "images", ["bison.jpg", "flea.png"])
    (sample,) = open_winogavil_set(config("winogavil"), tmp_path)
    assert (sample.key, sample.images, sample.associations) == ("3", (b"bison.jpg", b"flea.png"), (1,))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"associations": ["cow"]}, "sample '3': the association 'cow' is no candidate; they are bison, flea"),
        ({"candidates": ["bison", "cow"], "associations": ["bison"]}, r"sample '3': no picture .*images/cow\.jpg"),
        ({"candidates": "bison"}, "sample '3': candidates = 'bison'; expected a list of words"),
        ({"associations": []}, r"sample '3': associations = \[\]; expected a list of words"),
        ({"candidates": ["flea", 4]}, r"sample '3': candidates = \['flea', 4\]; expected a list of words"),
        ({"cue": ""}, "row 1: ID '3', cue ''; expected both"),
    ],
)
def test_a_bad_winogavil_is_named(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    good = {"ID": 3, "cue": "itch", "candidates": ["bison", "flea"], "associations": ["flea"]}
    (tmp_path / "test.jsonl").write_text(json.dumps(good | row) + "\n")
    pictures(tmp_path / "images", ["bison.jpg", "flea.jpg"])
    with pytest.raises(InputError, match=rf"test\.jsonl: {message}"):
        open_winogavil_set(config("winogavil"), tmp_path)


def test_a_winogavil_sample_stands_once(tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text(GAVIL + GAVIL.splitlines()[1] + "\n")
    pictures(tmp_path / "images", ["bison.jpg", "flea.jpg", "beard.jpg"])
    with pytest.raises(InputError, match=r"test\.csv: sample '11' stands twice"):
        open_winogavil_set(config("winogavil"), tmp_path)
    (tmp_path / "test.csv").unlink()
    with pytest.raises(InputError, match=r"winogavil_dataset\.csv: no such file"):
        open_winogavil_set(config("winogavil"), tmp_path)


def test_layouts_that_hold_other_things_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"task pick: layout = 'winoground', .* reads clip_benchmark or image_folder or"
    ):
        open_eval_set(config("winoground"), tmp_path)
    with pytest.raises(
        InputError, match="layout = 'ade20k', and a task of kind selection reads sugar_crepe or winoground"
    ):
        open_selection_set(config("ade20k"), tmp_path)
    with pytest.raises(InputError, match="layout = 'sugar_crepe', and a task of kind selection reads winogavil"):
        open_winogavil_set(config("sugar_crepe"), tmp_path)
