"""GFLOPs per sample (one image-text pair) in two conventions, from architecture values alone.

    paper   one forward pass without the attention score and value products; MaMMUT's includes the vocabulary
            product of the contrastive text pass, which LAION's code makes and throws away. The unit of the
            paper's laws.
    exact   the matrix products of our models, attention included, forward and backward. The vocabulary head
            counts at all T-1 positions, and CLIP's text tower at all T: how many are padding depends on the
            captions, and the trainer skips those. Causal attention counts in full. Recomputation (flash
            attention's, activation checkpointing's) does not count, nor do the logits of the contrastive loss,
            which depend on the batch size.

A multiplication with its addition is two operations. Biases, norms, softmax and GELU are left out, as in
torch's FlopCounterMode. Shapes: T text positions, N image tokens, D width, E embedding, V vocabulary.
"""

from dataclasses import dataclass

from mammut_clip.config.model import ModelConfig, TextConfig


@dataclass(frozen=True)
class Gflops:
    """GFLOPs per sample, each figure in its convention."""

    paper: float
    """Forward only, as the paper counts."""
    exact_forward: float
    """One forward pass, as executed."""
    exact_step: float
    """Forward and backward pass, as executed."""


@dataclass(frozen=True)
class _Products:
    """Operations of one forward pass, by what the conventions do with them."""

    linear: int = 0
    """Products with weights whose input needs a gradient: twice as much again in the backward pass."""
    pixels: int = 0
    """The patch embedding: pixels need no gradient, so only once as much again."""
    attention: int = 0
    """Scores and mixed values: twice as much again in the backward pass, and left out by the paper."""

    def __add__(self, other: "_Products") -> "_Products":
        return _Products(self.linear + other.linear, self.pixels + other.pixels, self.attention + other.attention)


def gflops_per_sample(config: ModelConfig) -> Gflops:
    """GFLOPs per sample of a model with both of its passes (MaMMUT) over whole contexts."""
    forward = _image_tower(config) + (_clip_text(config) if config.family == "clip" else _mammut_text(config))
    thrown_away = 0
    if config.family == "mammut":
        text = config.text_cfg
        thrown_away = 2 * text.context_length * text.width * text.vocab_size
    return Gflops(
        paper=(forward.linear + forward.pixels + thrown_away) / 1e9,
        exact_forward=(forward.linear + forward.pixels + forward.attention) / 1e9,
        exact_step=(3 * forward.linear + 2 * forward.pixels + 3 * forward.attention) / 1e9,
    )


def _self_attention(positions: int, width: int) -> _Products:
    return _Products(linear=8 * positions * width**2, attention=4 * positions**2 * width)


def _mlp(positions: int, width: int, hidden: int) -> _Products:
    return _Products(linear=4 * positions * width * hidden)


def _image_tower(config: ModelConfig) -> _Products:
    vision = config.vision_cfg
    total = _Products(
        pixels=2 * vision.patches * 3 * vision.patch_size**2 * vision.width,
        linear=2 * vision.width * config.embed_dim,
    )
    for _ in range(vision.layers):
        total += _self_attention(vision.tokens, vision.width)
        total += _mlp(vision.tokens, vision.width, vision.mlp_width)
    return total


def _text_stack(text: TextConfig, positions: int) -> _Products:
    """The self-attention blocks, once over the text."""
    total = _Products()
    for layer in range(text.layers):
        total += _self_attention(positions, text.width)
        if text.layer_has_mlp(layer):
            total += _mlp(positions, text.width, text.mlp_width)
    return total


def _clip_text(config: ModelConfig) -> _Products:
    text = config.text_cfg
    return _text_stack(text, text.context_length) + _Products(linear=2 * text.width * config.embed_dim)


def _mammut_text(config: ModelConfig) -> _Products:
    """The contrastive pass over T positions and the captioning pass over T-1."""
    text, vision = config.text_cfg, config.vision_cfg
    written = text.context_length - 1
    total = _text_stack(text, text.context_length) + _text_stack(text, written)
    total += _Products(linear=2 * vision.tokens * vision.width * text.width)  # image tokens to text width
    total += _Products(linear=2 * written * text.width * text.vocab_size)
    for _ in range(text.cross_layers):
        total += _Products(
            linear=4 * (written + vision.tokens) * text.width**2,
            attention=4 * written * vision.tokens * text.width,
        )
        total += _mlp(written, text.width, text.mlp_width)
    return total
