"""Captions are split into the words that Stanford's PTBTokenizer, which pycocoevalcap runs, splits them into."""

import json
import random
import shutil
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mammut_clip.evals.metrics.captions.tokens import words

JAVA = shutil.which("java")

RECORDED = {
    "A dog's ball, isn't it?": "a dog 's ball is n't it",
    "They can't; she CANNOT, we won’t. It’s": "they ca n't she can not we wo n't it 's",
    'The sign reads "5% off" -- or 1/2-price...': "the sign reads 5 % off or 1/2-price",
    "A black-and-white T-shirt (size 10) & hat": "a black-and-white t-shirt -lrb- size 10 -rrb- & hat",
    "Mr. Smith at 5:30 p.m. on St. James' St., U.S.A.": "mr. smith at 5:30 p.m. on st. james st. u.s.a.",
    "rock 'n' roll at six o'clock in the '90s": "rock 'n' roll at six o'clock in the '90s",
    "$5.00, £3 and €7 for 2½ or 2 1/2": "$ 5.00 # 3 and $ 7 for 2 1/2 or 2\u00a01/2",
    "flag: Côte d’Ivoire 😀 ❤️": "flag côte d’ivoire ❤",
    "see www.example.com, 555-1234 or AT&T!!": "see www.example.com 555-1234 or at&t !!",
    "...": "",
    "": "",
}
"""What PTBTokenizer and the removal of punctuation make of some captions."""

PIECES = """
    a an the dog Dog DOG cat's it's It's dogs' don't can't isn't won't I'm we've they'll he'd she's 5 10 50
    1990 90s '90s 3.5 1,000 1/2 3/4 5:30 2nd a.m. p.m. U.S. etc. Mr. St. no. vs. -5 a-b T-shirt e-mail
    black-and-white ice-cream co-op
    o'clock rock'n'roll 'n' y'all 'em 'tis O'Brien cannot gonna “hi” ‘hi’ it’s don’t dogs’ "hi" 'hi' (hi) [hi] {x} , . ;
    : ! ? ... -- — – - / and/or w/ & AT&T $ $5 € £5 % 5% # #1 #tag @ @me x.jpg ° 20°C × ™ ½ 2½ café naïve 日本 ☕ 😀 ❤️
    :) ;) :D ^_^ ?! !! *** * _ a_b ~ + = < > C++ 6' 6" 10x10 4x4 mp3 é 5, a, a. a: a; a! a? (5) (555) x/y well-being
    mother-in-law ma'am 3D U.S.-made Dr. Inc. hello, world. sun; moon: star! "quoted words" 'single words' (in brackets)
"""


@pytest.mark.parametrize(("caption", "expected"), RECORDED.items())
def test_words_are_those_that_were_recorded(caption: str, expected: str) -> None:
    assert " ".join(words(caption)) == expected


@given(st.text(max_size=60))
def test_a_further_word_changes_nothing_before_it(caption: str) -> None:
    found = words(caption)
    assert words(f"{caption} Dog") == [*found, "dog"]
    assert not any(blank in word for word in found for blank in " \n\t")


@pytest.mark.skipif(JAVA is None, reason="PTBTokenizer needs java")
def test_words_are_those_of_the_java_program() -> None:
    captions = [*RECORDED, *real_captions(), *mixed_captions()]
    expected = words_of_java(captions)
    different = [(c, words(c), e) for c, e in zip(captions, expected, strict=True) if words(c) != e]
    assert not different


def real_captions() -> list[str]:
    """Classes of CLIP_benchmark's data sets in prompts of their own: people, cars, dishes, birds, actions, signs."""
    folder = files("clip_benchmark") / "datasets"
    classes = json.loads((folder / "en_classnames.json").read_text(encoding="utf-8"))
    prompts = json.loads((folder / "en_zeroshot_classification_templates.json").read_text(encoding="utf-8"))
    chance = random.Random(0)
    captions = []
    for name in sorted(set(classes) & set(prompts)):
        templates = [prompt for prompt in prompts[name] if isinstance(prompt, str)]
        captions += [chance.choice(templates).format(c=label) for label in classes[name] if templates]
    return captions


def mixed_captions() -> list[str]:
    """Words and signs that captions have, in any order."""
    chance, pieces = random.Random(1), PIECES.split()
    return [" ".join(chance.choices(pieces, k=chance.randint(2, 12))) for _ in range(2000)]


def words_of_java(captions: list[str]) -> list[list[str]]:
    """What pycocoevalcap makes of captions. Between them stand others, since its splitting of a caption's last words
    looks at how the next one begins."""
    ptb = pytest.importorskip("pycocoevalcap.tokenizer.ptbtokenizer").PTBTokenizer()
    apart = {number: [{"caption": caption}, {"caption": "next"}] for number, caption in enumerate(captions)}
    return [both[0].split(" ") if both[0] else [] for both in ptb.tokenize(apart).values()]
