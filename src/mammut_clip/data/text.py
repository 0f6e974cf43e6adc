"""Captions to token ids and back, with the tokenizer that a model's text config names.

    None                                  CLIP's BPE as open_clip has it
    a name in configs/tokenizers/, or     a `tokenizers` JSON file of ours (see tokenizer_files.py)
      a path to a JSON file
    a folder, or a name on the hub        a tokenizer of transformers (see hf_tokenizer.py)

Those of our own text towers follow CLIP's layout of ids (see tokenizer.py); those of a text tower of transformers have
its own.
"""

import hashlib
import os
from pathlib import Path
from typing import Any, Protocol, overload

from mammut_clip.config.errors import InputError
from mammut_clip.config.files import find_file, shipped
from mammut_clip.config.towers import HfTextConfig
from mammut_clip.data.hf_tokenizer import HfClipTokenizer, HfTokenizer, files_digest
from mammut_clip.data.open_clip_files import open_clip_module
from mammut_clip.data.tokenizer import PADDING_ID, ClipLayoutTokenizer, Tokenizer

__all__ = ["ClipLayoutTokenizer", "Tokenizer", "load_tokenizer", "tokenizer_digest"]

CLIP_VOCABULARY = 49408
PADDING, UNKNOWN, START, END = "<pad>", "<unk>", "<sot>", "<eot>"
_KIND = "configs/tokenizers"


class TextSettings(Protocol):
    """The part of the text config of our own towers that their tokenizer depends on."""

    @property
    def context_length(self) -> int: ...
    @property
    def vocab_size(self) -> int: ...
    @property
    def hf_tokenizer_name(self) -> str | None: ...


class ClipTokenizer(ClipLayoutTokenizer):
    """CLIP's BPE, whose 49,408 pieces come with open_clip. Its padding id 0 is also the token `!`."""

    def __init__(self, context_length: int = 77) -> None:
        super().__init__(context_length, CLIP_VOCABULARY)
        self._bpe: Any = open_clip_module("tokenizer").SimpleTokenizer(context_length=context_length)

    def __reduce__(self) -> tuple[type["ClipTokenizer"], tuple[int]]:
        return ClipTokenizer, (self.context_length,)  # the module of its parts has no name that a process can import

    def _encode(self, texts: list[str]) -> list[list[int]]:
        return [self._bpe.encode(text) for text in texts]

    def _decode(self, row: list[int]) -> str:
        return str(self._bpe.decode(row)).strip()


class FileTokenizer(ClipLayoutTokenizer):
    """A `tokenizers` JSON file with our ids: 0 padding, 1 unknown, then pieces, last but one start, last
    end."""

    def __init__(self, path: Path, context_length: int) -> None:
        """Raises InputError, naming the file, where it is no such tokenizer."""
        from tokenizers import Tokenizer as JsonTokenizer

        # Its threads and the forked workers of a DataLoader do not go together; captions are short.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        try:
            self._pieces: JsonTokenizer = JsonTokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception
            raise InputError(f"{path}: not a tokenizer file of the `tokenizers` library: {error}") from error
        super().__init__(context_length, self._pieces.get_vocab_size())
        expected = {PADDING: PADDING_ID, UNKNOWN: 1, START: self.vocab_size - 2, END: self.vocab_size - 1}
        wrong = {name: self._pieces.token_to_id(name) for name in expected}
        if wrong != expected:
            raise InputError(f"{path}: special tokens have the ids {wrong}; expected {expected}")

    def _encode(self, texts: list[str]) -> list[list[int]]:
        return [found.ids for found in self._pieces.encode_batch_fast(texts, add_special_tokens=False)]

    def _decode(self, row: list[int]) -> str:
        return str(self._pieces.decode(row, skip_special_tokens=True))


def names_transformers_tokenizer(name: str) -> bool:
    """Whether the tokenizer of one of our own towers is transformers': a folder, or OWNER/NAME on the hub."""
    path = Path(name)
    if path.is_dir():
        return name not in shipped(_KIND)
    return name.count("/") == 1 and not path.is_absolute() and path.suffix != ".json" and not path.exists()


def tokenizer_digest(text: TextSettings | HfTextConfig) -> str | None:
    """SHA-256 of the tokenizer's files, wherever they lie; None for CLIP's BPE, which never changes.

    Raises InputError where there is no such tokenizer.
    """
    name = text.hf_tokenizer_name
    if name is None:
        return None
    if isinstance(text, HfTextConfig) or names_transformers_tokenizer(name):
        return files_digest(name)
    path = find_file(_KIND, name, source="text_cfg", key="hf_tokenizer_name")
    return hashlib.sha256(path.read_bytes()).hexdigest()


@overload
def load_tokenizer(text: HfTextConfig, source: str = ...) -> HfTokenizer: ...
@overload
def load_tokenizer(text: TextSettings, source: str = ...) -> ClipLayoutTokenizer: ...
def load_tokenizer(text: TextSettings | HfTextConfig, source: str = "text_cfg") -> Tokenizer:
    """The tokenizer that a model's text config names.

    Raises InputError, naming `source`, where it is not found or its ids do not fit the model.
    """
    if isinstance(text, HfTextConfig):
        return HfTokenizer(text)
    tokenizer, name = _for_our_towers(text, source)
    if tokenizer.vocab_size != text.vocab_size:
        raise InputError(
            f"{source}: vocab_size = {text.vocab_size}, but {name} has {tokenizer.vocab_size} ids; "
            f"expected vocab_size: {tokenizer.vocab_size}, or another hf_tokenizer_name"
        )
    return tokenizer


def _for_our_towers(text: TextSettings, source: str) -> tuple[ClipLayoutTokenizer, str]:
    """The tokenizer, and what to call it in a message."""
    name = text.hf_tokenizer_name
    if name is None:
        return ClipTokenizer(text.context_length), "CLIP's BPE"
    if names_transformers_tokenizer(name):
        return HfClipTokenizer(name, text.context_length), name
    path = find_file(_KIND, name, source=source, key="text_cfg.hf_tokenizer_name")
    return FileTokenizer(path, text.context_length), str(path)
