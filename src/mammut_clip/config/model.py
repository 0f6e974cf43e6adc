"""The architecture of a model, under open_clip's keys plus `family`.

A model is named (`ViT-B-32`, a file in configs/models/), given as a path to a YAML or JSON file, or written
out as a mapping. What cannot be built is refused here, before torch is loaded.
"""

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from mammut_clip.config.base import Config
from mammut_clip.config.errors import ConfigError, Problem
from mammut_clip.config.files import find_file, shipped
from mammut_clip.config.load import read_mapping, validate
from mammut_clip.config.towers import (
    AnyTextConfig,
    AnyVisionConfig,
    CocaTextConfig,
    CocaVisionConfig,
    Count,
    DecoderConfig,
    MammutTextConfig,
    MultimodalConfig,
    TextConfig,
    VisionConfig,
    drop_fixed,
    spell_out,
)


class ModelConfig(Config):
    """A model of any family; the subclasses say which, and what each is made of."""

    family: str
    """What kind of model this is; never guessed from a name."""
    embed_dim: Count
    """Width E of the space that images and texts share."""
    vision_cfg: AnyVisionConfig
    """The image tower."""
    text_cfg: AnyTextConfig
    """The text tower."""

    has_features: ClassVar[bool] = True
    """Whether images and texts have features that meet in one space."""
    writes_captions: ClassVar[bool] = False
    """Whether the model has a decoder that is trained to write captions."""

    @model_validator(mode="before")
    @classmethod
    def _spelled_out(cls, values: Any) -> Any:
        return spell_out(spell_out(values, "vision", "vision_cfg"), "text", "text_cfg")

    @property
    def text_feature_ignores_padding(self) -> bool:
        """Whether positions behind the end of every text of a batch may be cut off before encoding."""
        return False

    def without_pretraining(self) -> Self:
        """The config of the same model whose weights are about to be read from elsewhere: nothing is fetched."""
        towers = {}
        for key, switch in (("vision_cfg", "timm_model_pretrained"), ("text_cfg", "hf_model_pretrained")):
            tower = getattr(self, key)
            if getattr(tower, switch, False):
                towers[key] = tower.model_copy(update={switch: False})
        return self.model_copy(update=towers) if towers else self


class ClipConfig(ModelConfig):
    """CLIP (Radford et al. 2021)."""

    family: Literal["clip"]
    quick_gelu: bool = False
    """Whether MLPs have x * sigmoid(1.702 x) for GELU, as OpenAI's weights do; our own towers only."""

    @model_validator(mode="before")
    @classmethod
    def _fixed_keys(cls, values: Any) -> Any:
        text = (values.get("text_cfg") or values.get("text")) if isinstance(values, dict) else None
        # open_clip wraps texts of transformers in a class of its own, whether the file says so or not
        outside = isinstance(text, dict) and ("hf_model_name" in text or "transformers" in text)
        return drop_fixed(values, {"custom_text": outside})

    @property
    def text_feature_ignores_padding(self) -> bool:
        """Our text tower is causal and reads its feature at the end token."""
        return isinstance(self.text_cfg, TextConfig)


class SiglipConfig(ClipConfig):
    """CLIP's towers under the sigmoid loss (Zhai et al. 2023), as open_clip trains them."""

    family: Literal["siglip"]  # type: ignore[assignment]
    init_logit_bias: float = -10.0
    """First value of the bias that is added to scaled similarities."""


