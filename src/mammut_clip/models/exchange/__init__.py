"""Weights and configs to and from published checkpoints: open_clip's CLIP, SigLIP and CoCa, and LAION's MaMMUT.

files                a checkpoint file or folder -> tensors, reading nothing that could run code
names                published names and shapes <-> ours
fit                  do these tensors fill this model, and if not, which shipped model do they fill?
weights              the three together: into a model, out of a model
open_clip_config     the architecture under open_clip's keys (open_clip_config.json)
"""

from mammut_clip.models.exchange.fit import fitting_models
from mammut_clip.models.exchange.names import from_published, to_published
from mammut_clip.models.exchange.weights import load_weights, save_weights

__all__ = ["fitting_models", "from_published", "load_weights", "save_weights", "to_published"]
