"""Tokenizers of transformers: parity with open_clip's, CLIP's layout for our own towers, digests of their files."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mammut_clip.config.errors import ConfigError, InputError
from mammut_clip.config.towers import HfTextConfig, TextConfig
from mammut_clip.data import toy_world
from mammut_clip.data.hf_tokenizer import HfClipTokenizer
from mammut_clip.data.text import load_tokenizer, tokenizer_digest
from mammut_clip.data.tokenizer_files import toy_tokenizer
from mammut_clip.data.toy_world import ToyWorld

T = 12
WORDS = ["a", "photo", "of", "the", "cat", "dog", "on", "table", "and", "café", "42", "don", "t", "co"]
SPECIAL = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
TEXTS = ["A photo of a cat!", "", "the café &amp; co.", "dog " * 50, "  a \t\n dog ", "<b>cat</b> don&#39;t", "æ—¥æœ¬"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT's tokenizer and config: [CLS] text [SEP], padded with id 3."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, PreTrainedTokenizerFast

    path = tmp_path_factory.mktemp("bert")
    names = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", *WORDS]
    pieces = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="[UNK]"))
    pieces.normalizer, pieces.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    pieces.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    PreTrainedTokenizerFast(tokenizer_object=pieces, **SPECIAL).save_pretrained(path)
    BertConfig(vocab_size=len(names), hidden_size=32, num_attention_heads=2, pad_token_id=3).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def clip_layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy world's tokenizer as transformers has it."""
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    path, pieces = tmp_path_factory.mktemp("toy"), toy_tokenizer()
    ends = [("<sot>", 94), ("<eot>", 95)]
    pieces.post_processor = processors.TemplateProcessing("<sot> $A <eot>", special_tokens=ends)
    names = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<sot>", "eos_token": "<eot>"}
    PreTrainedTokenizerFast(tokenizer_object=pieces, **names).save_pretrained(path)
    return path


def tower(folder: Path, tokenizer: Path | None = None) -> HfTextConfig:
    values = {"transformers": str(folder), "context_length": T, "hf_tokenizer_name": tokenizer and str(tokenizer)}
    return HfTextConfig.model_validate(values)


def own_tower(tokenizer: Path | str, vocab_size: int = 96) -> TextConfig:
    sizes = {"width": 32, "heads": 1, "layers": 1, "context_length": 20}
    return TextConfig(hf_tokenizer_name=str(tokenizer), vocab_size=vocab_size, **sizes)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(max_size=40), max_size=3))
def test_ids_equal_open_clips(folder: Path, texts: list[str]) -> None:
    from open_clip.tokenizer import HFTokenizer

    ours, theirs = load_tokenizer(tower(folder)), HFTokenizer(str(folder), context_length=T)
    for length in (T, 5):
        ids = ours([*TEXTS, *texts], context_length=length)
        assert ids.dtype == torch.int64 and ids.shape == (len(TEXTS) + len(texts), length)
        assert torch.equal(ids, theirs([*TEXTS, *texts], context_length=length))
    assert torch.equal(ours(TEXTS[0]), theirs(TEXTS[:1]))


def test_padding_and_cutting(folder: Path) -> None:
    tokenizer = load_tokenizer(tower(folder))
    short, long = tokenizer(["the cat", "dog " * 50])
    assert short.tolist() == [1, 4 + WORDS.index("the"), 4 + WORDS.index("cat"), 2, *[3] * (T - 4)]
    assert long[0] == 1 and long[-1] == 2 and (long[1:-1] == 4 + WORDS.index("dog")).all()
    assert tokenizer([]).shape == (0, T)
    with pytest.raises(InputError, match="context_length = 2: expected 3 or more, since 2 tokens surround"):
        tokenizer("a", context_length=2)


def test_decoding_gives_the_text_back(folder: Path, clip_layout: Path) -> None:
    tokenizer = load_tokenizer(tower(folder))
    assert tokenizer.decode(tokenizer(["A photo of a cat", ""])) == ["a photo of a cat", ""]
    assert tokenizer.decode(tokenizer(["the dog"]).tolist()) == ["the dog"]
    toy = load_tokenizer(own_tower(clip_layout))
    captions = [sample.caption for sample in ToyWorld(0).samples(toy_world.TRAIN, 0, 100)]
    assert toy.decode(toy(captions)) == captions