class MammutConfig(ModelConfig):
    """MaMMUT (Kuo et al. 2023), as LAION released it."""

    family: Literal["mammut"]
    vision_cfg: VisionConfig
    """The image tower."""
    text_cfg: MammutTextConfig
    """The text tower."""

    writes_captions: ClassVar[bool] = True

    @model_validator(mode="before")
    @classmethod
    def _fixed_keys(cls, values: Any) -> Any:
        return drop_fixed(values, {"custom_text": True})

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        vision, text = self.vision_cfg, self.text_cfg
        if text.width != self.embed_dim:
            raise ValueError(
                f"text_cfg.width {text.width} differs from embed_dim {self.embed_dim}; MaMMUT's text feature "
                "is the mean of its text tokens, so the two are one"
            )
        if vision.pool_type != "avg_all" or not vision.final_ln_after_pool:
            raise ValueError(
                f"family {self.family} needs vision_cfg.pool_type = avg_all and vision_cfg.final_ln_after_pool = true"
            )
        return self

    @property
    def text_feature_ignores_padding(self) -> bool:
        """Only where padding is masked."""
        return self.text_cfg.text_pooling == "mean_valid"


class CapConfig(ModelConfig):
    """Cap (Tschannen et al. 2023): MaMMUT's captioning half alone."""

    family: Literal["cap"]
    vision_cfg: VisionConfig
    """The image tower."""
    text_cfg: DecoderConfig
    """The decoder."""

    has_features: ClassVar[bool] = False
    writes_captions: ClassVar[bool] = True

    @model_validator(mode="before")
    @classmethod
    def _fixed_keys(cls, values: Any) -> Any:
        return drop_fixed(values, {"custom_text": True})


class CocaConfig(ModelConfig):
    """CoCa (Yu et al. 2022), as open_clip builds it."""

    family: Literal["coca"]
    vision_cfg: CocaVisionConfig
    """The image tower."""
    text_cfg: CocaTextConfig
    """The text tower, below the decoder."""
    multimodal_cfg: MultimodalConfig
    """The decoder."""
    quick_gelu: bool = False
    """Whether MLPs have x * sigmoid(1.702 x) for GELU."""

    writes_captions: ClassVar[bool] = True

    @property
    def text_feature_ignores_padding(self) -> bool:
        """The tower puts its class token behind the whole context, and masks the columns that are missing."""
        return True

    @model_validator(mode="before")
    @classmethod
    def _fixed_keys(cls, values: Any) -> Any:
        return drop_fixed(values, {"custom_text": True})

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        widths = {self.embed_dim, self.text_cfg.width, self.multimodal_cfg.width}
        if len(widths) > 1:
            raise ValueError(
                f"embed_dim {self.embed_dim}, text_cfg.width {self.text_cfg.width} and multimodal_cfg.width "
                f"{self.multimodal_cfg.width} differ; CoCa's decoder reads text and image tokens of one width"
            )
        if self.embed_dim % self.vision_cfg.attn_pooler_heads:
            raise ValueError(
                f"embed_dim {self.embed_dim} is not a multiple of vision_cfg.attn_pooler_heads "
                f"{self.vision_cfg.attn_pooler_heads}; expected whole attention heads"
            )
        return self


_FAMILIES: dict[str, type[ModelConfig]] = {
    "clip": ClipConfig,
    "siglip": SiglipConfig,
    "mammut": MammutConfig,
    "coca": CocaConfig,
    "cap": CapConfig,
}
FAMILIES = tuple(_FAMILIES)
"""The names of all families."""


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
            return _from_mapping(model, source)
        except ConfigError as error:
            raise ConfigError(source, [_under(key, problem) for problem in error.problems]) from error
    path = find_file("configs/models", model, source=source, key=key)
    return _from_mapping(read_mapping(path), str(path))


def _from_mapping(values: dict[str, Any], source: str) -> ModelConfig:
    if "family" not in values:
        raise ConfigError(source, [Problem("family", "this key is required: " + ", ".join(FAMILIES))])
    schema = _FAMILIES.get(values["family"]) if isinstance(values["family"], str) else None
    if schema is None:
        raise ConfigError(source, [Problem("family", "expected " + ", ".join(FAMILIES), values["family"])])
    return validate(schema, values, source)


def _under(key: str, problem: Problem) -> Problem:
    """The same problem, its key written from the config that holds the model."""
    inner = f"{key}.{problem.key}" if key and problem.key else key or problem.key
    return Problem(inner, problem.expected, problem.value)
