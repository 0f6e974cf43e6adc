"""What the probe's reports mean."""

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median

from mammut_clip.config.cluster import ClusterConfig
from mammut_clip.slurm.doctor.finding import Finding, note, ok, problem, warning
from mammut_clip.slurm.doctor.reports import FolderReport, RankReport

_STAGES = ("begun", "meeting", "measuring", "ready", "signalled")
_SLOW_SIGHT = 5.0
"""Seconds; sweeps' files are looked at in longer intervals."""
_SLOW_SIGNAL = 5.0
_CLOCK = 2.0
"""Seconds by which clocks may differ: times in records come from several nodes."""
_LITTLE_SPACE_GB = 50.0
_SLOW_GBPS = {"nccl": 5.0, "gloo": 0.1}
"""Below these, 1 GB for NCCL and 64 MB for gloo, something slower than the fast network is in use."""


def judge_ranks(cluster: ClusterConfig, reports: Sequence[RankReport], expected: int) -> Iterator[Finding]:
    """Everything but signals, of ranks that have all come to the end of their measurements."""
    nodes = Counter(report.node for report in reports)
    places = ", ".join(f"{count} on {node}" for node, count in nodes.items())
    sizes = {report.world_size for report in reports}
    if len(reports) == expected and sizes == {expected}:
        yield ok("ranks", f"{expected} started by {cluster.start}: {places}")
    else:
        yield problem("ranks", f"{len(reports)} of {expected} ranks, world sizes {sorted(sizes)}", "see their logs")
    yield from _judge_cores(cluster, reports)
    yield from _judge_gpus(cluster, reports)
    if expected > 1:
        yield from _judge_network(cluster, reports)
    yield from _judge_sum(reports)
    yield from _judge_bandwidth(reports, len(nodes))
    yield from _judge_clocks(reports)
    yield from _judge_folders(cluster, reports)


def judge_failure(reports: Sequence[RankReport], expected: int) -> Finding:
    """Why not all ranks came to the end of their measurements."""
    broken = [report for report in reports if report.error is not None]
    if broken:
        return problem("ranks", f"rank {broken[0].rank} on {broken[0].node}: {broken[0].error}", _advice(broken[0]))
    if len(reports) < expected:
        missing = sorted(set(range(expected)) - {report.rank for report in reports})
        return problem(
            "ranks",
            f"{len(missing)} of {expected} never began (the first: rank {missing[0]})",
            "their logs say why; Python and this package must be found on every node (setup, modules)",
        )
    stage = min((report.stage for report in reports), key=_STAGES.index)
    master = f"{reports[0].master or 'the address'} over {', '.join(reports[0].interfaces)}"
    if stage == "meeting":
        return problem(
            "ranks",
            f"they began, and never met ({master})",
            "look at host_suffix and network_interfaces: the first node's name must lead to a network that all reach",
        )
    return problem("ranks", f"they hang, {stage}", "look at network_interfaces, and at variables of NCCL")


def _advice(report: RankReport) -> str:
    if "does not resolve" in (report.error or ""):
        return "set host_suffix to what the site's documentation says, or to '' where nodes have one name"
    if report.stage == "meeting":
        return "look at host_suffix, network_interfaces and environment of the cluster's file"
    return "see the ranks' logs"


def _judge_cores(cluster: ClusterConfig, reports: Sequence[RankReport]) -> Iterator[Finding]:
    fewest, threads = min(report.cores for report in reports), reports[0].threads or "not set"
    found = f"{fewest} for each rank; cpus_per_task {cluster.cpus_per_task}, OMP_NUM_THREADS {threads}"
    if fewest < cluster.cpus_per_task:
        yield problem("cores", found, "look at cpus_per_task and srun_options (--cpu-bind), or the site's pinning")
    else:
        yield ok("cores", found)


def _judge_gpus(cluster: ClusterConfig, reports: Sequence[RankReport]) -> Iterator[Finding]:
    if not cluster.gpus_per_node:
        return
    blind = [report for report in reports if not report.gpus]
    if blind:
        yield problem(
            "GPUs",
            f"PyTorch sees none on {', '.join(sorted({report.node for report in blind}))} "
            f"(CUDA_VISIBLE_DEVICES={blind[0].visible_gpus})",
            "look at gpu_request, modules, and whether PyTorch is built for these GPUs",
        )
        return
    shared = [key for key, count in Counter((r.node, r.gpu_id) for r in reports).items() if count > 1]
    if shared:
        yield problem("GPUs", f"several ranks take one GPU on {shared[0][0]}", "look at gpu_request and srun_options")
    else:
        sees = sorted({len(report.gpus) for report in reports})
        yield ok("GPUs", f"one for each rank: {reports[0].gpus[0]} (a rank sees {' or '.join(map(str, sees))})")


