"""Features of many pictures or texts, the work shared by all ranks and each item counted exactly once.

Every rank makes the same number of forward passes (FSDP2 needs that), on equal shares; what pads the last share is
cut off again, so that results do not depend on the number of processes.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mammut_clip.data.images import EvalTransform, normalize, open_picture
from mammut_clip.data.text import Tokenizer
from mammut_clip.distributed import Process


@dataclass(frozen=True)
class Encoder:
    """A model with what turns pictures and texts into its inputs."""

    model: nn.Module
    transform: EvalTransform
    tokenizer: Tokenizer
    process: Process
    batch_size: int = 256
    """Pictures or texts per forward pass, over all processes."""

    def images(self, pictures: Sequence[bytes]) -> Tensor:
        """Encoded pictures -> normalised features [n, E], float32 on the CPU, the same on every rank."""

        def encode(rows: Sequence[bytes]) -> Tensor:
            pixels = torch.stack([self.transform(open_picture(row)) for row in rows])
            return self.model.encode_image(normalize(pixels.to(self.process.device)), normalize=True)  # type: ignore[operator]

        return self._shared(pictures, encode)

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Texts -> normalised features [n, E], float32 on the CPU, the same on every rank."""

        def encode(rows: Sequence[str]) -> Tensor:
            return self.model.encode_text(self.tokenizer(list(rows)).to(self.process.device), normalize=True)  # type: ignore[operator]

        return self._shared(texts, encode)

    def _shared(self, items: Sequence[Any], encode: Callable[[Sequence[Any]], Tensor]) -> Tensor:
        world = self.process.world_size
        share = math.ceil(len(items) / world)
        first = self.process.rank * share
        mine = [items[min(index, len(items) - 1)] for index in range(first, first + share)]
        per_rank = max(1, self.batch_size // world)
        parts = [encode(mine[i : i + per_rank]).float() for i in range(0, share, per_rank)]
        features = torch.cat(parts)
        if world > 1:
            gathered = [torch.empty_like(features) for _ in range(world)]
            dist.all_gather(gathered, features.contiguous())
            features = torch.cat(gathered)
        return features[: len(items)].cpu()
