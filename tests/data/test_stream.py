"""The stream: the same global batches for any number of ranks and workers, from any position, and clear errors."""

import io
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from PIL import Image

from mammut_clip.config.data import DataConfig
from mammut_clip.config.errors import InputError
from mammut_clip.data.images import TrainTransform
from mammut_clip.data.index import ShardIndex
from mammut_clip.data.order import SampleOrder
from mammut_clip.data.shard_writer import ShardSetWriter, train_shard_name
from mammut_clip.data.stream import Batch, TrainStream, open_train_stream
from mammut_clip.data.text import load_tokenizer
from mammut_clip.data.toy_shards import write_toy_train
from mammut_clip.data.toy_world import TRAIN, ToyWorld


@dataclass
class Settings:
    context_length: int = 20
    vocab_size: int = 96
    hf_tokenizer_name: str | None = "toy"


GLOBAL = 24


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("toy")
    write_toy_train(folder, 130, 0, 40)
    return str(folder)


def stream(shards: str, rank: int = 0, world: int = 1, workers: int = 0, crop: float = 0.5) -> TrainStream:
    config = DataConfig(train=[shards], shuffle_shards=2, workers=workers, crop_scale=(crop, 1.0))
    tokenizer = load_tokenizer(Settings())
    return open_train_stream(
        config, tokenizer, image_size=32, seed=3, global_batch_size=GLOBAL, rank=rank, world_size=world
    )


def joined(batches: list[Batch]) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    images = torch.cat([batch.images for batch in batches])
    return images, torch.cat([batch.ids for batch in batches]), [p for batch in batches for p in batch.positions]


@pytest.fixture(scope="module")
def reference(shards: str) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    return joined(list(stream(shards).batches(0, 8 * GLOBAL)))  # more than one epoch


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("world", [1, 2, 4])
def test_ranks_and_workers_change_nothing(
    shards: str, reference: tuple[torch.Tensor, torch.Tensor, list[int]], world: int, workers: int
) -> None:
    start = 0 if world * workers < 8 else 6 * GLOBAL  # many processes: a shorter look
    ranks = [list(stream(shards, rank, world, workers).batches(start, 8 * GLOBAL)) for rank in range(world)]
    images, ids, positions = joined([batch for step in zip(*ranks, strict=True) for batch in step])
    assert positions == list(range(start, 8 * GLOBAL))
    assert torch.equal(images, reference[0][start:])
    assert torch.equal(ids, reference[1][start:])


def test_a_start_in_the_middle_continues(shards: str, reference: tuple[torch.Tensor, torch.Tensor, list[int]]) -> None:
    images, ids, positions = joined(list(stream(shards).batches(5 * GLOBAL, 8 * GLOBAL)))
    assert positions[0] == 5 * GLOBAL
    assert torch.equal(images, reference[0][5 * GLOBAL :]) and torch.equal(ids, reference[1][5 * GLOBAL :])


def test_batches_hold_the_samples_of_the_order(shards: str) -> None:
    index = ShardIndex.open([shards])
    order = SampleOrder(index.counts, 3, 2)
    tokenizer = load_tokenizer(Settings())
    [batch] = TrainStream(index, order, TrainTransform(32, (1.0, 1.0)), tokenizer, 130).batches(0, 130)
    assert batch.images.dtype == torch.uint8 and batch.images.shape == (130, 3, 32, 32)
    assert batch.ids.dtype == torch.int64 and batch.ids.shape == (130, 20)
    world = ToyWorld(0)
    for row in range(0, 130, 13):
        expected = world.sample(TRAIN, order[row].shard * 40 + order[row].sample)
        assert tokenizer.decode(batch.ids[row : row + 1]) == [expected.caption]
        difference = batch.images[row].permute(1, 2, 0).numpy().astype(float) - expected.image
        assert abs(difference).mean() < 5
    seen = {(order[row].shard, order[row].sample) for row in range(130)}
    assert len(seen) == 130


def test_crops_differ_between_epochs(shards: str) -> None:
    index = ShardIndex.open([shards])
    order = SampleOrder(index.counts, 3, 2)
    first = order[7]
    again = next(p for p in range(130, 260) if order[p][:2] == first[:2])
    tokenizer = load_tokenizer(Settings())
    train = TrainStream(index, order, TrainTransform(32, (0.3, 1.0)), tokenizer, 1)
    [one], [two] = train.batches(7, 8), train.batches(again, again + 1)
    assert torch.equal(one.ids, two.ids) and not torch.equal(one.images, two.images)


def test_positions_and_batches_that_cannot_be_shared_are_refused(shards: str) -> None:
    for start, stop in ((0, 25), (5, 24), (48, 24), (-24, 24)):
        with pytest.raises(InputError, match="multiples of the global batch size 24"):
            list(stream(shards).batches(start, stop))
    with pytest.raises(InputError, match="24 over 5 ranks"):
        stream(shards, 0, 5)
    with pytest.raises(InputError, match="rank 2 of 2"):
        stream(shards, 2, 2)
    assert list(stream(shards).batches(24, 24)) == []


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_picture_is_named_with_shard_and_key(tmp_path: Path, workers: int) -> None:
    file = io.BytesIO()
    Image.new("RGB", (32, 32)).save(file, "JPEG")
    with ShardSetWriter(tmp_path, 4, train_shard_name) as writer:
        for key in "abc":
            writer.add(key, {"jpg": file.getvalue(), "txt": b"a red circle"})
        writer.add("broken", {"jpg": b"no picture at all", "txt": b"a red circle"})
    config = DataConfig(train=[str(tmp_path)], workers=workers)
    tokenizer = load_tokenizer(Settings())
    train = open_train_stream(config, tokenizer, image_size=32, seed=0, global_batch_size=4)
    with pytest.raises(InputError, match=r"00000\.tar: sample 'broken': picture not in any known format") as caught:
        list(train.batches(0, 4))
    assert "Traceback" not in str(caught.value)
