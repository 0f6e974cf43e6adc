"""Captions to token ids and back: CLIP's BPE as open_clip has it, or a `tokenizers` JSON file of ours.

Both follow CLIP's layout: start token, text, end token, then padding with id 0. The end token has the largest
id of all, which CLIP's pooling relies on; captions that are too long are cut, and still end with it.
"""

import hashlib
import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Protocol

import torch

from mammut_clip.config.errors import InputError
from mammut_clip.config.files import find_file

CLIP_VOCABULARY = 49408
PADDING_ID = 0


class TextSettings(Protocol):
    """The part of a model's text config that its tokenizer depends on."""

    @property
    def context_length(self) -> int: ...
    @property
    def vocab_size(self) -> int: ...
    @property
    def hf_tokenizer_name(self) -> str | None: ...


class Tokenizer(ABC):
    """Calls as open_clip's do: texts -> LongTensor [n, context_length]."""

    def __init__(self, context_length: int, vocab_size: int) -> None:
        self.context_length = context_length
        self.vocab_size = vocab_size
        self.sot_token_id = vocab_size - 2
        self.eot_token_id = vocab_size - 1

    def __call__(self, texts: str | list[str], context_length: int | None = None) -> torch.Tensor:
        """Token ids [n, T], int64. Raises InputError for a context without room for start and end."""
        length = context_length or self.context_length
        if length < 2:
            raise InputError(f"context_length = {length}: expected 2 or more, for the start and the end token")
        rows = self._encode([texts] if isinstance(texts, str) else texts)
        padded = [
            [
                self.sot_token_id,
                *row[: length - 2],
                self.eot_token_id,
                *([PADDING_ID] * (length - 2 - len(row))),
            ]
            for row in rows
        ]
        return torch.tensor(padded, dtype=torch.int64).view(-1, length)

    def decode(self, ids: torch.Tensor | list[list[int]]) -> list[str]:
        """Texts of ids [n, T]: each ends before its first end token; start and padding are left out."""
        rows = ids.tolist() if isinstance(ids, torch.Tensor) else ids
        return [self._decode(self._content(row)) for row in rows]

    def _content(self, row: list[int]) -> list[int]:
        if self.eot_token_id in row:
            row = row[: row.index(self.eot_token_id)]
        else:
            while row and row[-1] == PADDING_ID:
                row = row[:-1]
        return [token for token in row if token != self.sot_token_id]

    @abstractmethod
    def _encode(self, texts: list[str]) -> list[list[int]]:
        """Ids of the pieces alone, without start, end and padding."""

    @abstractmethod
    def _decode(self, row: list[int]) -> str:
        """The text of pieces."""


class ClipTokenizer(Tokenizer):
    """CLIP's BPE, whose 49,408 pieces come with open_clip. Its padding id 0 is also the token `!`."""

    def __init__(self, context_length: int = 77) -> None:
        from open_clip.tokenizer import SimpleTokenizer

        super().__init__(context_length, CLIP_VOCABULARY)
        self._bpe: Any = SimpleTokenizer(context_length=context_length)

    def _encode(self, texts: list[str]) -> list[list[int]]:
        return [self._bpe.encode(text) for text in texts]

    def _decode(self, row: list[int]) -> str:
        return str(self._bpe.decode(row)).strip()


class FileTokenizer(Tokenizer):
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
        expected = {PADDING: 0, UNKNOWN: 1, START: self.vocab_size - 2, END: self.vocab_size - 1}
        wrong = {name: self._pieces.token_to_id(name) for name in expected}
        if wrong != expected:
            raise InputError(f"{path}: special tokens have the ids {wrong}; expected {expected}")

    def _encode(self, texts: list[str]) -> list[list[int]]:
        return [found.ids for found in self._pieces.encode_batch_fast(texts, add_special_tokens=False)]

    def _decode(self, row: list[int]) -> str:
        return str(self._pieces.decode(row, skip_special_tokens=True))


def tokenizer_digest(text: TextSettings) -> str | None:
    """SHA-256 of the tokenizer's file; None for CLIP's BPE, which never changes. Raises InputError if it is missing."""
    if text.hf_tokenizer_name is None:
        return None
    path = find_file("configs/tokenizers", text.hf_tokenizer_name, source="text_cfg", key="hf_tokenizer_name")
    return hashlib.sha256(path.read_bytes()).hexdigest()


PADDING, UNKNOWN, START, END = "<pad>", "<unk>", "<sot>", "<eot>"


def load_tokenizer(text: TextSettings, source: str = "text_cfg") -> Tokenizer:
    """The tokenizer that a model's text config names.

    Raises InputError, naming `source`, where the file is not found or has another vocabulary than the model.
    """
    if text.hf_tokenizer_name is None:
        tokenizer: Tokenizer = ClipTokenizer(text.context_length)
        name = "CLIP's BPE"
    else:
        key = "text_cfg.hf_tokenizer_name"
        path = find_file("configs/tokenizers", text.hf_tokenizer_name, source=source, key=key)
        tokenizer = FileTokenizer(path, text.context_length)
        name = str(path)
    if tokenizer.vocab_size != text.vocab_size:
        raise InputError(
            f"{source}: vocab_size = {text.vocab_size}, but {name} has {tokenizer.vocab_size} ids; "
            f"expected vocab_size: {tokenizer.vocab_size}, or another hf_tokenizer_name"
        )
    return tokenizer
