"""Beam search: several beginnings of a caption are followed at a time, and the best caption found is kept.

Shapes: B images, K beams, P tokens at the start, L tokens so far, V vocabulary.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mammut_clip.config.captioning import Beam
from mammut_clip.models.kv_cache import DecoderCache
from mammut_clip.models.output import PAD_ID
from mammut_clip.models.search import NextLogits, Rules


def beam_search(next_logits: NextLogits, cache: DecoderCache, ids: Tensor, rules: Rules, method: Beam) -> Tensor:
    """Go on from ids [B, P] -> ids [B, L], of each row the best caption found.

    Of all continuations of K beginnings the K likeliest are looked at: those of them that end are captions found. The K
    likeliest that do not end are followed. A row is done when K captions are found, or all are `longest` tokens long.
    The best has the largest log-probability / tokens ** length_penalty, where the log-probability is the model's over
    its whole vocabulary, and the tokens are those written, end of text included. transformers does the same with
    early_stopping=True.
    """
    count, prompt = method.beams, ids.shape[1]
    live, found = _same(ids, count), _Found(ids)
    new = live.ids.flatten(0, 1)
    for length in range(prompt + 1, rules.longest + 1):
        scores = rules.forbid(next_logits(new, cache).float().log_softmax(dim=-1))
        candidates = _continued(live, scores)
        ends = candidates.ids[..., -1] == rules.end_id
        whole = torch.ones_like(ends) if length == rules.longest else ends
        found.add(candidates, whole, count, (length - prompt) ** method.length_penalty)
        if length == rules.longest or bool((found.count >= count).all()):
            break
        live = candidates.best(count, ends)
        cache.reorder(live.rows)
        new = live.ids[..., -1:].flatten(0, 1)
    return found.ids


@dataclass(frozen=True)
class _Beams:
    """Beginnings of captions, some number of them for each image."""

    ids: Tensor
    """[B, K, L]."""
    scores: Tensor
    """[B, K] float32, log-probabilities; -inf for what is no beginning at all."""
    origin: Tensor
    """[B, K], which beam of its image each is a continuation of."""
    width: int
    """How many beams an image had before."""

    def best(self, count: int, without: Tensor) -> "_Beams":
        """The `count` of the highest scores; those of `without` [B, K] count for nothing."""
        scores, places = self.scores.masked_fill(without, -torch.inf).topk(count)
        ids = self.ids.take_along_dim(places[..., None], dim=1)
        return _Beams(ids, scores, self.origin.gather(1, places), self.width)

    @property
    def rows(self) -> Tensor:
        """[B * K], the row of the decoder's cache that each continues."""
        images = torch.arange(len(self.ids), device=self.ids.device)[:, None]
        return (images * self.width + self.origin).flatten()


def _same(ids: Tensor, count: int) -> _Beams:
    """The beginning ids [B, P] as `count` beams, of which all but one count for nothing: else all would stay alike."""
    scores = torch.full((len(ids), count), -torch.inf, device=ids.device)
    scores[:, 0] = 0
    origin = torch.arange(count, device=ids.device).expand(len(ids), -1)
    return _Beams(ids[:, None].expand(-1, count, -1), scores, origin, count)


def _continued(live: _Beams, scores: Tensor) -> _Beams:
    """The 2 K likeliest continuations, likeliest first; K of them at least do not end. Scores [B * K, V]."""
    batch, count = live.scores.shape
    vocabulary = scores.shape[-1]
    totals = (live.scores[..., None] + scores.view(batch, count, vocabulary)).flatten(1)
    best, places = totals.topk(2 * count)
    origin, tokens = places // vocabulary, places % vocabulary
    ids = torch.cat([live.ids.take_along_dim(origin[..., None], dim=1), tokens[..., None]], dim=-1)
    return _Beams(ids, best, origin, count)


class _Found:
    """The best whole caption of each image so far, and how many were found."""

    def __init__(self, ids: Tensor) -> None:
        self.ids = ids
        """[B, L], padded."""
        self._scores = torch.full((len(ids),), -torch.inf, device=ids.device)
        self.count = torch.zeros(len(ids), dtype=torch.long, device=ids.device)
        """[B]."""

    def add(self, candidates: _Beams, whole: Tensor, width: int, divisor: float) -> None:
        """Take in those of the first `width` candidates that are `whole` [B, 2 K], for images that are not done."""
        counts = whole & candidates.scores.isfinite() & (self.count < width)[:, None]
        counts = counts[:, :width]
        scores, places = (candidates.scores[:, :width] / divisor).masked_fill(~counts, -torch.inf).max(dim=1)
        better = scores > self._scores
        if bool(better.any()):
            theirs = candidates.ids.take_along_dim(places[:, None, None], dim=1).squeeze(1)
            ours = F.pad(self.ids, (0, theirs.shape[1] - self.ids.shape[1]), value=PAD_ID)
            self.ids = torch.where(better[:, None], theirs, ours)
            self._scores = torch.where(better, scores, self._scores)
        self.count += counts.sum(dim=1)
