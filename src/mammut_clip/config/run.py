"""Everything one training run needs to know: the schema of configs/train/*.yaml and of each run's config.yaml.

All amounts of training (budget, warm-up, cooldown, checkpoint and log points) are in samples seen; steps are derived.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, field_validator, model_validator

from mammut_clip.config.base import Config
from mammut_clip.config.data import DataConfig
from mammut_clip.config.errors import ConfigError, Problem
from mammut_clip.config.model import ModelConfig, load_model_config
from mammut_clip.config.quantity import Samples, format_quantity
from mammut_clip.config.scales import SCALES_AND_BETWEEN

FORMAT = 2
"""The version of this schema. It changes when an older config would mean something else."""

SAFE_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._=+-]{0,127}$")


def check_name(name: Any) -> str:
    """Names become folders and job names: letters, digits and . _ = + - only."""
    if not isinstance(name, str) or not SAFE_NAME.match(name):
        raise ValueError(
            "expected a name of letters, digits and . _ = + - (at most 128, starting with a letter or digit)"
        )
    return name


SafeName = Annotated[str, BeforeValidator(check_name)]


class NamedModel(Config):
    """A model's name and its architecture; in a file, the name alone is enough."""

    name: str
    """Name under configs/models/, path of a YAML file, or any label where the architecture is given here."""
    architecture: SerializeAsAny[ModelConfig]
    """The architecture values; filled in from the name where they are left out."""

    @model_validator(mode="before")
    @classmethod
    def _resolve(cls, value: Any) -> Any:
        """Takes a name, {name}, {name, architecture: {...}} or the architecture's keys, with a name or without."""
        if not isinstance(value, str | dict):
            return value
        name = value if isinstance(value, str) else value.get("name", "custom")
        given = {} if isinstance(value, str) else {k: v for k, v in value.items() if k != "name"}
        source = given.get("architecture", given) or name
        if not isinstance(source, str | dict | ModelConfig):
            return value
        try:
            return {"name": str(name), "architecture": load_model_config(source, key="")}
        except ConfigError as error:
            raise ValueError("; ".join(_said(problem) for problem in error.problems)) from error


def _said(problem: Problem) -> str:
    """A problem of an architecture, to be told under the key `model`."""
    return str(problem) if problem.key else problem.expected


class LossConfig(Config):
    """Weights of the terms of the loss."""

    contrastive: float = Field(1.0, ge=0)
    """Weight of the contrastive or sigmoid loss (models with features: all but cap)."""
    caption: float = Field(2.0, ge=0)
    """Weight of the captioning loss (models that write captions; open_clip's default is 2.0)."""
    max_logit_scale: float = Field(100.0, gt=1)
    """The learned temperature's inverse is clamped to at most this, as in CLIP."""

    @model_validator(mode="after")
    def _something_to_learn(self) -> "LossConfig":
        if self.contrastive == 0 and self.caption == 0:
            raise ValueError("both loss weights are 0: there is nothing to learn")
        return self


class OptimizerConfig(Config):
    """How parameters are updated; the defaults are those of the paper's runs."""

    name: str = "adamw"
    """adamw: PyTorch's fused AdamW; or the name of one of timm's optimizers, such as lion or lamb."""
    lr: float = Field(gt=0)
    """Peak learning rate."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Decay rates of the first and second moment, where the optimizer has them."""
    eps: float = Field(1e-8, gt=0)
    """Added to the denominator, where the optimizer has one."""
    weight_decay: float = Field(0.2, ge=0)
    """Decoupled weight decay; parameters of fewer than two dimensions and logit_scale are excluded."""
    clip_grad_norm: float | None = Field(1.0, gt=0)
    """Gradients are scaled down to at most this norm; null for none."""
    options: dict[str, bool | int | float | str] = Field(default_factory=dict)
    """Further options of a timm optimizer, such as {momentum: 0.9}."""

    @model_validator(mode="after")
    def _options_have_a_taker(self) -> "OptimizerConfig":
        if self.options and self.name == "adamw":
            raise ValueError("options belong to timm's optimizers; adamw takes lr, betas, eps and weight_decay")
        return self


