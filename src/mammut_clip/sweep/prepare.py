"""Plan -> run directories and launch/sweep.json: what a launch writes before anything starts.

Everything is checked before the first file is written. A second launch of thousands of runs reads none of their
configs: it compares digests.
"""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mammut_clip.config.errors import ConfigError, InputError
from mammut_clip.config.files import find_file, is_path
from mammut_clip.config.run import RunConfig
from mammut_clip.config.suites import resolve_evaluation
from mammut_clip.runs.layout import RunDir, SweepDir
from mammut_clip.runs.records import Status
from mammut_clip.sweep.plan import Plan, PlannedRun
from mammut_clip.sweep.stored import Launched, StoredRun, StoredSweep, stored_file

_WRITERS = 16
"""Threads that write run directories: each file waits for the disk."""


def prepare(plan: Plan, runs_root: Path, *, grow: bool = False, trainer: tuple[str, ...] | None = None) -> Launched:
    """Make the directories of the plan's runs under runs_root/<sweep>, and note the sweep as it is launched now.

    Runs of an earlier launch that the plan does not have stay where they are; they are noted as dropped, unless `grow`.
    With `grow` the sweep keeps its cluster, policy, evaluation and laws too. `trainer`: arguments of Python that start
    the trainer. Raises ConfigError or InputError, before anything is written, where a run's folder holds a run of
    another config, or where the suite or a law spec is not there.
    """
    sweep = SweepDir((runs_root / plan.sweep).resolve())
    before = StoredSweep.read(stored_file(sweep))
    known = {} if before is None else {run.id: run for run in before.runs}
    digests = {planned.id: config_digest(planned.config) for planned in plan.runs}
    stored = _stored(plan, before if grow else None, trainer)
    _check(plan, sweep, known, digests)
    with ThreadPoolExecutor(_WRITERS) as pool:
        list(pool.map(lambda planned: _write(sweep.run(planned.id), planned.config, runs_root), plan.runs))
    planned_runs = {planned.id: _stored_run(planned, digests[planned.id]) for planned in plan.runs}
    kept = {run.id: run if grow else run.model_copy(update={"dropped": True}) for run in known.values()}
    # An earlier run keeps its place in a sweep that grows; a launch puts the grid's order first.
    runs = kept | planned_runs if grow else planned_runs | {k: v for k, v in kept.items() if k not in planned_runs}
    stored = stored.model_copy(update={"runs": list(runs.values())})
    if stored != before:
        stored.write(stored_file(sweep))
    return Launched(sweep, stored)


def config_digest(config: RunConfig) -> str:
    """Digest of a config's values, whatever the layout of its file."""
    return hashlib.sha256(config.model_dump_json().encode()).hexdigest()


def _check(plan: Plan, sweep: SweepDir, known: dict[str, StoredRun], digests: dict[str, str]) -> None:
    problems = []
    for planned in plan.runs:
        run, earlier = sweep.run(planned.id), known.get(planned.id)
        if not run.config_file.is_file() or (earlier is not None and earlier.config_sha256 == digests[planned.id]):
            continue
        try:
            RunDir.create(sweep.path.parent, planned.config)  # writes nothing where there is one
        except ConfigError as error:
            problems.append(error)
    if problems:
        others = f"\n(and {len(problems) - 1} other runs)" if len(problems) > 1 else ""
        raise InputError(f"{problems[0]}{others}") from problems[0]


def _write(run: RunDir, config: RunConfig, runs_root: Path) -> None:
    if not run.config_file.is_file():
        RunDir.create(runs_root, config)
    if not run.status_file.exists():
        Status(total_samples=config.total_samples).write(run.status_file)


def _stored(plan: Plan, before: StoredSweep | None, trainer: tuple[str, ...] | None) -> StoredSweep:
    """The sweep without its runs."""
    if before is not None:
        return before.model_copy(update={"source": f"{before.source}; added: {plan.source}"})
    config, evaluation, tasks = plan.config, plan.config.evaluation, list[str]()
    if evaluation is not None:
        evaluation, tasks = resolve_evaluation(evaluation, source=plan.source)
    stored = StoredSweep(
        name=plan.sweep,
        source=plan.source,
        cluster=plan.cluster,
        policy=config.policy,
        evaluation=evaluation,
        evaluation_tasks=tasks,
        laws=[_absolute(name, plan.source) for name in config.laws],
        runs_per_job=config.runs_per_job,
        directory=str(Path.cwd()),
        runs=[],
    )
    return stored if trainer is None else stored.model_copy(update={"trainer": trainer})


def _absolute(law: str, source: str) -> str:
    """A law spec by a name or path that holds in any working directory. Raises ConfigError where it is not there."""
    file = find_file("fit", law, source=source, key="laws")
    return str(file.absolute()) if is_path(Path(law)) else law


def _stored_run(planned: PlannedRun, digest: str) -> StoredRun:
    model = planned.config.model
    return StoredRun(
        id=planned.id,
        config_sha256=digest,
        model=model.name,
        family=model.architecture.family,
        gpus=planned.gpus,
        seconds=planned.seconds,
        total_samples=planned.config.total_samples,
        steps=planned.steps,
    )
