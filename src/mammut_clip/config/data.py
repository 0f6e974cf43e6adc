"""What a run trains on: its shards, their mixture and order, how samples are read, decoded, filtered and cropped."""

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from mammut_clip.config.base import Config
from mammut_clip.config.quantity import Bytes

CAPTION_FIELD = re.compile(r"^(txt|json\.[^\s.][^\s]*)$")


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str | dict) else value


def _named(sources: list[str]) -> list[str]:
    if any(not source.strip() for source in sources):
        raise ValueError("expected folders, tar files, brace patterns, URLs or pipe: commands, found an empty name")
    return sources


class DatasetConfig(Config):
    """One data set of a mixture."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._=+-]*$")
    """What it is called in metrics and messages: letters, digits and . _ = + - only."""
    sources: Annotated[list[str], BeforeValidator(_as_list)] = Field(min_length=1)
    """Where its shards are, as in `data.train`."""
    weight: float = Field(default=1.0, gt=0)
    """Its share of the samples, relative to the other weights; any unit, such as 0.7 or a number of samples."""

    _sources_are_named = field_validator("sources")(_named)


class ShuffleConfig(Config):
    """How far samples are mixed. The same for every number of GPUs and workers; see docs/data.md."""

    lanes: int = Field(default=256, ge=1)
    """Places at which an epoch is read at the same time; positions take from them in turn. A power of two that
    processes x workers divide lets each worker read whole stretches of shards alone."""
    window: int = Field(default=256, ge=1)
    """Consecutive samples of a lane that are shuffled together. A data set of at most lanes x window samples is
    shuffled completely."""


class FilterConfig(Config):
    """Samples that are left out, and replaced as damaged ones are. null: no bound."""

    min_side: int | None = Field(default=None, ge=1)
    """Shortest side of a picture in pixels."""
    max_aspect: float | None = Field(default=None, ge=1)
    """Longer side / shorter side."""
    min_caption: int | None = Field(default=None, ge=1)
    """Characters of the caption, without space around it."""
    max_caption: int | None = Field(default=None, ge=1)
    """Characters of the caption, without space around it."""

    @model_validator(mode="after")
    def _some_caption_fits(self) -> "FilterConfig":
        if self.min_caption and self.max_caption and self.min_caption > self.max_caption:
            raise ValueError(f"min_caption {self.min_caption} > max_caption {self.max_caption}: no caption fits both")
        return self


class BadSampleConfig(Config):
    """What is damaged, and how much of it a run puts up with."""

    max_rate: float = Field(default=0.05, ge=0, le=1)
    """The run stops once more than this share of its samples was damaged (never before 50 were, unless it is 0).
    Samples left out by `filters` are counted, but do not stop it."""
    max_pixels: int = Field(default=89_478_485, ge=1)
    """A picture of more pixels is damaged: decoding it could exhaust memory. The default is PIL's bound."""


class ReadingConfig(Config):
    """How shards are read."""

    ahead: Bytes = 2**30
    """Bytes of samples that each rank reads before they are needed, over all its workers: `1GB`, `512MB`."""
    retries: int = Field(default=5, ge=0)
    """Times that a read which failed is tried again, after 1, 2, 4, ... seconds."""
    stuck_after: float = Field(default=300.0, gt=0)
    """Seconds after which a read that neither succeeds nor fails ends the run, naming the shard."""


class CacheConfig(Config):
    """Local copies of shards that come over the network or out of a pipe."""

    folder: str = Field(min_length=1)
    """Where they are kept; a local disk, which all processes of the machine share. `$NAME` is replaced by the
    environment variable, so that `$TMPDIR/shards` works on every node."""
    size: Bytes = 100 * 10**9
    """The least recently used copies go when all of them are larger than this, `500GB`."""


def _kind(source: Any) -> str:
    return "<source>" if isinstance(source, str) else "<dataset>"


# The tags are in < > so that messages leave them out of a key: train.0.sources.
Source = Annotated[Annotated[str, Tag("<source>")] | Annotated[DatasetConfig, Tag("<dataset>")], Discriminator(_kind)]