class ScheduleConfig(Config):
    """The learning rate as a function of samples seen."""

    kind: Literal["cosine", "const", "const_cooldown"] = "cosine"
    """cosine to zero; constant; constant with a linear cooldown to zero at the end."""
    warmup: Samples = 0
    """Linear warm-up from zero, in samples seen."""
    cooldown: Samples = 0
    """Length of the cooldown, in samples seen (const_cooldown only)."""

    @model_validator(mode="after")
    def _cooldown_fits_kind(self) -> "ScheduleConfig":
        if (self.cooldown > 0) != (self.kind == "const_cooldown"):
            raise ValueError("cooldown > 0 belongs to kind const_cooldown, and to no other")
        return self


class ParallelConfig(Config):
    """How the run is spread over processes, and in which precision."""

    mode: Literal["auto", "ddp", "fsdp", "hsdp"] = "auto"
    """ddp: whole parameters in each process; fsdp: parameters sharded over all processes (FSDP2); hsdp: sharded over
    the processes of a node, copied across nodes; auto: the first of ddp, hsdp and fsdp that fits into memory."""
    shard_size: int | None = Field(None, ge=2)
    """hsdp: how many processes share one copy of the parameters; null takes those of a node."""
    micro_batch_size: int | None = Field(None, ge=1)
    """Pairs that a process takes at a time; null takes its whole share of the batch. With fewer, the step is the same
    but needs less memory, and the features are computed twice."""
    cpu_offload: bool = False
    """Whether sharded parameters and the optimizer's state stay in the CPU's memory between uses (fsdp, hsdp)."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: parameters are cast for compute, gradients reduced and losses computed in fp32."""
    recompute: Literal["none", "selective", "full"] = "none"
    """Activation checkpointing: what the backward pass computes again instead of keeping it. selective: norms and
    activation functions; full: all but the inputs of each transformer block."""
    compile: bool = False
    """Whether torch.compile makes the kernels of each transformer block (minutes at the start, faster steps)."""
    threads: int | None = Field(None, ge=1)
    """CPU threads of each process; null leaves PyTorch's choice."""
    hang_after: float = Field(600.0, ge=5)
    """Seconds after which a step that does not end is taken for hung: its processes say where they are, and stop."""

    @model_validator(mode="after")
    def _keys_fit_mode(self) -> "ParallelConfig":
        if self.shard_size is not None and self.mode != "hsdp":
            raise ValueError(f"shard_size belongs to mode hsdp, not to {self.mode}")
        if self.cpu_offload and self.mode not in ("fsdp", "hsdp"):
            raise ValueError(f"cpu_offload needs sharded parameters: mode fsdp or hsdp, not {self.mode}")
        return self


class CheckpointConfig(Config):
    """When the state of a run is written."""

    every: Samples | None = None
    """Distance between checkpoints in samples seen; null writes only the last one."""
    keep_last: int = Field(2, ge=1)
    """How many of the latest checkpoints stay, besides the permanent ones; the final one always stays."""
    permanent: list[Samples] | None = None
    """Points of the clock at which a checkpoint is written that stays; null takes the paper's scales from 1.28M on and
    the points halfway between them (docs/training.md lists them)."""


class NonFiniteConfig(Config):
    """What happens when gradients are NaN or infinite. Each such step changes nothing and is counted."""

    in_a_row: int = Field(10, ge=1)
    """So many such steps, one after the other, are too many."""
    then: Literal["rewind", "stop"] = "rewind"
    """rewind: take the weights of the last checkpoint and go on with the samples that follow; stop: end the run."""
    rewinds: int = Field(3, ge=1)
    """Rewinds of one attempt, after which the run ends all the same."""


class Branch(Config):
    """Where a run was branched off from another (`mammut-clip train --from RUN@SAMPLES --cooldown 10%`)."""

    run: str
    """The run directory it comes from, as it was given."""
    name: str
    """That run's sweep and name, `sweep/name`."""
    samples_seen: Samples
    """The checkpoint it begins with."""


class EvaluationConfig(Config):
    """Zero-shot evaluation inside the training job."""

    every: Samples | None = None
    """Distance between evaluations in samples seen; null evaluates at the end only."""
    suite: str | None = None
    """Name or path of a suite in evals/; null evaluates nothing here (mammut-clip eval does it later)."""
    data_root: str | None = None
    """Folder that holds the suite's datasets; null takes the one the suite names."""


