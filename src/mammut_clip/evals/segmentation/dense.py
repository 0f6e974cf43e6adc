"""Image towers at other sizes than they were built for, and what they say of single patches.

Shapes: B batch, N image tokens, D width, E embedding, g patches along a side.
"""

import copy
from typing import Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mammut_clip.models.blocks import Attention, SelfAttentionBlock
from mammut_clip.models.vision import VisionTower, VisionTrunk

Variant = Literal["maskclip", "plain"]
T = TypeVar("T", bound=VisionTrunk)


def whole_patches(pixels: int, patch_size: int) -> int:
    """The least number of pixels that is a multiple of the patch size and no less than `pixels`."""
    return -(-pixels // patch_size) * patch_size


def at_size(tower: T, image_size: int, patch_size: int | None = None) -> T:
    """A copy of an image tower, in float32, for pictures of `image_size` pixels a side, which its patches divide.

    Positions are interpolated; with another `patch_size`, the first layer is resampled too. The tower itself is left
    as it is.
    """
    tower = copy.deepcopy(tower).float()
    patch_size = patch_size or tower.config.patch_size
    config = tower.config.model_copy(update={"image_size": image_size, "patch_size": patch_size})
    with torch.no_grad():
        if patch_size != tower.config.patch_size:
            tower.conv1.weight = nn.Parameter(resampled_patches(tower.conv1.weight, patch_size))
        if config.tokens != tower.config.tokens:
            positions = interpolated_positions(tower.positional_embedding, image_size // patch_size)
            tower.positional_embedding = nn.Parameter(positions)
    tower.config = config
    return tower


def interpolated_positions(positions: Tensor, grid: int) -> Tensor:
    """Embeddings [1 + g * g, D] of the class token and a square of patches -> [1 + grid * grid, D]: bicubic, with
    antialiasing where the square shrinks (as timm.layers.resample_abs_pos_embed)."""
    side = round((len(positions) - 1) ** 0.5)
    square = positions[1:].view(1, side, side, -1).permute(0, 3, 1, 2)
    square = F.interpolate(square, (grid, grid), mode="bicubic", antialias=True)
    return torch.cat([positions[:1], square.permute(0, 2, 3, 1).flatten(0, 2)])


def resampled_patches(weight: Tensor, size: int) -> Tensor:
    """The first layer [D, 3, p, p] for patches of `size` pixels a side: what comes nearest to giving a patch that has
    been resized the embedding that it had before (Beyer et al. 2023, FlexiViT, equation 4)."""
    patch = weight.shape[-1]
    single_pixels = torch.eye(patch * patch, device=weight.device).view(patch * patch, 1, patch, patch)
    resized = F.interpolate(single_pixels, (size, size), mode="bicubic", antialias=True).flatten(1)  # [p * p, size²]
    return (weight.flatten(2).float() @ torch.linalg.pinv(resized).T).view(*weight.shape[:2], size, size)


def patch_tokens(tower: VisionTrunk, images: Tensor) -> Tensor:
    """Images [B, 3, S, S] -> [B, g * g, D], before the last LayerNorm and without the class token."""
    return tower.tokens(images)[:, 1:]


def patch_embedder(tower: VisionTower, image_size: int, variant: Variant) -> VisionTower:
    """A copy of an image tower for `patch_embeddings` of pictures of `image_size` pixels a side.

    `maskclip`: in the last block each token attends to itself alone, so that it keeps what it says of its own place
    (Zhou et al. 2022, "Extract Free Dense Labels from CLIP"; like their code, with the block's residual and MLP).
    `plain`: the tower as it is.
    """
    tower = at_size(tower, image_size)
    if variant == "maskclip":
        last = tower.transformer.resblocks[-1]
        assert isinstance(last, SelfAttentionBlock)
        last.attn = ToItself(last.attn)  # type: ignore[assignment]
    return tower


def patch_embeddings(tower: VisionTower, images: Tensor) -> Tensor:
    """Images [B, 3, S, S] -> the embedding of each patch [B, g, g, E], of unit length, float32.

    Each token goes where the image's feature goes: through the last LayerNorm and the projection. For a tower that
    pools by the mean this is the same projection of the tokens that are averaged.
    """
    embedded = (tower.ln_post(patch_tokens(tower, images)) @ tower.proj).float()
    grid = round(embedded.shape[1] ** 0.5)
    return F.normalize(embedded, dim=-1).unflatten(1, (grid, grid))


class ToItself(nn.Module):
    """Attention in which each position attends to itself alone: the values, through the output projection."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, x: Tensor, *, causal: bool = False, mask: Tensor | None = None) -> Tensor:
        """[B, N, D] -> [B, N, D]; a mask changes nothing, since it always allows a position to see itself."""
        _, _, value = self.attention.queries_keys_values(x)
        out: Tensor = self.attention.out_proj(value.transpose(1, 2).flatten(2))
        return out
