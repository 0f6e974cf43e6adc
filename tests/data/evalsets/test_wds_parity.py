"""Sets that webdataset wrote, read by us and by clip_benchmark: the same pictures, labels, captions and names."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mammut_clip.data.evalsets import TarEvalSet

webdataset = pytest.importorskip("webdataset")
builder = pytest.importorskip("clip_benchmark.datasets.builder")

FORMATS = ("webp", "png", "jpg", "jpeg")
CAPTIONS = [
    ["a cat", "Une chatte à côté", "two  spaces"],
    ["tabs\tinside"],
    ["vertical", "tab\x0bis a line", "too"],
    ["line\u2028separator"],
    ["a\r", "carriage return"],
]


def picture(number: int, extension: str) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (5 + number, 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, format="JPEG" if extension.startswith("jp") else extension.upper())
    return file.getvalue()


def write(folder: Path, extension: str, targets: list[Any], type_: str) -> None:
    """In shards of two, by webdataset, pictures in all formats."""
    (folder / "test").mkdir(parents=True)
    for shard, start in enumerate(range(0, len(targets), 2)):
        with webdataset.TarWriter(str(folder / "test" / f"{shard}.tar")) as tar:
            for number in range(start, min(start + 2, len(targets))):
                form = FORMATS[number % len(FORMATS)]
                tar.write({"__key__": f"s{number:07d}", form: picture(number, form), extension: targets[number]})
    (folder / "test" / "nshards.txt").write_text(f"{(len(targets) + 1) // 2}\n")
    (folder / "dataset_type.txt").write_text(type_)
    (folder / "classnames.txt").write_text("tabby cat\n dog \nfox\n", encoding="utf-8")
    (folder / "zeroshot_classification_templates.txt").write_text("a photo of a {c}.\n\u00e0 {c}\n", encoding="utf-8")


@pytest.mark.filterwarnings("ignore:WebDataset")  # clip_benchmark does not say whether to shuffle
@pytest.mark.parametrize(
    ("extension", "targets", "type_"),
    [
        ("cls", [2, 0, 1, 1, 2, 0, 1], "classification"),
        ("txt", ["\n".join(captions) for captions in CAPTIONS], "retrieval"),
        ("npy", [np.eye(3, dtype=np.float32)[n % 3] for n in range(5)], "MultiLabel\n"),
    ],
)
def test_clip_benchmark_reads_the_same(tmp_path: Path, extension: str, targets: list[Any], type_: str) -> None:
    write(tmp_path, extension, targets, type_)
    reference = builder.build_wds_dataset("set", transform=np.asarray, split="test", data_dir=str(tmp_path))
    found = TarEvalSet.open(tmp_path)
    pairs = list(reference)
    assert len(pairs) == len(found) == len(targets)
    for (pixels, target), sample in zip(pairs, found, strict=True):
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(sample.image)).convert("RGB")), pixels)
        if extension == "txt":  # we strip the captions, which tokenizers do as well
            assert [line.strip() for line in target if line.strip()] == sample.target
        else:
            assert np.array_equal(target, sample.target)
    if extension != "txt":
        assert (found.classnames, found.templates) == (reference.classes, reference.templates)
