"""Zero-shot classification of pictures that fall into groups (regions, hospitals, incomes), with the worst group's
accuracy and macro averages: WILDS and the fairness sets of DataComp."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field

from mammut_clip.config.evals import PromptedTaskConfig
from mammut_clip.data.evalsets import EvalSample, GroupField
from mammut_clip.evals.metrics.classification import nearest_classes, prediction_metrics
from mammut_clip.evals.metrics.groups import group_metrics, macro_metrics
from mammut_clip.evals.sharing import Rows
from mammut_clip.evals.subject import Subject
from mammut_clip.evals.task import Kind, Metrics
from mammut_clip.evals.tasks.classification import Described, PromptedTask, describe, open_described


class GroupedClassificationConfig(PromptedTaskConfig):
    """Each picture goes to the class whose mean prompt embedding is nearest, and is counted to its group."""

    kind: Literal["grouped_classification"]
    """Zero-shot classification by groups: acc_wg, acc_top5_wg, F1-macro_all and others of WILDS and DataComp."""
    group_field: GroupField | None = None
    """What says which group a sample is in: the number of a field of its .npy (from 0), or the name of one of its
    .json; null where the groups are not asked for."""
    group_name: str = Field("group", pattern=r"^\w+$")
    """What a group is, in the names of metrics: acc_worst_region, acc_region:3."""
    groups_left_out: tuple[int | str, ...] = ()
    """Numbers or names of groups that are too small or too mixed to be the worst. DataComp counts all; WILDS leaves out
    FMoW's region 5, `Other`, of 4 pictures."""


@dataclass(frozen=True)
class GroupedClassification(PromptedTask[GroupedClassificationConfig]):
    """A set of pictures with one label and one group each."""

    benchmark_name: str = "zeroshot_classification"

    @property
    def metric(self) -> str:
        """As Task."""
        return "F1-macro_all" if self.config.group_field is None else "acc_wg"

    def collect(self, subject: Subject) -> Described:
        """As Task."""
        return describe(subject, self.dataset, self.prompts, self.config.batch_size, _truth)

    def score(self, collected: Described, device: torch.device) -> Metrics:
        """As Task."""
        chosen = nearest_classes(collected.images, collected.classes, device)
        labels = collected.truth["labels"]
        groups = collected.truth.get("groups")
        names = self.dataset.group_names
        by_group = group_metrics(chosen, labels, groups, self.config.group_name, names, self.config.groups_left_out)
        return prediction_metrics(chosen, labels) | macro_metrics(chosen.best, labels) | by_group


def _truth(sample: EvalSample) -> Rows:
    truth = {"labels": torch.tensor(sample.target)}
    return truth if sample.group is None else truth | {"groups": torch.tensor(sample.group)}


def _open(config: GroupedClassificationConfig, folder: Path) -> GroupedClassification:
    return GroupedClassification(config, *open_described(config, folder, "classification", config.group_field))


KIND = Kind(GroupedClassificationConfig, _open)
