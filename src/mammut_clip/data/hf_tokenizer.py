"""Tokenizers of transformers, from a local folder or the hub: for its text towers, and for ours where ids fit.

Texts are cleaned as open_clip's HFTokenizer does. Code that lies beside a tokenizer is never run.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from mammut_clip.config.errors import ConfigError, InputError, Problem
from mammut_clip.config.towers import HfTextConfig
from mammut_clip.data.open_clip_files import open_clip_module
from mammut_clip.data.tokenizer import PADDING_ID, ClipLayoutTokenizer, Tokenizer, as_rows

_FILES = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"}


class HfTokenizer(Tokenizer):
    """For a text tower of transformers: the tokenizer's own layout, padded with its own padding id."""

    def __init__(self, config: HfTextConfig) -> None:
        """Raises InputError where there is no such tokenizer, or its ids do not fit the model's."""
        super().__init__(config.context_length)
        self._tokenizer = _read(config.hf_tokenizer_name)
        self._clean = _cleaner()
        self._check_fits(config)
        self._surrounding = self._tokenizer.num_special_tokens_to_add()

    def __call__(self, texts: str | list[str], context_length: int | None = None) -> torch.Tensor:
        """Token ids [n, T], int64. Raises InputError for a context without room for what surrounds every text."""
        length = context_length or self.context_length
        if length <= self._surrounding:
            raise InputError(
                f"context_length = {length}: expected {self._surrounding + 1} or more, since {self._surrounding} "
                "tokens surround every text"
            )
        cleaned = [self._clean(text) for text in ([texts] if isinstance(texts, str) else texts)]
        if not cleaned:
            return torch.empty(0, length, dtype=torch.int64)
        padded = self._tokenizer(cleaned, max_length=length, padding="max_length", truncation=True)["input_ids"]
        return torch.tensor(padded, dtype=torch.int64)

    def decode(self, ids: torch.Tensor | list[list[int]]) -> list[str]:
        """Texts of ids [n, T], without padding and other special tokens."""
        return [self._tokenizer.decode(row, skip_special_tokens=True).strip() for row in as_rows(ids)]

    def _check_fits(self, config: HfTextConfig) -> None:
        """Another padding id would be attended to, and an id out of range takes a GPU process down."""
        from transformers import AutoConfig

        name, tokenizer = config.hf_tokenizer_name, self._tokenizer
        model = _load(AutoConfig.from_pretrained, config.hf_model_name, "hf_model_name", "a model")
        padding = getattr(model, "pad_token_id", None)
        if tokenizer.pad_token_id is None or tokenizer.pad_token_id != padding:
            raise _error(name, f"pads with id {tokenizer.pad_token_id}; expected {padding}, as {config.hf_model_name}")
        largest = max(tokenizer.get_vocab().values())
        if largest >= model.vocab_size:
            raise _error(
                name, f"has ids up to {largest}; expected at most {model.vocab_size - 1}, as {config.hf_model_name}"
            )


class HfClipTokenizer(ClipLayoutTokenizer):
    """For a text tower of ours: a tokenizer of transformers whose ids have CLIP's layout."""

    def __init__(self, name: str, context_length: int) -> None:
        """Raises InputError, with the reason, where there is no such tokenizer or its layout is another."""
        self._tokenizer = _read(name)
        self._clean = _cleaner()
        super().__init__(context_length, max(self._tokenizer.get_vocab().values()) + 1)
        around, last = self._tokenizer("")["input_ids"], [self.sot_token_id, self.eot_token_id]
        why = "as CLIP's layout has it, which text towers of this family rely on"
        if around != last:
            raise _error(name, f"puts the ids {around} around a text; expected {last}, the last two of its ids, {why}")
        padding = self._tokenizer.pad_token_id
        # transformers' version of CLIP's own pads with the end token: no matter, since padding is added here
        if padding not in (None, PADDING_ID, self.eot_token_id):
            raise _error(name, f"pads with id {padding}; expected {PADDING_ID}, {why}")

    def _encode(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        cleaned = [self._clean(text) for text in texts]
        rows: list[list[int]] = self._tokenizer(cleaned, add_special_tokens=False, verbose=False)["input_ids"]
        return rows

    def _decode(self, row: list[int]) -> str:
        return str(self._tokenizer.decode(row, skip_special_tokens=True)).strip()


def files_digest(name: str) -> str:
    """SHA-256 over the files that make the tokenizer, wherever they lie. Raises InputError where there is none."""
    from huggingface_hub import try_to_load_from_cache

    tokenizer, folder = _read(name), Path(name)
    digest = hashlib.sha256()
    for file in sorted(_FILES | set(tokenizer.vocab_files_names.values())):
        path = folder / file if folder.is_dir() else try_to_load_from_cache(name, file)
        if isinstance(path, str | Path) and Path(path).is_file():
            content = Path(path).read_bytes()
            digest.update(f"{file} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _read(name: str) -> Any:
    from transformers import AutoTokenizer

    # Its threads and the forked workers of a DataLoader do not go together; captions are short.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    return _load(AutoTokenizer.from_pretrained, name, "hf_tokenizer_name", "a tokenizer")


def _load(load: Callable[..., Any], name: str, key: str, what: str) -> Any:
    try:
        return load(name, trust_remote_code=False)
    except Exception as error:  # the libraries raise whatever they like
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        expected = f"expected a folder with {what} of transformers, or its name on the hub ({reason})"
        raise _error(name, expected, key) from error


def _error(name: str, expected: str, key: str = "hf_tokenizer_name") -> ConfigError:
    return ConfigError("the model", [Problem(f"text_cfg.{key}", expected, name)])


def _cleaner() -> Callable[[str], str]:
    """open_clip's cleaning of texts for transformers: mends broken encodings, unescapes HTML, joins white space."""
    clean: Callable[[str], str] = open_clip_module("tokenizer").get_clean_fn("whitespace")
    return clean
