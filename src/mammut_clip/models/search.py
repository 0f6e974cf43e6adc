"""Writing captions token by token: the likeliest each time, or one drawn at random.

Logits of the next token come in from a function, ids go out. Padding and start of text are never written, since they
are no labels in training. Shapes: B images, R rows of text, T new positions, P tokens at the start, L tokens in all, V
vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mammut_clip.config.captioning import Nucleus
from mammut_clip.models.kv_cache import DecoderCache
from mammut_clip.models.output import PAD_ID

NextLogits = Callable[[Tensor, DecoderCache], Tensor]
"""(ids of new positions [R, T], what is kept of those before) -> logits [R, V] of what follows the last of them."""
_FEW = 1024
"""A nucleus is seldom larger. Sorting 16 x 49,408 numbers takes 60 ms on a CPU core, finding the 1,024 largest 7."""
Pick = Callable[[Tensor, int], Tensor]
"""(logits [B, V] float32, tokens so far) -> ids [B] of the next token."""


@dataclass(frozen=True)
class Rules:
    """What holds for every caption."""

    start_id: int
    end_id: int
    longest: int
    """The largest number of tokens, start and end of text included."""

    def forbid(self, scores: Tensor) -> Tensor:
        """Scores [R, V], in place: those of tokens that are never written become -inf."""
        scores[:, [PAD_ID, self.start_id]] = -torch.inf
        return scores


def write_one_by_one(next_logits: NextLogits, cache: DecoderCache, ids: Tensor, rules: Rules, pick: Pick) -> Tensor:
    """Go on from ids [B, P] until every row has ended or is `longest` tokens long -> ids [B, L]."""
    ended = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
    new = ids
    while ids.shape[1] < rules.longest and not bool(ended.all()):
        logits = rules.forbid(next_logits(new, cache).float())
        new = pick(logits, ids.shape[1]).masked_fill(ended, PAD_ID)[:, None]
        ended |= new[:, 0] == rules.end_id
        ids = torch.cat([ids, new], dim=1)
    return ids


def likeliest(logits: Tensor, _: int) -> Tensor:
    """The Pick of greedy search."""
    return logits.argmax(dim=-1)


class Draws:
    """The Pick of nucleus sampling.

    Every row has uniform random numbers of its own, from the seed and the row's number alone and the same on every
    device: a caption does not depend on the pictures that share its batch.
    """

    def __init__(self, method: Nucleus, rows: range, longest: int, device: torch.device) -> None:
        self._method = method
        # numpy, since a torch.Generator is seeded with one number, and sums of seed and row would collide
        numbers = [np.random.default_rng([method.seed, row]).random(longest, dtype=np.float32) for row in rows]
        self._numbers = torch.from_numpy(np.array(numbers).reshape(len(rows), longest)).to(device)

    def __call__(self, logits: Tensor, length: int) -> Tensor:
        """As Pick."""
        return draw(logits / self._method.temperature, self._numbers[:, length], self._method.top_p)


def draw(logits: Tensor, numbers: Tensor, top_p: float) -> Tensor:
    """Logits [B, V], uniform numbers [B] in [0, 1) -> ids [B], drawn from the nucleus.

    The nucleus is the shortest list of likeliest tokens whose probabilities sum to `top_p` or more; one of them is
    drawn in proportion to its probability.
    """
    probabilities, ids = _likeliest_first(logits.softmax(dim=-1), top_p)
    before = probabilities.cumsum(dim=-1) - probabilities
    probabilities = probabilities * (before < top_p)
    edges = probabilities.cumsum(dim=-1)
    place = (edges <= numbers[:, None] * edges[:, -1:]).sum(dim=-1)
    last = (probabilities > 0).sum(dim=-1) - 1  # rounding may carry a number near 1 past the nucleus
    return ids.gather(1, torch.minimum(place, last)[:, None]).squeeze(1)


def _likeliest_first(probabilities: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """Probabilities [B, V] in descending order and their ids: as many as sum to `top_p` in every row, or more."""
    few = min(_FEW, probabilities.shape[-1])
    likeliest, ids = probabilities.topk(few)
    if few == probabilities.shape[-1] or bool((likeliest.sum(dim=-1) >= top_p).all()):
        return likeliest, ids
    return probabilities.sort(dim=-1, descending=True)
