"""The contrastive loss of CLIP (Radford et al. 2021, figure 3) over a batch that is spread over ranks.

Each rank holds B rows of W * B and scores them against all rows, so that no rank holds the whole logit
matrix.
"""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from mammut_clip.distributed.collectives import all_gather_with_grad, group_rank


def contrastive_loss(
    image_features: Tensor, text_features: Tensor, logit_scale: Tensor, group: dist.ProcessGroup | None = None
) -> Tensor:
    """Features [B, E] of this rank's pairs, unit length -> [] loss of these rows in both directions.

    The mean over ranks of the returned losses is the loss of the global batch, and the mean over ranks of the
    gradients (what DDP and FSDP take) is its gradient. B is the same on every rank.
    """
    both = all_gather_with_grad(torch.cat([image_features, text_features], dim=1), group)  # one collective for two
    all_images, all_texts = both.chunk(2, dim=1)  # [W * B, E] each
    own = torch.arange(len(image_features), device=image_features.device) + group_rank(group) * len(image_features)
    image_to_text = F.cross_entropy((logit_scale * image_features) @ all_texts.T, own)
    text_to_image = F.cross_entropy((logit_scale * text_features) @ all_images.T, own)
    return (image_to_text + text_to_image) / 2
