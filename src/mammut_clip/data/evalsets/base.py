"""What every evaluation set offers, however its files lie.

Pictures stay encoded: whoever shares the work decodes what it needs.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from mammut_clip.config.errors import InputError

EvalType = Literal["classification", "retrieval", "multilabel", "segmentation"]
Mask = npt.NDArray[np.uint16]
"""[H, W] class numbers; IGNORED where a pixel has none."""
MultiHot = npt.NDArray[np.bool_]
"""[C], true for each class that a picture shows."""
Target = int | list[str] | Mask | MultiHot
IGNORED = 65535
"""Class number in a mask of pixels that do not count."""


@dataclass(frozen=True)
class EvalSample:
    """A picture, still encoded, and what is true of it."""

    key: str
    image: bytes
    target: Target
    """Label, captions, multi-hot labels or mask, by the type of the set."""
    group: int | None = None
    """Number of the group that worst-group metrics count it to; None where the set was opened without groups."""


class EvalSet(ABC):
    """One split of an evaluation set. `len`, indexing and iteration are over samples in a fixed order; samples may be
    read from several threads."""

    folder: Path
    split: str
    type: EvalType

    @property
    @abstractmethod
    def classnames(self) -> list[str]:
        """Class number -> name. Raises InputError where the set names none."""

    @property
    @abstractmethod
    def templates(self) -> list[str]:
        """Prompts with `{c}` for the class name. Raises InputError where the set has none."""

    def name_classes(self, names: Sequence[str]) -> None:
        """Name the classes of a set that names none; from now on labels and masks are checked against them. Raises
        InputError for a set whose pictures have no classes."""
        raise InputError(f"{self.folder}: a {self.type} set, whose pictures have no classes")

    @property
    def group_names(self) -> list[str] | None:
        """Group number -> name, where groups have names; None where they are plain numbers, or there are none."""
        return None

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, number: int) -> EvalSample:
        """Sample `number`. Raises InputError naming file and key where its target is not what the type says, a label
        or mask beyond the classes that the set names included."""

    @abstractmethod
    def where(self, number: int) -> str:
        """File and key of a sample, for messages."""

    def target(self, number: int) -> Target:
        """The target of sample `number` alone; a set that can leave the picture unread does."""
        return self[number].target

    def __iter__(self) -> Iterator[EvalSample]:
        return (self[number] for number in range(len(self)))
