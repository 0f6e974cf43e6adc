"""What a run trains on: its shards, how they are shuffled, and how pictures are cropped."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator

from mammut_clip.config.base import Config


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class DataConfig(Config):
    """The training data of a run."""

    train: Annotated[list[str], BeforeValidator(_as_list)] = Field(min_length=1)
    """Where the WebDataset shards are: folders, tar files or brace patterns such as
    `cc12m/{00000..01242}.tar`. One string stands for a list of one."""
    shuffle_shards: int = Field(default=64, ge=1)
    """Shards are permuted anew in every epoch; the samples of this many consecutive ones are then shuffled
    together. Larger mixes better and reads from more files at a time. The same for every number of GPUs and
    workers."""
    workers: int = Field(default=4, ge=0)
    """Processes per rank that read and decode ahead of the model; 0 decodes in the training process. Does not
    change what a run sees."""
    crop_scale: tuple[float, float] = (0.9, 1.0)
    """Share of the picture's area that a random crop keeps (smallest, largest), as in open_clip's `--aug-cfg
    scale`; `[1.0, 1.0]` resizes the whole picture and crops nothing."""

    @field_validator("train")
    @classmethod
    def _sources_are_named(cls, sources: list[str]) -> list[str]:
        if any(not source.strip() for source in sources):
            raise ValueError("expected folders, tar files or brace patterns, found an empty name")
        return sources

    @field_validator("crop_scale")
    @classmethod
    def _scale_is_a_range(cls, scale: tuple[float, float]) -> tuple[float, float]:
        low, high = scale
        if not 0.0 < low <= high <= 1.0:
            raise ValueError("expected two shares of the area with 0 < smallest <= largest <= 1, such as [0.9, 1.0]")
        return scale