class LoggingConfig(Config):
    """What is recorded while training."""

    every: Samples = 12_800
    """Distance between lines of metrics.jsonl, in samples seen."""
    wandb_project: str | None = None
    """Also log to this Weights & Biases project, under one id over all attempts."""
    wandb_mode: Literal["online", "offline"] | None = None
    """offline writes to the run's folder, for `wandb sync` later; null follows wandb's own environment variables."""
    tensorboard: bool = False
    """Also write event files for TensorBoard to the run's folder."""

    @model_validator(mode="after")
    def _mode_has_a_project(self) -> "LoggingConfig":
        if self.wandb_mode is not None and self.wandb_project is None:
            raise ValueError("wandb_mode needs wandb_project")
        return self


class RunConfig(Config):
    """One training run, complete: the same config gives the same run."""

    format: int = FORMAT
    """Version of this schema."""
    name: SafeName
    """Name of the run: its folder under the sweep's."""
    sweep: SafeName = "single"
    """Name of the sweep the run belongs to."""
    model: NamedModel
    """What is trained."""
    samples_seen: Samples = Field(gt=0)
    """The budget: image-text pairs the optimiser consumes, repeats counted."""
    global_batch_size: int = Field(ge=2)
    """Pairs per optimiser step, over all processes."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Seed of the initial weights, the sample order and the augmentation."""
    data: DataConfig
    """What is trained on."""
    optimizer: OptimizerConfig
    """How parameters are updated."""
    schedule: ScheduleConfig = ScheduleConfig()
    """How the learning rate moves."""
    loss: LossConfig = LossConfig()
    """What is minimised."""
    parallel: ParallelConfig = ParallelConfig()
    """How the work is spread."""
    checkpoint: CheckpointConfig = CheckpointConfig()
    """When state is written."""
    non_finite: NonFiniteConfig = NonFiniteConfig()
    """What happens when gradients are NaN or infinite."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """What is measured on the way."""
    logging: LoggingConfig = LoggingConfig()
    """What is recorded on the way."""
    branched_from: Branch | None = None
    """The run and checkpoint that this run began with; null for one that began with first weights."""

    @property
    def permanent_points(self) -> tuple[int, ...]:
        """Where checkpoints that stay are due, in samples seen, ascending, before the end of the run."""
        points = SCALES_AND_BETWEEN if self.checkpoint.permanent is None else self.checkpoint.permanent
        return tuple(sorted({point for point in points if 0 < point < self.total_samples}))

    @property
    def steps(self) -> int:
        """Optimiser steps: the budget in whole batches, to the nearest."""
        return max(1, round(self.samples_seen / self.global_batch_size))

    @property
    def total_samples(self) -> int:
        """Samples seen at the end, a whole number of batches."""
        return self.steps * self.global_batch_size

    @field_validator("format")
    @classmethod
    def _of_this_version(cls, found: int) -> int:
        if found != FORMAT:
            raise ValueError(
                f"this config is of format {found}, this program reads format {FORMAT}: "
                "use the version of mammut-clip named in the run's manifest.json, or remove the line and check each key"
            )
        return found

    @model_validator(mode="after")
    def _possible(self) -> "RunConfig":
        batch, budget = self.global_batch_size, self.samples_seen
        if batch > budget:
            raise ValueError(
                f"global_batch_size {batch} is more than the whole budget of {format_quantity(budget)} samples"
            )
        ramp = self.schedule.warmup + self.schedule.cooldown
        if ramp > self.total_samples:
            raise ValueError(
                f"schedule.warmup + schedule.cooldown = {format_quantity(ramp)} samples are longer than the run "
                f"({format_quantity(self.total_samples)} samples)"
            )
        self._check_model()
        return self

    def _check_model(self) -> None:
        model = self.model.architecture
        if not model.writes_captions and self.loss.contrastive == 0:
            raise ValueError(
                f"loss.contrastive is 0 and {model.family} has no other loss: choose a model that writes captions "
                "(mammut, coca, cap) or a weight > 0"
            )
        if not model.has_features and self.loss.caption == 0:
            raise ValueError(f"loss.caption is 0 and {model.family} has no other loss: choose a weight > 0")

    def check_world_size(self, world_size: int, source: str) -> None:
        """Raise ConfigError unless `world_size` processes can share the global batch equally."""
        batch = self.global_batch_size
        if batch % world_size:
            below, above = batch // world_size * world_size, -(-batch // world_size) * world_size
            fits = " or ".join(str(size) for size in (below, above) if size >= 2)
            problem = Problem(
                "global_batch_size",
                f"{world_size} processes cannot share it equally; use {fits}, or other processes",
                batch,
            )
            raise ConfigError(source, [problem])
