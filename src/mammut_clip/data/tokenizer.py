"""What every tokenizer does, and what those of our own text towers share: CLIP's layout of ids.

Start token, text, end token, then padding with id 0. The end token has the largest id of all, which CLIP's pooling
relies on; captions that are too long are cut, and still end with it.
"""

from abc import ABC, abstractmethod

import torch

from mammut_clip.config.errors import InputError

PADDING_ID = 0


class Tokenizer(ABC):
    """Calls as open_clip's do: texts -> LongTensor [n, context_length]."""

    def __init__(self, context_length: int) -> None:
        self.context_length = context_length

    @abstractmethod
    def __call__(self, texts: str | list[str], context_length: int | None = None) -> torch.Tensor:
        """Token ids [n, T], int64. Raises InputError for a context too short for what surrounds every text."""

    @abstractmethod
    def decode(self, ids: torch.Tensor | list[list[int]]) -> list[str]:
        """Texts of ids [n, T], without what surrounds them."""


class ClipLayoutTokenizer(Tokenizer):
    """A tokenizer for our own text towers."""

    def __init__(self, context_length: int, vocab_size: int) -> None:
        super().__init__(context_length)
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

    def content(self, text: str) -> torch.Tensor:
        """One text -> ids [P], without start and end of text, not cut to what a model can take."""
        return torch.tensor(self._encode([text])[0], dtype=torch.int64)

    def decode(self, ids: torch.Tensor | list[list[int]]) -> list[str]:
        """Texts of ids [n, T]: each ends before its first end token; start and padding are left out."""
        return [self._decode(self._content(row)) for row in as_rows(ids)]

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


def as_rows(ids: torch.Tensor | list[list[int]]) -> list[list[int]]:
    """Ids [n, T] as lists."""
    return ids.tolist() if isinstance(ids, torch.Tensor) else ids