class DataConfig(Config):
    """The training data of a run."""

    train: Annotated[list[Source], BeforeValidator(_as_list)] = Field(min_length=1)
    """Where the WebDataset shards are: folders, tar files, brace patterns such as `cc12m/{00000..01242}.tar`,
    `http(s)://` and `s3://` URLs, `pipe:` commands. One string stands for a list of one. A mixture is a list of
    {name, sources, weight}."""
    sampling: Literal["epochs", "resampled"] = "epochs"
    """epochs: each sample comes once before any comes again. resampled: drawn with replacement, as in the paper's
    runs."""
    shuffle: ShuffleConfig = ShuffleConfig()
    """How far samples are mixed."""
    captions: dict[str, float] = Field(default_factory=lambda: {"txt": 1.0})
    """Where captions come from: `txt`, or `json.<field>`, each with a weight. Which one a position takes is
    drawn by its number alone. Of a field that holds a list, one entry is drawn."""
    filters: FilterConfig = FilterConfig()
    """Samples that are left out."""
    bad_samples: BadSampleConfig = BadSampleConfig()
    """What is damaged, and how much of it is too much."""
    decode: Literal["pil", "fast"] = "pil"
    """pil: pixels equal to open_clip's. fast: several times the speed, and pixels that differ a little; see
    docs/data.md. Evaluations always use pil."""
    crop_scale: tuple[float, float] = (0.9, 1.0)
    """Share of the picture's area that a random crop keeps (smallest, largest), as in open_clip's `--aug-cfg
    scale`; `[1.0, 1.0]` resizes the whole picture and crops nothing."""
    workers: int = Field(default=4, ge=0)
    """Processes per rank that read and decode ahead of the model; 0 decodes in the training process. Does not
    change what a run sees."""
    reading: ReadingConfig = ReadingConfig()
    """How shards are read."""
    cache: CacheConfig | None = None
    """Local copies of remote shards; null keeps none (what comes out of a pipe is then kept in a temporary folder)."""
    index: str | None = None
    """Folder of the shard indices. null: beside the shards, or, where that cannot be written, in the user's cache
    folder."""

    @property
    def datasets(self) -> list[DatasetConfig]:
        """The mixture; plain sources are one data set."""
        named = [dataset for dataset in self.train if isinstance(dataset, DatasetConfig)]
        return named or [DatasetConfig(name="train", sources=[str(source) for source in self.train])]

    @property
    def label(self) -> str:
        """How results tables name the training data: its sources, or the mixture's names and weights."""
        return ",".join(s if isinstance(s, str) else f"{s.name}:{s.weight:g}" for s in self.train)

    @field_validator("train")
    @classmethod
    def _one_list_or_a_mixture(cls, train: list[Source]) -> list[Source]:
        names = [dataset.name for dataset in train if isinstance(dataset, DatasetConfig)]
        if names and len(names) < len(train):
            raise ValueError("expected either sources or data sets of the form {name, sources, weight}, not both")
        _named([source for source in train if isinstance(source, str)])
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"the data set {twice!r} stands twice; expected different names")
        return train

    @field_validator("captions")
    @classmethod
    def _captions_are_fields(cls, captions: dict[str, float]) -> dict[str, float]:
        bad = [name for name in captions if not CAPTION_FIELD.match(name)]
        if bad or not captions:
            found = ", ".join(bad) or "nothing"
            raise ValueError(f"expected txt or json.<field>, each with a weight, found {found}")
        weightless = [name for name, weight in captions.items() if weight <= 0]
        if weightless:
            raise ValueError(f"expected weights > 0; that of {', '.join(weightless)} is not")
        return captions

    @field_validator("crop_scale")
    @classmethod
    def _scale_is_a_range(cls, scale: tuple[float, float]) -> tuple[float, float]:
        low, high = scale
        if not 0.0 < low <= high <= 1.0:
            raise ValueError("expected two shares of the area with 0 < smallest <= largest <= 1, such as [0.9, 1.0]")
        return scale
