"""Rows of metrics for TensorBoard."""

from typing import Any

from mammut_clip.runs.layout import RunDir
from mammut_clip.train.sinks.handed_over import HandedOver


class TensorBoardSink:
    """Event files in <run>/tensorboard; what an attempt writes anew replaces what stood there."""

    def __init__(self, run: RunDir, start: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # its package is an extra

        folder = run.path / "tensorboard"
        self._handed = HandedOver(folder / "handed.jsonl")
        self._handed.note(min(start, self._handed.last))
        self._writer = SummaryWriter(str(folder), purge_step=self._handed.last + 1)
        for row in self._handed.missing(run.metrics_file):
            self.write(row)

    def write(self, row: dict[str, Any]) -> None:
        step = row["samples_seen"]
        for name, value in row.items():
            if value is not None and name != "samples_seen":
                self._writer.add_scalar(name, value, step, walltime=row["time"])
        self._writer.flush()  # a row that only the memory holds would be lost with the process
        self._handed.note(step)

    def close(self, completed: bool) -> None:
        self._writer.close()
