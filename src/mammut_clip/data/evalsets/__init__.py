"""Evaluation sets: pictures with labels, captions or masks, in the layouts that users have them in
(docs/evaluation-data.md)."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from mammut_clip.config.errors import InputError
from mammut_clip.config.evals import Layout, TaskConfig
from mammut_clip.data.evalsets.ade20k import Ade20kSet
from mammut_clip.data.evalsets.base import IGNORED, EvalSample, EvalSet, EvalType, Mask, MultiHot, Target
from mammut_clip.data.evalsets.groups import GroupField
from mammut_clip.data.evalsets.image_folder import ImageFolderSet
from mammut_clip.data.evalsets.selection import SelectionSample, SelectionSet
from mammut_clip.data.evalsets.shard_pairs import ShardPairs
from mammut_clip.data.evalsets.sugar_crepe import SugarCrepeSet
from mammut_clip.data.evalsets.tar_set import TarEvalSet
from mammut_clip.data.evalsets.winogavil import WinogavilSample, WinogavilSet
from mammut_clip.data.evalsets.winoground import WinogroundSet

__all__ = [
    "IGNORED",
    "EvalSample",
    "EvalSet",
    "EvalType",
    "GroupField",
    "Mask",
    "MultiHot",
    "SelectionSample",
    "SelectionSet",
    "TarEvalSet",
    "Target",
    "WinogavilSample",
    "WinogavilSet",
    "open_eval_set",
    "open_selection_set",
    "open_winogavil_set",
]

T = TypeVar("T")
Open = Callable[[Path, str], T]
"""(folder, split) -> the set."""

_EVAL_SETS: Mapping[Layout, Open[EvalSet]] = {
    "clip_benchmark": TarEvalSet.open,
    "image_folder": ImageFolderSet.open,
    "ade20k": Ade20kSet.open,
    "shards": ShardPairs.open,
}
_SELECTION_SETS: Mapping[Layout, Open[SelectionSet]] = {
    "sugar_crepe": SugarCrepeSet.open,
    "winoground": WinogroundSet.open,
}
_WINOGAVIL_SETS: Mapping[Layout, Open[WinogavilSet]] = {"winogavil": WinogavilSet.open}


def open_eval_set(config: TaskConfig, folder: Path, group_field: GroupField | None = None) -> EvalSet:
    """The dataset of a task, found and listed but not read.

    `group_field` gives samples their groups: see TarEvalSet.open. Raises InputError that says what is missing, and for
    a layout that holds other things than labels, captions or masks, or no groups.
    """
    found = _opener(config, _EVAL_SETS)
    if group_field is None:
        return found(folder, config.split)
    if config.layout != "clip_benchmark":
        raise InputError(
            f"task {config.name}: group_field = {group_field!r}, and the layout {config.layout} has no groups; "
            "expected the layout clip_benchmark"
        )
    return TarEvalSet.open(folder, config.split, group_field)


def open_selection_set(config: TaskConfig, folder: Path) -> SelectionSet:
    """The dataset of a task that asks which caption goes with which picture; otherwise as `open_eval_set`."""
    return _opener(config, _SELECTION_SETS)(folder, config.split)


def open_winogavil_set(config: TaskConfig, folder: Path) -> WinogavilSet:
    """The dataset of a task that asks which pictures go with a cue; otherwise as `open_eval_set`."""
    return _opener(config, _WINOGAVIL_SETS)(folder, config.split)


def _opener(config: TaskConfig, openers: Mapping[Layout, Open[T]]) -> Open[T]:
    if config.layout not in openers:
        raise InputError(
            f"task {config.name}: layout = {config.layout!r}, and a task of kind {config.kind} reads "
            f"{' or '.join(openers)}"
        )
    return openers[config.layout]
