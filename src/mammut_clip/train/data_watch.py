"""What the data cost and lacked: waiting, bad samples, epochs; for metrics.jsonl, quarantine files and the limit.

A source of rows (see sources.py).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from mammut_clip.config.run import RunConfig
from mammut_clip.data.bad_samples import Bad, BadSample
from mammut_clip.data.order.sample_order import SampleOrder
from mammut_clip.data.stream import Batch
from mammut_clip.distributed import Process
from mammut_clip.runs import quarantine
from mammut_clip.runs.layout import RunDir
from mammut_clip.train.bad_sample_limit import check_damage, damaged
from mammut_clip.train.waiting import Waiting

_KINDS = tuple(Bad)


class DataWatch:
    """Watches one rank's batches, and counts between two rows of metrics."""

    def __init__(self, run: RunDir, order: SampleOrder, process: Process, start: int) -> None:
        """`start`: samples seen before this attempt. Every rank makes one: rank 0 clears the quarantine files of what
        is behind it, before any rank writes."""
        self._run, self._order, self._process = run, order, process
        self._counted_from = _last_row(start, run.config)
        self._waiting = Waiting(process.device)
        self._bad: Counter[Bad] = Counter()
        self._damaged: Counter[Bad] = Counter()
        self._damaged_in_all: Counter[Bad] = Counter()  # over all ranks, as this attempt's rows count it
        if process.is_main:
            quarantine.rewind(run.quarantine_folder, start)
        process.wait_for_all()

    def watch(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The same batches; notes how long each is waited for and what was replaced in it."""
        while True:
            with self._waiting.here():
                batch = next(batches, None)
            if batch is None:
                return
            self._bad.update(sample.kind for sample in batch.bad)
            self._damaged.update(sample.kind for sample in damaged(batch.bad))
            # What a filter leaves out is only counted: it can be a tenth of a billion samples.
            listed = (_replaced(sample) for sample in batch.bad if not sample.kind.is_filtered)
            quarantine.append(self._run.quarantine_folder, self._process.rank, listed)
            yield batch

    def numbers(self) -> list[float]:
        """This rank's part of the next row, to be added up over ranks: seconds waited, then two counts of each kind."""
        counts = [float(counter[kind]) for counter in (self._bad, self._damaged) for kind in _KINDS]
        self._bad.clear()
        self._damaged.clear()
        return [self._waiting.take(), *counts]

    def row(self, sums: Sequence[float], samples_seen: int, seconds: float) -> dict[str, Any]:
        """The row's fields, from the sums of all ranks' `numbers` and the seconds since the last row."""
        waited = sums[0] / self._process.world_size
        bad, damaged_now = _by_kind(sums[1 : 1 + len(_KINDS)]), _by_kind(sums[1 + len(_KINDS) :])
        self._damaged_in_all += damaged_now
        return {
            "bad_samples": bad.total(),
            **{f"bad_{kind}": count for kind, count in bad.items()},
            "data_wait": round(min(1.0, waited / max(seconds, 1e-9)), 4),
            **self._epochs(samples_seen),
        }

    def _epochs(self, samples_seen: int) -> dict[str, float]:
        datasets, epochs = self._run.config.data.datasets, self._order.epochs(samples_seen)
        if len(datasets) == 1:
            return {"epochs": round(epochs[0], 6)}
        return {f"epochs_{dataset.name}": round(epoch, 6) for dataset, epoch in zip(datasets, epochs, strict=True)}

    def check_damage(self, samples_seen: int) -> None:
        """Raise TooManyBadSamplesError, on all ranks alike, where this attempt met too many until its last row."""
        check_damage(
            self._run, self._damaged_in_all, self._counted_from, samples_seen, name_shards=self._process.is_main
        )


def _last_row(start: int, config: RunConfig) -> int:
    """Samples seen at the last row that is due at or before `start`: an attempt's first row counts what came since."""
    due, batch = start // config.logging.every * config.logging.every, config.global_batch_size
    return -(-due // batch) * batch


def _by_kind(counts: Sequence[float]) -> Counter[Bad]:
    return Counter({kind: round(count) for kind, count in zip(_KINDS, counts, strict=True) if count})


def _replaced(sample: BadSample) -> quarantine.Replaced:
    return quarantine.Replaced(
        sample.position, sample.kind.value, sample.dataset, sample.shard, sample.key, sample.reason
    )
