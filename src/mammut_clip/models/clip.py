"""CLIP (Radford et al. 2021) and SigLIP (Zhai et al. 2023): an image tower and a text tower that meet in one space.

Images and texts come in, a ModelOutput goes out. Our text tower's parameters stand at the top level of the model, as
in open_clip, so that state dicts fit both ways; one of transformers stands under `text`. Shapes: B batch, T text
positions, D width, E embedding.
"""

import torch
from torch import Tensor, nn

from mammut_clip.config.model import ClipConfig, SiglipConfig
from mammut_clip.config.towers import TextConfig, TimmConfig
from mammut_clip.models.blocks import Transformer
from mammut_clip.models.output import (
    CaptionLoss,
    Captions,
    ModelOutput,
    check_length,
    exponentiated,
    finish,
    scalar,
)
from mammut_clip.models.vision import VisionTower


class DualEncoder(nn.Module):
    """What CLIP and SigLIP share whatever their towers; parameters are left uninitialised (see build_model)."""

    visual: nn.Module
    """Images, kept patches -> (features [B, E], tokens or None)."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.config = config
        self.visual = _image_tower(config)
        self.logit_scale = nn.Parameter(torch.empty(1))  # FSDP2 refuses 0-dim parameters
        self.logit_bias = nn.Parameter(torch.empty(1)) if isinstance(config, SiglipConfig) else None

    def forward(
        self,
        images: Tensor,
        ids: Tensor,
        captions: Captions | None = None,
        caption_loss: CaptionLoss | None = None,
        kept_patches: Tensor | None = None,
    ) -> ModelOutput:
        """Images [B, 3, height, width] and ids [B, T] -> ModelOutput without a caption loss.

        Takes captions so that a trainer calls all families alike, and raises ValueError where there are any.
        `kept_patches` as in VisionTrunk.
        """
        if captions is not None or caption_loss is not None:
            raise ValueError(f"a {self.config.family} model writes no captions")
        features, _ = self.visual(images, kept_patches)
        return ModelOutput(
            finish(features, normalize=True),
            self.encode_text(ids),
            exponentiated(self.logit_scale),
            None if self.logit_bias is None else scalar(self.logit_bias),
        )

    def encode_image(self, images: Tensor, normalize: bool = True) -> Tensor:
        """[B, 3, height, width] -> [B, E] float32."""
        features, _ = self.visual(images)
        return finish(features, normalize)

    def encode_text(self, ids: Tensor, normalize: bool = True) -> Tensor:
        """[B, T] -> [B, E] float32."""
        raise NotImplementedError

    def blocks(self) -> list[nn.Module]:
        """The transformer blocks: the units for sharding, compiling and recomputing."""
        return list(self.visual.blocks())  # type: ignore[operator]

    def parts(self) -> list[list[nn.Module]]:
        """What is sharded together besides the blocks; parameters in none of these stay in float32."""
        return [[self.visual]]


class CLIP(DualEncoder):
    """CLIP or SigLIP with our text tower."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__(config)
        text = config.text_cfg
        assert isinstance(text, TextConfig)
        self.context_length = text.context_length
        self.token_embedding = nn.Embedding(text.vocab_size, text.width)
        self.positional_embedding = nn.Parameter(torch.empty(text.context_length, text.width))
        self.transformer = Transformer(
            text.width, text.heads, text.layers, text.mlp_width, quick_gelu=config.quick_gelu
        )
        self.ln_final = nn.LayerNorm(text.width)
        self.text_projection = nn.Parameter(torch.empty(text.width, config.embed_dim))

    def encode_text(self, ids: Tensor, normalize: bool = True) -> Tensor:
        """[B, T] -> [B, E] float32. T may be short: what follows the end of text is not seen."""
        check_length(ids, self.context_length)
        x = self.token_embedding(ids) + self.positional_embedding[: ids.shape[1]]
        x = self.transformer(x, causal=True)
        ends = ids.argmax(dim=-1)  # the end of text is the largest id
        x = self.ln_final(x[torch.arange(len(ids), device=ids.device), ends])
        return finish(x @ self.text_projection.to(x.dtype), normalize)

    def blocks(self) -> list[nn.Module]:
        """The transformer blocks: the units for sharding, compiling and recomputing."""
        return [*super().blocks(), *self.transformer.resblocks]

    def parts(self) -> list[list[nn.Module]]:
        """What is sharded together besides the blocks; parameters in none of these stay in float32."""
        return [*super().parts(), [self.token_embedding, self.ln_final]]


def _image_tower(config: ClipConfig) -> nn.Module:
    if isinstance(config.vision_cfg, TimmConfig):
        from mammut_clip.models.timm_tower import TimmTower

        return TimmTower(config.vision_cfg, config.embed_dim)
    return VisionTower(config.vision_cfg, config.embed_dim, quick_gelu=config.quick_gelu)
