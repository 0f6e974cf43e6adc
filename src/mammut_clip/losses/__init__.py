"""The training losses: contrastive over the global batch, captioning without the logits of the whole batch.

Model outputs come in, scalars go out. Weights and sums of losses belong to the trainer.
"""

from mammut_clip.losses.captioning import chunked_caption_loss
from mammut_clip.losses.contrastive import contrastive_loss

__all__ = ["chunked_caption_loss", "contrastive_loss"]
