"""Metrics of sets whose pictures fall into groups, under the names of WILDS (Koh et al. 2021) and DataComp
(Gadre et al. 2023), with their definitions."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mammut_clip.config.errors import InputError
from mammut_clip.evals.metrics.classification import Predictions


def macro_metrics(best: Tensor, labels: Tensor) -> dict[str, float]:
    """recall-macro_all and F1-macro_all for predictions and labels [n]: means over the classes that have a picture,
    as WILDS takes them from scikit-learn. A wrong prediction counts against the class that was predicted where that
    has pictures itself, and in no case otherwise."""
    classes = int(torch.cat([best, labels]).max()) + 1
    right, true, predicted = (x.bincount(minlength=classes).double() for x in (labels[best == labels], labels, best))
    there = true > 0
    return {
        "recall-macro_all": (right / true)[there].mean().item(),
        "F1-macro_all": (2 * right / (true + predicted))[there].mean().item(),
    }


def group_metrics(
    chosen: Predictions,
    labels: Tensor,
    groups: Tensor | None,
    name: str,
    names: Sequence[str] | None = None,
    left_out: Sequence[int | str] = (),
) -> dict[str, float]:
    """Averages, and where pictures have `groups` [n] int64 also each group's and the worst group's.

    acc_avg and, with five classes or more, acc_top5_avg; acc_<name>:<g>, acc_top5_<name>:<g> and count_<name>:<g> for
    each group g that has a picture, by its name where groups have `names`; acc_wg and acc_top5_wg, the lowest of these
    but for the groups `left_out`; acc_worst_<name>, which is acc_wg under the name that WILDS gives it for FMoW. Raises
    InputError where no group is left.
    """
    accuracies = {"acc": chosen.best == labels}
    if chosen.ranked.shape[1] > 1:
        accuracies["acc_top5"] = (chosen.ranked == labels[:, None]).any(dim=1)
    metrics = {f"{metric}_avg": hits.double().mean().item() for metric, hits in accuracies.items()}
    if groups is None:
        return metrics
    there, number, counts = groups.unique(return_inverse=True, return_counts=True)
    called = [names[g] if names else g for g in there.tolist()]
    eligible = torch.tensor([group not in left_out for group in called])
    if not eligible.any():
        raise InputError(f"groups {called}: all are left out; expected one at least that can be the worst")
    for metric, hits in accuracies.items():
        means = number.bincount(hits.double()) / counts
        metrics |= {f"{metric}_{name}:{g}": mean for g, mean in zip(called, means.tolist(), strict=True)}
        metrics[f"{metric}_wg"] = means[eligible].min().item()
    metrics |= {f"count_{name}:{g}": float(n) for g, n in zip(called, counts.tolist(), strict=True)}
    return metrics | {f"acc_worst_{name}": metrics["acc_wg"]}
