"""Number of parameters of a model, in closed form.

The split is the paper's: `image` is the image tower, `text` the text tower; the temperature and MaMMUT's map
from image to text width belong to neither.
"""

from dataclasses import dataclass

from mammut_clip.config.model import ModelConfig, TextConfig, VisionConfig


@dataclass(frozen=True)
class ParameterCount:
    """Parameters of a model."""

    total: int
    """All of them."""
    image: int
    """Those of the image tower."""
    text: int
    """Those of the text tower, embedding and vocabulary head included."""


def parameters(config: ModelConfig) -> ParameterCount:
    """The parameters that `build_model(config)` would have."""
    image = _image(config.vision_cfg, config.embed_dim)
    text = _text(config)
    between = config.vision_cfg.width * config.text_cfg.width if config.family == "mammut" else 0
    return ParameterCount(total=image + text + between + 1, image=image, text=text)


def _layer_norm(width: int) -> int:
    return 2 * width


def attention(width: int) -> int:
    """Query, key, value and output projections with their biases."""
    return 4 * (width * width + width)


def mlp(width: int, hidden: int) -> int:
    """Two linear layers with their biases."""
    return 2 * width * hidden + hidden + width


def _image(vision: VisionConfig, embed_dim: int) -> int:
    width = vision.width
    scales = 2 * width if vision.ls_init_value is not None else 0
    block = 2 * _layer_norm(width) + attention(width) + mlp(width, vision.mlp_width) + scales
    embeddings = 3 * vision.patch_size**2 * width + width + vision.tokens * width
    return embeddings + 2 * _layer_norm(width) + vision.layers * block + width * embed_dim


def text_blocks(text: TextConfig) -> int:
    """All self-attention and cross-attention blocks of the text tower."""
    width = text.width
    with_mlp = sum(text.layer_has_mlp(layer) for layer in range(text.layers))
    feed_forward = _layer_norm(width) + mlp(width, text.mlp_width)
    self_attention = text.layers * (_layer_norm(width) + attention(width)) + with_mlp * feed_forward
    return self_attention + text.cross_layers * (2 * _layer_norm(width) + attention(width) + feed_forward)


def _text(config: ModelConfig) -> int:
    text = config.text_cfg
    embeddings = (text.vocab_size + text.context_length) * text.width
    projection = text.width * (config.embed_dim if config.family == "clip" else text.vocab_size)
    return embeddings + text_blocks(text) + _layer_norm(text.width) + projection
