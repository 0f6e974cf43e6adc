"""Where everything of a run stands. The only place that knows these paths."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mammut_clip.config.atomic import write_text
from mammut_clip.config.errors import ConfigError, InputError, Problem
from mammut_clip.config.load import load_config, to_yaml
from mammut_clip.config.run import RunConfig
from mammut_clip.runs import metrics
from mammut_clip.runs.records import EvalRecord, Manifest, Status

COMPLETE_MARKER = "complete"


@dataclass(frozen=True, order=True)
class Checkpoint:
    """The state of a run at one point of its clock."""

    samples_seen: int
    path: Path

    @property
    def is_complete(self) -> bool:
        """A checkpoint without its marker was cut off while it was written."""
        return (self.path / COMPLETE_MARKER).is_file()


@dataclass(frozen=True)
class RunDir:
    """One run's directory, runs/<sweep>/<run>."""

    path: Path

    @classmethod
    def at(cls, path: Path) -> "RunDir":
        """An existing run directory. Raises InputError where `path` is none."""
        if not (path / "config.yaml").is_file():
            raise InputError(f"{path}: not a run directory (it has no config.yaml)")
        return cls(path)

    @classmethod
    def create(cls, root: Path, config: RunConfig) -> "RunDir":
        """The directory of `config` under `root`, made if need be.

        Raises ConfigError where the directory holds a run of another config: a run never changes under its name.
        """
        run = cls(root / config.sweep / config.name)
        if run.config_file.is_file():
            if run.config != config:
                raise ConfigError(str(run.config_file), [_difference(run.config, config)])
            return run
        write_text(run.config_file, to_yaml(config))
        return run

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def config_file(self) -> Path:
        return self.path / "config.yaml"

    @property
    def manifest_file(self) -> Path:
        return self.path / "manifest.json"

    @property
    def metrics_file(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def quarantine_folder(self) -> Path:
        return self.path / "quarantine"

    @property
    def status_file(self) -> Path:
        return self.path / "status.json"

    @property
    def lock_file(self) -> Path:
        return self.path / "lock"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @cached_property
    def config(self) -> RunConfig:
        """The resolved config. Raises ConfigError where it is not one of this version."""
        return load_config(RunConfig, self.config_file)

    @property
    def manifest(self) -> Manifest | None:
        return Manifest.read(self.manifest_file)

    def check_tokenizer(self, sha256: str | None) -> None:
        """Raise InputError where the run began with another tokenizer file than the one with this digest."""
        manifest = self.manifest
        if manifest is not None and manifest.tokenizer_sha256 != sha256:
            name = self.config.model.architecture.text_cfg.hf_tokenizer_name
            raise InputError(
                f"{self.path}: the tokenizer {name} is not the one this run began with; put that file back "
                f"(SHA-256 {manifest.tokenizer_sha256})"
            )

    def check_samples(self, sha256: str) -> None:
        """Raise InputError where the run began with other numbers of samples in its shards than those with this
        digest."""
        manifest = self.manifest
        if manifest is not None and manifest.samples_sha256 not in (None, sha256):
            raise InputError(
                f"{self.path}: the shards of data.train hold other numbers of samples than when this run began, so it "
                "would continue with other samples than its own; put the shards back as they were (`mammut-clip data "
                "check` names those that changed), or begin a run of another name"
            )

    @property
    def status(self) -> Status:
        return Status.read(self.status_file) or Status()

    @property
    def metrics(self) -> list[dict]:
        return metrics.read(self.metrics_file)

    def checkpoint(self, samples_seen: int) -> Checkpoint:
        """The checkpoint at a point of the clock, existing or not."""
        return Checkpoint(samples_seen, self.path / "checkpoints" / str(samples_seen))

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """The complete checkpoints, earliest first."""
        folder = self.path / "checkpoints"
        names = [p.name for p in folder.iterdir()] if folder.is_dir() else []
        found = [self.checkpoint(int(name)) for name in names if name.isdigit()]
        return sorted(checkpoint for checkpoint in found if checkpoint.is_complete)

    def remove_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Delete a checkpoint, its marker first: what a crash leaves is never taken for complete."""
        (checkpoint.path / COMPLETE_MARKER).unlink(missing_ok=True)
        shutil.rmtree(checkpoint.path, ignore_errors=True)

    def eval_file(self, samples_seen: int, task: str) -> Path:
        """Where the result of a task at a checkpoint stands."""
        return self.path / "evals" / str(samples_seen) / f"{task}.json"

    @property
    def evals(self) -> dict[tuple[int, str], EvalRecord]:
        """(samples seen, task name) -> result, for every readable result."""
        results = {}
        for file in sorted(self.path.glob("evals/*/*.json")):
            record = EvalRecord.read(file)
            if record is not None and file.parent.name.isdigit():
                results[int(file.parent.name), file.stem] = record
        return results


@dataclass(frozen=True)
class SweepDir:
    """A folder of runs, runs/<sweep>."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def results_file(self) -> Path:
        return self.path / "results.parquet"

    def runs(self) -> Iterator[RunDir]:
        """Every run directory in it, by name."""
        for file in sorted(self.path.glob("*/config.yaml")):
            yield RunDir(file.parent)


def _difference(old: RunConfig, new: RunConfig) -> Problem:
    """The first key in which two configs of one name differ."""

    def flat(prefix: str, value: object) -> dict[str, object]:
        if isinstance(value, dict):
            return {k: v for key, item in value.items() for k, v in flat(f"{prefix}{key}.", item).items()}
        return {prefix[:-1]: value}

    before, after = flat("", old.model_dump(mode="json")), flat("", new.model_dump(mode="json"))
    key = next(k for k in {**before, **after} if before.get(k) != after.get(k))
    expected = (
        f"this run exists with {before.get(key)!r}; a run keeps the config it began with, "
        "so give the new one another name, or remove the old run's folder"
    )
    return Problem(key, expected, after.get(key))
