"""An image tower with a linear head that gives each patch its classes.

Shapes: B batch, C classes, g patches along a side.
"""

import torch
from torch import Tensor, nn

from mammut_clip.evals.segmentation.dense import patch_tokens
from mammut_clip.models.vision import VisionTrunk


class Segmenter(nn.Module):
    """Pixels to logits per patch: the last block's tokens, a LayerNorm and a linear layer (Kerssies et al. 2024)."""

    def __init__(self, tower: VisionTrunk, classes: int, seed: int, *, freeze_encoder: bool = False) -> None:
        """Takes over the tower; the head starts as torch's linear layers do, from the seed alone."""
        super().__init__()
        self.tower = tower
        self.freeze_encoder = freeze_encoder
        width = tower.config.width
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in self.head.parameters():
                parameter.uniform_(-(width**-0.5), width**-0.5, generator=generator)
        self.to(tower.conv1.weight.device)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, S, S] -> [B, C, g, g] float32, in whatever precision the rest is computed."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze_encoder):
            tokens = patch_tokens(self.tower, images)
        logits = self.head(self.norm(tokens)).float().transpose(1, 2)
        grid = round(logits.shape[2] ** 0.5)
        return logits.unflatten(2, (grid, grid))

    def groups(self) -> tuple[list[Tensor], list[Tensor]]:
        """The trained parameters of the encoder, and those of the head; every one has a gradient after a step."""
        tower = self.tower
        encoder: list[Tensor] = [tower.conv1.weight, tower.class_embedding, tower.positional_embedding]
        encoder += [*tower.ln_pre.parameters(), *tower.transformer.parameters()]
        head: list[Tensor] = [*self.norm.parameters(), *self.head.parameters()]
        return ([] if self.freeze_encoder else encoder), head
