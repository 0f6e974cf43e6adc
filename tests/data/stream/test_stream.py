"""The stream: the same global batches for any number of ranks and workers, from any position, bad samples or not."""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mammut_clip.config.data import DataConfig
from mammut_clip.config.errors import InputError
from mammut_clip.data.bad_samples import Bad, BadSample
from mammut_clip.data.images import TrainTransform, open_picture
from mammut_clip.data.stream import Batch, TrainStream, open_train_stream
from mammut_clip.data.stream import stream as stream_module
from mammut_clip.data.stream.loader import Share
from mammut_clip.data.tokenizer import Tokenizer
from mammut_clip.data.toy_world import TRAIN, ToyWorld, encode_jpeg

GLOBAL = 24


def open_stream(
    train: Any, tokenizer: Tokenizer, rank: int = 0, world: int = 1, *, size: int = GLOBAL, **config: Any
) -> TrainStream:
    values = {"shuffle": {"lanes": 8, "window": 10}, "workers": 0, "crop_scale": (0.5, 1.0)} | config
    settings = DataConfig.model_validate({"train": train, **values})
    return open_train_stream(
        settings, tokenizer, image_size=8, seed=3, global_batch_size=size, rank=rank, world_size=world
    )


def consume(stream: TrainStream, start: int, stop: int) -> list[Batch]:
    with closing(stream.batches(start, stop)) as batches:
        return list(batches)


def globally(ranks: list[list[Batch]]) -> tuple[torch.Tensor, torch.Tensor, list[BadSample]]:
    """Pictures, ids and bad samples of all ranks in the order of positions."""
    every = [batch for batches in ranks for batch in batches]
    positions = torch.tensor([position for batch in every for position in batch.positions])
    order = positions.argsort()
    assert positions[order].tolist() == list(range(int(positions.min()), int(positions.max()) + 1))
    bad = sorted((sample for batch in every for sample in batch.bad), key=lambda s: s.position)
    return torch.cat([b.images for b in every])[order], torch.cat([b.ids for b in every])[order], bad


@pytest.fixture(scope="module")
def reference(numbered: Path, numbers: Tokenizer) -> tuple[torch.Tensor, torch.Tensor, list[BadSample]]:
    return globally([consume(open_stream(str(numbered), numbers), 0, 50 * GLOBAL)])  # two epochs


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("world", [1, 2, 4])
def test_ranks_and_workers_change_nothing(
    numbered: Path,
    numbers: Tokenizer,
    reference: tuple[torch.Tensor, torch.Tensor, list[BadSample]],
    world: int,
    workers: int,
) -> None:
    start = 0 if world * workers < 8 else 44 * GLOBAL  # many processes: a shorter look
    streams = [open_stream(str(numbered), numbers, rank, world, workers=workers) for rank in range(world)]
    images, ids, bad = globally([consume(stream, start, 50 * GLOBAL) for stream in streams])
    assert torch.equal(images, reference[0][start:])
    assert torch.equal(ids, reference[1][start:])
    assert bad == []


def test_each_sample_comes_once_per_epoch(reference: tuple[torch.Tensor, torch.Tensor, list[BadSample]]) -> None:
    for epoch in (0, 1):
        assert sorted(reference[1][600 * epoch : 600 * (epoch + 1), 0].tolist()) == list(range(600))


