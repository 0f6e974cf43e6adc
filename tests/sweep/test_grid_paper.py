"""sweeps/paper-datacomp-cosine.yaml: every cell has the recipe of its best measured run."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from mammut_clip.config.files import shipped, shipped_root
from mammut_clip.config.sweep import load_sweep
from mammut_clip.cost import training_memory_gb
from mammut_clip.sweep.grid import Cell, cells

NAME = "paper-datacomp-cosine"


@pytest.fixture(scope="module")
def made() -> dict[tuple[str, int], Cell]:
    return {(cell.config.model.name, cell.config.samples_seen): cell for cell in cells(load_sweep(NAME))}


@pytest.fixture(scope="module")
def measured(shared_dir: Path) -> Path:
    return shared_dir / "data" / "paper" / "runs_datacomp_cosine.parquet"


def test_every_cell_has_batch_rate_warmup_and_gpus_of_its_best_run(
    made: dict[tuple[str, int], Cell], measured: Path
) -> None:
    table = pd.read_parquet(measured).sort_values("imagenet1k_acc1").groupby(["model", "samples_seen"]).last()
    wanted = {
        cell: (run.global_batch_size, run.lr, run.warmup * run.global_batch_size, run.gpus)
        for cell, run in zip(table.index, table.itertuples(), strict=True)
    }
    found = {
        key: (cell.config.global_batch_size, cell.config.optimizer.lr, cell.config.schedule.warmup, cell.gpus)
        for key, cell in made.items()
    }
    assert len(found) == 231
    assert found == wanted


def test_the_file_is_what_the_tool_makes_of_the_measurements(measured: Path) -> None:
    tool = Path(__file__).resolve().parents[2] / "tools" / "paper_sweep.py"
    written = subprocess.run([sys.executable, tool, measured], capture_output=True, text=True, check=True).stdout
    assert written == shipped("sweeps")[NAME].read_text()


def test_what_the_runs_share_is_the_papers(made: dict[tuple[str, int], Cell]) -> None:
    for cell in made.values():
        optimizer = cell.config.optimizer
        assert (optimizer.betas, optimizer.weight_decay, optimizer.clip_grad_norm) == ((0.9, 0.95), 0.2, 1.0)
        assert (cell.config.parallel.precision, cell.config.schedule.kind) == ("bf16", "cosine")
        assert cell.config.evaluation.suite is None  # jobs evaluate


def test_gpus_share_every_batch_in_whole_nodes_and_have_the_memory(made: dict[tuple[str, int], Cell]) -> None:
    for cell in made.values():
        config, gpus = cell.config, cell.gpus or 0
        assert gpus % 4 == 0
        config.check_world_size(gpus, NAME)
        estimates = [
            training_memory_gb(
                config.model.architecture, config.global_batch_size // gpus, gpus, "bf16", config.parallel.recompute,
                shards=shards,
            ).total
            for shards in (1, 4, gpus)
        ]  # fmt: skip
        assert min(estimates) < 0.8 * 40, cell.id


def test_it_is_readable() -> None:
    lines = (shipped_root() / "sweeps" / f"{NAME}.yaml").read_text().splitlines()
    assert max(map(len, lines)) <= 120
    assert len(lines) < len(cells(load_sweep(NAME)))
