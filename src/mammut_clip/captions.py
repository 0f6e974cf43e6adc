"""`mammut-clip caption`: what a trained MaMMUT writes under pictures."""

from collections.abc import Sequence
from pathlib import Path

import torch

from mammut_clip.api import load_run
from mammut_clip.config.errors import InputError
from mammut_clip.data.images import EvalTransform, PictureError, normalize, open_picture
from mammut_clip.data.text import load_tokenizer
from mammut_clip.models import MaMMUT


def caption_images(images: Sequence[Path], run: Path) -> list[str]:
    """Greedy captions of picture files. Raises InputError for files that are no pictures."""
    return caption_pictures([_read(path) for path in images], run, [str(path) for path in images])


def caption_pictures(pictures: Sequence[bytes], run: Path, names: Sequence[str] = ()) -> list[str]:
    """Greedy captions of encoded pictures by the last checkpoint of a run.

    Raises InputError for bytes that are no picture (by its name) and for models that cannot write.
    """
    model, config = load_run(run)
    if not isinstance(model, MaMMUT):
        raise InputError(f"{run}: a {config.family} model has no decoder to write captions with; choose a mammut run")
    transform = EvalTransform(config.vision_cfg.image_size)
    pixels = []
    for number, picture in enumerate(pictures):
        try:
            pixels.append(transform(open_picture(picture)))
        except PictureError as error:
            raise InputError(f"{names[number] if names else f'picture {number}'}: {error}") from error
    with torch.no_grad():
        ids = model.generate(normalize(torch.stack(pixels)))
    return load_tokenizer(config.text_cfg).decode(ids)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