def test_pictures_belong_to_captions(reference: tuple[torch.Tensor, torch.Tensor, list[BadSample]]) -> None:
    red, green = reference[0][:, 0, 0, 0].long(), reference[0][:, 1, 0, 0].long()
    assert torch.equal(green * 251 + red, reference[1][:, 0])


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    counts=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    second=st.none() | st.lists(st.integers(1, 20), min_size=1, max_size=4),
    sampling=st.sampled_from(["epochs", "resampled"]),
    shuffle=st.sampled_from([{"lanes": 1, "window": 1}, {"lanes": 4, "window": 3}, {"lanes": 256, "window": 256}]),
    cut=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 4)), min_size=1, max_size=3),
)
def test_any_cut_of_a_run_gives_the_same_sequence(
    tmp_path_factory: pytest.TempPathFactory,
    write_numbered: Callable[..., Path],
    numbers: Tokenizer,
    counts: list[int],
    second: list[int] | None,
    sampling: str,
    shuffle: dict[str, int],
    cut: list[tuple[int, int, int]],
) -> None:
    """A run that is killed again and again and continues on other numbers of ranks and workers each time."""
    folder = tmp_path_factory.mktemp("run")
    train: Any = str(write_numbered(folder / "a", counts))
    if second is not None:
        other = {"name": "b", "sources": [str(write_numbered(folder / "b", second, 1000))], "weight": 0.3}
        train = [{"name": "a", "sources": [train], "weight": 1}, other]
    whole = open_stream(train, numbers, size=12, shuffle=shuffle, sampling=sampling)
    steps = sum(batches for _, _, batches in cut)
    expected = globally([consume(whole, 0, 12 * steps)])
    start = 0
    for world, workers, batches in cut:
        stop = start + 12 * batches
        shares = [Share(12, rank, world, worker, workers) for rank in range(world) for worker in range(workers)]
        ids = torch.zeros(stop - start, dtype=torch.int64)
        images = torch.zeros((stop - start, 3, 8, 8), dtype=torch.uint8)
        for share in shares:
            pieces = list(whole._loader.pieces(share, start, stop))
            rows = torch.tensor(list(share.positions(start, stop)), dtype=torch.int64) - start
            ids[rows] = torch.cat([piece.ids for piece in pieces])[:, 0]
            images[rows] = torch.cat([piece.images for piece in pieces]).permute(0, 3, 1, 2)
        assert torch.equal(ids, expected[1][start:stop, 0])
        assert torch.equal(images, expected[0][start:stop])
        start = stop


def test_crops_belong_to_positions(tmp_path: Path, write_members: Callable[..., None], numbers: Tokenizer) -> None:
    pictures = [encode_jpeg(sample.image) for sample in ToyWorld(0, 64).samples(TRAIN, 0, 5)]
    write_members(tmp_path, {str(n): {"jpg": data, "txt": str(n).encode()} for n, data in enumerate(pictures)})
    stream = open_stream(str(tmp_path), numbers, size=5)
    images, ids, _ = globally([consume(stream, 0, 20)])
    span = stream.order.span(range(20))
    transform = TrainTransform(8, (0.5, 1.0))
    for row in range(20):
        picture = open_picture(pictures[int(ids[row])])
        assert torch.equal(images[row], transform(picture, int(span.augmentation_seed[row])))
    same = [row for row in range(5, 20) if ids[row] == ids[0]]
    assert len(same) == 3 and not all(torch.equal(images[row], images[0]) for row in same)


def spoil(number: int, members: dict[str, bytes]) -> dict[str, bytes]:
    match number:
        case 3:
            return members | {"png": b""}
        case 11:
            return members | {"png": members["png"][:40]}
        case 20:
            return members | {"txt": b"caf\xe9"}
        case 21:
            return members | {"txt": b"  "}
        case 33:
            return {"png": members["png"]}
        case 40:
            return {"txt": members["txt"]}
    return members


SPOILT = {
    3: Bad.EMPTY_PICTURE,
    11: Bad.BROKEN_PICTURE,
    20: Bad.CAPTION_NOT_UTF8,
    21: Bad.EMPTY_CAPTION,
    33: Bad.NO_CAPTION,
    40: Bad.NO_PICTURE,
}


