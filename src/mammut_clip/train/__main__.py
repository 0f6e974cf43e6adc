"""`python -m mammut_clip.train TARGET... [KEY=VALUE...]`, alone, under torchrun or under srun.

A target is a config file, a name in configs/train/, or a run directory. Several targets are trained one after another
in the same process, which saves start-up where runs are short. Here training and evaluation are wired together.
"""

import argparse
import json
import sys
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from mammut_clip.config.errors import ConfigError, InputError, Problem, RunInterruptedError
from mammut_clip.config.files import find_file
from mammut_clip.config.load import apply_overrides, read_mapping, to_yaml, validate
from mammut_clip.config.run import RunConfig
from mammut_clip.exits import guarded
from mammut_clip.runs.layout import RunDir
from mammut_clip.runs.lock import hold


def resolve(target: str, overrides: Sequence[str]) -> RunConfig:
    """The complete, checked config of a config file, a shipped recipe or a run directory."""
    folder = Path(target)
    if folder.is_dir():
        if overrides:
            raise InputError(
                f"{target}: a run keeps the config it began with; overrides ({' '.join(overrides)}) cannot change it"
            )
        return RunDir.at(folder).config
    path = find_file("configs/train", target)
    values = apply_overrides(read_mapping(path), list(overrides))
    values.setdefault("name", path.stem)
    source = str(path) + (f" with {' '.join(overrides)}" if overrides else "")
    return validate(RunConfig, values, source)


def train_targets(
    targets: Sequence[str], overrides: Sequence[str], runs_root: Path, device: str | None = None
) -> tuple[list[dict[str, Any]], bool]:
    """Train every target that is not finished; what came of each, and whether this process is rank 0.

    Raises InputError before anything starts where any of them cannot be started. With one target its own error
    is raised; with several, failures are recorded and the next target is trained.
    """
    configs = [(target, resolve(target, overrides)) for target in targets]

    # torch is loaded only once the configs are known to be good
    from mammut_clip.distributed import start_process, stop_process
    from mammut_clip.evals.run import evaluation_callback

    process = start_process(device)
    try:
        for target, config in configs:
            config.check_world_size(process.world_size, target)
            _check_data(target, config)
        callbacks = [evaluation_callback(config) for _, config in configs]
        runs = [_run_dir(target, config, runs_root, process) for target, config in configs]
        pairs = zip(runs, callbacks, strict=True)
        outcomes = [_train_one(run, callback, process, alone=len(runs) == 1) for run, callback in pairs]
        return outcomes, process.is_main
    finally:
        stop_process()


def _check_data(target: str, config: RunConfig) -> None:
    """Raise InputError where training data or the place of their cache is not there: before a run directory exists."""
    from mammut_clip.data.shards.cache import expand_folder
    from mammut_clip.data.shards.sources import expand_sources

    problems = []
    for number, dataset in enumerate(config.data.datasets):
        try:
            expand_sources(dataset.sources)
        except InputError as error:
            is_mixture = dataset in config.data.train
            problems.append(Problem(f"data.train.{number}.sources" if is_mixture else "data.train", str(error)))
    if problems:
        raise ConfigError(target, problems)
    if config.data.cache is not None:
        expand_folder(config.data.cache.folder)


def _run_dir(target: str, config: RunConfig, runs_root: Path, process: Any) -> RunDir:
    """The run's directory; rank 0 makes it, the others wait."""
    if Path(target).is_dir():
        return RunDir.at(Path(target))
    if process.is_main:
        RunDir.create(runs_root, config)
    process.wait_for_all()
    return RunDir.create(runs_root, config)


def _train_one(run: RunDir, callback: Any, process: Any, *, alone: bool) -> dict[str, Any]:
    from mammut_clip.train.trainer import Trainer

    if run.status.state == "finished":
        return _outcome(run, "was finished before")
    try:
        with hold(run.lock_file) if process.is_main else nullcontext():
            if run.status.state != "finished":  # another process may have finished it since
                Trainer(run, process, callback).train()
        process.wait_for_all()  # rank 0 has written the status that the others read below
        return _outcome(run, "finished")
    except (RunInterruptedError, KeyboardInterrupt):
        raise
    except InputError as error:
        if alone:
            raise
        return _outcome(run, str(error))
    except Exception:
        traceback.print_exc()
        return _outcome(run, "failed")


def _outcome(run: RunDir, note: str) -> dict[str, Any]:
    status = run.status
    evals = {f"{task}@{samples}": record.metrics for (samples, task), record in run.evals.items()}
    last = run.metrics[-1:] or [{}]
    return {
        "run": str(run.path),
        "note": note,
        **status.model_dump(mode="json"),
        "last_row": last[0],
        "evals": evals,
    }


def exit_code(outcomes: list[dict[str, Any]]) -> int:
    """0 where every run is finished, 3 otherwise."""
    return 0 if all(outcome["state"] == "finished" for outcome in outcomes) else 3


def show(outcome: dict[str, Any]) -> None:
    """Print what came of a run."""
    loss = outcome["last_row"].get("loss")
    shown = "" if loss is None else f", loss {loss:.4f}"
    error = f": {outcome['last_error']}" if outcome["last_error"] else ""
    print(f"{outcome['run']}: {outcome['note']} at {outcome['samples_seen']} samples{shown}{error}")
    for task, metrics in outcome["evals"].items():
        print(f"  {task}: " + "  ".join(f"{name} {value:.4f}" for name, value in metrics.items()))


def run(
    arguments: Sequence[str],
    runs_root: Path,
    *,
    print_config: bool = False,
    as_json: bool = False,
    device: str | None = None,
) -> int:
    """Train what the command line asks for; the exit code. Arguments with `=` are overrides, the others targets."""
    overrides = [argument for argument in arguments if "=" in argument and not Path(argument).exists()]
    targets = [argument for argument in arguments if argument not in overrides]
    if not targets:
        raise InputError("expected a config file, a name in configs/train/ or a run directory")
    if print_config:
        for target in targets:
            print(to_yaml(resolve(target, overrides)), end="")
        return 0
    outcomes, is_main = train_targets(targets, overrides, runs_root, device)
    if is_main and as_json:
        print(json.dumps(outcomes, indent=2))
    elif is_main:
        for outcome in outcomes:
            show(outcome)
    return exit_code(outcomes)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of `python -m mammut_clip.train`."""
    parser = argparse.ArgumentParser(prog="python -m mammut_clip.train", description=__doc__)
    parser.add_argument("arguments", nargs="+", metavar="TARGET|KEY=VALUE")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder that holds runs/<sweep>/<run>")
    parser.add_argument("--print-config", action="store_true", help="print the complete config and stop")
    parser.add_argument("--json", action="store_true", help="print one JSON document on standard output")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: a GPU where there is one")
    given = parser.parse_args(arguments)
    return guarded(
        lambda: run(
            given.arguments,
            given.runs,
            print_config=given.print_config,
            as_json=given.json,
            device=given.device,
        )
    )


if __name__ == "__main__":
    sys.exit(main())