def _judge_network(cluster: ClusterConfig, reports: Sequence[RankReport]) -> Iterator[Finding]:
    first = next((report for report in reports if report.rank == 0), reports[0])
    over = next((name for name, address in first.interfaces.items() if address == first.master_ip), "?")
    found = f"{first.master} = {first.master_ip}, on {over} of {first.node}"
    wanted = tuple(cluster.network_interfaces)  # NCCL takes the beginning of a name too
    if wanted and over != "lo" and not over.startswith(wanted):
        yield note("meeting", found, f"the data go over {', '.join(wanted)}; so would this with the right host_suffix")
    else:
        yield ok("meeting", found)
    used = Counter(name for report in reports for name in report.talked_over)
    if used:
        found = f"TCP between nodes over {', '.join(used)}"
        if wanted and not all(name.startswith(wanted) for name in used):
            yield warning("network", found, f"the file names {', '.join(wanted)}, which something does not follow")
        else:
            yield ok("network", found)


def _judge_sum(reports: Sequence[RankReport]) -> Iterator[Finding]:
    wrong = [report.rank for report in reports if not report.sum_right]
    if wrong:
        yield problem("all_reduce", f"wrong on ranks {wrong}", "do not train here; tell the site")
    else:
        yield ok("all_reduce", "right on every rank")


def _judge_bandwidth(reports: Sequence[RankReport], nodes: int) -> Iterator[Finding]:
    for backend, by_size in reports[0].bandwidth.items():
        rates = {size: min(report.bandwidth[backend][size] for report in reports) for size in by_size}
        found = ", ".join(f"{size / 1e6:g} MB {rate:.2f}" for size, rate in rates.items()) + " GB/s"
        if nodes > 1 and rates[max(rates)] < _SLOW_GBPS[backend]:
            yield warning(backend, found, "slow: look at network_interfaces, and at NCCL's variables in environment")
        else:
            yield ok(backend, found)


def _judge_clocks(reports: Sequence[RankReport]) -> Iterator[Finding]:
    offsets = [report for report in reports if report.clock_offset is not None]
    if not offsets:
        return
    worst = max(offsets, key=lambda report: abs(report.clock_offset or 0.0))
    found = f"{worst.node} is {1000 * (worst.clock_offset or 0.0):+.1f} ms from the first node (+-"
    found += f"{1000 * worst.clock_error:.1f})"
    if abs(worst.clock_offset or 0.0) > _CLOCK:
        yield warning("clocks", found, "tell the site; times in records of different nodes do not fit together")
    else:
        yield ok("clocks", found)


def _judge_folders(cluster: ClusterConfig, reports: Sequence[RankReport]) -> Iterator[Finding]:
    by_path: dict[str, list[tuple[str, FolderReport]]] = {}
    for report in reports:
        for folder in report.folders:
            by_path.setdefault(folder.path, []).append((report.node, folder))
    for path, seen in by_path.items():
        yield _judge_folder(path, seen, is_scratch=path == cluster.scratch)


def _judge_folder(path: str, seen: Sequence[tuple[str, FolderReport]], *, is_scratch: bool) -> Finding:
    what = "scratch" if is_scratch else "shared"
    key = "scratch" if is_scratch else "shared_paths, or --runs"
    for node, folder in seen:
        if folder.error is not None:
            return problem(what, f"{path} on {node}: {folder.error}", f"name a folder that is there: {key}")
        if folder.unseen:
            return problem(
                what,
                f"{path}: {node} does not see what {', '.join(folder.unseen)} wrote",
                f"name a folder that all nodes share: {key}",
            )
    free = min(folder.free_gb or 0.0 for _, folder in seen)
    late = max(folder.seen_after for _, folder in seen)
    found = f"{path}: {free:,.0f} GB free" + ("" if is_scratch else f"; files seen by the others after {late:.2f} s")
    if late > _SLOW_SIGHT:
        return warning(what, found, "slow to show new files; decisions on a sweep are late by that much")
    if free < _LITTLE_SPACE_GB:
        return note(what, found, "checkpoints need room: `mammut-clip sweep plan` says how much")
    return ok(what, found)


def judge_signals(reports: Sequence[RankReport], expected: int, sent: float) -> Finding:
    """Whether the signal that comes before a time limit reached every rank."""
    delays = [report.signals["SIGUSR1"] - sent for report in reports if "SIGUSR1" in report.signals]
    if len(delays) < expected:
        return problem(
            "signal",
            f"SIGUSR1 reached {len(delays)} of {expected} ranks",
            "runs would lose what they did since the last checkpoint at every time limit; lower checkpoint.every",
        )
    found = f"SIGUSR1 reached all ranks after {median(delays):.2f} s, the last after {max(delays):.2f} s"
    if max(delays) > _SLOW_SIGNAL:
        return warning("signal", found, "raise signal_seconds by as much")
    return ok("signal", found)
