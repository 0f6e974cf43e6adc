"""`python -m benchmarks.run`: run the benchmarks, write benchmarks/results/*.json and the table beside them.

Exit code 0 done, 2 bad input, 3 some benchmarks failed (the others ran, and their results are written).
"""

import argparse
import os
import sys
import time
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

from benchmarks import (
    caption_loss,
    captions,
    data,
    data_memory,
    data_start,
    evals,
    fit,
    fit_held_out,
    fit_simulation,
    machine,
    memory,
    models,
    start_up,
    sweep_status,
    toy_world,
    train,
    train_events,
)
from benchmarks.peers import peer_versions, peers_python
from benchmarks.result import Facts, Result, Settings, read_results, write_result
from benchmarks.table import table

# Each has QUESTION and measure(Settings) -> Measurement.
BENCHMARKS: dict[str, ModuleType] = {
    "start_up": start_up,
    "sweep_status": sweep_status,
    "fit": fit,
    "fit_held_out": fit_held_out,
    "fit_simulation": fit_simulation,
    "toy_world": toy_world,
    "data": data,
    "data_memory": data_memory,
    "data_start": data_start,
    "train": train,
    "train_events": train_events,
    "evals": evals,
    "models": models,
    "caption_loss": caption_loss,
    "captions": captions,
    "memory": memory,
}
BESIDE_PEERS = ("data", "train", "train_events", "evals")
"""Those that need the peers' environment."""
ON_A_DEVICE = ("train", "train_events", "models")
"""Those that --device moves; the others stay on the CPU."""
RESULTS = Path(__file__).parent / "results"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line; argparse ends with exit code 2 at what it does not know."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--list", action="store_true", help="print the benchmarks and stop")
    parser.add_argument("--only", action="append", choices=list(BENCHMARKS), metavar="NAME", help="may be repeated")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of train, train_events and models")
    parser.add_argument("--repeats", type=int, default=3, help="repetitions of each measurement (default 3)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where JSON files and table are written")
    parser.add_argument("--peers-python", type=Path, help="an interpreter that has the peers; default: .venv-peers")
    given = parser.parse_args(arguments)
    if given.repeats < 1:
        parser.error(f"--repeats {given.repeats}: expected 1 or more")
    return given


def measure(name: str, settings: Settings) -> Result:
    """Run one benchmark and add the conditions it ran under. Raises whatever it raises."""
    # Before the clock and the load average are read: installing takes minutes.
    peer = peer_versions(peers_python(settings.peers_python)) if name in BESIDE_PEERS else {}
    started, date, load = time.perf_counter(), datetime.now(UTC), os.getloadavg()
    found = BENCHMARKS[name].measure(settings)
    device = settings.device if name in ON_A_DEVICE else "cpu"
    command = f"python -m benchmarks.run --only {name} --repeats {settings.repeats}"
    commit, changed = machine.git_state()
    facts = Facts(
        date=date.isoformat(timespec="seconds"),
        seconds=round(time.perf_counter() - started, 1),
        command=command + (" --device cuda" if device == "cuda" else ""),
        git_commit=commit,
        uncommitted_changes=changed,
        cpu=machine.cpu_model(),
        cores=machine.cores(),
        memory_gb=machine.memory_gb(),
        device=machine.device_name(device),
        versions=machine.versions(),
        peer_versions=peer,
        load_before=load,
        load_after=os.getloadavg(),
    )
    label = f"{name}_{device}" if name in ON_A_DEVICE else name
    return Result(label, BENCHMARKS[name].QUESTION, found.rows, found.notes, facts)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    given = parse(arguments)
    if given.list:
        for name, module in BENCHMARKS.items():
            print(f"{name:16}{module.QUESTION}")
        return 0
    settings = Settings(given.device, given.repeats, given.peers_python, given.results)
    given.results.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in given.only or BENCHMARKS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            print(f"  {write_result(measure(name, settings), given.results)}", file=sys.stderr, flush=True)
        except Exception as error:
            traceback.print_exc()
            failed.append(f"{name}: {error}")
    page = table(read_results(given.results))
    (given.results / "README.md").write_text(page)
    print(page)
    for failure in failed:
        print(f"failed: {failure}", file=sys.stderr)
    return 3 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
