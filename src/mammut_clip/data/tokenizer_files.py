"""Making tokenizer files: the toy world's list of words, and a small BPE trained on captions.

    python -m mammut_clip.data.tokenizer_files configs/tokenizers/toy.json      # writes the toy world's anew

Ids: 0 padding, 1 unknown, then pieces, reserved names up to the size asked for, start, and last of all end.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from mammut_clip.config.atomic import write_text
from mammut_clip.config.errors import InputError
from mammut_clip.data.text import END, PADDING, START, UNKNOWN
from mammut_clip.data.toy_words import vocabulary

TOY_VOCABULARY = 96
_WORD_START = "▁"


def toy_tokenizer() -> Tokenizer:
    """One id per word of the toy world, 96 in all."""
    words = [PADDING, UNKNOWN, *vocabulary()]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens([_special(PADDING), _special(UNKNOWN)])
    return _fill(tokenizer, TOY_VOCABULARY)


def train_tokenizer(captions: Iterable[str], vocab_size: int, path: Path) -> None:
    """Write a lower-casing BPE of exactly `vocab_size` ids, learnt from captions (Sennrich et al., 2016).

    The same captions give the same file. (Words are marked at their start: the library numbers the letters that end
    words, its other way, in the order of a hash table, which differs from run to run.)
    Raises InputError where there are no words to learn from or not enough ids for the letters that occur.
    """
    if vocab_size < 8:
        raise InputError(f"vocab_size = {vocab_size}: expected 8 or more")
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    words = pre_tokenizers.Metaspace(replacement=_WORD_START, prepend_scheme="always")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), words])
    tokenizer.decoder = decoders.Metaspace(replacement=_WORD_START, prepend_scheme="always")
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - 2,
        special_tokens=[PADDING, UNKNOWN],
        show_progress=False,
    )
    tokenizer.train_from_iterator(captions, trainer)
    learnt = tokenizer.get_vocab_size()
    if learnt <= 2:
        raise InputError("no captions with words in them; expected some to learn a tokenizer from")
    if learnt > vocab_size - 2:
        raise InputError(
            f"vocab_size = {vocab_size}: too few for the {learnt - 2} letters that occur; expected {learnt + 2} or more"
        )
    write_text(path, _fill(tokenizer, vocab_size).to_str(pretty=True) + "\n")


def _special(name: str) -> AddedToken:
    return AddedToken(name, special=True, normalized=False)


def _fill(tokenizer: Tokenizer, size: int) -> Tokenizer:
    """Add reserved names and the last two tokens, so that there are `size` ids."""
    missing = size - 2 - tokenizer.get_vocab_size()
    assert missing >= 0, "more pieces than ids"
    names = [*(f"<reserved_{number}>" for number in range(missing)), START, END]
    tokenizer.add_special_tokens([_special(name) for name in names])
    return tokenizer


def toy_tokenizer_json() -> str:
    """What stands in configs/tokenizers/toy.json."""
    return toy_tokenizer().to_str(pretty=True) + "\n"


if __name__ == "__main__":
    write_text(Path(sys.argv[1]), toy_tokenizer_json())
