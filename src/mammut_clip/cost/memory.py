"""GPU memory of a training step: an estimate to plan with, not a measurement.

    state        float32 weights, gradients and both AdamW moments: 16 bytes a parameter, spread over the GPUs
    gathered     a whole copy of the weights outside the blocks, and of two blocks, in the compute precision
    activations  what the backward pass reads again, kept for every block: per token 8 D for attention and
    norms
                 and 2 M for an MLP of hidden width M, in the compute precision (cf. Korthikanti et al. 2022,
                 equation 2, less the attention matrix, which flash attention does not keep)
    losses       one chunk of vocabulary logits with its gradient and the head's float32 gradient (MaMMUT);
                 contrastive logits of this GPU's rows against the global batch, three float32 copies each way

Left out: the allocator's fragmentation, CUDA's and NCCL's own buffers (1 to 2 GB), the input batch.
Recomputation of activations is not assumed.
"""

from dataclasses import dataclass
from typing import Literal

from mammut_clip.config.model import ModelConfig
from mammut_clip.cost.params import attention, mlp, parameters, text_blocks

Precision = Literal["fp32", "bf16"]
_BYTES = {"fp32": 4, "bf16": 2}
_STATE_BYTES = 16
_CAPTION_CHUNK = 4096
"""Positions whose vocabulary logits are held at a time; the default of the captioning loss."""


@dataclass(frozen=True)
class MemoryEstimate:
    """Gigabytes (1e9 bytes) on one GPU, by cause."""

    state: float
    gathered: float
    activations: float
    losses: float

    @property
    def total(self) -> float:
        """The sum of the parts."""
        return self.state + self.gathered + self.activations + self.losses


def training_memory_gb(config: ModelConfig, batch_size_per_gpu: int, gpus: int, precision: Precision) -> MemoryEstimate:
    """Estimated memory of one GPU in a training step; the module's docstring has the formula."""
    count, size = parameters(config).total, _BYTES[precision]
    vision, text = config.vision_cfg, config.text_cfg
    image_block = attention(vision.width) + mlp(vision.width, vision.mlp_width)
    text_block = attention(text.width) + mlp(text.width, text.mlp_width)
    outside_blocks = count - vision.layers * image_block - text_blocks(text)
    gathered = outside_blocks + 2 * max(image_block, text_block) if gpus > 1 or size != 4 else 0
    return MemoryEstimate(
        state=_STATE_BYTES * count / gpus / 1e9,
        gathered=gathered * size / 1e9,
        activations=batch_size_per_gpu * _values_per_sample(config) * size / 1e9,
        losses=_loss_bytes(config, batch_size_per_gpu, gpus, size) / 1e9,
    )


def _values_per_sample(config: ModelConfig) -> int:
    """Numbers kept for the backward pass by all blocks, for one image-text pair."""
    vision, text = config.vision_cfg, config.text_cfg
    image = vision.tokens * vision.layers * (8 * vision.width + 2 * vision.mlp_width)
    with_mlp = sum(text.layer_has_mlp(layer) for layer in range(text.layers))
    per_position = text.layers * 6 * text.width + with_mlp * 2 * (text.width + text.mlp_width)
    encoded = text.context_length * per_position
    if config.family == "clip":
        return image + encoded
    cross = text.context_length * (6 * text.width + 2 * text.mlp_width) + vision.tokens * 3 * text.width
    return image + 2 * encoded + text.cross_layers * cross


def _loss_bytes(config: ModelConfig, batch: int, gpus: int, size: int) -> int:
    contrastive = 2 * 3 * 4 * batch * batch * gpus
    if config.family == "clip":
        return contrastive
    text = config.text_cfg
    positions = min(_CAPTION_CHUNK, batch * (text.context_length - 1))
    return contrastive + positions * text.vocab_size * (4 + size) + 4 * text.width * text.vocab_size
