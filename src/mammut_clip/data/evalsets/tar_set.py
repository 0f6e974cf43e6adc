"""Reading evaluation sets in CLIP_benchmark's layout, any sample of any number of shards by its number.

wds_NAME/classnames.txt                            one class per line (all types but retrieval)
wds_NAME/zeroshot_classification_templates.txt     prompts with {c} for the class
wds_NAME/dataset_type.txt                          retrieval, multilabel or segmentation; absent for classification
wds_NAME/test/nshards.txt, test/0.tar, ...         pictures with .cls (label), .txt (captions, one a line)
                                                   or .npy (multilabel: [C] of 0 and 1; segmentation: [H, W])
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from mammut_clip.config.base import nearest
from mammut_clip.config.errors import InputError, MissingError
from mammut_clip.data.evalsets import targets
from mammut_clip.data.evalsets.base import EvalSample, EvalSet, EvalType, Target
from mammut_clip.data.evalsets.descriptions import known_classnames, read_classnames, read_templates
from mammut_clip.data.evalsets.groups import GroupField, groups_in_json, member_of, number_in_npy
from mammut_clip.data.evalsets.tar_entries import TarEntries
from mammut_clip.data.shards.shard_writer import DATASET_TYPE, SHARD_COUNT, eval_shard_name

_TARGETS: dict[EvalType, str] = {
    "classification": "cls",
    "retrieval": "txt",
    "multilabel": "npy",
    "segmentation": "npy",
}


class TarEvalSet(EvalSet):
    """One split of an evaluation set. `len`, indexing and iteration are over samples in the order of the
    shards."""

    def __init__(
        self, folder: Path, split: str, type_: EvalType, entries: TarEntries, group_field: GroupField | None
    ) -> None:
        """Made by `open`."""
        self.folder = folder
        self.split = split
        self.type: EvalType = type_
        self._entries = entries
        self._names = None if type_ == "retrieval" else known_classnames(folder)
        self._column = group_field if isinstance(group_field, int) else None
        self._groups: list[int] | None = None
        self._group_names: list[str] | None = None
        if isinstance(group_field, str):
            self._groups, self._group_names = groups_in_json(entries, group_field)

    @classmethod
    def open(cls, folder: Path | str, split: str = "test", group_field: GroupField | None = None) -> "TarEvalSet":
        """Find all samples of a split.

        `group_field` says which of a sample's metadata is its group: the number of a field of an .npy beside the
        label, as in DataComp's shards, or the name of a field of a .json. Raises InputError that says which file is
        missing and what it should be, and which sample has two files for one purpose, or none.
        """
        root = Path(folder)
        if not root.is_dir():
            raise MissingError(f"{root}: no such folder; expected an evaluation set in CLIP_benchmark's layout")
        type_ = _read_type(root)
        extra = None if group_field is None else member_of(group_field)
        if extra == _TARGETS[type_]:
            raise InputError(
                f"{root}: group_field = {group_field!r} is a number in .npy metadata, and a {type_} set has its labels "
                "there; expected the name of a field of .json metadata"
            )
        entries = TarEntries(_shards(root, split), _TARGETS[type_], extra)
        if not len(entries):
            raise InputError(f"{root / split}: no samples in its shards; expected pictures with .{_TARGETS[type_]}")
        return cls(root, split, type_, entries, group_field)

    @property
    def classnames(self) -> list[str]:
        """Class number -> name. Raises InputError where the set names none."""
        return self._names or read_classnames(self.folder)

    def name_classes(self, names: Sequence[str]) -> None:
        """As EvalSet."""
        if self.type == "retrieval":
            super().name_classes(names)
        self._names = list(names)

    @cached_property
    def templates(self) -> list[str]:
        """Prompts with `{c}` for the class name."""
        return read_templates(self.folder)

    @property
    def group_names(self) -> list[str] | None:
        """As EvalSet."""
        return self._group_names

    def __len__(self) -> int:
        return len(self._entries)

    def where(self, number: int) -> str:
        """As EvalSet."""
        return self._entries.where(number)

    def __getitem__(self, number: int) -> EvalSample:
        """Sample `number`. Raises InputError naming shard and key where its target is not what the set's type
        says."""
        members, where = self._entries.read(number), self.where(number)
        group = None if self._groups is None else self._groups[number]
        if self._column is not None:
            assert members.extra is not None
            group = number_in_npy(members.extra, self._column, where)
        return EvalSample(self._entries.key(number), members.image, self._target(members.target, where), group)

    def target(self, number: int) -> Target:
        """As EvalSet; the picture is not read."""
        return self._target(self._entries.read_target(number), self.where(number))

    def _target(self, data: bytes, where: str) -> Target:
        classes = None if self._names is None else len(self._names)
        match self.type:
            case "classification":
                return targets.label(data, classes, where)
            case "retrieval":
                return targets.captions(data, where)
            case "multilabel":
                return targets.multi_hot(data, classes, where)
            case "segmentation":
                return targets.mask(data, classes, where)


def _read_type(root: Path) -> EvalType:
    path = root / DATASET_TYPE
    if not path.exists():
        return "classification"
    found = path.read_text(encoding="utf-8", errors="replace").strip().lower()
    if found not in _TARGETS:
        raise InputError(f"{path}: {found!r}; {nearest(found, list(_TARGETS))}")
    return found


def _shards(root: Path, split: str) -> list[Path]:
    """The tars of a split, of which there are as many as counted and no others: what is not counted would be left out
    unnoticed."""
    count = _read_shard_count(root, split)
    counted = [root / split / eval_shard_name(number) for number in range(count)]
    names = {path.name for path in counted}
    more = sorted(p for p in (root / split).glob("*.tar") if p.name not in names and not p.name.startswith("."))
    for path in counted:
        if not path.is_file():
            hint = f"; there is {more[0].name}" if more else ""
            raise MissingError(f"{path}: no such shard, although {SHARD_COUNT} counts {count}{hint}")
    if more:
        raise InputError(
            f"{more[0]}: one of {count + len(more)} shards, although {SHARD_COUNT} counts {count}; expected all to be "
            f"counted, named {eval_shard_name(0)}, {eval_shard_name(1)}, ..."
        )
    return counted


def _read_shard_count(root: Path, split: str) -> int:
    path = root / split / SHARD_COUNT
    if not path.is_file():
        splits = sorted(p.parent.name for p in root.glob(f"*/{SHARD_COUNT}"))
        hint = f"; splits that are there: {', '.join(splits)}" if splits else ""
        raise MissingError(f"{path}: no such file; expected the number of shards of split {split!r}{hint}")
    text = path.read_text(encoding="utf-8", errors="replace").strip()
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"{path}: {text!r}; expected the number of shards, 1 or more")
    return int(text)
