"""`python -m mammut_clip.train TARGET... [KEY=VALUE...]`, alone, under torchrun or under srun.

A target is a config file, a name in configs/train/, or a run directory. Several targets are trained one after another
in the same process, which saves start-up where runs are short. Here training and evaluation are wired together.
"""

import argparse
import json
import sys
import traceback
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mammut_clip.config.errors import ConfigError, InputError, Problem, RunInterruptedError
from mammut_clip.config.files import find_file
from mammut_clip.config.load import apply_overrides, read_mapping, to_yaml, validate
from mammut_clip.config.run import RunConfig
from mammut_clip.exits import guarded
from mammut_clip.runs.branch import create_branch
from mammut_clip.runs.layout import RunDir
from mammut_clip.runs.lease import Lease, hold_lease
from mammut_clip.train.interrupt import InterruptWatch
from mammut_clip.train_options import HELP


def _is_run(target: str) -> bool:
    """Whether it is a run directory; another folder may well have the name of a recipe."""
    return RunDir(Path(target)).config_file.is_file()


def resolve(target: str, overrides: Sequence[str]) -> RunConfig:
    """The complete, checked config of a config file, a shipped recipe or a run directory."""
    if _is_run(target):
        if overrides:
            raise InputError(
                f"{target}: a run keeps the config it began with; overrides ({' '.join(overrides)}) cannot change it"
            )
        return RunDir.at(Path(target)).config
    path = find_file("configs/train", target)
    values = apply_overrides(read_mapping(path), list(overrides))
    values.setdefault("name", path.stem)
    source = str(path) + (f" with {' '.join(overrides)}" if overrides else "")
    return validate(RunConfig, values, source)


@dataclass(frozen=True)
class BranchRequest:
    """A run to be branched off another: `--from RUN@SAMPLES --cooldown 10%`."""

    source: str
    cooldown: str
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Start:
    """How to train, beside what."""

    runs_root: Path
    device: str | None = None
    profile: bool = False


def train_targets(
    targets: Sequence[str], overrides: Sequence[str], start: Start, branch: BranchRequest | None = None
) -> tuple[list[dict[str, Any]], bool]:
    """Train every target that is not finished, or the branch; what came of each, and whether this process is rank 0.

    Raises InputError before anything starts where any of them cannot be started. With one target its own error
    is raised; with several, failures are recorded and the next target is trained.
    """
    configs = [(target, resolve(target, overrides)) for target in targets]

    # torch is loaded only once the configs are known to be good
    from mammut_clip.distributed import start_process, stop_process
    from mammut_clip.distributed.collectives import on_main
    from mammut_clip.evals.training import evaluation_callback

    with InterruptWatch() as signals:
        process = start_process(start.device)
        try:
            if branch is not None:
                configs = [_branch_off(branch, start.runs_root)]
            on_main(lambda: _check_all_data(configs))
            for target, config in configs:
                _check_parts(target, config, process)
            callbacks = [evaluation_callback(config) for _, config in configs]
            runs = [on_main(partial(_run_dir, target, config, start.runs_root)) for target, config in configs]
            outcomes = []
            for run, callback in zip(runs, callbacks, strict=True):
                _stop_if_asked(signals, run, process)
                outcomes.append(
                    _train_one(run, callback, process, signals, profile=start.profile, alone=len(runs) == 1)
                )
            return outcomes, process.is_main
        except RunInterruptedError:
            signals.ignore_more()
            raise
        finally:
            stop_process()


def _branch_off(branch: BranchRequest, runs_root: Path) -> tuple[str, RunConfig]:
    """The directory of the branch, which rank 0 makes, and its config."""
    from mammut_clip.distributed.collectives import on_main

    path = on_main(lambda: str(create_branch(branch.source, branch.cooldown, branch.overrides, runs_root).path))
    return path, RunDir.at(Path(path)).config


def _stop_if_asked(signals: InterruptWatch, run: RunDir, process: Any) -> None:
    """Before a run: raise RunInterruptedError, on all ranks alike, where one of them got a signal."""
    from mammut_clip.train.agreement import Agreement

    (number,) = Agreement(process).reached(0, signals.received)
    if number:
        raise RunInterruptedError(number, run.status.samples_seen)


def _check_parts(target: str, config: RunConfig, process: Any) -> None:
    """Raise ConfigError where this job, or this installation, cannot do what the config asks for."""
    from mammut_clip.train.optimizer import check_optimizer
    from mammut_clip.train.sinks import check_sinks

    config.check_world_size(process.world_size, target)
    check_optimizer(config.optimizer, target)
    check_sinks(config)


def _check_all_data(configs: Sequence[tuple[str, RunConfig]]) -> None:
    for target, config in configs:
        _check_data(target, config)


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


def _run_dir(target: str, config: RunConfig, runs_root: Path) -> RunDir:
    """The run's directory, made if need be."""
    return RunDir.at(Path(target)) if _is_run(target) else RunDir.create(runs_root, config)


