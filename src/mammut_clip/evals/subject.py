"""The model that is evaluated, with what turns pictures and texts into its inputs."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from PIL import Image
from torch import Tensor, nn

from mammut_clip.config.errors import InputError
from mammut_clip.config.model import ModelConfig
from mammut_clip.data.images import (
    CLIP_MEAN,
    CLIP_STD,
    EvalTransform,
    PictureError,
    load_rgb,
    normalize,
    open_header,
)
from mammut_clip.data.text import Tokenizer, load_tokenizer
from mammut_clip.evals.sharing import Shared
from mammut_clip.models.output import cut_after_texts

Precision = Literal["fp32", "bf16", "fp16"]
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Subject:
    """A whole model (no sharded parameters), in evaluation mode, on the device of `shared.process`.

    It has encode_image(images, normalize) where `has_features`, and is a models.generate.Captioner where
    `writes_captions`.
    """

    model: nn.Module
    transform: Callable[[Image.Image], Tensor]
    """A decoded picture -> pixels [3, S, S]: uint8, or float32 that is already normalised."""
    tokenizer: Tokenizer
    shared: Shared
    image_size: int
    has_features: bool = True
    writes_captions: bool = False
    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD
    precision: Precision = "fp32"
    """fp32, or what autocast computes in."""
    preprocessing: str = "resize shorter side, centre crop"
    """In words, for records."""
    ignores_padding: bool = False
    """Whether positions behind the end of every text of a batch may be cut off before encoding."""
    _text_features: dict[str, Tensor] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.shared.process.device

    def lacks_features(self) -> str | None:
        """Why it cannot do tasks that compare features; None where it can."""
        return None if self.has_features else "compares features, and this model has none"

    def with_new_weights(self) -> "Subject":
        """The same model once other weights are read into it: nothing that was encoded is kept."""
        return replace(self, _text_features={})

    @contextmanager
    def computing(self) -> Iterator[None]:
        """What every call of the model stands in: without gradients, in the precision asked for."""
        low = self.precision != "fp32"
        with torch.no_grad(), torch.autocast(self.device.type, _DTYPES.get(self.precision), enabled=low):
            yield

    def pixels(self, data: bytes, where: str) -> Tensor:
        """An encoded picture -> pixels [3, S, S]. Raises InputError with `where` for one that cannot be decoded."""
        return self.transform(decoded(data, where))

    def batch(self, pixels: Sequence[Tensor]) -> Tensor:
        """Pixels of several pictures -> the model's input [B, 3, S, S], normalised, on its device."""
        stacked = torch.stack(list(pixels)).to(self.device)
        return normalize(stacked, self.mean, self.std) if stacked.dtype == torch.uint8 else stacked

    def encode_images(self, pixels: Sequence[Tensor]) -> Tensor:
        """Pixels -> features [B, E] of unit length, float32, on the device."""
        with self.computing():
            return self.model.encode_image(self.batch(pixels), normalize=True).float()  # type: ignore[operator]

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Texts -> features [B, E] of unit length, float32, on the device."""
        with self.computing():
            ids = self.tokenizer(list(texts))
            ids = (cut_after_texts(ids) if self.ignores_padding else ids).to(self.device)
            return self.model.encode_text(ids, normalize=True).float()  # type: ignore[operator]

    def text_features(self, texts: Sequence[str], batch_size: int) -> Tensor:
        """Texts -> features [n, E] of unit length, on rank 0's CPU (no rows on others). Collective; the same texts are
        encoded once in the life of this subject."""
        key = hashlib.sha256("\0".join([str(batch_size), *texts]).encode()).hexdigest()
        if key not in self._text_features:
            rows = self.shared.rows(
                len(texts), batch_size, texts.__getitem__, lambda some: {"texts": self.encode_texts(some)}
            )
            self._text_features[key] = rows["texts"]
        return self._text_features[key]


def make_subject(
    model: nn.Module,
    config: ModelConfig,
    shared: Shared,
    precision: Precision = "fp32",
    mean: tuple[float, ...] = CLIP_MEAN,
    std: tuple[float, ...] = CLIP_STD,
) -> Subject:
    """A model of ours with its own evaluation transform and tokenizer."""
    return Subject(
        model,
        EvalTransform(config.vision_cfg.image_size),
        load_tokenizer(config.text_cfg),
        shared,
        config.vision_cfg.image_size,
        config.has_features,
        config.writes_captions,
        mean,
        std,
        precision,
        ignores_padding=config.text_feature_ignores_padding,
    )


def decoded(data: bytes, where: str) -> Image.Image:
    """A picture in RGB, completely decoded. Raises InputError with `where`.

    RGB before anything is resized, as CLIP_benchmark's readers do: with transparency or a palette, PIL would
    interpolate differently.
    """
    try:
        return load_rgb(open_header(data), data)
    except PictureError as error:
        raise InputError(f"{where}: {error}") from error
