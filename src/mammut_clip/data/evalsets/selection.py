"""Sets that ask which of a few captions goes with which of a few pictures."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SelectionSample:
    """Pictures, still encoded, and captions. Picture i goes with caption i; what has no partner is there to mislead."""

    key: str
    images: tuple[bytes, ...]
    captions: tuple[str, ...]


class SelectionSet(ABC):
    """Samples in a fixed order, each with as many pictures and captions as the others; they may be read from several
    threads."""

    folder: Path
    split: str

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, number: int) -> SelectionSample:
        """Sample `number`. Raises InputError naming the file that cannot be read."""

    @abstractmethod
    def where(self, number: int) -> str:
        """File and key of a sample, for messages."""

    def __iter__(self) -> Iterator[SelectionSample]:
        return (self[number] for number in range(len(self)))
