"""The architecture of towers, under open_clip's keys: vision transformers, text transformers, and those of others.

An image tower of timm is asked for by `timm_model_name` (or `timm` for short), a text tower of transformers by
`hf_model_name` (or `transformers`); without these keys a tower is ours.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from mammut_clip.config.base import Config

Count = Annotated[int, Field(ge=1)]
OURS, THEIRS = "<ours>", "<theirs>"
"""Tags of pydantic's unions; the brackets keep them out of messages (see load.py)."""


def drop_fixed(values: Any, fixed: dict[str, Any]) -> Any:
    """Leave out keys that open_clip's files carry and that allow one value here; refuse any other value."""
    if not isinstance(values, dict):
        return values
    for key, only in fixed.items():
        if key in values and values[key] != only:
            raise ValueError(f"{key} = {values[key]!r}: the only value that can be built is {only!r}")
    return {key: value for key, value in values.items() if key not in fixed}


def spell_out(values: Any, short: str, long: str) -> Any:
    """The mapping with `long` in place of `short`."""
    if not isinstance(values, dict) or short not in values:
        return values
    if long in values:
        raise ValueError(f"{short} and {long} are the same key; give one of them")
    return {(long if key == short else key): value for key, value in values.items()}


def check_heads(width: int, heads: int) -> None:
    """Raise ValueError unless the heads share the width."""
    if width % heads:
        raise ValueError(f"width {width} is not a multiple of heads {heads}; expected whole attention heads")


class TowerCost(Config):
    """What a tower from another package costs. `mammut-clip models FILE` measures it; plans need it without torch."""

    params: Count
    """Parameters."""
    gflops_paper: Annotated[float, Field(gt=0)]
    """Forward, without attention's score and value products."""
    gflops_exact_forward: Annotated[float, Field(gt=0)]
    """Forward, as executed."""
    gflops_exact_step: Annotated[float, Field(gt=0)]
    """Forward and backward, as executed."""


class VisionConfig(Config):
    """The image tower: a vision transformer with a class token."""

    image_size: Count = 224
    """Height and width of the input in pixels."""
    patch_size: Count
    """Height and width of a patch in pixels; divides `image_size`."""
    width: Count
    """Width D of the image tokens."""
    layers: Count
    """Number of transformer blocks."""
    head_width: Count = 64
    """Width of one attention head; divides `width`."""
    mlp_ratio: Annotated[float, Field(gt=0)] = 4.0
    """Hidden width of the MLP as a multiple of `width`."""
    ls_init_value: Annotated[float, Field(gt=0)] | None = None
    """First value of the learned per-channel scale on each residual branch; None leaves the scale out."""
    pool_type: Literal["tok", "avg_all"] = "tok"
    """What represents the image: the class token, or the mean over all tokens, the class token among them."""
    final_ln_after_pool: bool = False
    """Whether the last LayerNorm comes after pooling instead of before."""
    patch_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of patches that are left out while training, drawn anew for each sample (Li et al. 2023, FLIP)."""

    @model_validator(mode="before")
    @classmethod
    def _fixed_keys(cls, values: Any) -> Any:
        return drop_fixed(values, {"output_tokens": True})

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.image_size % self.patch_size:
            raise ValueError(
                f"image_size {self.image_size} is not a multiple of patch_size {self.patch_size}; "
                "expected whole patches"
            )
        if self.width % self.head_width:
            raise ValueError(
                f"width {self.width} is not a multiple of head_width {self.head_width}; expected whole attention heads"
            )
        return self

    @property
    def heads(self) -> int:
        """Number of attention heads."""
        return self.width // self.head_width

    @property
    def patches(self) -> int:
        """Number of patches of one image."""
        return (self.image_size // self.patch_size) ** 2

    @property
    def kept_patches(self) -> int:
        """Number of patches of one image that a training step looks at."""
        return max(1, int(self.patches * (1 - self.patch_dropout)))

    @property
    def tokens(self) -> int:
        """Number N of image tokens: the patches and the class token."""
        return self.patches + 1

    @property
    def mlp_width(self) -> int:
        """Hidden width of the MLP."""
        return int(self.width * self.mlp_ratio)


class CocaVisionConfig(VisionConfig):
    """CoCa's image tower: its tokens are pooled by learned queries (Yu et al. 2022)."""

    attn_pooler_queries: Annotated[int, Field(ge=2)] = 256
    """Number of learned queries: the first gives the image feature, the others what the decoder attends to."""
    attn_pooler_heads: Count = 8
    """Number of attention heads of the pooler; divides the model's `embed_dim`."""

    @model_validator(mode="before")
    @classmethod
    def _pooler(cls, values: Any) -> Any:
        only = {"attentional_pool": True, "pool_type": "tok", "final_ln_after_pool": False, "patch_dropout": 0.0}
        return drop_fixed(values, only)


