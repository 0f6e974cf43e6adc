"""How a segmenter is fine-tuned. The defaults are those of Kerssies et al. 2024 for ADE20K."""

from typing import Annotated

from pydantic import Field, model_validator

from mammut_clip.config.base import Config

Positive = Annotated[float, Field(gt=0)]


class Recipe(Config):
    """Fine-tuning of an image tower with a linear head: AdamW, pixel-wise cross-entropy."""

    steps: int = Field(40_000, ge=1)
    """Steps of the optimiser; the published 31 or 32 epochs of ADE20K's 20,210 pictures are 39,000 to 40,000."""
    pictures_per_step: int = Field(16, ge=1)
    """Pictures per step, of all processes together."""
    crop_size: int = Field(512, ge=1)
    """Height and width in pixels of what is seen at once, in training and in testing; rounded up to whole patches."""
    patch_size: int | None = Field(None, ge=1)
    """Resample the tower's first layer to patches of this many pixels a side; null keeps its own. With one number for
    all, towers of 14, 16 and 32 pixels see the same grid."""
    lr: Positive = 1e-4
    """Highest learning rate of the head."""
    encoder_lr_factor: Annotated[float, Field(ge=0)] = 0.1
    """The encoder's learning rate as a multiple of the head's."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    """AdamW's, of all parameters."""
    warmup: int = Field(1500, ge=0)
    """Steps in which the learning rate rises from 0, linearly; fewer than `steps`."""
    decay_power: Annotated[float, Field(ge=0)] = 0.9
    """Then it falls to 0 as this power of what remains; 1 is linear decay, 0 none."""
    scale: tuple[Positive, Positive] = (0.5, 2.0)
    """Least and largest factor by which a training picture is larger than what just fits into a crop."""
    flip: bool = True
    """Whether half of the training pictures are mirrored."""
    colour_jitter: bool = True
    """Whether training pictures change in brightness, contrast, saturation and hue."""
    freeze_encoder: bool = False
    """Train the head alone (a linear probe per patch)."""
    seed: int = Field(0, ge=0)
    """Decides the head's first weights, the order of the pictures, and what is drawn for each."""

    @model_validator(mode="after")
    def _consistent(self) -> "Recipe":
        if self.warmup >= self.steps:
            raise ValueError(f"warmup {self.warmup} is not below steps {self.steps}; expected fewer steps of warm-up")
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale {list(self.scale)} falls; expected the least factor first")
        return self

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0, as a share of the highest."""
        if step < self.warmup:
            return step / self.warmup
        return float((1 - (step - self.warmup) / (self.steps - self.warmup)) ** self.decay_power)
