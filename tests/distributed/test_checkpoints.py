"""Checkpoints of several processes: saved under one layout, loaded under any other, the same to the last bit."""

import os
import resource
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from gloo_processes import Results, forking, run_processes
from mammut_clip.config.load import validate
from mammut_clip.config.model import load_model_config
from mammut_clip.config.run import RunConfig
from mammut_clip.distributed import Process
from mammut_clip.models import build_model
from mammut_clip.models.sharded import read_sharded
from mammut_clip.runs.layout import RunDir
from mammut_clip.train.checkpoint import CheckpointWriteError, CheckpointWriter, restore
from mammut_clip.train.checkpoint.state import state_of
from mammut_clip.train.optimizer import make_optimizer
from mammut_clip.train.parallel import build_parallel
from ports import reserved_port

pytestmark = pytest.mark.distributed

CPU = torch.device("cpu")
LAYOUTS: dict[str, tuple[int, dict[str, Any]]] = {
    "single": (1, {}),
    "ddp-2": (2, {"mode": "ddp"}),
    "fsdp-2": (2, {"mode": "fsdp"}),
    "fsdp-4": (4, {"mode": "fsdp"}),
    "hsdp-4": (4, {"mode": "hsdp", "shard_size": 2}),
}
SAVED_BEFORE = {1: [], 2: ["single"], 4: ["ddp-2", "fsdp-2"]}


def model_values() -> dict[str, Any]:
    """Widths that no number of processes divides: shards of different sizes, and empty ones."""
    values = load_model_config("toy-XS").model_dump()
    values["vision_cfg"] |= {"layers": 1, "width": 18, "head_width": 6}
    values["text_cfg"] |= {"layers": 1, "width": 18, "heads": 3}
    return values | {"embed_dim": 10}


def run_of(root: Path, layout: str, optimizer: str = "adamw") -> RunDir:
    values = {
        "name": f"{layout}-{optimizer}",
        "model": model_values(),
        "samples_seen": 640,
        "global_batch_size": 64,
        "data": {"train": ["x"]},
        "optimizer": {"name": optimizer, "lr": 1e-3},
        "parallel": LAYOUTS[layout][1],
        "checkpoint": {"keep_last": 9},
    }
    return RunDir.create(root, validate(RunConfig, values, "test"))


class Trained:
    """A model under a layout, after as many updates as are asked for; every layout gets the same gradients."""

    def __init__(self, run: RunDir, process: Process, steps: int, seed: int = 0) -> None:
        config = run.config.model_copy(update={"seed": seed})
        self.model: nn.Module = build_parallel(config.model.architecture, config, process)
        self.optimizer = make_optimizer(self.model, config.optimizer)
        self._random = torch.Generator().manual_seed(seed)
        for _ in range(steps):
            self.step()

    def step(self) -> None:
        for parameter in self.model.parameters():
            whole = torch.randn(parameter.shape, generator=self._random)
            if isinstance(parameter, DTensor):
                parameter.grad = distribute_tensor(whole, parameter.device_mesh, parameter.placements)
            else:
                parameter.grad = whole
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def values(self) -> Results:
        """The whole state, on every rank."""
        state = state_of(self.model, self.optimizer)
        return {
            f"{part}.{name}": (value.full_tensor() if isinstance(value, DTensor) else value).detach().clone()
            for part, tensors in state.items()
            for name, value in tensors.items()
        }

    def writer(self, run: RunDir, process: Process) -> CheckpointWriter:
        return CheckpointWriter(run, self.model, self.optimizer, process)


def save_and_load(rank: int, world: int, root: Path) -> Results:
    """Save under each layout of this world size, then load under each what was saved under any other before."""
    process = Process(rank, world, rank, CPU, world)
    layouts = [name for name, (size, _) in LAYOUTS.items() if size == world]
    results: Results = {}
    for layout in layouts:
        run = run_of(root, layout)
        trained = Trained(run, process, steps=2)
        results |= {f"{layout}/saved/{key}": value for key, value in trained.values().items()}
        with trained.writer(run, process) as writer:
            writer.save(128, {"rows": 0.5})
            trained.step()  # while that is being written
            for _ in range(50 if world > 1 else 0):
                numbers = torch.ones(1000)
                dist.all_reduce(numbers)
                assert numbers.eq(world).all(), "messages of the steps and of the checkpoint stay apart"
    for source in SAVED_BEFORE[world] + layouts:
        for layout in layouts:
            trained = Trained(run_of(root, layout), process, steps=1, seed=7)
            found = restore(run_of(root, source), trained.model, trained.optimizer, process)
            assert found is not None
            assert (found.samples_seen, found.pending, found.skipped) == (128, {"rows": 0.5}, ())
            results |= {f"{layout}/from {source}/{key}": value for key, value in trained.values().items()}
    return results


def move_with_another_optimizer(rank: int, world: int, root: Path) -> None:
    """One that counts in numbers, and one that counts in its groups."""
    process = Process(rank, world, rank, CPU, world)
    for optimizer in ("adabelief", "lamb"):
        runs = {layout: run_of(root, layout, optimizer) for layout in ("fsdp-2", "ddp-2")}
        first = Trained(runs["fsdp-2"], process, steps=2)
        with first.writer(runs["fsdp-2"], process) as writer:
            writer.save(128)
        expected = first.values()
        for run in runs.values():
            second = Trained(run, process, steps=1, seed=7)
            assert restore(runs["fsdp-2"], second.model, second.optimizer, process) is not None
            require_equal(second.values(), expected)


