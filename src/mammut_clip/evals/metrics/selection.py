"""Metrics of selection among a few pictures and captions, from scores. Definitions are CLIP_benchmark's."""

import torch
from torch import Tensor


def selection_metrics(scores: Tensor, *, ties_fail: bool = False) -> dict[str, float]:
    """image_acc, text_acc and acc of n >= 1 samples, from scores [n, I, C] of I pictures and C captions each.

    Picture i and caption i belong together. text_acc is the share of samples where each of the first min(I, C) pictures
    scores highest with its own caption, image_acc where each of the first captions does with its own picture (1 where
    there is one picture), acc where both hold: Winoground's text, image and group score (Thrush et al. 2022, equations
    1 to 3). Of equal scores the first wins, as in CLIP_benchmark; `ties_fail` asks for a score above all others, as
    Winoground does.
    """
    texts, images = _all_right(scores, ties_fail), _all_right(scores.transpose(1, 2), ties_fail)
    found = {"image_acc": images, "text_acc": texts, "acc": images & texts}
    return {name: right.double().mean().item() for name, right in found.items()}


def _all_right(scores: Tensor, ties_fail: bool) -> Tensor:
    """Scores [n, R, C] -> [n] bool: whether row r is highest in column r, for the first rows."""
    pairs = min(scores.shape[1:])
    rows = scores[:, :pairs]
    if ties_fail:
        own = rows.diagonal(dim1=1, dim2=2)[..., None]
        return ((rows >= own).sum(dim=2) == 1).all(dim=1)
    return (rows.argmax(dim=2) == torch.arange(pairs, device=scores.device)).all(dim=1)
