"""The image tower: a vision transformer with a class token (Dosovitskiy et al. 2021, as CLIP builds it).

Pixels come in; image tokens, and one feature per image, go out. Shapes: B batch, N image tokens, K patches that
are looked at, D width, E embedding.
"""

import torch
from torch import Tensor, nn

from mammut_clip.config.towers import VisionConfig
from mammut_clip.models.blocks import Block, Transformer


class VisionTrunk(nn.Module):
    """Images to tokens; parameter names as open_clip's `visual.*`."""

    def __init__(self, config: VisionConfig, *, quick_gelu: bool = False) -> None:
        super().__init__()
        self.config = config
        self.conv1 = nn.Conv2d(3, config.width, config.patch_size, stride=config.patch_size, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(config.width))
        self.positional_embedding = nn.Parameter(torch.empty(config.tokens, config.width))
        self.ln_pre = nn.LayerNorm(config.width)
        self.transformer = Transformer(
            config.width,
            config.heads,
            config.layers,
            config.mlp_width,
            layer_scale=config.ls_init_value,
            quick_gelu=quick_gelu,
        )

    def tokens(self, images: Tensor, kept_patches: Tensor | None = None) -> Tensor:
        """Images [B, 3, height, width] -> tokens [B, N, D] before the last LayerNorm.

        `kept_patches` [B, K]: the indices of the patches that each image is seen by; None for all (then N - 1).
        """
        size = self.config.image_size
        if images.shape[-2:] != (size, size):
            raise ValueError(f"images are {tuple(images.shape[-2:])} pixels, this model was built for {(size, size)}")
        patches, positions = self._patches(images), self.positional_embedding[1:]
        if kept_patches is None:
            embedded = patches @ self.conv1.weight.flatten(1).T + positions
        else:  # what is dropped is not even projected
            picked = patches.gather(1, kept_patches[..., None].expand(-1, -1, patches.shape[-1]))
            embedded = picked @ self.conv1.weight.flatten(1).T + positions[kept_patches]
        start = (self.class_embedding + self.positional_embedding[0]).expand(len(images), 1, -1)
        tokens: Tensor = self.transformer(self.ln_pre(torch.cat([start.to(embedded.dtype), embedded], dim=1)))
        return tokens

    def _patches(self, images: Tensor) -> Tensor:
        """[B, 3, height, width] -> [B, patches, 3 * patch * patch], in the order of conv1's weights."""
        patch = self.config.patch_size
        batch, channels, height, width = images.shape
        grid = images.reshape(batch, channels, height // patch, patch, width // patch, patch)
        return grid.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * patch * patch)

    def forward(self, images: Tensor, kept_patches: Tensor | None = None) -> Tensor:
        """As `tokens`."""
        return self.tokens(images, kept_patches)

    def blocks(self) -> list[Block]:
        """The transformer blocks: the units for sharding, compiling and recomputing."""
        return list(self.transformer.resblocks)  # type: ignore[arg-type]


class VisionTower(VisionTrunk):
    """Images to features and tokens."""

    def __init__(self, config: VisionConfig, embed_dim: int, *, quick_gelu: bool = False) -> None:
        super().__init__(config, quick_gelu=quick_gelu)
        self.ln_post = nn.LayerNorm(config.width)
        self.proj = nn.Parameter(torch.empty(config.width, embed_dim))

    def forward(  # type: ignore[override]
        self, images: Tensor, kept_patches: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Images [B, 3, height, width] -> (features [B, E], tokens [B, N, D] before the last LayerNorm)."""
        tokens = self.tokens(images, kept_patches)
        return self._pool(tokens) @ self.proj, tokens

    def _pool(self, tokens: Tensor) -> Tensor:
        """[B, N, D] -> [B, D]."""
        config = self.config
        if config.pool_type == "tok":
            return self.ln_post(tokens[:, 0])  # the same before and after pooling, and N times cheaper after
        if config.final_ln_after_pool:
            return self.ln_post(tokens.mean(dim=1))
        return self.ln_post(tokens).mean(dim=1)
