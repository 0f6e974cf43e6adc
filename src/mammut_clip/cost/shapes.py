"""A model as shapes: which transformer blocks it has, and over how many positions of a sample each of them runs.

Parameters, FLOPs and memory are sums over these, and over the few parts outside the blocks. What a tower of timm or
transformers is made of is not known here (see outside.py). Shapes: T text positions, N image tokens, D width.
"""

from dataclasses import dataclass

from mammut_clip.config.model import CapConfig, CocaConfig, MammutConfig, ModelConfig
from mammut_clip.config.towers import DecoderConfig, MultimodalConfig, TextConfig, VisionConfig


@dataclass(frozen=True)
class BlockShape:
    """A self-attention or cross-attention block."""

    width: int
    mlp_width: int | None
    """Hidden width of its MLP; None for a block without one."""
    cross: bool = False
    """Whether it attends to a context of another tower, through a LayerNorm of its own."""
    layer_scale: bool = False
    """Whether each branch is scaled per channel."""
    quick_gelu: bool = False


@dataclass(frozen=True)
class BlockRun:
    """Some blocks of one shape, each run once over a sample."""

    block: BlockShape
    count: int
    """How many blocks, one behind the other."""
    positions: int
    context: int = 0
    """Positions of the other tower that a cross-attention block attends to."""


@dataclass(frozen=True)
class Passes:
    """What runs for one sample in a training step."""

    image: tuple[BlockRun, ...] = ()
    """The image tower."""
    text: tuple[BlockRun, ...] = ()
    """The text tower's contrastive pass."""
    caption: tuple[BlockRun, ...] = ()
    """The decoder's captioning pass."""


def training_passes(config: ModelConfig, whole_images: bool = False) -> Passes:
    """The passes of a training step with texts that fill their context.

    Patch dropout leaves out patches, unless `whole_images`.
    """
    vision, quick = config.vision_cfg, getattr(config, "quick_gelu", False)
    image: tuple[BlockRun, ...] = ()
    context = 0
    if isinstance(vision, VisionConfig):
        context = image_tokens(vision, whole_images)
        shape = BlockShape(vision.width, vision.mlp_width, layer_scale=vision.ls_init_value is not None)
        image = (BlockRun(_quick(shape, quick), vision.layers, context),)
    text = config.text_cfg
    if isinstance(config, CocaConfig):
        # the class token stands behind the text; the first query is the image's feature and no context
        encoder = _encoder(config.text_cfg, config.text_cfg.context_length + 1, quick)
        written, context = config.text_cfg.context_length - 1, config.vision_cfg.attn_pooler_queries - 1
        return Passes(image, encoder, _coca_decoder(config.multimodal_cfg, written, context, quick))
    if isinstance(config, MammutConfig | CapConfig):
        decoder = config.text_cfg
        caption = (_cross_attention(decoder, context), *_self_attention(decoder, decoder.context_length - 1))
        features = _self_attention(decoder, decoder.context_length) if config.has_features else ()
        return Passes(image, features, caption)
    return Passes(image, _encoder(text, text.context_length, quick) if isinstance(text, TextConfig) else ())


def image_tokens(vision: VisionConfig, whole_images: bool = False) -> int:
    """Number N of image tokens that the blocks see: patches, those left out by patch dropout not counted, and one."""
    return vision.tokens if whole_images else vision.kept_patches + 1


def _quick(shape: BlockShape, quick: bool) -> BlockShape:
    return BlockShape(shape.width, shape.mlp_width, shape.cross, shape.layer_scale, quick)


def _encoder(text: TextConfig, positions: int, quick: bool) -> tuple[BlockRun, ...]:
    return (BlockRun(BlockShape(text.width, text.mlp_width, quick_gelu=quick), text.layers, positions),)


def _coca_decoder(decoder: MultimodalConfig, written: int, context: int, quick: bool) -> tuple[BlockRun, ...]:
    own, cross = (
        BlockShape(decoder.width, decoder.mlp_width, is_cross, quick_gelu=quick) for is_cross in (False, True)
    )
    return BlockRun(own, decoder.layers, written), BlockRun(cross, decoder.layers, written, context)


def _self_attention(text: DecoderConfig, positions: int) -> tuple[BlockRun, ...]:
    """MaMMUT's self-attention blocks, those without an MLP and those with one, such as the last."""
    with_mlp = sum(text.layer_has_mlp(layer) for layer in range(text.layers))
    counts = {None: text.layers - with_mlp, text.mlp_width: with_mlp}
    return tuple(BlockRun(BlockShape(text.width, hidden), n, positions) for hidden, n in counts.items() if n)


def _cross_attention(text: DecoderConfig, context: int) -> BlockRun:
    shape = BlockShape(text.width, text.mlp_width, cross=True)
    return BlockRun(shape, text.cross_layers, text.context_length - 1, context)
