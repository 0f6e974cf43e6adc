"""GPU memory of a training step: an estimate to plan with (docs/cost.md compares it with measured peaks).

    state        float32 weights and both AdamW moments: 12 bytes a parameter, spread over the GPUs that share a copy;
                 where several GPUs hold whole copies (DDP), 4 more for the buckets that gradients are reduced in
    gathered     weights in the compute precision: outside the blocks and of two blocks (FSDP2), or of all (autocast)
    inputs       the float32 pictures that the GPU takes at a time; with micro-batches, its whole share as bytes
    activations  what the forward pass keeps for the backward pass; see activations.py
    losses       the float32 gradient of the vocabulary head, and the fullest chunk of a loss; with micro-batches also
                 the features of the whole share and their gradients
    backward     what gradients, and the block at work, add to all that before enough activations have gone; with
                 micro-batches the gradients of those before

The peak of the step is their sum. Whole copies of the weights are cast by autocast in bf16, shared ones by FSDP2.
Texts fill their context: the longest caption of a batch decides, and in a batch of hundreds one is nearly always as
long. Left out: the allocator's fragmentation, CUDA's and NCCL's own buffers (1 to 2 GB).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from mammut_clip.config.errors import ConfigError, Problem
from mammut_clip.config.model import MammutConfig, ModelConfig
from mammut_clip.config.towers import TextConfig, VisionConfig
from mammut_clip.cost.activations import (
    ByteSizes,
    Recompute,
    gradients_in_block,
    kept_before_image_blocks,
    kept_behind_image_blocks,
    kept_behind_text_blocks,
    kept_by_block,
    made_again_by_block,
)
from mammut_clip.cost.loss_memory import caption_loss_bytes, feature_bytes, head_parameters, pair_loss_bytes
from mammut_clip.cost.outside import name_of, outside_towers
from mammut_clip.cost.params import block_parameters, parameters
from mammut_clip.cost.shapes import BlockRun, BlockShape, training_passes

Precision = Literal["fp32", "bf16"]
_FLOAT = 4
_STATE_BYTES = 12


@dataclass(frozen=True)
class MemoryEstimate:
    """Gigabytes (1e9 bytes) on one GPU, by cause."""

    state: float
    gathered: float
    inputs: float
    activations: float
    losses: float
    backward: float

    @property
    def total(self) -> float:
        """The sum of the parts."""
        return self.state + self.gathered + self.inputs + self.activations + self.losses + self.backward


def training_memory_gb(
    config: ModelConfig,
    batch_size_per_gpu: int,
    gpus: int,
    precision: Precision,
    recompute: Recompute = "none",
    *,
    shards: int | None = None,
    micro_batch: int | None = None,
    cpu_offload: bool = False,
) -> MemoryEstimate:
    """Estimated memory of one GPU in a training step; the module's docstring has the formula.

    `shards` GPUs share one copy of the weights and moments: all of them (None; FSDP), one (DDP), or some (HSDP).
    `micro_batch` pairs are taken at a time, None for the GPU's whole share at once. With `cpu_offload` the shared copy
    and the gradients are in the CPU's memory and do not count.

    Raises ConfigError for a model with a tower of another package, of which nobody knows what it keeps; ValueError for
    shards that do not divide the GPUs.
    """
    problems = [
        Problem(key, "memory is estimated for towers of our own only", name_of(tower))
        for key, tower in outside_towers(config).items()
    ]
    if problems:
        raise ConfigError("the model", problems)
    shards = gpus if shards is None else shards
    if shards < 1 or gpus % shards:
        raise ValueError(f"{gpus} GPUs cannot hold whole copies that {shards} of them share")
    at_a_time = min(micro_batch or batch_size_per_gpu, batch_size_per_gpu)
    return _Step(config, batch_size_per_gpu, at_a_time, gpus, shards, precision, recompute, cpu_offload).estimate()


@dataclass(frozen=True)
class _Stage:
    """A part of the model on its way through the backward pass; bytes."""

    kept: int
    """Activations that go when it is done."""
    at_work: int
    """What is held only while it is worked on."""
    parameters: int = 0
    """Number of parameters whose gradients it makes."""
    made_by_loss: int = 0
    """Gradients that a loss made in the forward pass, and that go when it is done."""


@dataclass(frozen=True)
class _Step:
    """A training step on one of the GPUs."""

    config: ModelConfig
    share: int
    """Pairs of this GPU."""
    batch: int
    """Pairs that it takes at a time."""
    gpus: int
    shards: int
    """GPUs that share one copy of the state."""
    precision: Precision
    recompute: Recompute
    offloaded: bool

    @property
    def whole(self) -> bool:
        """Whether this GPU has all weights."""
        return self.shards == 1

    @property
    def autocast(self) -> bool:
        """Whether weights are whole and cast where they are used."""
        return self.whole and self.precision == "bf16"

    @property
    def buckets(self) -> bool:
        """Whether gradients have a place of their own from the beginning, as under DDP."""
        return self.whole and self.gpus > 1

    @property
    def accumulates(self) -> bool:
        """Whether gradients of earlier micro-batches stand beside what this one makes."""
        return self.batch < self.share

    @property
    def size(self) -> int:
        """Bytes of a value in products."""
        return 2 if self.precision == "bf16" else _FLOAT

    @property
    def sizes(self) -> ByteSizes:
        return ByteSizes(stream=_FLOAT if self.autocast else self.size, inner=self.size)

    def estimate(self) -> MemoryEstimate:
        stages = list(self._stages())
        count, kept = parameters(self.config).total, sum(stage.kept for stage in stages)
        gathered, losses = self._gathered(count), self._losses(kept)
        earlier = self._gradients(count) if self.accumulates else 0.0
        fullest = earlier + max(kept + gathered + losses, self._fullest_backward(stages, gathered))
        return MemoryEstimate(
            state=self._state(count) / 1e9,
            gathered=gathered / 1e9,
            inputs=self._pictures() / 1e9,
            activations=kept / 1e9,
            losses=losses / 1e9,
            backward=max(0.0, fullest - kept - gathered - losses) / 1e9,
        )

    def _state(self, count: int) -> float:
        """Bytes of weights, moments, and of what gradients have a place in from the beginning."""
        own = 0.0 if self.offloaded else _STATE_BYTES * count / self.shards
        return own + (_FLOAT * count if self.buckets else 0)

    def _gradients(self, count: int) -> float:
        """Bytes of the gradients of so many parameters that stay on this GPU, outside DDP's buckets, which those of
        micro-batches enter together in the end."""
        in_buckets = self.buckets and not self.accumulates
        return 0.0 if self.offloaded or in_buckets else _FLOAT * count / self.shards

    def _pictures(self) -> int:
        """Bytes of the pictures: of one byte a value where they wait for their turn, then of four."""
        values = 3 * self._vision().image_size ** 2
        return values * (self.batch * _FLOAT + (self.share if self.accumulates else 0))

    def _vision(self) -> VisionConfig:
        assert isinstance(self.config.vision_cfg, VisionConfig)
        return self.config.vision_cfg

    def _text(self) -> TextConfig:
        assert isinstance(self.config.text_cfg, TextConfig)
        return self.config.text_cfg

    def _stages(self) -> Iterator[_Stage]:
        """The parts of the model in the order of the forward pass."""
        config, vision, batch, passes = self.config, self._vision(), self.batch, training_passes(self.config)
        count, blocks, head = parameters(config), _parameters_of(_each_once(config)), head_parameters(config)
        image_rest = count.image - _parameters_of(passes.image)
        yield self._around(batch * kept_before_image_blocks(vision, self.sizes), image_rest, image_rest)
        yield from self._blocks(passes.image)
        yield self._around(batch * kept_behind_image_blocks(config, vision, self.sizes))
        yield self._around(0, count.total - blocks - image_rest - head, self._looked_up())
        if isinstance(config, MammutConfig):  # both passes over a text go through the same blocks
            yield from self._blocks(passes.text, trained=False)
            yield from self._blocks(passes.caption, together={run.block: run for run in passes.text})
        else:
            yield from self._blocks((*passes.text, *passes.caption))
        scaled = (_FLOAT if self.whole else _FLOAT + self.size) * head
        kept = batch * kept_behind_text_blocks(config, self.sizes)
        yield _Stage(kept, scaled, head, made_by_loss=_FLOAT * head)

    def _blocks(
        self, runs: tuple[BlockRun, ...], trained: bool = True, together: Mapping[BlockShape, BlockRun] | None = None
    ) -> Iterator[_Stage]:
        """The blocks of some runs, which make gradients of their parameters where `trained`.

        What is computed again comes back together with that of the run of another pass through the same block.
        """
        for run in runs:
            count = block_parameters(run.block) if trained else 0
            passes = [run, *([together[run.block]] if together and run.block in together else [])]
            again = sum(made_again_by_block(each, self.recompute, self.sizes) for each in passes)
            largest = run.block.width * max(3 * run.block.width, run.block.mlp_width or 0) if trained else 0
            at_work = self.batch * (again + gradients_in_block(run, self.sizes)) + self._fresh_gradient(count, largest)
            for _ in range(run.count):
                yield _Stage(self.batch * kept_by_block(run, self.recompute, self.sizes), at_work, count)

    def _around(self, kept: int, count: int = 0, largest: int = 0) -> _Stage:
        return _Stage(kept, self._fresh_gradient(count, largest), count)

    def _fresh_gradient(self, count: int, largest: int) -> int:
        """Bytes of gradients before they are where they stay.

        FSDP2 spreads those of all parameters of a stage together, and makes a float32 copy; whole ones are added to
        earlier ones, or put into DDP's buckets, one parameter after the other, the `largest` of which counts.
        """
        if not self.whole:
            return count * (self.size + _FLOAT)
        return _FLOAT * largest if self.buckets or self.accumulates else 0

    def _fullest_backward(self, stages: list[_Stage], gathered: int) -> float:
        """The most bytes of activations, gradients, gathered weights and work at one time in the backward pass."""
        alive, gradients, fullest = float(sum(stage.kept + stage.made_by_loss for stage in stages)), 0.0, 0.0
        # recomputed blocks let go of cast weights and cast them again
        cast = self.autocast and self.recompute == "none"
        alive += gathered if cast or not self.autocast else 0
        for stage in reversed(stages):
            fullest = max(fullest, alive + gradients + stage.at_work)
            alive -= stage.kept + stage.made_by_loss + (self.size * stage.parameters if cast else 0)
            gradients += 0.0 if self.accumulates else self._gradients(stage.parameters)
            fullest = max(fullest, alive + gradients)
        return fullest

    def _losses(self, kept: int) -> int:
        """Bytes of the head's gradient, which waits for the backward pass, and of the fuller one of the two losses.

        With micro-batches the loss over pairs comes first, of features that were computed for it alone: it counts as
        far as it needs more room than the activations (`kept` bytes) that come after it.
        """
        pairs, head = pair_loss_bytes(self.config, self.share, self.gpus), _FLOAT * head_parameters(self.config)
        captions = caption_loss_bytes(self.config, self.batch, self.size, self.autocast)
        if not self.accumulates:
            return head + max(pairs, captions)
        features = feature_bytes(self.config, self.share)
        return features + max(head + captions, pairs - kept)

    def _gathered(self, count: int) -> int:
        """Bytes of weights in the compute precision, beside the float32 ones."""
        if self.whole:
            return self.size * (count - self._looked_up()) if self.autocast else 0
        blocks = _each_once(self.config)
        return self.size * (count - _parameters_of(blocks) + 2 * max(block_parameters(run.block) for run in blocks))

    def _looked_up(self) -> int:
        """Parameters of the token embedding, which is never cast."""
        return self._text().vocab_size * self._text().width


def _each_once(config: ModelConfig) -> tuple[BlockRun, ...]:
    """All blocks of a model."""
    passes = training_passes(config)
    return (*passes.image, *(() if isinstance(config, MammutConfig) else passes.text), *passes.caption)


def _parameters_of(runs: tuple[BlockRun, ...]) -> int:
    return sum(run.count * block_parameters(run.block) for run in runs)
