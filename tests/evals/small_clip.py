"""A small CLIP that reads any English, with CLIP's own tokenizer, for sets of real pictures."""

from pathlib import Path
from typing import Any

from subjects import ONE

from mammut_clip.config.model import load_model_config
from mammut_clip.data.tokenizer_files import train_tokenizer
from mammut_clip.evals.sharing import Shared
from mammut_clip.evals.subject import Subject, make_subject
from mammut_clip.models import build_model
from real_pictures import DIGITS, PROMPTS

TOKENS = 320

SMALL_CLIP: dict[str, Any] = {
    "family": "clip",
    "embed_dim": 128,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 128, "head_width": 32, "patch_size": 8},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 64, "heads": 4, "layers": 2},
}


def small_clip(shared: Shared | None = None, tokenizer: Path | None = None) -> Subject:
    """With random weights, always the same; with a tokenizer of ours in place of CLIP's, where a file is given."""
    values = SMALL_CLIP
    if tokenizer is not None:
        words = {"vocab_size": TOKENS, "hf_tokenizer_name": str(tokenizer)}
        values = SMALL_CLIP | {"text_cfg": SMALL_CLIP["text_cfg"] | words}
    config = load_model_config(values, "small CLIP")
    return make_subject(build_model(config, seed=1).eval(), config, shared or Shared(ONE))


def write_tokenizer(path: Path) -> Path:
    """One that reads what sets of digits say, and loads in no time."""
    train_tokenizer([*DIGITS, *PROMPTS, "a square of"], TOKENS, path)
    return path
