"""Pictures with a class for each pixel, as an evaluation set has them."""

from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image

from mammut_clip.config.errors import InputError
from mammut_clip.config.evals import TaskConfig
from mammut_clip.data.evalsets import EvalSet, Mask, open_eval_set
from mammut_clip.data.images import to_rgb
from mammut_clip.evals.subject import decoded


def open_pictures(config: TaskConfig, folder: Path) -> EvalSet:
    """The split `config.split` of a set with masks. Raises InputError where it is none, or empty."""
    dataset = open_eval_set(config, folder)
    if dataset.type != "segmentation":
        raise InputError(f"{folder}: a {dataset.type} dataset, and task {config.name} asks for segmentation")
    if not len(dataset):
        raise InputError(f"{folder}: no pictures in split {config.split!r}; expected at least one with a mask")
    return dataset


def read_picture(dataset: EvalSet, number: int) -> tuple[Image.Image, Mask]:
    """A picture in RGB and the class numbers [height, width] of its pixels.

    Raises InputError for a picture that cannot be decoded, and for one whose mask is of another size.
    """
    sample, where = dataset[number], dataset.where(number)
    picture = to_rgb(decoded(sample.image, where))
    assert isinstance(sample.target, np.ndarray)
    mask = cast(Mask, sample.target)  # the other arrays are targets of multi-label sets
    if mask.shape != (picture.height, picture.width):
        raise InputError(
            f"{where}: a mask of {list(mask.shape)}; expected the picture's height and width, "
            f"{[picture.height, picture.width]}"
        )
    return picture, mask
