"""Many samples of the toy world in little time: few distinct ones, each as often as it takes to fill the shards."""

from pathlib import Path

from mammut_clip.data.shards.shard_writer import ShardSetWriter, train_shard_name
from mammut_clip.data.toy_world import TRAIN, ToyWorld, encode_jpeg


def write_repeated(folder: Path, shards: int, per_shard: int, *, distinct: int, image_size: int) -> None:
    """Write `00000.tar`, ... of JPEGs with captions."""
    samples = ToyWorld(0, image_size).samples(TRAIN, 0, distinct)
    members = [{"jpg": encode_jpeg(sample.image), "txt": sample.caption.encode()} for sample in samples]
    with ShardSetWriter(folder, per_shard, train_shard_name) as writer:
        for number in range(shards * per_shard):
            writer.add(f"{number:09d}", members[number % distinct])
