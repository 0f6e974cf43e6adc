"""Runs a module as `python -m` does, and writes down when each optimiser step ended and how long each save took.

python -m benchmarks.with_events EVENTS MODULE [the module's own arguments]

Hooks of PyTorch's own, the same for every trainer; imports nothing of ours, so that the peers' interpreter can run it.
A line of EVENTS is {"what": "step" | "save", "at": Unix time of its end, "seconds": of a save}. Saves are calls of
torch.save in the main thread, during which training stands still.
"""

import functools
import json
import runpy
import sys
import threading
import time
from pathlib import Path
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook


def write_events(path: Path) -> None:
    """From here on, to the end of the process."""
    lines = path.open("a", buffering=1)  # a line is there at once: the process may be killed

    def note(what: str, seconds: float) -> None:
        lines.write(json.dumps({"what": what, "at": time.time(), "seconds": seconds}) + "\n")

    def step_ended(*_: Any) -> None:
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()  # a step has ended when the device is done with it
        note("step", 0.0)

    save = torch.save

    @functools.wraps(save)
    def timed_save(*arguments: Any, **options: Any) -> None:
        began = time.perf_counter()
        save(*arguments, **options)
        if threading.current_thread() is threading.main_thread():
            note("save", time.perf_counter() - began)

    register_optimizer_step_post_hook(step_ended)
    torch.save = timed_save


if __name__ == "__main__":
    write_events(Path(sys.argv[1]))
    module, sys.argv = sys.argv[2], sys.argv[2:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
