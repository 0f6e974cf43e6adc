"""The image tower: a vision transformer with a class token (Dosovitskiy et al. 2021, as CLIP builds it).

Pixels come in; one feature per image and all image tokens go out. Shapes: B batch, N image tokens, D width, E
embedding.
"""

import torch
from torch import Tensor, nn

from mammut_clip.config.model import VisionConfig
from mammut_clip.models.blocks import Transformer


class VisionTower(nn.Module):
    """Images to features; parameter names as open_clip's `visual.*`."""

    def __init__(self, config: VisionConfig, embed_dim: int) -> None:
        super().__init__()
        self.config = config
        self.conv1 = nn.Conv2d(3, config.width, config.patch_size, stride=config.patch_size, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(config.width))
        self.positional_embedding = nn.Parameter(torch.empty(config.tokens, config.width))
        self.ln_pre = nn.LayerNorm(config.width)
        self.transformer = Transformer(
            config.width, config.heads, config.layers, config.mlp_width, config.ls_init_value
        )
        self.ln_post = nn.LayerNorm(config.width)
        self.proj = nn.Parameter(torch.empty(config.width, embed_dim))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images [B, 3, height, width] -> (features [B, E], tokens [B, N, D] before the last LayerNorm)."""
        tokens = self.transformer(self.ln_pre(self._embed(images)))
        return self._pool(tokens) @ self.proj, tokens

    def _embed(self, images: Tensor) -> Tensor:
        """[B, 3, height, width] -> [B, N, D]: class token and patches, each with its position."""
        size = self.config.image_size
        if images.shape[-2:] != (size, size):
            raise ValueError(f"images are {tuple(images.shape[-2:])} pixels, this model was built for {(size, size)}")
        patches = self._patches(images) @ self.conv1.weight.flatten(1).T
        start = self.class_embedding.expand(len(images), 1, -1).to(patches.dtype)
        return torch.cat([start, patches], dim=1) + self.positional_embedding

    def _patches(self, images: Tensor) -> Tensor:
        """[B, 3, height, width] -> [B, N - 1, 3 * patch * patch], in the order of conv1's weights."""
        patch = self.config.patch_size
        batch, channels, height, width = images.shape
        grid = images.reshape(batch, channels, height // patch, patch, width // patch, patch)
        return grid.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * patch * patch)

    def _pool(self, tokens: Tensor) -> Tensor:
        """[B, N, D] -> [B, D]."""
        config = self.config
        if config.pool_type == "tok":
            return self.ln_post(tokens[:, 0])  # the same before and after pooling, and N times cheaper after
        if config.final_ln_after_pool:
            return self.ln_post(tokens.mean(dim=1))
        return self.ln_post(tokens).mean(dim=1)
