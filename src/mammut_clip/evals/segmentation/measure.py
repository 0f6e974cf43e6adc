"""From pictures with masks to one confusion matrix."""

from collections.abc import Callable

import torch
from PIL import Image
from torch import Tensor

from mammut_clip.data.evalsets import EvalSet, Mask
from mammut_clip.evals.metrics.segmentation import confusion_matrix
from mammut_clip.evals.segmentation.pictures import read_picture
from mammut_clip.evals.segmentation.windows import Windows, labels_at
from mammut_clip.evals.subject import Subject

_PICTURES = 8
"""Pictures whose windows share forward passes, and whose confusion matrices are added up at once."""


def measure(
    dataset: EvalSet,
    classes: int,
    subject: Subject,
    windows: Windows,
    predict: Callable[[Tensor], Tensor],
    batch_size: int,
) -> Tensor:
    """The confusion matrix [C, C] of a whole set, on every process. Collective; exactly the same on any number.

    `predict`: pixels [B, 3, S, S], normalised -> logits [B, C, g, g], float32; B is `batch_size` at most. Each pixel of
    a picture, at its own size, goes to the class of the largest logit.
    """

    def load(number: int) -> tuple[Image.Image, Mask]:
        return read_picture(dataset, number)

    def compute(pictures: list[tuple[Image.Image, Mask]]) -> dict[str, Tensor]:
        resized = [windows.resized(picture) for picture, _ in pictures]
        places = [windows.places(*pixels.shape[1:]) for pixels in resized]
        cuts = [windows.cut(pixels, p) for pixels, some in zip(resized, places, strict=True) for p in some]
        logits = [
            window
            for start in range(0, len(cuts), batch_size)
            for window in _predicted(cuts[start : start + batch_size])
        ]
        total = torch.zeros(classes, classes, dtype=torch.int64)
        for (_, mask), pixels, some in zip(pictures, resized, places, strict=True):
            stitched = windows.stitch([logits.pop(0) for _ in some], some, *pixels.shape[1:])
            truth = torch.from_numpy(mask.astype("int64")).to(stitched.device)
            total += confusion_matrix(truth, labels_at(stitched, mask.shape), classes).cpu()
        return {"confusion": total}

    def _predicted(cuts: list[Tensor]) -> Tensor:
        with subject.computing():
            return predict(subject.batch(cuts))

    return subject.shared.total(len(dataset), _PICTURES, load, compute)["confusion"]
