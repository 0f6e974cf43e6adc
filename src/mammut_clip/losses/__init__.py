"""The training losses: contrastive and sigmoid over the global batch, captioning without the logits of all positions.

Features and hidden states come in, scalars go out, computed in float32 whatever the policy outside; the losses over
pairs bring their accuracy along. Weights and sums of losses belong to the trainer.
"""

from mammut_clip.losses.captioning import chunked_caption_loss
from mammut_clip.losses.contrastive import contrastive_loss
from mammut_clip.losses.pairs import PairLoss
from mammut_clip.losses.sigmoid import sigmoid_loss

__all__ = ["PairLoss", "chunked_caption_loss", "contrastive_loss", "sigmoid_loss"]
