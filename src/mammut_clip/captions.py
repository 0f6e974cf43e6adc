"""`mammut-clip caption`: what a trained model writes under pictures.

Encoded pictures come in, captions go out, batch by batch.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from mammut_clip.api import describe_model, described_model
from mammut_clip.config.captioning import Method
from mammut_clip.config.errors import InputError
from mammut_clip.data.images import EvalTransform, FloatTransform, PictureError, open_picture
from mammut_clip.data.text import ClipLayoutTokenizer, load_tokenizer
from mammut_clip.models.generate import Captioner

BATCH_SIZE = 32

Progress = Callable[[int, int], None]
"""Called with (pictures done, pictures in all)."""


@dataclass(frozen=True)
class CaptionWriter:
    """A model that writes captions, with its own way of seeing pictures and its tokenizer."""

    model: Captioner
    transform: FloatTransform
    tokenizer: ClipLayoutTokenizer
    method: Method | None = None
    """How the next token is chosen; None is Greedy()."""
    max_length: int | None = None
    """The largest number of tokens, start and end of text included; None for the model's context length."""
    prompt: str = ""
    """What every caption begins with."""

    def write(
        self, pictures: Iterable[tuple[str, bytes]], count: int, progress: Progress = lambda done, total: None
    ) -> list[str]:
        """Captions of `count` pictures, given as names and encoded bytes; reports progress where batches are several.

        Raises InputError, with its name, for a picture that cannot be decoded, and for a prompt or a length that the
        model has no room for.
        """
        captions: list[str] = []
        left = iter(pictures)
        while batch := list(islice(left, BATCH_SIZE)):
            pixels = torch.stack([self._pixels(name, data) for name, data in batch])
            captions += self.tokenizer.decode(self._generate(pixels, first=len(captions)))
            if count > BATCH_SIZE:
                progress(len(captions), count)
        return captions

    def _generate(self, pixels: Tensor, first: int) -> Tensor:
        device = next(self.model.parameters()).device
        return self.model.generate(
            pixels.to(device),
            method=self.method,
            max_length=self.max_length,
            prompt=self.tokenizer.content(self.prompt),
            first_row=first,
        )

    def _pixels(self, name: str, data: bytes) -> Tensor:
        try:
            return self.transform(open_picture(data))
        except PictureError as error:
            raise InputError(f"{name}: {error}") from error


def open_writer(
    model: str | Path,
    weights: Path | None = None,
    method: Method | None = None,
    max_length: int | None = None,
    prompt: str = "",
) -> CaptionWriter:
    """The model of a run, a folder, a file or a name, on a GPU where there is one.

    `weights` as in create_model; without them, `model` must be a folder that holds some. Raises InputError for a model
    that cannot write, before its weights are read, and as describe_model and create_model do.
    """
    described = describe_model(model)
    config = described.config
    if not config.writes_captions:
        raise InputError(
            f"{model}: a {config.family} model has no decoder to write captions with; choose one of family mammut, "
            "coca or cap"
        )
    if weights is None and described.weights is None:
        raise InputError(
            f"{model}: this names an architecture without weights, and random ones write noise; say with --weights "
            "where its weights are, or give a run directory or a converted folder"
        )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    built = described_model(described, weights).to(device)
    assert isinstance(built, Captioner)
    pixels = described.preprocessing
    transform = FloatTransform(EvalTransform(config.vision_cfg.image_size), pixels.mean, pixels.std)
    tokenizer = load_tokenizer(config.text_cfg)
    assert isinstance(tokenizer, ClipLayoutTokenizer)  # what writes captions has a text tower of ours
    return CaptionWriter(built, transform, tokenizer, method, max_length, prompt)


def caption_files(files: Sequence[Path], writer: CaptionWriter, progress: Progress) -> list[str]:
    """Captions of picture files. Raises InputError as `write` does, and for files that cannot be read."""
    return writer.write(((str(file), _read(file)) for file in files), len(files), progress)


def check_pictures(files: Sequence[Path]) -> None:
    """Raise InputError for the first file that is not there or does not begin as a picture does."""
    for file in files:
        try:
            with Image.open(file):
                pass
        except Exception:  # PIL's readers raise what they stumble over
            _explain(file)


def _explain(file: Path) -> None:
    """Raise what reading the whole file has to say against it."""
    try:
        open_picture(_read(file))
    except PictureError as error:
        raise InputError(f"{file}: {error}") from error


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}") from error
