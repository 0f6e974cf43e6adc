"""The metrics, from logits and labels or from features. Definitions are CLIP_benchmark's."""

import torch
from torch import Tensor


def classification_metrics(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """acc1, acc5 and mean_per_class_recall of logits [B, C] for labels [B].

    With fewer than five classes acc5 counts as many as there are.
    """
    ranked = logits.topk(min(5, logits.shape[1]), dim=1).indices  # [B, 5]
    hits = ranked == labels[:, None]
    recalls = [hits[labels == label, 0].double().mean() for label in labels.unique()]
    return {
        "acc1": hits[:, 0].double().mean().item(),
        "acc5": hits.any(dim=1).double().mean().item(),
        "mean_per_class_recall": torch.stack(recalls).mean().item(),
    }


def retrieval_metrics(
    images: Tensor, texts: Tensor, picture_of_text: Tensor, ks: tuple[int, ...] = (1, 5, 10)
) -> dict[str, float]:
    """image_retrieval_recall@k and text_retrieval_recall@k for features [I, E] and [J, E], normalised.

    `picture_of_text` [J] says which picture each caption belongs to. A picture is found by a text if its picture is
    among the k nearest; a picture's text is found if any of its captions is among the k nearest (CLIP_benchmark).
    """
    scores = texts @ images.T  # [J, I]
    results = {}
    for k in ks:
        nearest = scores.topk(min(k, images.shape[0]), dim=1).indices
        found = (nearest == picture_of_text[:, None]).any(dim=1)
        results[f"image_retrieval_recall@{k}"] = found.double().mean().item()
    for k in ks:
        nearest = scores.T.topk(min(k, texts.shape[0]), dim=1).indices  # [I, k]
        owner = torch.arange(images.shape[0])[:, None]
        found = (picture_of_text[nearest] == owner).any(dim=1)
        results[f"text_retrieval_recall@{k}"] = found.double().mean().item()
    return results
