"""CIDEr-D: agreement of n-grams weighted by how rare they are (Vedantam et al. 2015, arXiv:1411.5726, section 3 and 6),
as pycocoevalcap counts it under the name CIDEr: clipped counts, a Gaussian penalty on the difference in length with
sigma 6, times ten. Documents are the pictures of the set under evaluation, so that a figure belongs to its set."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mammut_clip.evals.metrics.captions.bleu import Captions
from mammut_clip.evals.metrics.captions.ngrams import LONGEST, Counts, ngrams

_SIGMA = 6.0


@dataclass(frozen=True)
class _Weighted:
    """A caption's n-grams by their weight."""

    weights: dict[tuple[str, ...], float]
    norms: list[float]
    """By size of n-gram."""
    length: int
    """Pairs of words, which is what the penalty counts."""


def cider(candidates: Captions, references: Sequence[Captions]) -> float:
    """The mean over pictures, from 0 to 10."""
    known = [[ngrams(reference) for reference in alternatives] for alternatives in references]
    pictures = Counter(ngram for counts in known for ngram in set().union(*counts))
    rarity = {ngram: math.log(len(known)) - math.log(count) for ngram, count in pictures.items()}
    unseen = math.log(len(known))
    scores = []
    for candidate, counts in zip(candidates, known, strict=True):
        written = _weighted(ngrams(candidate), rarity, unseen)
        likeness = [_likeness(written, _weighted(other, rarity, unseen)) for other in counts]
        scores.append(10 * sum(likeness) / len(likeness))
    return sum(scores) / len(scores)


def _weighted(counts: Counts, rarity: dict[tuple[str, ...], float], unseen: float) -> _Weighted:
    weights = {ngram: count * rarity.get(ngram, unseen) for ngram, count in counts.items()}
    squares = [0.0] * LONGEST
    for ngram, weight in weights.items():
        squares[len(ngram) - 1] += weight**2
    pairs = sum(count for ngram, count in counts.items() if len(ngram) == 2)
    return _Weighted(weights, [math.sqrt(square) for square in squares], pairs)


def _likeness(written: _Weighted, known: _Weighted) -> float:
    """The mean over sizes of n-gram."""
    products = [0.0] * LONGEST
    for ngram, weight in written.weights.items():
        other = known.weights.get(ngram, 0.0)
        products[len(ngram) - 1] += min(weight, other) * other
    norms = [a * b for a, b in zip(written.norms, known.norms, strict=True)]
    cosines = [product / norm if norm else product for product, norm in zip(products, norms, strict=True)]
    penalty = math.exp(-((written.length - known.length) ** 2) / (2 * _SIGMA**2))
    return penalty * sum(cosines) / LONGEST