def survive_failures(rank: int, world: int, root: Path) -> Results:
    """What one rank meets is raised on all, and the next checkpoint is written all the same."""
    process = Process(rank, world, rank, CPU, world)
    run = run_of(root / "failures", "fsdp-2")
    trained = Trained(run, process, steps=1)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with trained.writer(run, process) as writer:
        writer.save(64)
        writer.finish()
        if rank == 1:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
        writer.save(128)
        with pytest.raises(CheckpointWriteError, match=r"128: this checkpoint could not be written \(rank 1: OSError"):
            writer.finish()
        if rank == 1:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert [one.samples_seen for one in run.checkpoints] == [64]
        writer.save(192)
        writer.finish()
        assert [one.samples_seen for one in run.checkpoints] == [64, 192]
        dist.barrier()
        if rank == 1:  # a file of the other rank, in the middle, of the same size
            file = run.checkpoint(192).path / "__0_0.distcp"
            file.write_bytes(b"\xff" * file.stat().st_size)
        dist.barrier()
        found = restore(run, trained.model, trained.optimizer, process)
        assert found is not None
        assert found.samples_seen == 64
        assert "192: this checkpoint cannot be read" in found.skipped[0]
    return {}


def both(rank: int, world: int, root: Path) -> Results:
    results = save_and_load(rank, world, root)
    if world == 2:
        survive_failures(rank, world, root)
        move_with_another_optimizer(rank, world, root)
    return results


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def results(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Of all layouts, in one spawn for each number of processes."""
    one = save_and_load(0, 1, root)
    two = run_processes(partial(both, world=2, root=root), 2, tmp_path_factory.mktemp("two"))
    four = run_processes(partial(save_and_load, world=4, root=root), 4, tmp_path_factory.mktemp("four"))
    for ranks in (two, four):
        for other in ranks[1:]:
            assert all(torch.equal(value, ranks[0][key]) for key, value in other.items())
    return one | two[0] | four[0]


def of(results: Results, prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in results.items() if key.startswith(prefix)}


def require_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert expected
    assert found.keys() == expected.keys()
    assert not [name for name, value in expected.items() if not torch.equal(found[name], value)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_it_is_the_same_under_another_layout(results: Results, layout: str) -> None:
    world = LAYOUTS[layout][0]
    sources = SAVED_BEFORE[world] + [name for name, (size, _) in LAYOUTS.items() if size == world]
    for source in sources:
        require_equal(of(results, f"{layout}/from {source}/"), of(results, f"{source}/saved/"))


@pytest.mark.parametrize("source", LAYOUTS)
def test_one_process_reads_what_many_have_written(results: Results, root: Path, source: str) -> None:
    expected = of(results, f"{source}/saved/")
    process = Process(0, 1, 0, CPU)
    trained = Trained(run_of(root, "single"), process, steps=1, seed=7)
    run = run_of(root, source)
    assert restore(run, trained.model, trained.optimizer, process) is not None
    require_equal(trained.values(), expected)
    # as `mammut-clip convert` does: without a process group, an optimizer or the run's layout
    model = build_model(run.config.model.architecture, seed=9)
    read_sharded(model, run.checkpoints[-1].path)
    require_equal(model.state_dict(), of(expected, "model."))


def test_processes_that_hold_the_same_write_about_equal_parts(results: Results, root: Path) -> None:
    for layout, (world, _) in LAYOUTS.items():
        marker = run_of(root, layout).checkpoint(128).marker
        assert marker is not None
        assert marker.world_size == world
        sizes = [size for name, size in (marker.files or {}).items() if name.endswith(".distcp")]
        assert len(sizes) == world, layout
        assert max(sizes) < 2 * min(sizes), layout


def write_until_the_other_dies(rank: int, port: int, root: Path) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "WORLD_SIZE": "2"}
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    process = Process(rank, 2, rank, CPU, 2)
    run = run_of(root, "ddp-2")
    trained = Trained(run, process, steps=1)
    began = time.monotonic()
    with pytest.raises(CheckpointWriteError, match="could not be written"), trained.writer(run, process) as writer:
        writer.save(64)
        writer.finish()
        if rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        writer.save(128)
        writer.finish()
    (root / "seconds").write_text(str(time.monotonic() - began))
    os._exit(0)  # the default group has lost its other half


def test_a_dead_process_does_not_keep_the_others_waiting(tmp_path: Path) -> None:
    with reserved_port() as port:
        given = [(rank, port, tmp_path) for rank in range(2)]
        processes = [forking().Process(target=write_until_the_other_dies, args=each) for each in given]
        for process in processes:
            process.start()
        for process in processes:
            process.join(600)
    assert [process.exitcode for process in processes] == [0, -signal.SIGKILL]
    assert float((tmp_path / "seconds").read_text()) < 300
    assert [one.samples_seen for one in run_of(tmp_path, "ddp-2").checkpoints] == [64]
