"""The records in a run directory, typed. Readers ignore keys they do not know, so that newer writers do no harm."""

import time
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mammut_clip.config.atomic import read_json, write_json

R = TypeVar("R", bound="Record")


class Record(BaseModel):
    """A JSON file in a run directory."""

    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True, protected_namespaces=())

    def write(self, path: Path) -> None:
        """Write atomically."""
        write_json(path, self.model_dump(mode="json"))

    @classmethod
    def read(cls: type[R], path: Path) -> R | None:
        """The record, or None where it is absent, cut off, or not one of this kind."""
        value = read_json(path)
        try:
            return None if value is None else cls.model_validate(value)
        except ValidationError:
            return None


State = Literal["pending", "running", "finished", "failed", "interrupted"]


class Status(Record):
    """Where a run stands."""

    state: State = "pending"
    """pending, running, finished, failed (last_error says why) or interrupted (run the same command again)."""
    samples_seen: int = 0
    """The clock when this was written."""
    attempts: int = 0
    """How many times a trainer has started on this run."""
    total_samples: int | None = None
    """The clock at the end of the run; null where nobody has said it yet."""
    last_error: str | None = None
    """What ended the last failed attempt."""
    error_kind: Literal["out_of_memory", "disk_full", "bad_input", "hung", "crash"] | None = None
    """Of which kind that was; null where the last attempt did not fail."""
    updated_at: float = Field(default_factory=time.time)
    """Unix time of writing, in seconds."""
    train_seconds: float = 0.0
    """Wall time spent in training steps, all attempts together."""


class Manifest(Record):
    """What made a run: enough to say later how its numbers came about."""

    mammut_clip: str
    """Version of this program."""
    git_commit: str | None = None
    """Commit of the checkout it ran from, with `-dirty` where files were changed; null for an installed wheel."""
    python: str
    """Python version."""
    packages: dict[str, str]
    """Versions of the packages that decide numbers."""
    host: str
    """Host name of rank 0."""
    device: str
    """What the model ran on, such as `cpu` or the GPU's name."""
    world_size: int
    """Processes of the first attempt."""
    parameters: int
    """Parameters of the model."""
    gflops_per_sample_paper: float
    """Forward GFLOPs per sample in the paper's convention."""
    gflops_per_sample_exact: float
    """GFLOPs per sample executed in a training step, forward and backward."""
    numerics: dict[str, str | float | bool] = {}
    """The choices that decide how the model computes: text_pooling, patch_dropout, precision, layout of the
    first attempt, recompute, compile."""
    tokenizer_sha256: str | None = None
    """Digest of the tokenizer's file where it is not CLIP's; with another file the model's ids mean other words."""
    samples_sha256: str | None = None
    """Digest of the number of samples in each shard; with other numbers, positions mean other samples."""
    started_at: float = Field(default_factory=time.time)
    """Unix time of the first start, in seconds."""


class Lineage(Record):
    """What a run must go on with. A branch has it from its parent."""

    tokenizer_sha256: str | None
    """As in Manifest."""
    samples_sha256: str | None
    """As in Manifest."""


class EvalRecord(Record):
    """One result in CLIP_benchmark's schema, which the first six keys are, with what else decides the numbers."""

    dataset: str
    """Dataset name."""
    model: str
    """Model name."""
    pretrained: str
    """Which weights: the checkpoint's path or tag."""
    task: str
    """zeroshot_classification, zeroshot_retrieval, ...; average for the mean over several tasks."""
    metrics: dict[str, Any]
    """Metric name -> value (fractions)."""
    language: str = "en"
    """Language of the prompts."""
    metric: str | None = None
    """The metric that the task is known by."""
    samples_seen: int | None = None
    """Samples that the weights were trained on; null for weights from elsewhere."""
    checkpoint: str | None = None
    """Which weights, for ever: a digest of their file, or of the run's config with the samples seen."""
    definition: str | None = None
    """Digest of the task as it was measured: split, class names, prompts, options."""
    precision: str | None = None
    """fp32, or what the model computed in."""
    preprocessing: str | None = None
    """How pictures became pixels."""
    samples: int | None = None
    """Samples that were measured; of an average, tasks."""
    seconds: float | None = None
    """How long it took, on all processes together at work."""
    processes: int | None = None
    """How many they were."""
    mammut_clip: str | None = None
    """Version of this program."""
