"""The architecture of a model, under open_clip's keys plus `family`.

A model is named (`ViT-B-32`, a file in configs/models/), given as a path to a YAML or JSON file, or written
out as a mapping. What cannot be built is refused here, before torch is loaded.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from mammut_clip.config.base import Config
from mammut_clip.config.errors import ConfigError, Problem
from mammut_clip.config.files import find_file, shipped
from mammut_clip.config.load import read_mapping, validate

Count = Annotated[int, Field(ge=1)]


def _drop_fixed(values: Any, fixed: dict[str, Any]) -> Any:
    """Leave out keys that open_clip's files carry and that allow one value here; refuse any other value."""
    if not isinstance(values, dict):
        return values
    for key, only in fixed.items():
        if key in values and values[key] != only:
            raise ValueError(f"{key} = {values[key]!r}: the only value that can be built is {only!r}")
    return {key: value for key, value in values.items() if key not in fixed}


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

    @model_validator(mode="before")
    @classmethod
    def _fixed_keys(cls, values: Any) -> Any:
        return _drop_fixed(values, {"output_tokens": True})

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
    def tokens(self) -> int:
        """Number N of image tokens: the patches and the class token."""
        return self.patches + 1

    @property
    def mlp_width(self) -> int:
        """Hidden width of the MLP."""
        return int(self.width * self.mlp_ratio)


class TextConfig(Config):
    """The text tower: CLIP's causal encoder, or MaMMUT's decoder that also encodes."""

    context_length: Annotated[int, Field(ge=2)] = 77
    """Number T of text positions, start and end tokens included."""
    vocab_size: Annotated[int, Field(ge=4)] = 49408
    """Size V of the vocabulary. Its last two ids are start of text and end of text; id 0 is padding."""
    hf_tokenizer_name: str | None = None
    """A name in configs/tokenizers/ or a path to a `tokenizers` JSON file; None is CLIP's BPE."""
    width: Count
    """Width D of the text tokens."""
    heads: Count
    """Number of attention heads; divides `width`."""
    layers: Count
    """Number of transformer blocks."""
    mlp_ratio: Annotated[float, Field(gt=0)] = 4.0
    """Hidden width of the MLP as a multiple of `width`."""
    cross_attn_ratio: Count | None = None
    """MaMMUT only: one cross-attention block per this many self-attention blocks; divides `layers`."""
    has_mlp: bool = True
    """MaMMUT only: whether self-attention blocks that are followed by cross-attention keep their MLP."""

    @model_validator(mode="before")
    @classmethod
    def _fixed_keys(cls, values: Any) -> Any:
        return _drop_fixed(values, {"output_tokens": True, "does_full_decoding": True})

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.width % self.heads:
            raise ValueError(
                f"width {self.width} is not a multiple of heads {self.heads}; expected whole attention heads"
            )
        if self.cross_attn_ratio and self.layers % self.cross_attn_ratio:
            raise ValueError(f"layers {self.layers} is not a multiple of cross_attn_ratio {self.cross_attn_ratio}")
        return self

    @property
    def cross_layers(self) -> int:
        """Number of cross-attention blocks."""
        return self.layers // self.cross_attn_ratio if self.cross_attn_ratio else 0

    @property
    def mlp_width(self) -> int:
        """Hidden width of the MLP."""
        return int(self.width * self.mlp_ratio)

    def layer_has_mlp(self, layer: int) -> bool:
        """Whether the self-attention block of this index carries an MLP."""
        followed_by_cross_attention = self.cross_attn_ratio is not None and layer % self.cross_attn_ratio == 0
        return self.has_mlp or not followed_by_cross_attention

    @property
    def start_id(self) -> int:
        """Id of the start-of-text token, as in CLIP's BPE."""
        return self.vocab_size - 2

    @property
    def end_id(self) -> int:
        """Id of the end-of-text token: the largest one, which CLIP's pooling relies on."""
        return self.vocab_size - 1


class ModelConfig(Config):
    """A CLIP or a MaMMUT."""

    family: Literal["clip", "mammut"]
    """What kind of model this is; never guessed from a name."""
    embed_dim: Count
    """Width E of the space that images and texts share."""
    vision_cfg: VisionConfig
    """The image tower."""
    text_cfg: TextConfig
    """The text tower."""

    @model_validator(mode="before")
    @classmethod
    def _fixed_keys(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("family") not in ("clip", "mammut"):
            return values
        return _drop_fixed(values, {"custom_text": values["family"] == "mammut"})

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        vision, text = self.vision_cfg, self.text_cfg
        if self.family == "clip":
            if text.cross_attn_ratio is not None:
                raise ValueError("text_cfg.cross_attn_ratio belongs to family mammut; CLIP has no cross-attention")
            if not text.has_mlp:
                raise ValueError("text_cfg.has_mlp = false belongs to family mammut; CLIP's text blocks have an MLP")
            return self
        if text.cross_attn_ratio is None:
            raise ValueError("text_cfg.cross_attn_ratio is required for family mammut, such as 2")
        if text.width != self.embed_dim:
            raise ValueError(
                f"text_cfg.width {text.width} differs from embed_dim {self.embed_dim}; MaMMUT's text feature "
                "is the mean of its text tokens, so the two are one"
            )
        if vision.pool_type != "avg_all" or not vision.final_ln_after_pool:
            raise ValueError(
                "family mammut needs vision_cfg.pool_type = avg_all and vision_cfg.final_ln_after_pool = true"
            )
        return self


def list_model_names() -> list[str]:
    """The names of the models that come with the program, in alphabetical order."""
    return sorted(shipped("configs/models"))


def load_model_config(
    model: str | Path | dict[str, Any] | ModelConfig, source: str = "command line", key: str = "model"
) -> ModelConfig:
    """The config of a model given by name, by path, as a mapping, or as a config already.

    Raises ConfigError for an unknown name (with the nearest ones), a file that cannot be read or values that
    do not fit; `source` and `key` say in the message where the model was asked for.
    """
    if isinstance(model, ModelConfig):
        return model
    if isinstance(model, dict):
        try:
            return validate(ModelConfig, model, source)
        except ConfigError as error:
            raise ConfigError(source, [_under(key, problem) for problem in error.problems]) from error
    path = find_file("configs/models", model, source=source, key=key)
    return validate(ModelConfig, read_mapping(path), str(path))


def _under(key: str, problem: Problem) -> Problem:
    """The same problem, its key written from the config that holds the model."""
    inner = f"{key}.{problem.key}" if key and problem.key else key or problem.key
    return Problem(inner, problem.expected, problem.value)
