"""How well written captions agree with those of people: BLEU, ROUGE-L and CIDEr, under pycocoevalcap's names.

In pure Python, since pycocoevalcap needs Java to split captions into words. METEOR and SPICE are Java programs
altogether and are not offered.
"""

from collections.abc import Sequence

from mammut_clip.evals.metrics.captions.bleu import bleu
from mammut_clip.evals.metrics.captions.cider import cider
from mammut_clip.evals.metrics.captions.rouge import rouge_l
from mammut_clip.evals.metrics.captions.tokens import words

__all__ = ["caption_metrics"]


def caption_metrics(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """Bleu_1 to Bleu_4, ROUGE_L and CIDEr of one caption per picture against one reference or more each.

    Both may be empty of words, but there must be a picture, and each needs a reference.
    """
    written = [words(candidate) for candidate in candidates]
    known = [[words(reference) for reference in alternatives] for alternatives in references]
    scores = {f"Bleu_{n}": value for n, value in enumerate(bleu(written, known), start=1)}
    return scores | {"ROUGE_L": rouge_l(written, known), "CIDEr": cider(written, known)}
