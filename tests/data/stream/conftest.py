"""Small shards whose samples say who they are, and a tokenizer that reads it."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from mammut_clip.data.shards.shard_writer import ShardSetWriter, train_shard_name
from mammut_clip.data.tokenizer import Tokenizer

Members = dict[str, bytes]


class NumberTokenizer(Tokenizer):
    """Captions are numbers, ids are their one entry."""

    def __init__(self) -> None:
        super().__init__(1)

    def __call__(self, texts: str | list[str], context_length: int | None = None) -> torch.Tensor:
        return torch.tensor([int(text) for text in texts], dtype=torch.int64).view(-1, 1)

    def decode(self, ids: torch.Tensor | list[list[int]]) -> list[str]:
        return [str(int(row[0])) for row in ids]


def picture(number: int, side: int = 8) -> bytes:
    """A PNG of one colour, which tells the sample."""
    file = io.BytesIO()
    colour = (number % 251, number // 251 % 251, number // 63_001)
    Image.new("RGB", (side, side), colour).save(file, "PNG")
    return file.getvalue()


def sample(number: int) -> Members:
    """The members of the sample with this number."""
    return {"png": picture(number), "txt": str(number).encode()}


def write_shards(
    folder: Path, counts: list[int], first: int = 0, change: Callable[[int, Members], Members] | None = None
) -> Path:
    """Shards of these many samples, numbered from `first` on; `change` makes other members of some."""
    number = first
    for shard, count in enumerate(counts):
        with ShardSetWriter(folder, max(1, count), lambda _, shard=shard: train_shard_name(shard)) as writer:
            for _ in range(count):
                members = sample(number)
                writer.add(f"{number:06d}", change(number, members) if change else members)
                number += 1
    return folder


@pytest.fixture(scope="session")
def write_numbered() -> Callable[..., Path]:
    """`write_shards`."""
    return write_shards


@pytest.fixture(scope="session")
def numbers() -> Tokenizer:
    return NumberTokenizer()


@pytest.fixture(scope="session")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 samples in 12 shards of uneven size."""
    return write_shards(tmp_path_factory.mktemp("numbered"), [50, 30, 70, 50, 20, 80, 50, 50, 10, 90, 60, 40])


@pytest.fixture(scope="session")
def write_members() -> Callable[[Path, dict[str, Members]], None]:
    """Writes one shard of samples given as key -> members."""

    def write(folder: Path, samples: dict[str, Members]) -> None:
        with ShardSetWriter(folder, len(samples), train_shard_name) as writer:
            for key, members in samples.items():
                writer.add(key, members)

    return write
