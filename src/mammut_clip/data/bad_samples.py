"""What can be wrong with a sample, in words that metrics, quarantine lists and messages share."""

from dataclasses import dataclass
from enum import StrEnum


class Bad(StrEnum):
    """Kinds of samples that a run replaces by others."""

    MISSING = "missing"
    """The shard holds fewer samples than was counted."""
    TRUNCATED = "truncated"
    """The shard ends before the sample does."""
    NO_PICTURE = "no_picture"
    EMPTY_PICTURE = "empty_picture"
    BROKEN_PICTURE = "broken_picture"
    GIANT_PICTURE = "giant_picture"
    """More than `data.bad_samples.max_pixels`."""
    NO_CAPTION = "no_caption"
    EMPTY_CAPTION = "empty_caption"
    """Nothing but white space."""
    CAPTION_NOT_UTF8 = "caption_not_utf8"
    BROKEN_JSON = "broken_json"
    SMALL_PICTURE = "small_picture"
    """Filtered, as are the following: `data.filters`."""
    LONG_PICTURE = "long_picture"
    SHORT_CAPTION = "short_caption"
    LONG_CAPTION = "long_caption"

    @property
    def is_filtered(self) -> bool:
        """Left out because the config asks for it; the other kinds are damage."""
        return self in (Bad.SMALL_PICTURE, Bad.LONG_PICTURE, Bad.SHORT_CAPTION, Bad.LONG_CAPTION)


class BadSampleError(ValueError):
    """A sample that cannot or shall not be used; `reason` is a phrase for people, such as `0 bytes`."""

    def __init__(self, kind: Bad, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


@dataclass(frozen=True)
class BadSample:
    """One sample that was replaced at one position of a run; a line of the quarantine file."""

    position: int
    """Samples seen before it."""
    kind: Bad
    dataset: str
    shard: str
    key: str
    reason: str
