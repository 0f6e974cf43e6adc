"""What `mammut-clip data describe` finds out about a data set."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mammut_clip.data.bad_samples import Bad


@dataclass(frozen=True)
class Quantiles:
    """One quantity over the samples that have it."""

    least: float
    q05: float
    median: float
    q95: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Quantiles":
        """Of at least one value; between two of them, linearly."""
        return cls(*np.quantile(values, (0, 0.05, 0.5, 0.95, 1)).tolist())


@dataclass(frozen=True)
class Pictures:
    """Of the samples whose picture can be decoded."""

    count: int
    formats: dict[str, int]
    """jpg, png, webp, or another of PIL's names -> pictures; by content, whatever the file is called."""
    width: Quantiles
    height: Quantiles
    shorter_side: Quantiles
    aspect: Quantiles
    """Longer side / shorter side."""
    megapixels: Quantiles
    bytes: Quantiles
    """Of the file in the shard."""


@dataclass(frozen=True)
class Captions:
    """Of the samples with a `.txt` in UTF-8."""

    count: int
    empty: float
    """Share that holds nothing but white space."""
    duplicate: float
    """Share whose text was met before among those drawn; empty ones are not counted."""
    characters: Quantiles
    """Without space around the caption."""
    words: Quantiles


@dataclass(frozen=True)
class JsonField:
    """A field of the samples' `.json`."""

    name: str
    """As `data.captions` takes it: json.caption."""
    share: float
    """Of the samples drawn, those that have it."""
    texts: float
    """Of the samples drawn, those where it holds something to read: a text, or a list with one."""
    characters: float | None
    """Median length of these texts; None where there are none."""


@dataclass(frozen=True)
class BadExample:
    """One bad sample."""

    shard: str
    key: str
    reason: str


@dataclass(frozen=True)
class BadKind:
    """Samples that are bad in one way; a sample can be bad in several."""

    kind: Bad
    count: int
    share: float
    """Of the samples drawn."""
    examples: list[BadExample]
    """The first few."""


@dataclass(frozen=True)
class DamagedShard:
    """A shard that the index could not walk to its end."""

    shard: str
    problem: str


@dataclass(frozen=True)
class Description:
    """What was found. Pictures and captions are None where no sample drawn has one."""

    shards: int
    samples: int
    bytes: int | None
    """Of all shards; None where a size is unknown, as of pipes."""
    drawn: int
    """Samples that were looked at; all shares and quantiles are about these."""
    drawn_shards: int
    pictures: Pictures | None
    captions: Captions | None
    fields: list[JsonField]
    """The most frequent first."""
    bad: list[BadKind]
    """The most frequent first."""
    damaged_shards: list[DamagedShard]
