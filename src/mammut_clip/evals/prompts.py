"""Class names and prompts of a task: those of its dataset, or those that its entry in the suite gives instead."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from mammut_clip.config.errors import InputError
from mammut_clip.config.evals import IMAGENET, PromptedTaskConfig
from mammut_clip.data.evalsets import EvalSet
from mammut_clip.data.evalsets.descriptions import read_lines
from mammut_clip.data.open_clip_files import open_clip_module
from mammut_clip.evals.subject import Subject


@dataclass(frozen=True)
class Prompts:
    """What classes are called, and what is said of them."""

    classnames: tuple[str, ...]
    templates: tuple[str, ...]
    """With `{c}` where the class goes."""

    def texts(self) -> list[str]:
        """C x P prompts, class by class."""
        return [template.replace("{c}", name) for name in self.classnames for template in self.templates]

    def to_json_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"classnames": list(self.classnames), "templates": list(self.templates)}


def find_prompts(config: PromptedTaskConfig, dataset: EvalSet) -> Prompts:
    """The prompts of a task; a dataset without class names gets those of the config, and checks its labels by them.

    Raises InputError where the dataset has none and the config gives none, where the config gives another number of
    names than the dataset has or no file, and for a template without `{c}`.
    """
    return Prompts(_classnames(config, dataset), _templates(config, dataset))


def _classnames(config: PromptedTaskConfig, dataset: EvalSet) -> tuple[str, ...]:
    if config.classnames is None:
        return tuple(dataset.classnames)
    where = f"task {config.name}: classnames"
    names = _lines(config.classnames, imagenet_classnames, where)
    if not all(name.strip() for name in names):
        raise InputError(f"{where}: number {[bool(name.strip()) for name in names].index(False)} is empty")
    try:
        classes = len(dataset.classnames)
    except InputError:  # it has none: that is what the config is for
        dataset.name_classes(names)
        return tuple(names)
    if len(names) != classes:
        raise InputError(f"{where}: {len(names)} names; expected {classes}, as many as {dataset.folder} has classes")
    return tuple(names)


def _templates(config: PromptedTaskConfig, dataset: EvalSet) -> tuple[str, ...]:
    if config.templates is None:
        return tuple(dataset.templates)
    where = f"task {config.name}: templates"
    templates = _lines(config.templates, imagenet_templates, where)
    broken = [template for template in templates if "{c}" not in template]
    if broken:
        raise InputError(f"{where}: {broken[0]!r} has no {{c}}; expected it where the class goes")
    return tuple(templates)


def _lines(given: Sequence[str] | Path, imagenet: Callable[[], list[str]], where: str) -> list[str]:
    """What a key of the config stands for: itself, open_clip's list, or the lines of a file."""
    if given == IMAGENET:
        return imagenet()
    if isinstance(given, Path):
        try:
            return read_lines(given, "one per line")
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
    if not given:
        raise InputError(f"{where}: an empty list; expected at least one")
    return list(given)


def imagenet_classnames() -> list[str]:
    """ImageNet-1k's class names as open_clip words them, 1000."""
    return list(open_clip_module("zero_shot_metadata").IMAGENET_CLASSNAMES)


def imagenet_templates() -> list[str]:
    """The 80 prompts of Radford et al. (2021) for ImageNet, from open_clip, with `{c}` where the class goes."""
    return [template("{c}") for template in open_clip_module("zero_shot_metadata").OPENAI_IMAGENET_TEMPLATES]


def class_embeddings(subject: Subject, prompts: Prompts, batch_size: int) -> Tensor:
    """[C, E] on rank 0: each prompt normalised, averaged over templates, normalised again (CLIP_benchmark)."""
    features = subject.text_features(prompts.texts(), batch_size)
    if not len(features):
        return features
    per_class = features.view(len(prompts.classnames), len(prompts.templates), -1)
    return F.normalize(per_class.mean(dim=1), dim=-1)
