"""The paper's runs as the rows of a results table."""

from pathlib import Path

import pandas as pd


def paper_rows(shared_dir: Path) -> pd.DataFrame:
    """Tidy rows of ImageNet and ADE20K results of every published run on DataComp under a cosine schedule."""
    runs = pd.read_parquet(shared_dir / "data/paper/runs_datacomp_cosine.parquet")
    common = pd.DataFrame(
        {
            "sweep": "paper",
            "run": [f"run-{number:04}" for number in range(len(runs))],
            "state": "finished",
            "family": runs["family"],
            "model": runs["model"],
            "dataset": runs["pretrain_dataset"],
            "schedule": runs["lr_scheduler"],
            "lr": runs["lr"],
            "global_batch_size": runs["global_batch_size"],
            "samples_seen": runs["samples_seen"],
            "checkpoint_samples": runs["samples_seen"],
            "gflops_per_sample_paper": runs["gflops_per_sample"],
            "params": runs["model_mparams"] * 1e6,
        }
    )
    measured = {
        ("imagenet1k", "acc1", True): "imagenet1k_acc1",
        ("imagenet1k", "acc5", False): "imagenet1k_acc5",
        ("ade20k", "mIoU", True): "ade20k_miou",
    }
    parts = [
        common.assign(task=task, metric=metric, main=main, value=runs[column])
        for (task, metric, main), column in measured.items()
    ]
    return pd.concat(parts, ignore_index=True).dropna(subset="value")
