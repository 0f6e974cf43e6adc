"""Writing captions with a key-value cache, beside the same model that reads its whole text again for every token."""

import time
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.result import Measurement, Row, Settings
from mammut_clip.config.captioning import Beam, Method, Nucleus
from mammut_clip.config.model import load_model_config
from mammut_clip.models import PAD_ID, MaMMUT, build_model
from mammut_clip.models.kv_cache import DecoderCache

QUESTION = "How many tokens of captions are written per second, beside search without a key-value cache?"
MODEL, BATCH = "mammut_ViT-B-32", 16
_ALONE: dict[str, Method] = {"nucleus, top_p 0.9": Nucleus(), "beam search, 5 beams": Beam(beams=5)}


def measure(settings: Settings) -> Measurement:
    """Rows of tokens per second. Raises where the two sides write different captions."""
    model, images = _endless_model(), torch.randn(BATCH, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    ours, theirs = [], []
    for _ in range(settings.repeats):
        with_cache, ids = _rate(lambda: model.generate(images))
        without, same = _rate(lambda: _without_cache(model, images))
        if not torch.equal(ids, same):
            raise AssertionError("captions differ with and without a cache")
        ours.append(with_cache)
        theirs.append(without)
    setting = f"{MODEL}, batch {BATCH}, 76 tokens a caption"
    rows = [Row(f"{setting}, greedy", "tokens/s", "higher", ours, "no cache", theirs)]
    for name, method in _ALONE.items():
        rates = [_rate(lambda method=method: model.generate(images, method=method))[0] for _ in range(settings.repeats)]
        rows.append(Row(f"{setting}, {name}", "tokens/s", "higher", rates))
    notes = [
        "Random weights in fp32, the vocabulary head scaled up so that few tokens are likely, the end of text made "
        "impossible; the image tower's time is in all of them. Tokens are those of the captions that come out, not of "
        "all beams.",
        "Captions are the same on both sides. open_clip's CoCa has a `generate` without a cache; it does not run with "
        "transformers 5, which no longer has BeamSearchScorer.",
    ]
    return Measurement(rows, notes)


def _endless_model() -> MaMMUT:
    """A model that never writes the end of text; an untrained head, all zero, would say nothing at all."""
    model = build_model(load_model_config(MODEL)).eval()
    assert isinstance(model, MaMMUT)
    with torch.no_grad():
        model.text.text_projection.normal_(std=0.2, generator=torch.Generator().manual_seed(0))
        # the mean of what LayerNorm gives is zero, so that a constant column would not do
        model.text.ln_final.bias.fill_(1.0)
        model.text.text_projection[:, -1] = -1.0
    return model


def _rate(write: Callable[[], Tensor]) -> tuple[float, Tensor]:
    """(tokens per second, ids)."""
    started = time.perf_counter()
    ids = write()
    return BATCH * (ids.shape[1] - 1) / (time.perf_counter() - started), ids


@torch.no_grad()
def _without_cache(model: MaMMUT, images: Tensor) -> Tensor:
    """Greedy search in which every step runs the decoder over the text so far, and the head at its last position."""
    text = model.config.text_cfg
    ids = torch.full((len(images), 1), text.start_id)
    _, tokens = model.visual(images)
    context = tokens @ model.map_viz2txt_kv
    while ids.shape[1] < text.context_length:
        empty = DecoderCache(model.text.cached_blocks(), context, text.context_length)
        logits = model.next_logits(ids, empty)
        logits[:, [PAD_ID, text.start_id]] = -torch.inf
        ids = torch.cat([ids, logits.argmax(dim=-1, keepdim=True)], dim=1)
    return ids
