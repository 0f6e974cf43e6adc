"""Where everything of a run stands. The only place that knows these paths."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mammut_clip.config.atomic import write_text
from mammut_clip.config.errors import ConfigError, InputError, Problem
from mammut_clip.config.load import load_config, to_yaml
from mammut_clip.config.quantity import format_quantity
from mammut_clip.config.run import RunConfig
from mammut_clip.runs import metrics
from mammut_clip.runs.marker import COMPLETE_MARKER, Marker, damage
from mammut_clip.runs.records import EvalRecord, Lineage, Manifest, Status


@dataclass(frozen=True, order=True)
class Checkpoint:
    """The state of a run at one point of its clock."""

    samples_seen: int
    path: Path

    @property
    def is_complete(self) -> bool:
        """A checkpoint without its marker was cut off while it was written. One look at one file."""
        return (self.path / COMPLETE_MARKER).is_file()

    @property
    def marker(self) -> Marker | None:
        """What was noted when it was complete; None where that is absent or cut off."""
        return Marker.read(self.path / COMPLETE_MARKER)

    def damage(self) -> str | None:
        """Why it cannot be used: no marker, or files that are missing or cut off; None where it is as it was written.

        Looks at the size of each of its files.
        """
        return damage(self.path, self.samples_seen)


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
        is_new = not run.config_file.is_file() and _write_new(run.config_file, to_yaml(config))
        if not is_new and run.config != config:
            raise ConfigError(str(run.config_file), [_difference(run.config, config)])
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
    def lineage_file(self) -> Path:
        return self.path / "lineage.json"

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
    def ends_file(self) -> Path:
        return self.path / "ends.jsonl"

    @property
    def adjustments_file(self) -> Path:
        return self.path / "adjustments.json"

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

    @property
    def lineage(self) -> Lineage | None:
        """What the run began with: from its manifest or, before a branch's first start, from its parent's."""
        manifest = self.manifest
        if manifest is None:
            return Lineage.read(self.lineage_file)
        return Lineage(tokenizer_sha256=manifest.tokenizer_sha256, samples_sha256=manifest.samples_sha256)

    def check_tokenizer(self, sha256: str | None) -> None:
        """Raise InputError where the run began with another tokenizer file than the one with this digest."""
        lineage = self.lineage
        if lineage is not None and lineage.tokenizer_sha256 != sha256:
            name = self.config.model.architecture.text_cfg.hf_tokenizer_name
            raise InputError(
                f"{self.path}: the tokenizer {name} is not the one this run began with; put that file back "
                f"(SHA-256 {lineage.tokenizer_sha256})"
            )

    def check_samples(self, sha256: str) -> None:
        """Raise InputError where the run began with other numbers of samples in its shards than those with this
        digest."""
        lineage = self.lineage
        if lineage is not None and lineage.samples_sha256 not in (None, sha256):
            raise InputError(
                f"{self.path}: the shards of data.train hold other numbers of samples than when this run began, so it "
                "would continue with other samples than its own; put the shards back as they were (`mammut-clip data "
                "check` names those that changed), or begin a run of another name"
            )

    def no_checkpoint_at(self, samples_seen: int) -> InputError:
        """What to raise where a checkpoint was asked for that is not there."""
        has = ", ".join(format_quantity(checkpoint.samples_seen) for checkpoint in self.checkpoints) or "none yet"
        return InputError(
            f"{self.path}: no complete checkpoint at {format_quantity(samples_seen)} samples; it has {has}"
        )

    def check_first_start(self) -> None:
        """Raise InputError where the run cannot begin with first weights, because it is a branch of another."""
        origin = self.config.branched_from
        if origin is not None:
            raise InputError(
                f"{self.path}: this run begins with the checkpoint of {origin.name} at "
                f"{format_quantity(origin.samples_seen)} samples, and has no usable one; the command that made it, "
                f"with --from {origin.run}@{format_quantity(origin.samples_seen)}, brings it again"
            )

    @property
    def status(self) -> Status:
        return Status.read(self.status_file) or Status()

    @property
    def metrics(self) -> list[dict]:
        return metrics.read(self.metrics_file)

    def checkpoint(self, samples_seen: int) -> Checkpoint:
        """The checkpoint at a point of the clock, existing or not."""
        return Checkpoint(samples_seen, self.checkpoints_folder / str(samples_seen))

    @property
    def checkpoints_folder(self) -> Path:
        return self.path / "checkpoints"

    @property
    def all_checkpoints(self) -> list[Checkpoint]:
        """What stands under a checkpoint's name, complete or not, earliest first."""
        folder = self.checkpoints_folder
        names = [p.name for p in folder.iterdir()] if folder.is_dir() else []
        return sorted(self.checkpoint(int(name)) for name in names if name.isdecimal())

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """The complete checkpoints, earliest first: those with their marker.

        A launcher lists those of whole sweeps, so their files are not looked at: see Checkpoint.damage.
        """
        return [checkpoint for checkpoint in self.all_checkpoints if checkpoint.is_complete]

    def checkpoint_at(self, samples_seen: int) -> Checkpoint | None:
        """The first complete checkpoint within one batch from a point of the clock on; None where there is none."""
        stop = samples_seen + self.config.global_batch_size
        return next((one for one in self.checkpoints if samples_seen <= one.samples_seen < stop), None)

    def remove_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Delete a checkpoint, after it was given another name: what a crash leaves is never taken for one."""
        removed = checkpoint.path.with_name(f".{checkpoint.samples_seen}.removed")
        shutil.rmtree(removed, ignore_errors=True)
        with suppress(FileNotFoundError):
            checkpoint.path.rename(removed)
        shutil.rmtree(removed, ignore_errors=True)

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

    @property
    def launch_folder(self) -> Path:
        """What the launcher keeps."""
        return self.path / "launch"

    def run(self, name: str) -> RunDir:
        """A run of this sweep, existing or not."""
        return RunDir(self.path / name)

    def runs(self) -> Iterator[RunDir]:
        """Every run directory in it, by name."""
        for file in sorted(self.path.glob("*/config.yaml")):
            yield RunDir(file.parent)


def _write_new(path: Path, text: str) -> bool:
    """Write a whole file that is not there yet; False, and nothing is changed, where another process was faster."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.new")
    write_text(temporary, text)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without links
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return True


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
