"""What a row says of the data since the last one, and what goes to the quarantine files."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from mammut_clip.config.data import ShuffleConfig
from mammut_clip.data.bad_samples import Bad, BadSample
from mammut_clip.data.order.sample_order import DatasetCounts, SampleOrder
from mammut_clip.data.stream import Batch
from mammut_clip.distributed import Process
from mammut_clip.runs import quarantine
from mammut_clip.runs.layout import RunDir
from mammut_clip.runs.quarantine import Replaced
from mammut_clip.train.bad_sample_limit import TooManyBadSamplesError
from mammut_clip.train.data_watch import DataWatch

MakeRun = Callable[..., RunDir]
ONE = Process(0, 1, 0, torch.device("cpu"))
MIXTURE = [{"name": "web", "sources": "a", "weight": 3}, {"name": "books", "sources": "b"}]


def order(*sizes: int, weights: tuple[float, ...] = (1.0,)) -> SampleOrder:
    datasets = [DatasetCounts(np.array([size]), weight) for size, weight in zip(sizes, weights, strict=True)]
    return SampleOrder(datasets, 0, ShuffleConfig())


def batch(start: int, *bad: tuple[int, Bad]) -> Batch:
    samples = [BadSample(position, kind, "train", "s.tar", f"{kind}-{position}", "why") for position, kind in bad]
    return Batch(torch.zeros(4, 3, 2, 2, dtype=torch.uint8), torch.zeros(4, 5).long(), range(start, start + 4), samples)


def row_after(watch: DataWatch, batches: list[Batch], samples_seen: int) -> dict[str, Any]:
    assert list(watch.watch(iter(batches))) == batches
    return watch.row(watch.numbers(), samples_seen, 1.0)


def test_a_row_counts_what_came_since_the_last_by_kind(make_run: MakeRun) -> None:
    run = make_run()
    watch = DataWatch(run, order(100), ONE, 0)
    first = [batch(0), batch(4, (5, Bad.BROKEN_PICTURE), (5, Bad.NO_CAPTION), (7, Bad.BROKEN_PICTURE))]
    row = row_after(watch, first, 8)
    counts = {key: value for key, value in row.items() if "bad" in key}
    assert counts == {"bad_samples": 3, "bad_broken_picture": 2, "bad_no_caption": 1}
    row = row_after(watch, [batch(8, (9, Bad.LONG_CAPTION)), batch(12)], 16)
    assert {key: value for key, value in row.items() if "bad" in key} == {"bad_samples": 1, "bad_long_caption": 1}
    assert row_after(watch, [batch(16)], 20)["bad_samples"] == 0
    listed = [(one.position, one.kind, one.key) for one in quarantine.read(run.quarantine_folder)]
    assert listed == [
        (5, "broken_picture", "broken_picture-5"),
        (5, "no_caption", "no_caption-5"),
        (7, "broken_picture", "broken_picture-7"),
    ]


def test_nothing_bad_leaves_no_folder(make_run: MakeRun) -> None:
    run = make_run()
    row_after(DataWatch(run, order(100), ONE, 0), [batch(0), batch(4)], 8)
    assert not run.quarantine_folder.exists()


def test_what_lies_behind_the_start_is_dropped(make_run: MakeRun) -> None:
    run = make_run()
    entries = [Replaced(position, "missing", "train", "s.tar", "k", "why") for position in (3, 8, 9)]
    quarantine.append(run.quarantine_folder, 7, entries)  # of a rank that is no more
    DataWatch(run, order(100), ONE, 8)
    assert quarantine.read(run.quarantine_folder) == entries[:1]


def test_the_share_of_waiting_leaves_out_what_the_loop_does_itself(make_run: MakeRun) -> None:
    def slow() -> Iterator[Batch]:
        for start in range(0, 12, 4):
            time.sleep(0.03)
            yield batch(start)

    watch = DataWatch(make_run(), order(100), ONE, 0)
    began, used = time.perf_counter(), 0.0
    for _ in watch.watch(slow()):
        using = time.perf_counter()
        time.sleep(0.03)
        used += time.perf_counter() - using
    elapsed = time.perf_counter() - began
    numbers = watch.numbers()
    assert 0.09 <= numbers[0] <= elapsed - used
    assert watch.row(numbers, 12, elapsed)["data_wait"] == pytest.approx(numbers[0] / elapsed, abs=1e-4)
    assert watch.numbers()[0] == 0


def test_epochs_are_those_of_the_order(make_run: MakeRun) -> None:
    watch = DataWatch(make_run(), order(100), ONE, 0)
    assert row_after(watch, [], 250)["epochs"] == 2.5
    mixed = order(300, 50, weights=(3.0, 1.0))
    watch = DataWatch(make_run(name="mixed", data={"train": MIXTURE}), mixed, ONE, 0)
    row = row_after(watch, [], 400)
    assert "epochs" not in row
    assert [row["epochs_web"], row["epochs_books"]] == pytest.approx(mixed.epochs(400), abs=1e-6)
    assert row["epochs_web"] == pytest.approx(1.0, abs=0.02)
    assert row["epochs_books"] == pytest.approx(2.0, abs=0.1)


def test_what_an_attempt_takes_over_is_weighed_with_the_samples_it_was_met_in(make_run: MakeRun) -> None:
    """60 damaged samples of 12,768 that a stopped attempt had counted: few, though the next one begins with them."""
    run = make_run(samples_seen=25600, logging={"every": 12800})
    ours = DataWatch(run, order(100), ONE, 0)
    bad = [(position, Bad.BROKEN_PICTURE) for position in range(0, 12768, 212)][:60]
    assert list(ours.watch(iter([batch(0, *bad)])))
    counted = ours.numbers()
    resumed = DataWatch(run, order(100), ONE, 12768)
    assert resumed.row(counted, 12800, 1.0)["bad_samples"] == 60
    resumed.check_damage(12800)
    often = [12.0 * number for number in counted]
    resumed.row(often, 12832, 1.0)
    with pytest.raises(TooManyBadSamplesError, match="780 of 12,832 samples were damaged"):
        resumed.check_damage(12832)
