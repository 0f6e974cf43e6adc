"""What the stream hands to the trainer."""

from dataclasses import dataclass, field

from torch import Tensor

from mammut_clip.data.bad_samples import BadSample


@dataclass
class StageSeconds:
    """Seconds that loading took, by stage, summed over samples and workers."""

    read: float = 0.0
    """Waiting for bytes."""
    decode: float = 0.0
    resize: float = 0.0
    """Cropping and resizing."""
    tokenize: float = 0.0
    other: float = 0.0
    """Order, captions, collating."""

    def add(self, more: "StageSeconds") -> None:
        """Add another's seconds to these."""
        for stage in ("read", "decode", "resize", "tokenize", "other"):
            setattr(self, stage, getattr(self, stage) + getattr(more, stage))


@dataclass
class Batch:
    """One rank's part of a global batch."""

    images: Tensor
    """uint8 [B, 3, H, W], channels last in memory; `images.normalize` makes floats of it on the device."""
    ids: Tensor
    """int64 [B, T]."""
    positions: range
    """Where in the data the rows stand: rank, rank + W, ... of the global batch."""
    bad: list[BadSample] = field(default_factory=list)
    """Samples that were replaced, in the order of their positions; one position can have several."""
    seconds: StageSeconds = field(default_factory=StageSeconds)
