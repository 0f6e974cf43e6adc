"""Number of parameters of a model, in closed form.

The split is the paper's: `image` is the image tower, `text` the text tower. The temperature (and SigLIP's bias), the
map from image to text width (MaMMUT, Cap) and CoCa's decoder belong to neither. Shapes: T text positions, N image
tokens, D width, Q queries, E embedding, V vocabulary.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from mammut_clip.config.model import CapConfig, CocaConfig, MammutConfig, ModelConfig, SiglipConfig
from mammut_clip.config.towers import CocaVisionConfig, DecoderConfig, TextConfig, VisionConfig
from mammut_clip.cost.outside import outside_costs
from mammut_clip.cost.shapes import BlockRun, BlockShape, training_passes


@dataclass(frozen=True)
class ParameterCount:
    """Parameters of a model."""

    total: int
    """All of them."""
    image: int
    """Those of the image tower."""
    text: int
    """Those of the text tower, embedding included; in MaMMUT and Cap it has the vocabulary head."""


def parameters(config: ModelConfig) -> ParameterCount:
    """The parameters that `build_model(config)` would have.

    Raises UnmeasuredTowerError for a tower of another package whose cost the config does not give.
    """
    outside = outside_costs(config)
    image = outside["vision_cfg"].params if "vision_cfg" in outside else _image(config)
    text = outside["text_cfg"].params if "text_cfg" in outside else _text(config)
    return ParameterCount(total=image + text + _in_no_tower(config), image=image, text=text)


def block_parameters(block: BlockShape) -> int:
    """Parameters of one transformer block."""
    width = block.width
    attention = 4 * (width * width + width)
    norms = _layer_norm(width) * (1 + block.cross + (block.mlp_width is not None))
    mlp = 0 if block.mlp_width is None else 2 * width * block.mlp_width + block.mlp_width + width
    branches = 1 + (block.mlp_width is not None)
    return attention + norms + mlp + (branches * width if block.layer_scale else 0)


def _layer_norm(width: int) -> int:
    return 2 * width


def _blocks(runs: Iterable[BlockRun]) -> int:
    return sum(run.count * block_parameters(run.block) for run in runs)


def _image(config: ModelConfig) -> int:
    vision, embedding = config.vision_cfg, config.embed_dim
    assert isinstance(vision, VisionConfig)
    width = vision.width
    embedded = 3 * vision.patch_size**2 * width + width + vision.tokens * width + _layer_norm(width)
    trunk = embedded + _blocks(training_passes(config).image)
    if isinstance(config, CapConfig):
        return trunk
    if isinstance(vision, CocaVisionConfig):
        return trunk + _pooler(vision, embedding) + _layer_norm(embedding) + embedding * embedding
    return trunk + _layer_norm(width) + width * embedding


def _pooler(vision: CocaVisionConfig, embedding: int) -> int:
    """CoCa's learned queries [Q, E] and their attention to image tokens."""
    attention = 2 * embedding * embedding + 2 * vision.width * embedding + 4 * embedding
    return vision.attn_pooler_queries * embedding + attention + _layer_norm(embedding) + _layer_norm(vision.width)


def _text(config: ModelConfig) -> int:
    text, passes = config.text_cfg, training_passes(config)
    assert isinstance(text, TextConfig)
    embedded = (text.vocab_size + text.context_length) * text.width + _layer_norm(text.width)
    if isinstance(text, DecoderConfig):  # the captioning pass goes through every block
        return embedded + _blocks(passes.caption) + text.width * text.vocab_size
    if isinstance(config, CocaConfig):
        embedded += 2 * text.width  # the class token and its position
    return embedded + _blocks(passes.text) + text.width * config.embed_dim


def _in_no_tower(config: ModelConfig) -> int:
    between = 0
    if isinstance(config, MammutConfig | CapConfig):
        between = config.vision_cfg.width * config.text_cfg.width
    elif isinstance(config, CocaConfig):
        width = config.multimodal_cfg.width
        between = _blocks(training_passes(config).caption) + _layer_norm(width) + width * config.text_cfg.vocab_size
    return between + config.has_features + isinstance(config, SiglipConfig)
