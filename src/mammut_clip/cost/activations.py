"""What the forward pass keeps for the backward pass, in bytes per sample.

The formulas count the tensors that autograd holds for our blocks (models/blocks.py), as Korthikanti et al. 2022
(equation 2) count those of a transformer; the attention matrix is not among them. D width, M hidden width of the MLP,
per position of a block:

                 self-attention              cross-attention                     MLP
    none         x, norm, 3 D, mixed: 6 D    x, norm, query, mixed: 4 D          x, norm, 2 M: 2 D + 2 M
    selective    x, 3 D, mixed, out: 6 D     x, query, mixed, out: 4 D           D + M
    full         x: D                        x: D                                nothing

and per position of its context 3 D, 2 D and nothing for cross-attention. OpenAI's GELU keeps M more, LayerScale D more
a branch. Left out, for they are below 1%: the statistics of norms and attention, token ids.
"""

from dataclasses import dataclass
from typing import Literal

from mammut_clip.config.model import CapConfig, CocaConfig, MammutConfig, ModelConfig
from mammut_clip.config.towers import VisionConfig
from mammut_clip.cost.shapes import BlockRun, image_tokens

Recompute = Literal["none", "selective", "full"]


@dataclass(frozen=True)
class ByteSizes:
    """Bytes of a value, by where it stands."""

    stream: int
    """On the residual stream, from block to block."""
    inner: int
    """In a product with weights, or of it."""


def kept_by_block(run: BlockRun, recompute: Recompute, sizes: ByteSizes) -> int:
    """Bytes that one block of a run keeps."""
    width = run.block.width
    if recompute == "full":
        return run.positions * width * sizes.stream
    stream, inner, context = _everything(run) if recompute == "none" else _products(run)
    return (run.positions * inner + run.context * context) * sizes.inner + run.positions * stream * sizes.stream


def made_again_by_block(run: BlockRun, recompute: Recompute, sizes: ByteSizes) -> int:
    """Bytes that one block of a run computes again, and holds, when its backward pass comes."""
    if recompute == "none":
        return 0
    all_of_it = kept_by_block(run, "none", sizes)
    if recompute == "full":
        return all_of_it - kept_by_block(run, "full", sizes)
    block = run.block
    norms = run.positions * block.width + run.context * block.width
    if block.mlp_width is None:
        return norms * sizes.inner
    hidden = block.mlp_width * (2 if block.quick_gelu else 1)
    return (norms + run.positions * (block.width + hidden)) * sizes.inner + run.positions * block.width * sizes.stream


def gradients_in_block(run: BlockRun, sizes: ByteSizes) -> int:
    """Bytes of gradients between the parts of one block at the fullest moment of its backward pass."""
    width, hidden = run.block.width, run.block.mlp_width or 0
    return run.positions * (width * sizes.stream + max(hidden, 4 * width) * sizes.inner)


def _everything(run: BlockRun) -> tuple[int, int, int]:
    """Values kept without recomputation: per position on the stream and inside, per position of the context."""
    block, width = run.block, run.block.width
    inner = (3 if block.cross else 5) * width + (width if block.layer_scale else 0)
    context = 3 * width if block.cross else 0
    if block.mlp_width is None:
        return width, inner, context
    hidden = block.mlp_width * (3 if block.quick_gelu else 2)
    return 2 * width, inner + width + hidden + (width if block.layer_scale else 0), context


def _products(run: BlockRun) -> tuple[int, int, int]:
    """The same with selective recomputation: results of products and attention, needed or not."""
    block, width = run.block, run.block.width
    inner = (3 if block.cross else 5) * width
    if block.mlp_width is not None:
        inner += width + block.mlp_width
    return width, inner, 2 * width if block.cross else 0


def kept_before_image_blocks(vision: VisionConfig, sizes: ByteSizes) -> int:
    """Bytes kept by the patch embedding and the norm behind it."""
    patches = (image_tokens(vision) - 1) * 3 * vision.patch_size**2
    return patches * sizes.inner + image_tokens(vision) * vision.width * sizes.stream


def kept_behind_image_blocks(config: ModelConfig, vision: VisionConfig, sizes: ByteSizes) -> int:
    """Bytes kept by pooling and by the map to the decoder's width."""
    tokens, inner = image_tokens(vision), 0
    if isinstance(config, CocaConfig):
        queries, embedding = config.vision_cfg.attn_pooler_queries, config.embed_dim
        inner = tokens * (vision.width + 2 * embedding) + 3 * queries * embedding
    elif isinstance(config, MammutConfig | CapConfig):
        inner = tokens * config.text_cfg.width
    return inner * sizes.inner + tokens * vision.width * sizes.stream


def kept_behind_text_blocks(config: ModelConfig, sizes: ByteSizes) -> int:
    """Bytes kept by the pooling of texts and in front of the vocabulary head."""
    text, values = config.text_cfg, 0
    if isinstance(config, MammutConfig):
        values += text.context_length * config.text_cfg.width * sizes.stream
    elif isinstance(config, CocaConfig):
        values += (text.context_length + 1) * config.text_cfg.width * sizes.stream
    if isinstance(config, MammutConfig | CapConfig | CocaConfig):
        width = config.text_cfg.width
        values += (text.context_length - 1) * width * (sizes.stream + sizes.inner)  # hidden states, their gradients
    return values
