"""The toy world on disk: training shards, and evaluation sets in CLIP_benchmark's layout.

Bytes depend on the recipe alone (seed, sizes), which is written beside them as `toy.json`. Writing again
continues where it stopped; a folder that holds another recipe is refused.

    python -m mammut_clip.data.toy_shards         # prints samples written per second on one core, as JSON
"""

import io
import json
import signal
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from mammut_clip.config.atomic import write_text
from mammut_clip.config.errors import InputError
from mammut_clip.data import toy_world
from mammut_clip.data.shards.index import ShardIndex
from mammut_clip.data.shards.shard_writer import (
    SHARD_COUNT,
    ShardSetWriter,
    eval_key,
    eval_shard_name,
    train_shard_name,
    write_eval_description,
)
from mammut_clip.data.toy_words import PROMPTS, SHAPES, caption, held_out_pairs, pair_name
from mammut_clip.data.toy_world import Scene, ToySample, ToyWorld, encode_jpeg

RECIPE = "toy.json"
_TRAINING_MASKS = 5
"""Pictures with masks to train on, per picture to test on."""
_FIRST_TRAINING_MASK = 1 << 20
"""Number of the first of them, far from those that are tested."""
_VERSION = 2  # of what the world draws and says: raise it with every change to either
Progress = Callable[[int, int], None]


def write_toy_train(
    folder: Path,
    samples: int,
    seed: int = 0,
    samples_per_shard: int = 2048,
    image_size: int = 32,
    *,
    processes: int = 1,
    progress: Progress | None = None,
) -> ShardIndex:
    """Write training shards `00000.tar`, ... and their index; shards that are there already are kept.

    `progress(done, samples)` is called after each shard. Raises InputError where the folder holds another
    recipe.
    """
    if samples < 1 or samples_per_shard < 1:
        raise InputError(f"{samples} samples in shards of {samples_per_shard}: expected 1 or more of each")
    world = ToyWorld(seed, image_size)
    _claim(
        folder,
        {"samples": samples, "seed": seed, "samples_per_shard": samples_per_shard, "image_size": image_size},
    )
    starts = range(0, samples, samples_per_shard)
    paths = [folder / train_shard_name(number) for number in range(len(starts))]
    jobs = [
        (path, world, start, min(start + samples_per_shard, samples))
        for path, start in zip(paths, starts, strict=True)
        if not path.exists()
    ]
    done = samples - sum(stop - start for _, _, start, stop in jobs)
    for written in _run(jobs, processes):
        done += written
        if progress is not None:
            progress(done, samples)
    return ShardIndex.of_sources([str(path) for path in paths])


_Job = tuple[Path, ToyWorld, int, int]


def _run(jobs: list[_Job], processes: int) -> Iterable[int]:
    if processes <= 1 or len(jobs) <= 1:
        yield from map(_write_train_shard, jobs)
        return
    # Spawned, not forked: the caller may hold threads (torch, a progress bar).
    context = get_context("spawn")
    with ProcessPoolExecutor(min(processes, len(jobs)), context, _leave_interrupts_to_the_parent) as pool:
        try:
            for future in as_completed([pool.submit(_write_train_shard, job) for job in jobs]):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _write_train_shard(job: _Job) -> int:
    path, world, start, stop = job
    with ShardSetWriter(path.parent, stop - start, lambda _: path.name) as writer:
        for first in range(start, stop, 256):
            for index, sample in enumerate(world.samples(toy_world.TRAIN, first, min(first + 256, stop)), start=first):
                writer.add(f"{index:09d}", {"jpg": encode_jpeg(sample.image), "txt": sample.caption.encode()})
    return stop - start


def write_toy_evals(
    folder: Path,
    seed: int = 0,
    image_size: int = 32,
    *,
    pairs_per_class: int = 50,
    retrieval: int = 1000,
    segmentation: int = 200,
) -> list[Path]:
    """Write wds_toy_pairs, wds_toy_retrieval and wds_toy_segmentation below `folder`; returns their folders.

    wds_toy_pairs is zero-shot classification over the 32 pairs of shape and colour that training never shows
    or names. wds_toy_retrieval has one caption per picture, no two alike. wds_toy_segmentation has masks
    `.npy` of uint8 [H, W], whose values are line numbers of classnames.txt (0 is background); beside its test split
    it has one to train on, `train`, five times as large.
    """
    world = ToyWorld(seed, image_size)
    common = {"seed": seed, "image_size": image_size}
    sets = []
    target = folder / "wds_toy_pairs"
    if _claim(target, common | {"samples": pairs_per_class * len(held_out_pairs())}):
        _write_pairs(target, world, pairs_per_class)
    sets.append(target)
    target = folder / "wds_toy_retrieval"
    if _claim(target, common | {"samples": retrieval}):
        _write_retrieval(target, world, retrieval)
    sets.append(target)
    target = folder / "wds_toy_segmentation"
    fresh = _claim(target, common | {"samples": segmentation})
    if fresh or not (target / "train" / SHARD_COUNT).exists():  # sets of earlier versions have no such split
        _write_segmentation(target, world, segmentation)
    return [*sets, target]