class TimmConfig(Config):
    """An image tower of timm with a linear head, under open_clip's keys."""

    timm_model_name: str
    """timm's name of the architecture."""
    timm_model_pretrained: bool = False
    """Whether training starts from timm's published weights (fetched from a hub) and not from random ones."""
    image_size: Count = 224
    """Height and width of the input in pixels."""
    cost: TowerCost | None = None
    """What the tower costs, trunk and head; None where nobody needs to know before torch is loaded."""

    @model_validator(mode="before")
    @classmethod
    def _spelled_out(cls, values: Any) -> Any:
        values = spell_out(values, "timm", "timm_model_name")
        fixed = {"timm_pool": "", "timm_proj": "linear", "timm_proj_bias": False, "timm_drop": 0, "timm_drop_path": 0}
        return drop_fixed(values, fixed | {"patch_dropout": 0})


class TextConfig(Config):
    """A text tower: CLIP's causal encoder, and the base of the others."""

    context_length: Annotated[int, Field(ge=2)] = 77
    """Number T of text positions, start and end tokens included."""
    vocab_size: Annotated[int, Field(ge=4)] = 49408
    """Size V of the vocabulary. Its last two ids are start of text and end of text; id 0 is padding."""
    hf_tokenizer_name: str | None = None
    """A name in configs/tokenizers/, a path to a `tokenizers` JSON file, or a tokenizer of transformers whose ids have
    CLIP's layout (a folder, or OWNER/NAME on the hub); None is CLIP's BPE."""
    width: Count
    """Width D of the text tokens."""
    heads: Count
    """Number of attention heads; divides `width`."""
    layers: Count
    """Number of transformer blocks."""
    mlp_ratio: Annotated[float, Field(gt=0)] = 4.0
    """Hidden width of the MLP as a multiple of `width`."""

    @model_validator(mode="before")
    @classmethod
    def _fixed_keys(cls, values: Any) -> Any:
        if "cross_attn_ratio" not in cls.model_fields and isinstance(values, dict) and values.get("cross_attn_ratio"):
            raise ValueError("cross_attn_ratio belongs to families mammut and cap; this text tower has no such blocks")
        return drop_fixed(values, cls.fixed_keys())

    @classmethod
    def fixed_keys(cls) -> dict[str, Any]:
        """Keys that may be written and allow one value only."""
        return {"output_tokens": True, "cross_attn_ratio": None, "has_mlp": True}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_heads(self.width, self.heads)
        return self

    @property
    def mlp_width(self) -> int:
        """Hidden width of the MLP."""
        return int(self.width * self.mlp_ratio)

    @property
    def start_id(self) -> int:
        """Id of the start-of-text token, as in CLIP's BPE."""
        return self.vocab_size - 2

    @property
    def end_id(self) -> int:
        """Id of the end-of-text token: the largest one, which CLIP's pooling relies on."""
        return self.vocab_size - 1


class DecoderConfig(TextConfig):
    """A text tower with cross-attention to the image, as MaMMUT and Cap have it."""

    cross_attn_ratio: Count
    """One cross-attention block per this many self-attention blocks; divides `layers`."""
    has_mlp: bool = True
    """Whether self-attention blocks that are followed by cross-attention keep their MLP."""

    @classmethod
    def fixed_keys(cls) -> dict[str, Any]:
        """Keys that may be written and allow one value only."""
        return {"output_tokens": True, "does_full_decoding": True}

    @model_validator(mode="after")
    def _whole_groups(self) -> Self:
        if self.layers % self.cross_attn_ratio:
            raise ValueError(f"layers {self.layers} is not a multiple of cross_attn_ratio {self.cross_attn_ratio}")
        return self

    @property
    def cross_layers(self) -> int:
        """Number of cross-attention blocks."""
        return self.layers // self.cross_attn_ratio

    def layer_has_mlp(self, layer: int) -> bool:
        """Whether the self-attention block of this index carries an MLP."""
        return self.has_mlp or layer % self.cross_attn_ratio != 0


