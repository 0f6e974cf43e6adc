"""A dry run on a terminal: one line for each thing that somebody may want to know before it starts."""

from collections.abc import Iterator

from mammut_clip.config.quantity import format_quantity
from mammut_clip.cost.layouts import Spread
from mammut_clip.dry_run import DryRun
from mammut_clip.sweep.show import format_duration


def dry_run_text(run: DryRun) -> str:
    """The lines, and the warnings below them."""
    width = max(len(name) for name, _ in _lines(run)) + 2
    lines = [f"{name:<{width}}" + text.replace("\n", "\n" + " " * width) for name, text in _lines(run)]
    return "\n".join([*lines, *(f"warning: {warning}" for warning in run.warnings)])


def _lines(run: DryRun) -> Iterator[tuple[str, str]]:
    config, count, gflops = run.config, run.parameters, run.gflops
    model, schedule = config.model, config.schedule
    yield "run", config.name
    yield (
        "model",
        f"{model.name} ({model.architecture.family}), {count.total / 1e6:,.4g}M parameters: image "
        f"{count.image / 1e6:,.4g}M, text {count.text / 1e6:,.4g}M",
    )
    yield "samples seen", _samples(run)
    ramps = [f"warm-up {_span(run, schedule.warmup)}"] if schedule.warmup else ["no warm-up"]
    ramps += [f"cooldown {_span(run, schedule.cooldown)}"] if schedule.cooldown else []
    yield "learning rate", f"{schedule.kind}, peak {config.optimizer.lr:g}, {', '.join(ramps)}"
    yield (
        "compute",
        f"paper {gflops.paper:,.4g} GFLOPs per sample, {gflops.paper * run.samples:.3g} in all; exact, forward and "
        f"backward, {gflops.exact_step:,.4g} per sample, {gflops.exact_step * run.samples:.3g} in all",
    )
    yield "memory", _memory(run)
    yield "checkpoints", _checkpoints(run)
    suite, every = config.evaluation.suite, config.evaluation.every
    yield (
        "evaluations",
        "none here (evaluation.suite: null)"
        if suite is None
        else f"{run.evaluations} of suite {suite}, {'at the end' if every is None else _every(every)}",
    )
    yield "log rows", f"{run.rows:,}, {_every(config.logging.every)}"
    yield "time", _time(run)


def _samples(run: DryRun) -> str:
    config = run.config
    share = config.global_batch_size // run.processes
    text = f"{_quantity(config.total_samples)} in {run.steps:,} steps of {config.global_batch_size:,}"
    if run.samples != config.total_samples:
        text += f", from {_quantity(config.total_samples - run.samples)} on"
    if run.processes > 1:
        text += f", {share:,} on each of {run.gpus} GPUs"
    micro = config.parallel.micro_batch_size
    return text + (f", {micro:,} at a time" if micro is not None and micro < share else "")


def _quantity(samples: int) -> str:
    """`12.8M`, or `1,279,983,616` where no suffix fits."""
    short = format_quantity(samples)
    return f"{samples:,}" if short.isdigit() else short


def _span(run: DryRun, samples: int) -> str:
    return f"{format_quantity(samples)} ({samples / run.config.global_batch_size:,.4g} steps)"


def _every(samples: int) -> str:
    return f"every {format_quantity(samples)} samples"


def _memory(run: DryRun) -> str:
    parallel = run.config.parallel
    if any(spread.memory is None for spread in run.spreads):
        return f"{' or '.join(map(_named, run.spreads))}; not known for towers of other packages"
    lines = [_needed(spread) for spread in run.spreads]
    lines[0] += f"; a process, in {parallel.precision}, recompute {parallel.recompute}"
    if len(run.spreads) > 1:
        lines.append("auto takes the first that leaves a fifth of a GPU's memory")
    return "\n".join(lines)


def _needed(spread: Spread) -> str:
    assert spread.memory is not None
    parts = {
        "state": spread.memory.state,
        "activations": spread.memory.activations,
        "the rest": spread.memory.total - spread.memory.state - spread.memory.activations,
    }
    shown = ", ".join(f"{name} {value:.3g}" for name, value in parts.items())
    return f"{_named(spread)} {spread.memory.total:.3g} GB ({shown})"


def _named(spread: Spread) -> str:
    return spread.mode if spread.mode != "hsdp" else f"hsdp over {spread.shards} each"


def _checkpoints(run: DryRun) -> str:
    config, found = run.config, run.checkpoints
    when = []
    if config.checkpoint.every is not None:
        when.append(f"{_every(config.checkpoint.every)}, of which the last {config.checkpoint.keep_last} stay")
    if found.permanent:
        when.append(f"permanent at {', '.join(map(format_quantity, found.permanent))}")
    size = f"{found.bytes_each / 1e9:.3g} GB each, then {found.bytes_kept / 1e9:.3g} GB"
    return "\n".join([f"{found.written:,} written, {found.kept:,} in the end; {size}", *when])


def _time(run: DryRun) -> str:
    if run.price is None or run.place is None or run.samples_per_second is None:
        return "not known without --cluster"
    cluster, cost, speed = run.place, run.price, run.samples_per_second
    hours = f"{cost.gpu_hours:.3g} GPU-hours" if cost.gpus else f"{cost.core_hours:.3g} core-hours"
    per_gpu = f" ({speed / cost.gpus:,.4g} per GPU)" if cost.gpus > 1 else ""
    basis = {
        "measured": "as the paper's runs of this model",
        "formula": "by a formula from the paper's runs of other models",
        "efficiency": f"at {cluster.efficiency:.0%} of {cluster.peak_tflops:g} TFLOP/s",
    }[cost.basis]
    text = (
        f"{format_duration(cost.seconds)} on {_devices(cost.gpus, cost.cores)} of {run.cluster}, {hours}, "
        f"{speed:,.4g} samples/s{per_gpu}, {basis}"
    )
    limit = cluster.time_limit_minutes
    if limit is not None and cost.seconds > 60 * limit:
        text += f"; {-(-int(cost.seconds) // (60 * limit))} jobs of {format_duration(60 * limit)}"
    return text


def _devices(gpus: int, cores: int) -> str:
    number, name = (gpus, "GPU") if gpus else (cores, "core")
    return f"{number} {name}{'' if number == 1 else 's'}"