def _write_pairs(folder: Path, world: ToyWorld, per_class: int) -> None:
    pairs = held_out_pairs()
    samples = world.samples(toy_world.PAIRS, 0, per_class * len(pairs), pairs=pairs)
    label = {pair: number for number, pair in enumerate(pairs)}
    shards = _write_eval(folder, [(s, "cls", str(label[s.pair]).encode()) for s in samples])
    names = [pair_name(pair) for pair in pairs]
    write_eval_description(folder, "test", shards, classnames=names, templates=list(PROMPTS))


def _write_retrieval(folder: Path, world: ToyWorld, count: int) -> None:
    chosen: list[tuple[ToySample, str, bytes]] = []
    taken: set[str] = set()
    start = 0
    while len(chosen) < count:
        for sample in world.samples(toy_world.RETRIEVAL, start, start + count):
            text = _full_caption(sample.scene)
            if text not in taken and len(chosen) < count:
                taken.add(text)
                chosen.append((sample, "txt", text.encode()))
        start += count
    shards = _write_eval(folder, chosen)
    write_eval_description(folder, "test", shards, dataset_type="retrieval")


def _full_caption(scene: Scene) -> str:
    """Without an opening, and with nothing unsaid: two scenes are alike only if their captions are."""
    main, other = (group and replace(group, unsaid="") for group in (scene.main, scene.other))
    assert main is not None
    return caption(main, scene.relation, other)


def _write_segmentation(folder: Path, world: ToyWorld, count: int) -> None:
    names, templates = ["background", *SHAPES], list(PROMPTS)
    for split, first, pictures in (("train", _FIRST_TRAINING_MASK, _TRAINING_MASKS * count), ("test", 0, count)):
        shards = _write_eval(folder, _with_masks(world, first, pictures), split)
        write_eval_description(
            folder, split, shards, dataset_type="segmentation", classnames=names, templates=templates
        )


def _with_masks(world: ToyWorld, first: int, count: int) -> list[tuple[ToySample, str, bytes]]:
    chosen = []
    for sample in world.samples(toy_world.SEGMENTATION, first, first + count):
        file = io.BytesIO()
        np.save(file, sample.mask)
        chosen.append((sample, "npy", file.getvalue()))
    return chosen


def _write_eval(folder: Path, samples: list[tuple[ToySample, str, bytes]], split: str = "test") -> int:
    """One shard of pictures with their targets; returns the number of shards."""
    with ShardSetWriter(folder / split, len(samples), eval_shard_name) as writer:
        for number, (sample, extension, target) in enumerate(samples):
            writer.add(eval_key(number), {"jpg": encode_jpeg(sample.image), extension: target})
    return writer.shards


def _claim(folder: Path, recipe: dict[str, int]) -> bool:
    """Mark a folder as holding this recipe; returns whether an evaluation set in it is still to be
    written."""
    full = {"toy_world": _VERSION, **recipe}
    path = folder / RECIPE
    if path.exists():
        try:
            found = json.loads(path.read_text())
        except ValueError:
            found = "something unreadable"
        if found != full:
            raise InputError(f"{folder} holds another toy world: {found} instead of {full}; expected an empty folder")
        return not (folder / "test" / SHARD_COUNT).exists()
    if folder.is_dir() and any(folder.glob("*.tar")):
        raise InputError(f"{folder} holds shards that are not the toy world's; expected an empty folder")
    write_text(path, json.dumps(full) + "\n")
    return True


def measure(samples: int = 8192) -> dict[str, float]:
    """Samples drawn, encoded, written and indexed per second of CPU time on one core."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        write_toy_train(Path(folder) / "toy", samples)
        return {"samples": samples, "samples_per_cpu_second": samples / (time.process_time() - started)}


if __name__ == "__main__":
    print(json.dumps(measure()))
