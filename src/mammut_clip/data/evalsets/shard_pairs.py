"""Held-out pairs of pictures and captions, in shards as training reads them."""

from pathlib import Path

from mammut_clip.config.errors import InputError, MissingError
from mammut_clip.data.evalsets import targets
from mammut_clip.data.evalsets.base import EvalSample, EvalSet
from mammut_clip.data.evalsets.tar_entries import TarEntries
from mammut_clip.data.shards.sources import expand_sources


class ShardPairs(EvalSet):
    """The samples of all tars of a folder, sorted by name: a picture and its .txt, which is one caption."""

    def __init__(self, folder: Path, split: str, entries: TarEntries) -> None:
        """Made by `open`."""
        self.folder = folder
        self.split = split
        self.type = "retrieval"
        self._entries = entries

    @classmethod
    def open(cls, folder: Path, split: str) -> "ShardPairs":
        """The tars in the folder `split` below `folder`, or in `folder` itself where there is no such folder.

        Raises InputError where there are none, and naming tar and key of a sample without picture or caption, with two
        pictures, or whose key stands twice.
        """
        if not folder.is_dir():
            raise MissingError(f"{folder}: no such folder; expected WebDataset shards (key.jpg with key.txt)")
        base = folder / split if (folder / split).is_dir() else folder
        entries = TarEntries([Path(shard) for shard in expand_sources([str(base)])], "txt")
        if not len(entries):
            raise InputError(f"{base}: no samples in its shards; expected key.jpg with key.txt")
        return cls(folder, split, entries)

    @property
    def classnames(self) -> list[str]:
        """There are none: raises InputError."""
        raise InputError(f"{self.folder}: pairs of pictures and captions, which have no classes")

    @property
    def templates(self) -> list[str]:
        """There are none: raises InputError."""
        raise InputError(f"{self.folder}: pairs of pictures and captions, which have no prompts")

    def __len__(self) -> int:
        return len(self._entries)

    def where(self, number: int) -> str:
        """As EvalSet."""
        return self._entries.where(number)

    def __getitem__(self, number: int) -> EvalSample:
        """Sample `number`, its caption as written. Raises InputError naming tar and key for one that is empty or not
        UTF-8."""
        members = self._entries.read(number)
        return EvalSample(self._entries.key(number), members.image, self._caption(members.target, number))

    def target(self, number: int) -> list[str]:
        """As EvalSet; the picture is not read."""
        return self._caption(self._entries.read_target(number), number)

    def _caption(self, data: bytes, number: int) -> list[str]:
        caption = targets.text(data, self.where(number))
        if not caption.strip():
            raise InputError(f"{self.where(number)}: an empty caption; expected words")
        return [caption]
