"""GFLOPs per sample (one image-text pair) in two conventions, from architecture values alone.

    paper   one forward pass over the whole image, without the attention score and value products: what the
            published table counts (torch's FlopCounterMode on a build that knew no fused attention), and the unit of
            the paper's laws. With it come two passes that need not run. MaMMUT's contrastive text pass is multiplied
            by the vocabulary matrix and the result thrown away. CoCa's text tower runs twice: its 15 published
            figures are met, each to its last digit, by image tower and pooler (the queries' projection once per
            image), twice the text tower over T + 1 positions, and the decoder and vocabulary head over T - 1
            positions and Q - 1 pooled tokens; with one text pass they would be 6 to 17% lower.
    exact   the matrix products that a training step of our models executes, attention included: forward, and
            forward and backward. Patches left out by patch dropout do not count.

`exact` takes texts that fill their context: T positions in the contrastive pass, T - 1 in the captioning pass and the
vocabulary head. How many of these are padding depends on the texts; the trainer skips those wherever that changes
nothing, so it executes less. Causal attention counts in full. Not counted: what is computed again (flash attention's
backward pass, activation checkpointing), the logits of the contrastive loss and the projection of CoCa's queries,
which do not grow with the samples alone.

A multiplication with its addition is two operations. Biases, norms, softmax and GELU are left out, as in torch's
FlopCounterMode. Shapes: T text positions, N image tokens, D width, Q queries, E embedding, V vocabulary.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from mammut_clip.config.model import CapConfig, CocaConfig, MammutConfig, ModelConfig
from mammut_clip.config.towers import CocaVisionConfig, TextConfig, VisionConfig
from mammut_clip.cost.outside import outside_costs
from mammut_clip.cost.shapes import BlockRun, image_tokens, training_passes


@dataclass(frozen=True)
class Gflops:
    """GFLOPs per sample, each figure in its convention."""

    paper: float
    """Forward only, as the paper counts."""
    exact_forward: float
    """One forward pass, as executed."""
    exact_step: float
    """Forward and backward pass, as executed."""

    def __add__(self, other: "Gflops") -> "Gflops":
        return Gflops(
            self.paper + other.paper, self.exact_forward + other.exact_forward, self.exact_step + other.exact_step
        )


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
    """GFLOPs per sample of all passes of a model; the module's docstring has the conventions.

    Raises UnmeasuredTowerError for a tower of another package whose cost the config does not give.
    """
    published, executed = _products(config, whole_images=True), _products(config, whole_images=False)
    total = Gflops(
        paper=(published.linear + published.pixels + _published_only(config)) / 1e9,
        exact_forward=(executed.linear + executed.pixels + executed.attention) / 1e9,
        exact_step=(3 * executed.linear + 2 * executed.pixels + 3 * executed.attention) / 1e9,
    )
    for cost in outside_costs(config).values():
        total += Gflops(cost.gflops_paper, cost.gflops_exact_forward, cost.gflops_exact_step)
    return total


def _products(config: ModelConfig, whole_images: bool) -> _Products:
    passes = training_passes(config, whole_images)
    total = _blocks((*passes.image, *passes.text, *passes.caption))
    if isinstance(config.vision_cfg, VisionConfig):
        total += _around_image_blocks(config, config.vision_cfg, whole_images)
    return total + _around_text_blocks(config)


def _blocks(runs: Iterable[BlockRun]) -> _Products:
    total = _Products()
    for run in runs:
        block, own = run.block, run.positions
        attended = run.context if block.cross else own
        total += _Products(
            linear=run.count * (4 * (own + attended) * block.width**2 + 4 * own * block.width * (block.mlp_width or 0)),
            attention=run.count * 4 * own * attended * block.width,
        )
    return total


def _around_image_blocks(config: ModelConfig, vision: VisionConfig, whole_images: bool) -> _Products:
    """Patch embedding, pooling and projection, and the map to the decoder's width."""
    width, embedding, tokens = vision.width, config.embed_dim, image_tokens(vision, whole_images)
    total = _Products(pixels=2 * (tokens - 1) * 3 * vision.patch_size**2 * width)
    if isinstance(vision, CocaVisionConfig):
        queries = vision.attn_pooler_queries
        pooled = 4 * tokens * width * embedding + 2 * queries * embedding**2
        total += _Products(linear=pooled, attention=4 * queries * tokens * embedding)
        total += _Products(linear=2 * embedding**2)
    elif config.has_features:
        total += _Products(linear=2 * width * embedding)
    if isinstance(config, MammutConfig | CapConfig):
        total += _Products(linear=2 * tokens * width * config.text_cfg.width)
    return total


def _around_text_blocks(config: ModelConfig) -> _Products:
    """The projection of the text feature, and the vocabulary head."""
    text, linear = config.text_cfg, 0
    if isinstance(text, TextConfig):
        if config.writes_captions:
            linear += 2 * (text.context_length - 1) * text.width * text.vocab_size
        if not isinstance(config, MammutConfig | CapConfig):
            linear += 2 * text.width * config.embed_dim
    return _Products(linear=linear)


def _published_only(config: ModelConfig) -> int:
    """Operations that the published figures have and our models have not."""
    if isinstance(config, MammutConfig):
        text = config.text_cfg
        return 2 * text.context_length * text.width * text.vocab_size
    if isinstance(config, CocaConfig):
        again = _blocks(training_passes(config).text).linear + 2 * config.text_cfg.width * config.embed_dim
        return again + 2 * config.vision_cfg.attn_pooler_queries * config.embed_dim**2
    return 0
