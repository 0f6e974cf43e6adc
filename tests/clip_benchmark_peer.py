"""The real clip_benchmark, to compare with."""

import builtins
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch


def clip_benchmark_classification() -> ModuleType:
    """clip_benchmark.metrics.zeroshot_classification; skips where clip_benchmark is not installed.

    Its `accuracy` calls float() on arrays of one element, which NumPy 2.4 refuses; here that name unpacks them first.
    All else is as it was published.
    """
    module: Any = pytest.importorskip("clip_benchmark.metrics.zeroshot_classification")
    module.float = lambda value: builtins.float(value.item() if isinstance(value, np.ndarray) else value)
    return module  # type: ignore[no-any-return]


def run_clip_benchmark(model: Path, dataset: Path, task: str, *options: str) -> dict[str, float]:
    """Metrics of its command line in float32, reading without workers, on a folder that open_clip reads a model from
    and a dataset in its own layout."""
    clip_benchmark_classification()
    from clip_benchmark.cli import main

    output = model / f"{dataset.name}.json"
    name = dataset.name.removeprefix("wds_")
    command = ["clip_benchmark", "eval", "--model", f"local-dir:{model}", "--pretrained", "here", "--task", task]
    command += ["--dataset", f"wds/{name}", "--dataset_root", str(dataset), "--output", str(output)]
    with patch.object(sys, "argv", [*command, "--no_amp", "--num_workers", "0", "--quiet", *options]):
        main()
    return json.loads(output.read_text())["metrics"]  # type: ignore[no-any-return]


def clip_benchmark_linear_probe(monkeypatch: pytest.MonkeyPatch) -> Any:
    """clip_benchmark.metrics.linear_probe, which insists on CUDA; for this test moving there moves nothing.

    Its `accuracy` is that of clip_benchmark_classification. All else is as it was published.
    """
    clip_benchmark_classification()
    to = torch.Tensor.to
    monkeypatch.setattr(torch.nn.Module, "cuda", lambda self: self)
    monkeypatch.setattr(torch.Tensor, "cuda", lambda self: self)
    monkeypatch.setattr(torch.Tensor, "to", lambda self, *a, **k: self if a == ("cuda",) else to(self, *a, **k))
    return pytest.importorskip("clip_benchmark.metrics.linear_probe")
