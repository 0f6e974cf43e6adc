"""BLEU-1 to BLEU-4 of a whole set (Papineni et al. 2002, "BLEU: a Method for Automatic Evaluation of Machine
Translation"), with the closest reference's length, as pycocoevalcap counts it."""

import math
from collections.abc import Sequence

from mammut_clip.evals.metrics.captions.ngrams import LONGEST, Counts, length, ngrams

Captions = Sequence[Sequence[str]]
"""Words of several captions."""

_SMALL, _TINY = 1e-9, 1e-15
"""What pycocoevalcap adds below and above, so that nothing is divided by zero."""


def bleu(candidates: Captions, references: Sequence[Captions]) -> list[float]:
    """BLEU-1, -2, -3, -4 of one caption per picture against one or more references each."""
    guessed, correct = [0] * LONGEST, [0] * LONGEST
    written = wanted = 0
    for candidate, alternatives in zip(candidates, references, strict=True):
        counts, known = ngrams(candidate), [ngrams(reference) for reference in alternatives]
        size = length(counts)
        written += size
        wanted += min((abs(length(other) - size), length(other)) for other in known)[1]
        most = _most(known)
        for ngram, count in counts.items():
            guessed[len(ngram) - 1] += count
            correct[len(ngram) - 1] += min(count, most[ngram])
    precisions = [(right + _TINY) / (all_ + _SMALL) for right, all_ in zip(correct, guessed, strict=True)]
    ratio = (written + _TINY) / (wanted + _SMALL)
    brevity = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    return [brevity * math.prod(precisions[:n]) ** (1 / n) for n in range(1, LONGEST + 1)]


def _most(known: Sequence[Counts]) -> Counts:
    """The highest count of each n-gram in one reference."""
    most = Counts()
    for counts in known:
        most |= counts
    return most