class MammutTextConfig(DecoderConfig):
    """MaMMUT's text tower: the decoder also encodes."""

    text_pooling: Literal["mean_all", "mean_valid"] = "mean_all"
    """The text feature is the mean over all positions, padding included, as the released models have it; or over the
    text's own positions, which then do not attend to padding either."""


class CocaTextConfig(TextConfig):
    """CoCa's text tower: causal, with a class token behind the text."""

    context_length: Annotated[int, Field(ge=2)] = 76
    """Number T of text positions, start and end tokens included; the class token comes on top."""
    correct_cls_mask: bool = False
    """Whether padding is masked where it stands. The released models mask one position too far to the right
    (open_clip)."""

    @classmethod
    def fixed_keys(cls) -> dict[str, Any]:
        """Keys that may be written and allow one value only."""
        return super().fixed_keys() | {"embed_cls": True}


class MultimodalConfig(Config):
    """CoCa's decoder: self-attention and cross-attention blocks in turn, above the text tower."""

    width: Count
    """Width D; the text tower's."""
    heads: Count
    """Number of attention heads; divides `width`."""
    layers: Count
    """Number of self-attention blocks, each followed by a cross-attention block."""

    @model_validator(mode="before")
    @classmethod
    def _fixed_keys(cls, values: Any) -> Any:
        # open_clip's files repeat the text tower's sizes and carry two keys that nothing reads
        unread = ("context_length", "vocab_size", "attn_pooler_heads", "dim_head", "n_queries")
        read = {k: v for k, v in values.items() if k not in unread} if isinstance(values, dict) else values
        return drop_fixed(read, {"mlp_ratio": 4.0})  # open_clip builds 4, whatever stands there

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_heads(self.width, self.heads)
        return self

    @property
    def mlp_width(self) -> int:
        """Hidden width of the MLP."""
        return 4 * self.width


class HfTextConfig(Config):
    """A text tower of transformers with a projection, under open_clip's keys."""

    hf_model_name: str
    """A local folder, or a name on the hub."""
    hf_model_pretrained: bool = False
    """Whether training starts from the weights that lie there and not from random ones."""
    hf_tokenizer_name: str
    """A local folder or a hub name of a transformers tokenizer; left out, it is the model's."""
    hf_pooler_type: Literal["mean_pooler", "max_pooler", "cls_last_hidden_state_pooler"] = "mean_pooler"
    """What represents the text: the mean or the maximum over its own tokens, or the first token."""
    hf_proj_type: Literal["linear", "mlp"] = "linear"
    """The projection to `embed_dim`: one matrix, or two with a GELU between them."""
    context_length: Annotated[int, Field(ge=2)] = 77
    """Number T of text positions."""
    cost: TowerCost | None = None
    """What the tower costs, projection included; None where nobody needs to know before torch is loaded."""

    @model_validator(mode="before")
    @classmethod
    def _spelled_out(cls, values: Any) -> Any:
        values = spell_out(values, "transformers", "hf_model_name")
        if isinstance(values, dict) and "hf_model_name" in values and values.get("hf_tokenizer_name") is None:
            return values | {"hf_tokenizer_name": values["hf_model_name"]}
        return values


def _tagged(keys: tuple[str, ...], theirs: type[Config]) -> Discriminator:
    """Tells a tower of another package by one of its keys."""

    def tag(values: Any) -> str:
        outside = isinstance(values, theirs) or (isinstance(values, dict) and any(key in values for key in keys))
        return THEIRS if outside else OURS

    return Discriminator(tag)


AnyVisionConfig = Annotated[
    Annotated[VisionConfig, Tag(OURS)] | Annotated[TimmConfig, Tag(THEIRS)],
    _tagged(("timm_model_name", "timm"), TimmConfig),
]
AnyTextConfig = Annotated[
    Annotated[TextConfig, Tag(OURS)] | Annotated[HfTextConfig, Tag(THEIRS)],
    _tagged(("hf_model_name", "transformers"), HfTextConfig),
]