@pytest.mark.parametrize(("world", "workers"), [(1, 0), (1, 2), (3, 0), (2, 1)])
@pytest.mark.parametrize("lanes", [4, 256])
def test_bad_samples_are_replaced_alike_everywhere(
    tmp_path: Path, write_numbered: Callable[..., Path], numbers: Tokenizer, world: int, workers: int, lanes: int
) -> None:
    folder = str(write_numbered(tmp_path, [25, 35], change=spoil))
    shuffle = {"lanes": lanes, "window": 5}
    whole = consume(open_stream(folder, numbers, size=12, shuffle=shuffle), 0, 120)
    ranks = [
        open_stream(folder, numbers, rank, world, size=12, shuffle=shuffle, workers=workers) for rank in range(world)
    ]
    images, ids, bad = globally([consume(stream, 0, 120) for stream in ranks])
    expected = globally([whole])
    assert torch.equal(images, expected[0]) and torch.equal(ids, expected[1]) and bad == expected[2]
    assert not set(ids[:, 0].tolist()) & set(SPOILT)
    own = {(sample.position // 60, int(sample.key)): sample.kind for sample in bad}
    assert {(epoch, number): kind for number, kind in SPOILT.items() for epoch in (0, 1)} == own
    assert {Path(sample.shard).name for sample in bad} == {"00000.tar", "00001.tar"}
    assert {sample.dataset for sample in bad} == {"train"} and all(sample.reason for sample in bad)


def test_shards_that_shrink_or_lack_samples_go_on(
    tmp_path: Path, write_numbered: Callable[..., Path], numbers: Tokenizer
) -> None:
    write_numbered(tmp_path, [30, 30])
    (tmp_path / "sizes.json").write_text('{"00000.tar": 30, "00001.tar": 34}')
    stream = open_stream(str(tmp_path), numbers, size=60)
    stream.index.rows(0)
    os.truncate(tmp_path / "00000.tar", int(stream.index.rows(0)[20]["image_offset"]) + 1)
    _, ids, bad = globally([consume(stream, 0, 60)])
    assert {sample.kind for sample in bad} == {Bad.TRUNCATED}
    assert len({sample.key for sample in bad}) == 10
    assert set(range(20)) < set(ids[:, 0].tolist())


def test_nothing_usable_is_an_error(tmp_path: Path, write_numbered: Callable[..., Path], numbers: Tokenizer) -> None:
    folder = str(write_numbered(tmp_path, [9], change=lambda _, members: members | {"txt": b" "}))
    for workers in (0, 1):
        with pytest.raises(InputError, match=r"100 samples .* all bad.*00000\.tar.*empty_caption") as caught:
            consume(open_stream(folder, numbers, size=4, workers=workers), 0, 4)
        assert "Traceback" not in str(caught.value)


def test_an_error_in_a_worker_arrives_as_it_is(
    tmp_path: Path, write_numbered: Callable[..., Path], numbers: Tokenizer
) -> None:
    stream = open_stream(str(write_numbered(tmp_path, [40])), numbers, workers=2)
    (tmp_path / "00000.tar").unlink()
    with pytest.raises(InputError, match=r"00000\.tar") as caught:
        consume(stream, 0, GLOBAL)
    assert "Traceback" not in str(caught.value)


def test_workers_outlive_the_signals_that_stop_a_run(numbered: Path, numbers: Tokenizer) -> None:
    stream = open_stream(str(numbered), numbers, workers=2)
    with closing(stream.batches(0, 40 * GLOBAL)) as batches:
        next(batches)
        for child in multiprocessing.active_children():
            for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGTERM):
                os.kill(child.pid or 0, number)
        assert len(list(batches)) == 39


def test_workers_outlive_signals_that_come_before_they_have_settled_in(
    numbered: Path, numbers: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle_in = stream_module._settle_in

    def signalled(worker: int) -> None:
        for number in stream_module._STOPS:
            os.kill(os.getpid(), number)
        settle_in(worker)

    monkeypatch.setattr(stream_module, "_settle_in", signalled)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert len(consume(open_stream(str(numbered), numbers, workers=2), 0, 4 * GLOBAL)) == 4
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask


def test_closing_ends_the_workers(numbered: Path, numbers: Tokenizer) -> None:
    batches = open_stream(str(numbered), numbers, workers=2).batches(0, 400 * GLOBAL)
    next(batches)
    assert len(multiprocessing.active_children()) == 2
    batches.close()
    assert multiprocessing.active_children() == []


def test_a_program_that_ends_with_batches_open_ends(numbered: Path) -> None:
    script = f"""
from mammut_clip.config.data import DataConfig
from mammut_clip.data.stream import open_train_stream
from mammut_clip.data.text import ClipTokenizer
config = DataConfig(train=[{str(numbered)!r}], workers=2)
stream = open_train_stream(config, ClipTokenizer(77), image_size=8, seed=3, global_batch_size=24)
batches = stream.batches(0, 24_000)
next(batches)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")


def test_positions_and_batches_that_cannot_be_shared_are_refused(numbered: Path, numbers: Tokenizer) -> None:
    for start, stop in ((0, 25), (5, 24), (48, 24), (-24, 24)):
        with pytest.raises(InputError, match="multiples of the global batch size 24"):
            list(open_stream(str(numbered), numbers).batches(start, stop))
    with pytest.raises(InputError, match="24 over 5 ranks"):
        open_stream(str(numbered), numbers, 0, 5)
    with pytest.raises(InputError, match="rank 2 of 2"):
        open_stream(str(numbered), numbers, 2, 2)
    for workers in (0, 2):
        assert list(open_stream(str(numbered), numbers, workers=workers).batches(24, 24)) == []


def test_seconds_are_counted_by_stage(numbered: Path, numbers: Tokenizer) -> None:
    for workers in (0, 2):
        [batch] = consume(open_stream(str(numbered), numbers, workers=workers), 0, GLOBAL)
        for stage in ("read", "decode", "tokenize", "other"):
            assert getattr(batch.seconds, stage) > 0
