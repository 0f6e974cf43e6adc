"""What the losses hold while they are computed, in bytes on one GPU (losses/). Shapes: B rows of this GPU, W GPUs, N =
W * B, E embedding, D width, V vocabulary, C positions of a chunk."""

from mammut_clip.config.model import ModelConfig, SiglipConfig
from mammut_clip.config.towers import TextConfig

CAPTION_CHUNK = 768
"""Positions C whose vocabulary logits are held at a time; the captioning loss's default."""
PAIR_TILE = 8192
"""Texts (or images) that this GPU's rows are scored against at a time; the default of the losses over pairs."""
_FLOAT = 4


def head_parameters(config: ModelConfig) -> int:
    """Parameters of the vocabulary head [D, V]; 0 for a model that writes no captions."""
    text = config.text_cfg
    return text.width * text.vocab_size if config.writes_captions and isinstance(text, TextConfig) else 0


def pair_loss_bytes(config: ModelConfig, batch: int, gpus: int) -> int:
    """Two tiles of float32 similarities. CLIP gathers all features [N, 2 E]; SigLIP passes texts on from GPU to GPU."""
    if not config.has_features:
        return 0
    rows = batch if isinstance(config, SiglipConfig) else batch * gpus
    gathered = 0 if rows == batch else rows * 2 * config.embed_dim
    return _FLOAT * (2 * batch * min(rows, PAIR_TILE) + gathered)


def feature_bytes(config: ModelConfig, batch: int) -> int:
    """The float32 features of both sides [B, E] and their gradients, as a step in micro-batches keeps them."""
    return _FLOAT * 4 * batch * config.embed_dim if config.has_features else 0


def caption_loss_bytes(config: ModelConfig, batch: int, size: int, autocast: bool) -> int:
    """One chunk of logits [C, V] in bytes of `size`, in float32, and its softmax; the head, where autocast casts it."""
    text = config.text_cfg
    if not config.writes_captions or not isinstance(text, TextConfig):
        return 0
    values = min(CAPTION_CHUNK, batch * (text.context_length - 1)) * text.vocab_size
    logits = values * (2 * _FLOAT if size == _FLOAT else 2 * _FLOAT + size)
    return logits + (size * head_parameters(config) if autocast else 0)
