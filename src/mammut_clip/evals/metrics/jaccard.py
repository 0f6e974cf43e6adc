"""WinoGAViL's metric (Bitton et al. 2022): which pictures go with a cue, as DataComp counts."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def jaccard_index(scores: Tensor, truth: Tensor) -> float:
    """Intersection over union of `truth` [n] bool and the pictures with the highest `scores` [n], as many as are true
    (at least 1); among equal scores the earlier picture."""
    chosen = torch.zeros_like(truth)
    chosen[scores.sort(descending=True, stable=True).indices[: int(truth.sum())]] = True
    return ((chosen & truth).sum() / (chosen | truth).sum()).item()


def jaccard_metrics(indices: Sequence[float], candidates: Sequence[int]) -> dict[str, float]:
    """avg_jaccard_score; and for each number of candidates that occurs, jaccard_score_<number>; jaccard_score_5-6 over
    instances with up to 6 and jaccard_score_10-12 over those with 10 or more, where there are some."""
    found, sizes = np.array(indices), np.array(candidates)
    metrics = {"avg_jaccard_score": float(found.mean())}
    metrics |= {f"jaccard_score_{size}": float(found[sizes == size].mean()) for size in np.unique(sizes)}
    for name, among in (("5-6", sizes <= 6), ("10-12", sizes >= 10)):
        if among.any():
            metrics[f"jaccard_score_{name}"] = float(found[among].mean())
    return metrics
