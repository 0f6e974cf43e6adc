"""Packing users' pictures: every kind of table, what comes out again, and every kind of bad row named."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mammut_clip.config.errors import InputError
from mammut_clip.data.evalsets import TarEvalSet
from mammut_clip.data.images import open_picture
from mammut_clip.data.pack import pack_classification, pack_retrieval, pack_train
from mammut_clip.data.pictures import PictureOptions
from mammut_clip.data.shards.index import ShardIndex
from mammut_clip.data.shards.storage import ShardStorage
from mammut_clip.data.stream.sample_reader import Place, SampleReader

FORMATS = ("jpg", "png", "webp", "bmp", "gif")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(10):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.{FORMATS[number % 5]}")
    return folder


def names(images: Path) -> list[str]:
    return sorted(path.name for path in images.iterdir())


def write_table(path: Path, rows: list[dict[str, object]]) -> Path:
    frame = pd.DataFrame(rows)
    match path.suffix:
        case ".csv":
            frame.to_csv(path, index=False)
        case ".tsv":
            frame.to_csv(path, index=False, sep="\t")
        case ".parquet":
            frame.to_parquet(path)
        case ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read_back(folder: Path) -> list[tuple[bytes, str]]:
    index = ShardIndex.of_sources([str(folder)])
    reader = SampleReader(index, ShardStorage(), text=True, record=False)
    places = [Place(shard, sample) for shard, count in enumerate(index.counts) for sample in range(count)]
    return [(raw.image or b"", (raw.text or b"").decode()) for raw in reader.read(places)]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".jsonl"])
def test_training_shards_from_every_kind_of_table(tmp_path: Path, images: Path, suffix: str) -> None:
    texts = ["NA", "1", 'a, "b"', "true", "ü", "2020-01-01", "null", "x\ty", "1e5", "two\nlines"]
    rows = [{"image": name, "caption": text} for name, text in zip(names(images), texts, strict=True)]
    seen: list[tuple[int, int]] = []
    report = pack_train(
        write_table(tmp_path / f"t{suffix}", rows),
        images,
        tmp_path / "out",
        samples_per_shard=4,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert (report.samples, report.shards, report.skipped, report.quarantine) == (10, 3, {}, None)
    assert seen[-1] == (10, 10)
    packed = read_back(tmp_path / "out")
    assert [caption for _, caption in packed] == texts
    for (data, _), name in zip(packed, names(images), strict=True):
        original = (images / name).read_bytes()
        if name.endswith(("jpg", "png", "webp")):
            assert data == original
        else:  # formats that shards do not hold come out as PNG, pixel for pixel
            assert data[:4] == b"\x89PNG"
            pixels = [np.asarray(open_picture(d).convert("RGB")) for d in (data, original)]
            assert np.array_equal(*pixels)
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []


def test_several_captions_make_several_samples(tmp_path: Path, images: Path) -> None:
    rows = [
        {"file": "0.jpg", "name": "a cat", "words": ["cat", "", "animal"], "id": "cat"},
        {"file": "1.png", "name": "", "words": ["dog"], "id": "dog"},
    ]
    table = write_table(tmp_path / "t.jsonl", rows)
    pack_train(table, images, tmp_path / "out", image_column="file", caption_columns=("name", "words"), key_column="id")
    assert [caption for _, caption in read_back(tmp_path / "out")] == ["a cat", "cat", "animal", "dog"]
    index = ShardIndex.of_sources([str(tmp_path / "out")])
    assert [index.key(0, sample) for sample in range(4)] == ["cat_0", "cat_1", "cat_2", "dog"]


def bad_rows(images: Path) -> list[dict[str, object]]:
    (images / "bad.jpg").write_bytes(b"<html>")
    whole = (images / "0.jpg").read_bytes()
    (images / "half.jpg").write_bytes(whole[: len(whole) // 2])
    return [
        {"image": "0.jpg", "caption": "fine", "key": "a"},
        {"image": "gone.jpg", "caption": "x", "key": "b"},
        {"image": "bad.jpg", "caption": "x", "key": "c"},
        {"image": "half.jpg", "caption": "x", "key": "d"},
        {"image": "1.png", "caption": "  ", "key": "e"},
        {"image": "1.png", "caption": "y", "key": "a"},
        {"image": "1.png", "caption": "y", "key": "f.g"},
        {"image": "", "caption": "y", "key": "h"},
        {"image": "2.webp", "caption": "fine too", "key": "i"},
    ]


def test_bad_rows_are_all_named_and_nothing_is_written(tmp_path: Path, images: Path) -> None:
    table = write_table(tmp_path / "t.csv", bad_rows(images))
    with pytest.raises(InputError) as caught:
        pack_train(table, images, tmp_path / "out", key_column="key")
    lines = str(caught.value).splitlines()
    assert "7 of 9 rows cannot become samples" in lines[0]
    assert "2 missing file, 2 not a picture" in lines[0]
    assert [line.split(":")[0].strip() for line in lines[1:8]] == [f"row {row}" for row in range(2, 9)]
    assert "gone.jpg: missing file: No such file" in lines[1]
    assert "3c 68 74 6d 6c 3e" in lines[2]
    assert "truncated" in lines[3]
    assert "'a' stands in row 1 already" in lines[5]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["images", "t.csv"]


def test_bad_rows_can_be_skipped_and_are_listed(tmp_path: Path, images: Path) -> None:
    table = write_table(tmp_path / "t.csv", bad_rows(images))
    report = pack_train(table, images, tmp_path / "out", key_column="key", skip_bad=True)
    assert report.samples == 2 and sum(report.skipped.values()) == 7
    assert report.skipped == {
        "missing file": 2,
        "not a picture": 2,
        "empty caption": 1,
        "duplicate key": 1,
        "unusable key": 1,
    }
    assert [caption for _, caption in read_back(tmp_path / "out")] == ["fine", "fine too"]
    assert report.quarantine is not None
    with Path(report.quarantine).open() as file:
        listed = list(csv.DictReader(file))
    assert [int(row["row"]) for row in listed] == list(range(2, 9))
    assert listed[0]["file"].endswith("gone.jpg")


def test_more_than_ten_bad_rows_are_counted(tmp_path: Path, images: Path) -> None:
    rows = [{"image": f"gone{number}.jpg", "caption": "x"} for number in range(300)]
    with pytest.raises(InputError, match="300 of 300 rows") as caught:
        pack_train(write_table(tmp_path / "t.csv", rows), images, tmp_path / "out")
    assert len(str(caught.value).splitlines()) == 13 and "and 290 more" in str(caught.value)
    with pytest.raises(InputError, match="300 of 300 rows"):  # nothing left to skip to
        pack_train(tmp_path / "t.csv", images, tmp_path / "out", skip_bad=True)


def test_tables_that_cannot_be_used(tmp_path: Path, images: Path) -> None:
    def attempt(name: str, content: str | bytes) -> str:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(InputError) as caught:
            pack_train(path, images, tmp_path / "out")
        return str(caught.value)

    assert "without rows" in attempt("a.csv", "image,caption\n")
    assert "empty file" in attempt("b.csv", "")
    assert "no column 'caption'; did you mean captions? Its columns: image, captions" in attempt(
        "c.csv", "image,captions\n0.jpg,x\n"
    )
    assert "no column 'image'" in attempt("d.tsv", "caption\nx\n")
    assert "line 3 has 3 fields and the header 2" in attempt("e.csv", "image,caption\na,b\na, red, dog\n")
    assert "line 2: " in attempt("f.csv", 'image,caption\n0.jpg,"a" b\n')
    assert "unexpected end of data" in attempt("f.tsv", 'image\tcaption\n0.jpg\t"a\n')
    assert "not UTF-8" in attempt("f.csv", b"image,caption\n0.jpg,caf\xe9\n")
    assert "cannot be read as Parquet" in attempt("g.parquet", "image")
    assert "line 2 is not JSON" in attempt("h.jsonl", '{"image": "a", "caption": "b"}\n{')
    assert "line 1 is list" in attempt("h.jsonl", "[1]")
    assert "without rows" in attempt("h.jsonl", "")
    assert "unknown kind of table" in attempt("i.xlsx", "")
    with pytest.raises(InputError, match="no such file"):
        pack_train(tmp_path / "gone.csv", images, tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("")
    table = write_table(tmp_path / "t.csv", [{"image": "0.jpg", "caption": "x"}])
    with pytest.raises(InputError, match="exists already"):
        pack_train(table, images, tmp_path / "full")
    assert not (tmp_path / "out").exists()


def test_classification_from_folders(tmp_path: Path, images: Path) -> None:
    for number, name in enumerate(names(images)):
        target = tmp_path / "classes" / ("tabby_cat" if number % 2 else "dog") / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((images / name).read_bytes())
    report = pack_classification(tmp_path / "classes", tmp_path / "out", samples_per_shard=3)
    found = TarEvalSet.open(tmp_path / "out")
    assert (report.samples, report.shards, len(found)) == (10, 4, 10)
    assert found.classnames == ["dog", "tabby cat"] and found.templates == ["a photo of a {c}."]
    assert [sample.target for sample in found] == [0] * 5 + [1] * 5
    pack_classification(
        tmp_path / "classes", tmp_path / "named", classnames=["hound", "tabby"], templates=["{c}!"], split="val"
    )
    named = TarEvalSet.open(tmp_path / "named", "val")
    assert named.classnames == ["hound", "tabby"] and named.templates == ["{c}!"]
    with pytest.raises(InputError, match="3 class names for the 2 folders"):
        pack_classification(tmp_path / "classes", tmp_path / "no", classnames=["a", "b", "c"])
    with pytest.raises(InputError, match="no pictures in folders"):
        pack_classification(images, tmp_path / "no")


def test_classification_from_a_table(tmp_path: Path, images: Path) -> None:
    labels = ["cat", "dog", "cat", "ant"]
    rows = [{"image": n, "label": label} for n, label in zip(names(images), labels, strict=False)]
    table = write_table(tmp_path / "t.csv", rows)
    pack_classification(images, tmp_path / "out", table=table)
    found = TarEvalSet.open(tmp_path / "out")
    assert found.classnames == ["ant", "cat", "dog"]
    assert [sample.target for sample in found] == [1, 2, 1, 0]
    with pytest.raises(InputError, match=r"row 4: .*unknown label: label 'ant'"):
        pack_classification(images, tmp_path / "no", table=table, classnames=["cat", "dog"])
    numbered = write_table(tmp_path / "n.csv", [{"image": "0.jpg", "label": 1}, {"image": "1.png", "label": 0}])
    pack_classification(images, tmp_path / "numbered", table=numbered, classnames=["cat", "dog"])
    assert [sample.target for sample in TarEvalSet.open(tmp_path / "numbered")] == [1, 0]
    with pytest.raises(InputError, match="holds numbers; expected class names"):
        pack_classification(images, tmp_path / "no", table=numbered)


def test_retrieval_puts_rows_of_one_picture_together(tmp_path: Path, images: Path) -> None:
    rows = [
        {"image": "0.jpg", "caption": "a cat"},
        {"image": "1.png", "caption": "a dog\non grass"},
        {"image": "0.jpg", "caption": "a tabby"},
    ]
    pack_retrieval(write_table(tmp_path / "t.csv", rows), images, tmp_path / "out")
    found = TarEvalSet.open(tmp_path / "out")
    assert found.type == "retrieval"
    assert [sample.target for sample in found] == [["a cat", "a tabby"], ["a dog on grass"]]


def test_pictures_are_shrunk_and_flattened_on_request(tmp_path: Path, images: Path) -> None:
    clear = np.zeros((50, 60, 4), dtype=np.uint8)
    clear[20:30, 20:30] = (255, 0, 0, 255)
    Image.fromarray(clear).save(images / "clear.png")
    rows = [{"image": "clear.png", "caption": "x"}, {"image": "0.jpg", "caption": "y"}]
    table = write_table(tmp_path / "t.csv", rows)
    pack_train(table, images, tmp_path / "out", pictures=PictureOptions(max_side=25, background="white"))
    first, second = (open_picture(data) for data, _ in read_back(tmp_path / "out"))
    assert (first.format, first.mode, first.size) == ("PNG", "RGB", (30, 25))
    assert first.getpixel((0, 0)) == (255, 255, 255)
    assert (second.format, second.size) == ("JPEG", (25, 33))
    with pytest.raises(InputError, match="expected a colour"):
        PictureOptions(background="no colour")
    with pytest.raises(InputError, match="1 pixel or more"):
        PictureOptions(max_side=0)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, images: Path) -> None:
    (tmp_path / "file").write_text("")
    table = write_table(tmp_path / "t.csv", [{"image": "0.jpg", "caption": "x"}])
    with pytest.raises(InputError, match=r"file/out: cannot be written: Not a directory"):
        pack_train(table, images, tmp_path / "file" / "out")