def _train_one(
    run: RunDir, callback: Any, process: Any, signals: InterruptWatch, *, profile: bool, alone: bool
) -> dict[str, Any]:
    from mammut_clip.distributed.collectives import on_main
    from mammut_clip.train.trainer import Trainer

    try:
        with ExitStack() as stack:
            leases: list[Lease] = []

            def begin() -> bool:
                """Whether there is something to do, which rank 0 then has the right to do."""
                if run.status.state != "finished":
                    leases.append(stack.enter_context(hold_lease(run.lock_file)))
                return run.status.state != "finished"  # another process may have finished it since

            if not on_main(begin):
                return _outcome(run, "was finished before")
            Trainer(run, process, callback, leases[0] if leases else None, profile, signals).train()
            process.wait_for_all()  # rank 0 has written the status that the others read below
            return _outcome(run, "finished")
    except (RunInterruptedError, KeyboardInterrupt):
        raise
    except InputError as error:
        if alone:
            raise
        return _outcome(run, str(error))
    except Exception:
        if alone:
            raise
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


@dataclass(frozen=True)
class Command:
    """What the command line asks for besides targets and overrides."""

    runs_root: Path = Path("runs")
    print_config: bool = False
    as_json: bool = False
    device: str | None = None
    branch_from: str | None = None
    cooldown: str | None = None
    profile: bool = False
    dry_run: bool = False
    gpus: int | None = None
    cluster: str | None = None


def run(arguments: Sequence[str], command: Command) -> int:
    """Train what the command line asks for; the exit code. Arguments with `=` are overrides, the others targets."""
    _check_dry_options(command)
    overrides = [argument for argument in arguments if "=" in argument and not Path(argument).exists()]
    targets = [argument for argument in arguments if argument not in overrides]
    branch = _branch(command, targets, overrides)
    if not targets and branch is None:
        raise InputError("expected a config file, a name in configs/train/ or a run directory; or --from RUN@SAMPLES")
    if command.print_config:
        for target in targets:
            print(to_yaml(resolve(target, overrides)), end="")
        return 0
    if command.dry_run:
        return _dry_run(targets, overrides, command)
    start = Start(command.runs_root, command.device, command.profile)
    outcomes, is_main = train_targets(targets, overrides if branch is None else [], start, branch)
    if is_main and command.as_json:
        print(json.dumps(outcomes, indent=2))
    elif is_main:
        for outcome in outcomes:
            show(outcome)
    return exit_code(outcomes)


def _check_dry_options(command: Command) -> None:
    given = {"--gpus": command.gpus, "--cluster": command.cluster}
    for name, value in given.items():
        if value is not None and not command.dry_run:
            raise InputError(f"{name} {value} belongs to --dry-run; a training runs on what it is started on")


def _dry_run(targets: Sequence[str], overrides: Sequence[str], command: Command) -> int:
    from mammut_clip.dry_run import dry_run
    from mammut_clip.dry_run_text import dry_run_text

    runs = [dry_run(resolve(target, overrides), command.gpus, command.cluster, source=target) for target in targets]
    if command.as_json:
        print(json.dumps([one.to_json_dict() for one in runs], indent=2))
    else:
        print("\n\n".join(dry_run_text(one) for one in runs))
    return 0


def _branch(command: Command, targets: Sequence[str], overrides: Sequence[str]) -> BranchRequest | None:
    if command.branch_from is None:
        if command.cooldown is not None:
            raise InputError(f"--cooldown {command.cooldown} belongs to --from RUN@SAMPLES")
        return None
    if targets:
        raise InputError(
            f"--from takes its config from the run it branches off; expected no other target, got {targets[0]}"
        )
    if command.cooldown is None:
        raise InputError("--from RUN@SAMPLES needs --cooldown, such as --cooldown 10% or --cooldown 12.8M")
    if command.print_config or command.dry_run:
        raise InputError("--print-config and --dry-run look at a config, --from begins a run: use them one by one")
    return BranchRequest(command.branch_from, command.cooldown, tuple(overrides))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of `python -m mammut_clip.train`."""
    parser = argparse.ArgumentParser(prog="python -m mammut_clip.train", description=__doc__)
    parser.add_argument("arguments", nargs="*", metavar="TARGET|KEY=VALUE")
    parser.add_argument("--runs", dest="runs_root", type=Path, default=Path("runs"), help=HELP["runs"])
    parser.add_argument("--print-config", action="store_true", help=HELP["print_config"])
    parser.add_argument("--json", dest="as_json", action="store_true", help=HELP["json"])
    parser.add_argument("--device", choices=("cpu", "cuda"), help=HELP["device"])
    parser.add_argument("--from", dest="branch_from", metavar="RUN@SAMPLES", help=HELP["from"])
    parser.add_argument("--cooldown", metavar="SHARE|SAMPLES", help=HELP["cooldown"].replace("%", "%%"))
    parser.add_argument("--profile", action="store_true", help=HELP["profile"])
    parser.add_argument("--dry-run", action="store_true", help=HELP["dry_run"])
    parser.add_argument("--gpus", type=int, help=HELP["gpus"])
    parser.add_argument("--cluster", help=HELP["cluster"])
    given = vars(parser.parse_intermixed_args(arguments))
    named = given.pop("arguments")
    return guarded(lambda: run(named, Command(**given)))


if __name__ == "__main__":
    sys.exit(main())
