"""Rows of metrics for Weights & Biases."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from mammut_clip.config.run import RunConfig
from mammut_clip.runs.layout import RunDir
from mammut_clip.train.sinks.handed_over import HandedOver
from mammut_clip.train.sinks.wandb_log import history_steps

_FINISH_SECONDS = "60"
"""How long the end of a run may wait for the upload, unless the environment says otherwise; wandb before 0.26 has no
such limit."""


class WandbSink:
    """One run of Weights & Biases over all attempts, whose steps are samples seen.

    A row that it has got stays: what an attempt writes anew, because it began with an older checkpoint, is not sent.
    How far it got is known by its server, or, offline, by the files of the attempts before, since it holds rows back
    for a while and a killed process takes those along.
    """

    def __init__(self, run: RunDir, config: RunConfig) -> None:
        import wandb  # slow to import, and only wanted here

        os.environ.setdefault("WANDB_FINISH_TIMEOUT", _FINISH_SECONDS)
        folder = run.path / "wandb"
        self._handed = HandedOver(folder / "handed.jsonl")
        before = _newest(folder.glob(f"*run-*/run-{self._handed.id}.wandb"))
        self._run = wandb.init(
            project=config.logging.wandb_project,
            name=config.name,
            group=config.sweep,
            id=self._handed.id,
            resume="allow",
            mode=config.logging.wandb_mode,
            dir=str(run.path),
            config=config.model_dump(mode="json"),
        )
        if self._run.offline or self._run.disabled:
            self._handed.note(max([self._handed.last, *_steps(before)]))
        else:
            self._handed.note(max(0, self._run.starting_step - 1))
        self._last = self._handed.last
        for row in self._handed.missing(run.metrics_file):
            self.write(row)

    def write(self, row: dict[str, Any]) -> None:
        samples = row["samples_seen"]
        if samples > self._last:
            self._run.log({name: value for name, value in row.items() if value is not None}, step=samples, commit=True)
            self._last = samples

    def close(self, completed: bool) -> None:
        self._run.finish(exit_code=0 if completed else 1)
        if not self._run.disabled:  # a user's WANDB_MODE=disabled takes rows and keeps none
            self._handed.note(self._last)


def _newest(files: Iterable[Path]) -> Path | None:
    """That of the last attempt: a note covers those before it."""
    return max(files, key=lambda file: file.stat().st_mtime_ns, default=None)


def _steps(file: Path | None) -> Iterator[int]:
    """Those in an attempt's file, as far as it can be read."""
    with suppress(Exception):  # of a package whose format may change: then the note has to do
        if file is not None:
            yield from history_steps(file)
