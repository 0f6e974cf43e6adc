"""`mammut-clip caption`: what a trained MaMMUT writes under pictures."""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from mammut_clip.api import load_run
from mammut_clip.config.errors import InputError
from mammut_clip.data.images import EvalTransform, PictureError, normalize, open_picture
from mammut_clip.data.text import load_tokenizer


def caption_images(images: Sequence[Path], run: Path) -> list[str]:
    """Greedy captions. Raises InputError for files that are no pictures and for models that cannot write."""
    pixels = [_read(path) for path in images]
    model, config = load_run(run)
    if config.family != "mammut":
        raise InputError(
            f"{run}: a {config.family} model has no decoder to write captions with; choose a run of a mammut model"
        )
    transform = EvalTransform(config.vision_cfg.image_size)
    batch = normalize(torch.stack([transform(picture) for picture in pixels]))
    with torch.no_grad():
        ids = model.generate(batch)  # type: ignore[operator]
    return load_tokenizer(config.text_cfg).decode(ids)


def _read(path: Path) -> Image.Image:
    try:
        return open_picture(path.read_bytes())
    except (OSError, PictureError) as error:
        raise InputError(f"{path}: {error}") from error
