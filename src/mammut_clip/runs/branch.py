"""Branches: a run cooled down from an intermediate checkpoint of a run with a constant learning rate.

One constant run yields every smaller budget (Hägele et al. 2024, arXiv:2405.18392): up to the cooldown the branch would
have trained exactly as its parent did, so it begins with the parent's checkpoint.

    runs/<sweep>/<branch>/config.yaml                       branched_from says where it comes from
    runs/<sweep>/<branch>/lineage.json                      the tokenizer and samples it must go on with
    runs/<sweep>/<branch>/checkpoints/<samples>/            hard links to the parent's files: they stay if it prunes
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path

from mammut_clip.config.atomic import disk_errors
from mammut_clip.config.errors import ConfigError, InputError, Problem
from mammut_clip.config.load import apply_overrides, validate
from mammut_clip.config.quantity import format_quantity, parse_quantity
from mammut_clip.config.run import Branch, RunConfig
from mammut_clip.runs.layout import Checkpoint, RunDir, SweepDir
from mammut_clip.runs.lease import hold_lease

_OWN_KEYS = ("name", "sweep", "checkpoint", "evaluation", "logging", "parallel", "non_finite")
"""What a branch may have of its own: where it stands, how it is watched and spread; not what it learns."""


def create_branch(source: str, cooldown: str, overrides: Sequence[str], runs_root: Path) -> RunDir:
    """The run that begins with the checkpoint `source` (RUN@SAMPLES) and cools down linearly to zero.

    `cooldown` is a share of the branch's whole budget (`10%`) or a number of samples (`12.8M`). Overrides are KEY=VALUE
    of the name, the sweep, checkpoint.*, evaluation.*, logging.*, parallel.* and non_finite.*. The same call again
    gives back the same run, also when the parent has removed its checkpoint; if the run has lost its own since, it gets
    the parent's again.

    Raises InputError where there is no such checkpoint or it does not lie on a constant schedule, RunIsLockedError
    where another process makes the branch now, ConfigError for other overrides and where another run has the name.
    """
    folder, samples = parse_point(source)
    parent = RunDir.at(folder)
    _check_overrides(overrides)
    start = _checkpoint_at(parent, samples)
    if start is None:
        return _earlier_branch(parent, samples, cooldown, overrides, runs_root)
    config = _config_of(parent, start.samples_seen, cooldown, overrides)
    run = RunDir(runs_root / config.sweep / config.name)
    if _is_there(config, run, runs_root):
        return run
    with hold_lease(run.lock_file):
        if _is_there(config, run, runs_root):  # another process has made it since, perhaps of another config
            return run
        _write_lineage(parent, run)
        _bring(start, run)
        # The config comes last: without its checkpoint, the folder is no run that could be trained from first weights.
        return run if run.config_file.is_file() else RunDir.create(runs_root, config)


def parse_point(source: str) -> tuple[Path, int]:
    """`runs/s/r@1.28M` -> its folder and 1280000. Raises InputError for anything else."""
    folder, _, quantity = source.rpartition("@")
    try:
        if folder:
            return Path(folder), parse_quantity(quantity)
    except ValueError:
        pass
    raise InputError(f"{source}: expected RUN@SAMPLES, a run directory and a point of its clock: runs/s/r@1.28M")


def _check_overrides(overrides: Sequence[str]) -> None:
    keys = {override.partition("=")[0].strip(): override.partition("=")[2] for override in overrides}
    expected = f"a branch takes this from its parent; it may have {', '.join(_OWN_KEYS)} of its own"
    problems = [Problem(key, expected, value) for key, value in keys.items() if key.split(".")[0] not in _OWN_KEYS]
    if problems:
        raise ConfigError("command line", problems)


def _checkpoint_at(parent: RunDir, samples: int) -> Checkpoint | None:
    """The first usable checkpoint within one batch at or after a point; checkpoints lie at the ends of batches."""
    stop = samples + parent.config.global_batch_size
    found = [checkpoint for checkpoint in parent.checkpoints if samples <= checkpoint.samples_seen < stop]
    damage = {checkpoint: checkpoint.damage() for checkpoint in found}
    whole = [checkpoint for checkpoint in found if damage[checkpoint] is None]
    broken = [checkpoint for checkpoint in found if checkpoint.is_complete]  # the others were removed meanwhile
    if broken and not whole:
        raise InputError(f"{broken[0].path}: this checkpoint cannot be used: {damage[broken[0]]}")
    return whole[0] if whole else None


def _earlier_branch(parent: RunDir, samples: int, cooldown: str, overrides: Sequence[str], runs_root: Path) -> RunDir:
    """The branch that was made when the parent still had its checkpoint. Raises InputError where there is none."""
    sweep = apply_overrides({"sweep": parent.config.sweep}, list(overrides))["sweep"]
    stop = samples + parent.config.global_batch_size
    for run in SweepDir(runs_root / str(sweep)).runs():
        origin = _origin(run)
        if origin is not None and origin.name == _full_name(parent) and samples <= origin.samples_seen < stop:
            config = _config_of(parent, origin.samples_seen, cooldown, overrides)
            if config.name == run.name:
                _check_same(config, run, runs_root)
                return run
    raise parent.no_checkpoint_at(samples)


def _origin(run: RunDir) -> Branch | None:
    try:
        return run.config.branched_from
    except ConfigError:  # of another version
        return None


def _config_of(parent: RunDir, point: int, cooldown: str, overrides: Sequence[str]) -> RunConfig:
    _check_constant(parent, point)
    config = parent.config
    budget = _budget(point, cooldown, config.global_batch_size)
    schedule = {"kind": "const_cooldown", "warmup": config.schedule.warmup, "cooldown": budget - point}
    branch = Branch(run=str(parent.path), name=_full_name(parent), samples_seen=point)
    values = config.model_dump(mode="json") | {
        "name": f"{config.name}-cooldown-{format_quantity(budget)}",
        "samples_seen": budget,
        "schedule": schedule,
        "branched_from": branch.model_dump(mode="json"),
    }
    source = f"the branch of {parent.path}" + (f" with {' '.join(overrides)}" if overrides else "")
    return validate(RunConfig, apply_overrides(values, list(overrides)), source)


def _check_constant(parent: RunDir, point: int) -> None:
    """Raise InputError where the learning rate at a point of the parent is not its peak."""
    schedule, here = parent.config.schedule, f"{parent.path} at {format_quantity(point)} samples"
    if schedule.kind == "cosine":
        raise InputError(
            f"{here}: its schedule is cosine, on which the learning rate falls from the warm-up on, and no checkpoint "
            "is one of a shorter run; train one with schedule.kind=const and branch off that"
        )
    if point < schedule.warmup:
        raise InputError(
            f"{here}: the learning rate warms up until {format_quantity(schedule.warmup)}; take a later checkpoint"
        )
    cools_from = parent.config.total_samples - schedule.cooldown
    if point > cools_from:
        raise InputError(
            f"{here}: its own cooldown began at {format_quantity(cools_from)}; take a checkpoint up to there"
        )


def _budget(point: int, cooldown: str, batch: int) -> int:
    """Samples seen at the end of a branch that begins at `point`, in whole batches."""
    try:
        if cooldown.strip().endswith("%"):
            share = Decimal(cooldown.strip()[:-1]) / 100
            if not (share.is_finite() and 0 < share < 1):
                raise ValueError
            whole = Decimal(point) / (1 - share)
        else:
            whole = Decimal(point + parse_quantity(cooldown))
    except (ValueError, InvalidOperation) as error:
        raise InputError(
            f"--cooldown {cooldown}: expected a share of the whole budget between 0% and 100%, such as 10%, "
            "or a number of samples, such as 12.8M"
        ) from error
    budget = round(whole / batch) * batch
    if budget <= point:
        raise InputError(f"--cooldown {cooldown}: this is less than one batch of {batch} samples")
    return budget


def _is_there(config: RunConfig, run: RunDir, runs_root: Path) -> bool:
    """Whether the branch was made before and has a usable checkpoint. Raises ConfigError as _check_same."""
    if not run.config_file.is_file():
        return False
    _check_same(config, run, runs_root)
    return any(checkpoint.damage() is None for checkpoint in run.checkpoints)


def _check_same(config: RunConfig, run: RunDir, runs_root: Path) -> None:
    """Raise ConfigError where a run of another config has the name; the path of the parent may be spelled otherwise."""
    mine, there = config.branched_from, run.config.branched_from
    if mine is not None and there is not None and mine.name == there.name:
        config = config.model_copy(update={"branched_from": mine.model_copy(update={"run": there.run})})
    RunDir.create(runs_root, config)


def _write_lineage(parent: RunDir, run: RunDir) -> None:
    lineage = parent.lineage
    if lineage is None:
        raise InputError(
            f"{parent.manifest_file}: cannot be read; it says which samples the run was trained on, with which its "
            "branch must go on"
        )
    lineage.write(run.lineage_file)


def _bring(start: Checkpoint, run: RunDir) -> None:
    """Link a checkpoint into another run: all of it or nothing. Raises InputError where it is removed meanwhile."""
    place = run.checkpoint(start.samples_seen).path
    unfinished = place.with_name(f".{start.samples_seen}.unfinished")  # as the trainer names what it will clear away
    with disk_errors(place):
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            for source, target in _files(start.path, unfinished):
                target.parent.mkdir(parents=True, exist_ok=True)
                _link(source, target)
        except FileNotFoundError as error:
            raise InputError(f"{start.path}: this checkpoint was removed while it was read") from error
        damage = Checkpoint(start.samples_seen, unfinished).damage()
        if damage is not None:
            raise InputError(f"{start.path}: this checkpoint was removed while it was read ({damage})")
        shutil.rmtree(place, ignore_errors=True)
        unfinished.rename(place)


def _files(folder: Path, copy: Path) -> Iterator[tuple[Path, Path]]:
    """Each file of a folder, and where it would stand in a copy of it."""
    for at, _, names in os.walk(folder):
        for name in names:
            source = Path(at) / name
            yield source, copy / source.relative_to(folder)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # another file system, another owner, or no links there
        shutil.copyfile(source, target)


def _full_name(run: RunDir) -> str:
    return f"{run.config.sweep}/{run.config.name}"