def test_our_towers_take_one_with_clips_layout(clip_layout: Path) -> None:
    theirs, ours = load_tokenizer(own_tower(clip_layout)), load_tokenizer(own_tower("toy"))
    assert isinstance(theirs, HfClipTokenizer)
    captions = [sample.caption for sample in ToyWorld(0).samples(toy_world.TRAIN, 0, 100)]
    assert torch.equal(theirs([*captions, "", "red " * 40]), ours([*captions, "", "red " * 40]))
    assert theirs([]).shape == (0, 20)
    assert (theirs.sot_token_id, theirs.eot_token_id, theirs.vocab_size) == (94, 95, 96)


def test_our_towers_refuse_another_layout(folder: Path, clip_layout: Path, tmp_path: Path) -> None:
    reason = (
        r"hf_tokenizer_name = '.*': puts the ids \[1, 2\] around a text; expected \[16, 17\], the last two of its ids"
    )
    with pytest.raises(ConfigError, match=reason):
        load_tokenizer(own_tower(folder, 18))
    with pytest.raises(InputError, match=r"vocab_size = 100, but .* has 96 ids"):
        load_tokenizer(own_tower(clip_layout, 100))
    shutil.copytree(clip_layout, tmp_path, dirs_exist_ok=True)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**settings, "pad_token": "<unk>"}))
    with pytest.raises(ConfigError, match="pads with id 1; expected 0"):
        load_tokenizer(own_tower(tmp_path))


def test_tokenizers_that_do_not_fit_the_model_are_refused(folder: Path, clip_layout: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"hf_tokenizer_name = '.*toy.*': pads with id 0; expected 3, as .*bert"):
        load_tokenizer(tower(folder, clip_layout))
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    settings = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**settings, "vocab_size": 10}))
    with pytest.raises(ConfigError, match="has ids up to 17; expected at most 9"):
        load_tokenizer(tower(tmp_path))
    with pytest.raises(ConfigError, match=r"hf_tokenizer_name = '.*none': expected a folder with a tokenizer"):
        load_tokenizer(tower(folder, tmp_path / "none"))


def test_a_name_on_a_hub_that_cannot_be_reached(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for text in (own_tower("nobody/nothing"), tower(folder, Path("nobody/nothing"))):
        with pytest.raises(ConfigError, match="hf_tokenizer_name = 'nobody/nothing': expected a folder with a tokeni"):
            load_tokenizer(text)
    with pytest.raises(ConfigError, match="no file of this name in configs/tokenizers/; did you mean toy"):
        load_tokenizer(own_tower("toyy"))


def test_code_beside_a_tokenizer_is_never_run(folder: Path, tmp_path: Path) -> None:
    classes = {"AutoTokenizer": ["code.Mine", None]}
    settings = {"tokenizer_class": "Mine", "auto_map": classes}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    (tmp_path / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Mine: pass\n")
    with pytest.raises(ConfigError, match="hf_tokenizer_name"):
        load_tokenizer(tower(folder, tmp_path))
    assert not (tmp_path / "ran").exists()


def test_the_digest_is_of_the_files_wherever_they_lie(folder: Path, clip_layout: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    digest = tokenizer_digest(tower(folder))
    assert digest is not None and len(digest) == 64
    load_tokenizer(tower(folder))(TEXTS)  # using it leaves no trace in it
    assert tokenizer_digest(tower(copy)) == digest
    assert tokenizer_digest(own_tower(clip_layout)) not in (None, digest)
    (copy / "README.md").write_text("no part of the tokenizer")
    assert tokenizer_digest(tower(copy)) == digest
    pieces = json.loads((copy / "tokenizer.json").read_text())
    pieces["normalizer"] = None
    (copy / "tokenizer.json").write_text(json.dumps(pieces))
    assert tokenizer_digest(tower(copy)) != digest
