"""Tokenizers: parity with open_clip's BPE, our ids in tokenizer files, and the toy world's committed file."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mammut_clip.config.errors import ConfigError, InputError
from mammut_clip.config.files import shipped_root
from mammut_clip.data import toy_world
from mammut_clip.data.text import ClipTokenizer, FileTokenizer, load_tokenizer
from mammut_clip.data.tokenizer_files import toy_tokenizer_json, train_tokenizer
from mammut_clip.data.toy_words import PROMPTS, held_out_pairs, pair_name
from mammut_clip.data.toy_world import ToyWorld


@dataclass
class Settings:
    context_length: int = 77
    vocab_size: int = 49408
    hf_tokenizer_name: str | None = None


TOY = Settings(20, 96, "toy")
TEXTS = ["A photo of a cat!", "", "naïve café, 東京 & co. &amp; 42 don't", "word " * 200, "  spaces \t\n tabs "]


@pytest.fixture(scope="module")
def clip() -> ClipTokenizer:
    tokenizer = load_tokenizer(Settings())
    assert isinstance(tokenizer, ClipTokenizer)
    return tokenizer


@pytest.mark.parametrize("length", [77, 16])
def test_clip_bpe_equals_open_clips(clip: ClipTokenizer, length: int) -> None:
    import open_clip

    theirs = open_clip.get_tokenizer("ViT-B-32", context_length=length)(TEXTS)
    ours = clip(TEXTS, context_length=length)
    assert ours.dtype == torch.int64
    assert torch.equal(ours, theirs)
    assert torch.equal(clip(TEXTS[0], length), theirs[:1])
    assert (clip.sot_token_id, clip.eot_token_id, clip.vocab_size) == (49406, 49407, 49408)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=4))
def test_clip_bpe_equals_open_clips_on_any_text(clip: ClipTokenizer, texts: list[str]) -> None:
    from open_clip.tokenizer import tokenize

    assert torch.equal(clip(texts), tokenize(texts))


def test_decoding_gives_the_text_back(clip: ClipTokenizer) -> None:
    assert clip.decode(clip(["a photo of a cat", "wow !", ""])) == ["a photo of a cat", "wow !", ""]
    assert clip.decode(clip(["a b c"])[:, 1:3].tolist()) == ["a b"]  # cut, without start and end
    toy = load_tokenizer(TOY)
    captions = [sample.caption for sample in ToyWorld(0).samples(toy_world.TRAIN, 0, 200)]
    assert toy.decode(toy(captions)) == captions


def test_the_committed_toy_tokenizer_is_what_the_code_makes() -> None:
    """If this fails: python -m mammut_clip.data.tokenizer_files configs/tokenizers/toy.json"""
    assert (shipped_root() / "configs/tokenizers/toy.json").read_text() == toy_tokenizer_json()


def test_toy_ids_follow_clips_layout() -> None:
    toy = load_tokenizer(TOY)
    prompts = [template.format(c=pair_name(pair)) for template in PROMPTS for pair in held_out_pairs()]
    captions = [sample.caption for sample in ToyWorld(0).samples(toy_world.RETRIEVAL, 0, 500)]
    ids = toy([*prompts, *captions])
    assert ids.shape == (len(prompts) + len(captions), 20)
    assert not (ids == 1).any()  # nothing unknown
    assert (ids[:, 0] == 94).all()
    ends = ids.argmax(dim=1)
    assert (ids[torch.arange(len(ids)), ends] == 95).all()
    assert all((row[end + 1 :] == 0).all() and (row[1:end] > 1).all() for row, end in zip(ids, ends, strict=True))
    assert toy("a PURPLE Elephant")[0, :5].tolist() == [94, *toy("a purple")[0, 1:3].tolist(), 1, 95]
    assert toy(["red " * 40])[0].tolist() == [94, *[int(toy("red")[0, 1])] * 18, 95]


def test_a_trained_tokenizer_has_the_size_asked_for_and_our_ids(tmp_path: Path) -> None:
    captions = ["A dog runs on the grass", "a Dog sleeps", "the cat sleeps on the dog", "grass and cats"] * 5
    for size in (40, 60, 500):
        train_tokenizer(iter(captions), size, tmp_path / "t.json")
        tokenizer = load_tokenizer(Settings(24, size, str(tmp_path / "t.json")))
        assert (tokenizer.vocab_size, tokenizer.eot_token_id, tokenizer.sot_token_id) == (size, size - 1, size - 2)
        assert tokenizer.decode(tokenizer(captions)) == [caption.lower() for caption in captions]
    assert int((tokenizer(["a dog sleeps"]) > 0).sum()) == 5  # whole words were learnt
    assert 1 in tokenizer(["a dog ☂ sleeps"])[0].tolist()


def test_the_same_captions_give_the_same_tokenizer_in_every_process(tmp_path: Path) -> None:
    """Hash tables have another order in each, and there are 26 letters to number."""
    captions = ["the quick brown fox jumps over the lazy dog", "sphinx of black quartz judge my vow"] * 9
    code = (
        "import sys; from pathlib import Path; from mammut_clip.data.tokenizer_files import train_tokenizer;"
        f"train_tokenizer({captions}, 90, Path(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "another")], check=True)
    train_tokenizer(captions, 90, tmp_path / "this")
    assert (tmp_path / "another").read_bytes() == (tmp_path / "this").read_bytes()


def test_tokenizers_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model.yaml: vocab_size = 100, but .*toy\.json has 96 ids"):
        load_tokenizer(Settings(20, 100, "toy"), "model.yaml")
    with pytest.raises(InputError, match="CLIP's BPE has 49408 ids"):
        load_tokenizer(Settings(77, 96))
    with pytest.raises(ConfigError, match="toy"):
        load_tokenizer(Settings(20, 96, "toyy"))
    (tmp_path / "broken.json").write_text("{}")
    with pytest.raises(InputError, match=r"broken\.json: not a tokenizer file"):
        load_tokenizer(Settings(20, 96, str(tmp_path / "broken.json")))
    with pytest.raises(InputError, match="expected 2 or more"):
        load_tokenizer(TOY)("a", context_length=1)
    for captions, size, message in (([], 50, "no captions"), (["abcdefghij"], 10, "letters"), (["a"], 3, "8 or more")):
        with pytest.raises(InputError, match=message):
            train_tokenizer(captions, size, tmp_path / "t.json")


def test_special_ids_of_other_files_are_checked(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models

    Tokenizer(models.WordLevel({"a": 0, "<unk>": 1}, unk_token="<unk>")).save(str(tmp_path / "other.json"))
    with pytest.raises(InputError, match="special tokens have the ids"):
        FileTokenizer(tmp_path / "other.json", 10)
