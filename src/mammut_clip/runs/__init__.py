"""The run directory and the results table: the only contract between training, evaluation, sweeps and fits.

runs/<sweep>/<run>/config.yaml, manifest.json, metrics.jsonl, status.json,
                   checkpoints/<samples>/, evals/<samples>/<task>.json, quarantine/<rank>.jsonl, logs/
runs/<sweep>/results.parquet
"""

from mammut_clip.runs.layout import Checkpoint, RunDir, SweepDir
from mammut_clip.runs.records import EvalRecord, Manifest, Status

__all__ = ["Checkpoint", "EvalRecord", "Manifest", "RunDir", "Status", "SweepDir"]
