"""A plan within a budget of GPU-hours."""

from dataclasses import replace

from mammut_clip.config.errors import InputError
from mammut_clip.sweep.plan import Plan


def within_budget(plan: Plan, max_gpu_hours: float | None, trim: bool) -> Plan:
    """The plan, if it is predicted to cost at most so many GPU-hours; None for no bound.

    Otherwise, with `trim`, the plan of its cheapest runs, as many as the budget pays for, in the grid's order; the
    others are its `left_out`. Raises InputError with what it would cost where `trim` is not given or no run is left,
    for `trim` without a bound, and for a cluster without GPUs, whose runs cost none.
    """
    if max_gpu_hours is None:
        if trim:
            raise InputError("--trim needs --max-gpu-hours, the budget that runs are left out for")
        return plan
    if plan.cluster.gpus_per_node == 0:
        raise InputError(f"{plan.source}: its cluster has no GPUs, so --max-gpu-hours bounds nothing")
    if (cost := plan.totals.gpu_hours) <= max_gpu_hours:
        return plan
    if not trim:
        raise InputError(
            f"{plan.source}: its {len(plan.runs)} runs are predicted to cost {format_hours(cost)} GPU-hours, more than "
            f"--max-gpu-hours {max_gpu_hours:,.10g}; with --trim the cheapest runs that fit are kept"
        )
    kept, spent = set[str](), 0.0
    for run in sorted(plan.runs, key=lambda run: run.gpu_hours):
        spent += run.gpu_hours
        if spent > max_gpu_hours:
            break
        kept.add(run.id)
    if not kept:
        cheapest = min(run.gpu_hours for run in plan.runs)
        raise InputError(
            f"{plan.source}: the cheapest run is predicted to cost {format_hours(cheapest)} GPU-hours, more than "
            f"--max-gpu-hours {max_gpu_hours:,.10g}"
        )
    return replace(
        plan,
        runs=[run for run in plan.runs if run.id in kept],
        left_out=(*plan.left_out, *(run for run in plan.runs if run.id not in kept)),
    )


def format_hours(hours: float) -> str:
    """`1,234`, `12.3` or `0.00456`."""
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.3g}"
