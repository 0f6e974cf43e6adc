"""Held-out pairs in training shards: captions as written, one a sample."""

from pathlib import Path

import pytest

from mammut_clip.config.errors import InputError
from mammut_clip.config.evals import TaskConfig
from mammut_clip.data.evalsets import EvalSet, open_eval_set
from mammut_clip.data.shards.index import ShardIndex
from mammut_clip.data.shards.shard_writer import ShardSetWriter, train_shard_name
from mammut_clip.data.toy_shards import write_toy_train


def open_set(folder: Path, split: str = "test") -> EvalSet:
    return open_eval_set(TaskConfig(name="pairs", kind="losses", layout="shards", split=split), folder)


def write(folder: Path, samples: list[dict[str, bytes]]) -> None:
    with ShardSetWriter(folder, 2, train_shard_name) as writer:
        for number, members in enumerate(samples):
            writer.add(f"{number:09d}", members)


@pytest.mark.parametrize("level", ["held_out", "."])
def test_captions_stand_as_written(tmp_path: Path, level: str) -> None:
    captions = ["one", " two\nlines ", "три"]
    write(
        tmp_path / level, [{"jpg": b"%d" % n, "txt": text.encode(), "json": b"{}"} for n, text in enumerate(captions)]
    )
    found = open_set(tmp_path, "held_out")
    assert (found.type, [sample.target for sample in found]) == ("retrieval", [[text] for text in captions])
    assert [sample.image for sample in found] == [b"0", b"1", b"2"]
    assert [found.target(number) for number in range(3)] == [[text] for text in captions]
    assert found.where(2).endswith("00001.tar: sample '000000002'")


def test_the_samples_are_those_that_training_counts(tmp_path: Path) -> None:
    index = write_toy_train(tmp_path / "toy", 300)
    assert isinstance(index, ShardIndex)
    found = open_set(tmp_path / "toy")
    assert len(found) == len(index) == 300
    places = [(shard, sample) for shard in range(len(index.shards)) for sample in range(int(index.counts[shard]))]
    assert [sample.key for sample in found] == [index.key(shard, sample) for shard, sample in places]


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([{"jpg": b"0"}], r"00000\.tar: sample '000000000' has no \.txt; it has \.jpg"),
        ([{"txt": b"words"}], "has no picture"),
        ([{"jpg": b"0", "png": b"0", "txt": b"words"}], "has 2 pictures"),
        ([{"jpg": b"0", "txt": b" \n"}], r"00000\.tar: sample '000000000': an empty caption"),
        ([{"jpg": b"0", "txt": b"\xff"}], "captions are not UTF-8"),
    ],
)
def test_bad_samples_are_named(tmp_path: Path, samples: list[dict[str, bytes]], message: str) -> None:
    write(tmp_path, samples)
    with pytest.raises(InputError, match=message):
        open_set(tmp_path)[0]


def test_pairs_have_no_classes(tmp_path: Path) -> None:
    write(tmp_path, [{"jpg": b"0", "txt": b"words"}])
    found = open_set(tmp_path)
    with pytest.raises(InputError, match="no classes"):
        _ = found.classnames
    with pytest.raises(InputError, match="no prompts"):
        _ = found.templates
    with pytest.raises(InputError, match="no classes"):
        found.name_classes(["a"])
    with pytest.raises(InputError, match="gone: no such folder; expected WebDataset shards"):
        open_set(tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty"):
        open_set(tmp_path / "empty")
