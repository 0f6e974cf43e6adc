"""BLEU, ROUGE-L and CIDEr equal pycocoevalcap's on the same words, and, where java is there, on the same captions."""

import random
import shutil
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mammut_clip.evals.metrics.captions import caption_metrics
from mammut_clip.evals.metrics.captions.bleu import bleu
from mammut_clip.evals.metrics.captions.cider import cider
from mammut_clip.evals.metrics.captions.rouge import rouge_l

NAMES = ["Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "ROUGE_L", "CIDEr"]
Caption = list[str]

captions = st.lists(st.sampled_from(["a", "dog", "cat", "on", "the", "mat", "red", "2\u00a01/2"]), max_size=9)
pictures = st.lists(
    st.tuples(captions, st.lists(captions.filter(bool), min_size=1, max_size=4)), min_size=2, max_size=6
)


def scores_of_pycocoevalcap(gts: dict[int, list[str]], res: dict[int, list[str]]) -> dict[str, float]:
    bleus, _ = pytest.importorskip("pycocoevalcap.bleu.bleu").Bleu(4).compute_score(gts, res, verbose=0)
    rouge, _ = pytest.importorskip("pycocoevalcap.rouge.rouge").Rouge().compute_score(gts, res)
    consensus, _ = pytest.importorskip("pycocoevalcap.cider.cider").Cider().compute_score(gts, res)
    return dict(zip(NAMES, [*bleus, rouge, consensus], strict=True))


@settings(max_examples=150, deadline=None)
@given(pictures)
def test_scores_of_words_are_those_of_pycocoevalcap(found: list[tuple[Caption, list[Caption]]]) -> None:
    written, known = [one for one, _ in found], [references for _, references in found]
    ours = dict(zip(NAMES, [*bleu(written, known), rouge_l(written, known), cider(written, known)], strict=True))
    expected = scores_of_pycocoevalcap(
        {n: [" ".join(reference) for reference in references] for n, references in enumerate(known)},
        {n: [" ".join(one)] for n, one in enumerate(written)},
    )
    assert ours == pytest.approx(expected, abs=1e-6)


@pytest.mark.skipif(shutil.which("java") is None, reason="pycocoevalcap splits captions with java")
def test_scores_of_captions_are_those_of_pycocoevalcap() -> None:
    ptb = pytest.importorskip("pycocoevalcap.tokenizer.ptbtokenizer").PTBTokenizer()
    written, known = real_looking_captions()
    gts: dict[int, Any] = {n: [{"caption": text} for text in texts] for n, texts in enumerate(known)}
    res: dict[int, Any] = {n: [{"caption": text}] for n, text in enumerate(written)}
    expected = scores_of_pycocoevalcap(ptb.tokenize(gts), ptb.tokenize(res))
    assert caption_metrics(written, known) == pytest.approx(expected, abs=1e-6)
    assert 0.05 < expected["Bleu_4"] < 0.95  # not a comparison of zeros


def real_looking_captions() -> tuple[list[str], list[list[str]]]:
    """200 pictures with five references each, and captions that agree with them in part."""
    chance = random.Random(0)

    def sentence() -> str:
        who = chance.choice(["A man", "a dog", "Two women", "the cat's owner", "A black-and-white cow", "5 boys"])
        does = chance.choice(["isn't eating", "rides", "is sitting on", "holds", "looks at", "can't see"])
        what = chance.choice(['a "stop" sign', "a T-shirt", "the bench", "a hot-dog", "it's bowl", "a 3/4 full glass"])
        where = chance.choice(["in the park.", "at St. James' Park", "(in snow)", "on 5th Ave.", "; it rains!", ""])
        return f"{who} {does} {what} {where}".strip()

    return [sentence() for _ in range(200)], [[sentence() for _ in range(5)] for _ in range(200)]


def test_a_perfect_caption_has_full_marks() -> None:
    texts = ["a red dog on the mat.", "two cats under a blue table", "one bird, three eggs"]
    scores = caption_metrics([text.upper() for text in texts], [[text, "something else"] for text in texts])
    assert [scores[name] for name in NAMES[:5]] == pytest.approx([1.0] * 5, abs=1e-6)
    assert scores["CIDEr"] == pytest.approx(5.0)  # of 10: one of two references agrees


def test_captions_without_words_score_nothing() -> None:
    scores = caption_metrics(["", "..."], [["a dog"], ["a cat"]])
    assert list(scores) == NAMES
    assert all(value < 1e-6 for value in scores.values())
