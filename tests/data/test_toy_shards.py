"""The toy world on disk: same bytes from the same recipe, continued where it stopped, readable as CLIP_benchmark's."""

import json
from pathlib import Path
from shutil import rmtree

import numpy as np
import pytest

from mammut_clip.config.errors import InputError
from mammut_clip.data.evalsets import TarEvalSet
from mammut_clip.data.images import open_picture
from mammut_clip.data.shards.index import ShardIndex
from mammut_clip.data.shards.storage import ShardStorage
from mammut_clip.data.stream.sample_reader import Place, SampleReader
from mammut_clip.data.toy_shards import write_toy_evals, write_toy_train
from mammut_clip.data.toy_words import SHAPES, held_out_pairs, pair_name
from mammut_clip.data.toy_world import TRAIN, ToyWorld


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.tar"))}


def test_same_recipe_same_bytes_continued_or_not(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    index = write_toy_train(tmp_path / "a", 250, 1, 100, progress=lambda done, total: seen.append((done, total)))
    assert index.counts.tolist() == [100, 100, 50]
    assert seen == [(100, 250), (200, 250), (250, 250)]
    write_toy_train(tmp_path / "b", 250, 1, 100, processes=2)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    before = contents(tmp_path / "a")
    (tmp_path / "a" / "00001.tar").unlink()
    kept = (tmp_path / "a" / "00002.tar").stat().st_mtime_ns
    seen.clear()
    write_toy_train(tmp_path / "a", 250, 1, 100, progress=lambda done, total: seen.append((done, total)))
    assert contents(tmp_path / "a") == before
    assert seen == [(250, 250)]
    assert (tmp_path / "a" / "00002.tar").stat().st_mtime_ns == kept


def test_shards_hold_the_world(tmp_path: Path) -> None:
    write_toy_train(tmp_path, 60, 2, 50, 40)
    reader = SampleReader(ShardIndex.of_sources([str(tmp_path)]), ShardStorage(), text=True, record=False)
    [sample] = reader.read([Place(1, 3)])
    assert sample.image is not None and sample.text is not None
    expected = ToyWorld(2, 40).sample(TRAIN, 53)
    assert sample.text.decode() == expected.caption
    assert np.abs(np.asarray(open_picture(sample.image), dtype=float) - expected.image).mean() < 5


def test_another_recipe_in_the_folder_is_refused(tmp_path: Path) -> None:
    write_toy_train(tmp_path / "a", 20, 1, 10)
    with pytest.raises(InputError, match=r"holds another toy world.*expected an empty folder"):
        write_toy_train(tmp_path / "a", 20, 2, 10)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "00000.tar").write_bytes(b"mine")
    with pytest.raises(InputError, match="not the toy world's"):
        write_toy_train(tmp_path / "b", 20, 1, 10)
    assert (tmp_path / "b" / "00000.tar").read_bytes() == b"mine"


@pytest.fixture(scope="module")
def evals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("evals")
    sets = write_toy_evals(folder, 4, pairs_per_class=3, retrieval=150, segmentation=20)
    return {path.name: path for path in sets}


def test_pairs_are_the_held_out_ones_in_equal_parts(evals: dict[str, Path]) -> None:
    found = TarEvalSet.open(evals["wds_toy_pairs"])
    assert found.type == "classification"
    assert found.classnames == [pair_name(pair) for pair in held_out_pairs()]
    labels = [sample.target for sample in found]
    assert np.bincount(labels).tolist() == [3] * 32
    assert all("{c}" in template for template in found.templates)
    assert found[5].key == "s0000005"
    assert open_picture(found[5].image).size == (32, 32)


def test_retrieval_captions_are_all_distinct(evals: dict[str, Path]) -> None:
    found = TarEvalSet.open(evals["wds_toy_retrieval"])
    captions = [caption for sample in found for caption in sample.target]  # type: ignore[union-attr]
    assert found.type == "retrieval" and len(found) == len(set(captions)) == 150


def test_masks_name_shapes(evals: dict[str, Path]) -> None:
    found = TarEvalSet.open(evals["wds_toy_segmentation"])
    assert found.type == "segmentation" and found.classnames == ["background", *SHAPES]
    for sample in found:
        assert isinstance(sample.target, np.ndarray) and sample.target.shape == (32, 32) and sample.target.max() > 0


def test_masks_to_train_on_are_other_ones(evals: dict[str, Path]) -> None:
    train, test = (TarEvalSet.open(evals["wds_toy_segmentation"], split) for split in ("train", "test"))
    assert (len(train), len(test)) == (100, 20)
    assert len({sample.image for split in (train, test) for sample in split}) == 120


def test_a_set_without_masks_to_train_on_gets_them(tmp_path: Path) -> None:
    folder = write_toy_evals(tmp_path, 4, pairs_per_class=1, retrieval=5, segmentation=5)[2]
    before = {split: contents(folder / split) for split in ("train", "test")}
    rmtree(folder / "train")
    write_toy_evals(tmp_path, 4, pairs_per_class=1, retrieval=5, segmentation=5)
    assert {split: contents(folder / split) for split in ("train", "test")} == before


def test_webdataset_reads_the_pairs_as_clip_benchmark_does(evals: dict[str, Path]) -> None:
    """The pipeline of clip_benchmark 1.6's build_wds_dataset: decode pictures, label from .cls."""
    import webdataset

    folder = evals["wds_toy_pairs"] / "test"
    count = int((folder / "nshards.txt").read_text())
    urls = [str(folder / f"{number}.tar") for number in range(count)]
    dataset = webdataset.WebDataset(urls, shardshuffle=False).decode("pil").to_tuple("webp;png;jpg;jpeg", "cls")
    rows = list(dataset)
    ours = TarEvalSet.open(evals["wds_toy_pairs"])
    assert [label for _, label in rows] == [sample.target for sample in ours]
    assert np.array_equal(np.asarray(rows[0][0]), np.asarray(open_picture(ours[0].image)))


def test_evaluation_sets_are_kept_and_finished(evals: dict[str, Path], tmp_path: Path) -> None:
    sets = write_toy_evals(tmp_path, 4, pairs_per_class=1, retrieval=5, segmentation=5)
    shard = sets[1] / "test" / "0.tar"
    before, stamp = shard.read_bytes(), shard.stat().st_mtime_ns
    write_toy_evals(tmp_path, 4, pairs_per_class=1, retrieval=5, segmentation=5)
    assert shard.stat().st_mtime_ns == stamp
    (sets[1] / "test" / "nshards.txt").unlink()  # as a kill in the middle leaves it
    write_toy_evals(tmp_path, 4, pairs_per_class=1, retrieval=5, segmentation=5)
    assert shard.read_bytes() == before and (sets[1] / "test" / "nshards.txt").exists()
    with pytest.raises(InputError, match="another toy world"):
        write_toy_evals(tmp_path, 5, pairs_per_class=1, retrieval=5, segmentation=5)
    assert json.loads((sets[0] / "toy.json").read_text())["seed"] == 4
