"""Reading evaluation sets in CLIP_benchmark's layout, any sample of any number of shards by its number.

wds_NAME/classnames.txt                            one class per line (classification, segmentation)
wds_NAME/zeroshot_classification_templates.txt     prompts with {c} for the class
wds_NAME/dataset_type.txt                          retrieval or segmentation; absent for classification
wds_NAME/test/nshards.txt, test/0.tar, ...         pictures with .cls (label), .txt (captions, one a line)
                                                   or .npy (mask, uint8 [H, W] of class numbers)
"""

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from mammut_clip.config.base import nearest
from mammut_clip.config.errors import InputError
from mammut_clip.data.shards import tar
from mammut_clip.data.shards.rows import IMAGE_EXTENSIONS
from mammut_clip.data.shards.shard_writer import CLASSNAMES, DATASET_TYPE, SHARD_COUNT, TEMPLATES, eval_shard_name

EvalType = Literal["classification", "retrieval", "segmentation"]
Mask = npt.NDArray[np.uint8]
Target = int | list[str] | Mask

_TARGETS: dict[EvalType, str] = {"classification": "cls", "retrieval": "txt", "segmentation": "npy"}


@dataclass(frozen=True)
class EvalSample:
    """A picture, still encoded, and what is true of it."""

    key: str
    image: bytes
    target: Target
    """Label, captions, or mask, by the type of the set."""


@dataclass(frozen=True)
class _Entry:
    shard: Path
    key: str
    image: tar.Member
    target: tar.Member


class EvalSet:
    """One split of an evaluation set. `len`, indexing and iteration are over samples in the order of the
    shards."""

    def __init__(self, folder: Path, split: str, type_: EvalType, entries: list[_Entry]) -> None:
        self.folder = folder
        self.split = split
        self.type: EvalType = type_
        self._entries = entries

    @classmethod
    def open(cls, folder: Path | str, split: str = "test") -> "EvalSet":
        """Find all samples of a split. Raises InputError that says which file is missing and what it should
        be."""
        root = Path(folder)
        if not root.is_dir():
            raise InputError(f"{root}: no such folder; expected an evaluation set in CLIP_benchmark's layout")
        type_ = _read_type(root)
        entries = [
            entry
            for number in range(_read_shard_count(root, split))
            for entry in _entries(root / split / eval_shard_name(number), type_)
        ]
        return cls(root, split, type_, entries)

    @cached_property
    def classnames(self) -> list[str]:
        """Class number -> name."""
        return _read_lines(self.folder / CLASSNAMES, "one class name per line")

    @cached_property
    def templates(self) -> list[str]:
        """Prompts with `{c}` for the class name."""
        path = self.folder / TEMPLATES
        lines = _read_lines(path, "prompts such as 'a photo of a {c}', one per line")
        broken = [line for line in lines if "{c}" not in line]
        if broken:
            raise InputError(f"{path}: the template {broken[0]!r} has no {{c}}; expected it where the class goes")
        return lines

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[EvalSample]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> EvalSample:
        """Sample `number`. Raises InputError naming shard and key where its target is not what the set's type
        says."""
        entry = self._entries[number]
        try:
            descriptor = os.open(entry.shard, os.O_RDONLY)
        except OSError as error:
            raise InputError(f"{entry.shard}: cannot be opened: {error.strerror or error}") from error
        try:
            image = os.pread(descriptor, entry.image.size, entry.image.offset)
            target = os.pread(descriptor, entry.target.size, entry.target.offset)
        finally:
            os.close(descriptor)
        where = f"{entry.shard}: sample {entry.key!r}"
        return EvalSample(entry.key, image, self._target(target, where))

    def _target(self, data: bytes, where: str) -> Target:
        if self.type == "classification":
            return _label(data, len(self.classnames), where)
        if self.type == "retrieval":
            return _captions(data, where)
        return _mask(data, len(self.classnames), where)


def _label(data: bytes, classes: int, where: str) -> int:
    text = data.decode("ascii", "replace").strip()
    label = int(text) if text.isdecimal() else -1
    if not 0 <= label < classes:
        raise InputError(f"{where}: label {text!r}; expected a class number from 0 to {classes - 1}")
    return label


def _captions(data: bytes, where: str) -> list[str]:
    try:
        captions = [line.strip() for line in data.decode().splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: captions are not UTF-8 ({error.reason} at byte {error.start})") from error
    if not captions:
        raise InputError(f"{where}: no captions; expected at least one, one per line")
    return captions


def _mask(data: bytes, classes: int, where: str) -> Mask:
    try:
        mask = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{where}: the mask is no .npy array ({error})") from error
    if mask.dtype != np.uint8 or mask.ndim != 2 or int(mask.max(initial=0)) >= classes:
        raise InputError(
            f"{where}: mask of {mask.dtype} {list(mask.shape)} with values up to {mask.max(initial=0)}; "
            f"expected uint8 [H, W] with class numbers up to {classes - 1}"
        )
    return mask


def _entries(shard: Path, type_: EvalType) -> Iterator[_Entry]:
    if not shard.is_file():
        raise InputError(f"{shard}: no such shard, although {SHARD_COUNT} counts it")
    wanted = _TARGETS[type_]
    for sample in tar.samples_of_file(shard):
        image = next((sample.members[e] for e in IMAGE_EXTENSIONS if e in sample.members), None)
        target = sample.members.get(wanted)
        if image is None or target is None:
            missing = f".{wanted}" if image is not None else "." + ", .".join(IMAGE_EXTENSIONS)
            there = ", ".join(f".{extension}" for extension in sample.members)
            raise InputError(
                f"{shard}: sample {sample.key!r} has no {missing}, which a {type_} set needs; it has {there}"
            )
        yield _Entry(shard, sample.key, image, target)


def _read_type(root: Path) -> EvalType:
    path = root / DATASET_TYPE
    if not path.exists():
        return "classification"
    found = path.read_text().strip()
    for known in _TARGETS:
        if found == known:
            return known
    raise InputError(f"{path}: {found!r}; {nearest(found, list(_TARGETS))}")


def _read_shard_count(root: Path, split: str) -> int:
    path = root / split / SHARD_COUNT
    if not path.is_file():
        splits = sorted(p.parent.name for p in root.glob(f"*/{SHARD_COUNT}"))
        hint = f"; splits that are there: {', '.join(splits)}" if splits else ""
        raise InputError(f"{path}: no such file; expected the number of shards of split {split!r}{hint}")
    text = path.read_text().strip()
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"{path}: {text!r}; expected the number of shards, 1 or more")
    return int(text)


def _read_lines(path: Path, expected: str) -> list[str]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected {expected}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text; expected {expected}") from error
    if not lines:
        raise InputError(f"{path}: empty; expected {expected}")
    return lines
