"""CLIP, MaMMUT and the baselines SigLIP, CoCa and Cap: building them from a config, and exchanging weights with
published checkpoints.

    model = build_model(load_model_config("mammut_ViT-B-32"), seed=0)
    output = model(images, ids, make_captions(ids), chunked_caption_loss)     # ModelOutput

Model code knows nothing of ranks, devices or optimisers: parallelism is applied from outside, block by block.
"""

from mammut_clip.models.build import build_model
from mammut_clip.models.cap import Cap
from mammut_clip.models.clip import CLIP
from mammut_clip.models.coca import CoCa
from mammut_clip.models.exchange import from_published, load_weights, save_weights, to_published
from mammut_clip.models.mammut import MaMMUT
from mammut_clip.models.output import PAD_ID, CaptionLoss, ModelOutput

__all__ = [
    "CLIP",
    "PAD_ID",
    "Cap",
    "CaptionLoss",
    "CoCa",
    "MaMMUT",
    "ModelOutput",
    "build_model",
    "from_published",
    "load_weights",
    "save_weights",
    "to_published",
]
