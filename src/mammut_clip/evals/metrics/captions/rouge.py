"""ROUGE-L: the longest common subsequence of words (Lin 2004, "ROUGE: A Package for Automatic Evaluation of
Summaries"), as pycocoevalcap counts it: best precision and best recall over the references, beta 1.2."""

from collections.abc import Sequence

from mammut_clip.evals.metrics.captions.bleu import Captions

_BETA = 1.2


def rouge_l(candidates: Captions, references: Sequence[Captions]) -> float:
    """The mean over pictures."""
    scores = [_score(candidate, known) for candidate, known in zip(candidates, references, strict=True)]
    return sum(scores) / len(scores)


def _score(candidate: Sequence[str], references: Captions) -> float:
    written = candidate or [""]  # a caption without words counts as one empty word
    known = [reference or [""] for reference in references]
    common = [_common(written, reference) for reference in known]
    precision = max(common) / len(written)
    recall = max(shared / len(reference) for shared, reference in zip(common, known, strict=True))
    if precision == 0 or recall == 0:
        return 0.0
    return (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision)


def _common(first: Sequence[str], second: Sequence[str]) -> int:
    """The length of the longest common subsequence."""
    row = [0] * (len(second) + 1)
    for word in first:
        above_left = 0
        for place, other in enumerate(second, start=1):
            above = row[place]
            row[place] = above_left + 1 if word == other else max(above, row[place - 1])
            above_left = above
    return row[-1]
