"""Images in, ids of captions out: what MaMMUT, Cap and CoCa share.

The search is our own and not transformers' `generate`: that asks for a PreTrainedModel around each model, for its Cache
classes in place of preallocated tensors, and repeats the image's keys and values for every beam. Shapes: B batch, P
tokens of a prompt, R rows of text, T new positions, L tokens of the longest caption, V vocabulary.
"""

from typing import Protocol

import torch
from torch import Tensor, nn

from mammut_clip.config.captioning import Beam, Greedy, Method, Nucleus
from mammut_clip.config.errors import InputError
from mammut_clip.config.model import ModelConfig
from mammut_clip.config.towers import TextConfig
from mammut_clip.models.beam import beam_search
from mammut_clip.models.kv_cache import CachedBlock, DecoderCache
from mammut_clip.models.output import PAD_ID
from mammut_clip.models.search import Draws, Pick, Rules, likeliest, write_one_by_one


class CaptionDecoder(Protocol):
    """The blocks that tokens and an image meet in, and what predicts the next id from what they give."""

    ln_final: nn.LayerNorm
    text_projection: nn.Parameter
    """[D, V]."""

    def cached_blocks(self) -> list[CachedBlock]:
        """The blocks in the order in which a token passes through them."""


class Captioner(nn.Module):
    """A model that writes captions; its parameters must be whole, not sharded."""

    config: ModelConfig

    def caption_decoder(self) -> CaptionDecoder:
        """What reads tokens beside an image."""
        raise NotImplementedError

    def caption_context(self, images: Tensor) -> Tensor:
        """Images [B, 3, height, width] -> [B, N, D], what the decoder attends to."""
        raise NotImplementedError

    def caption_tokens(self, ids: Tensor) -> Tensor:
        """Ids [R, T] -> [R, T, D], what goes into the decoder's first block; no image is needed for it."""
        raise NotImplementedError

    def start_captions(self, images: Tensor, longest: int) -> DecoderCache:
        """Images [B, 3, height, width] -> the cache for texts of at most `longest` tokens about them."""
        raise NotImplementedError

    def next_logits(self, ids: Tensor, cache: DecoderCache) -> Tensor:
        """Ids of new positions [R, T] -> logits [R, V] of what follows the last of them."""
        raise NotImplementedError

    @torch.no_grad()
    def generate(
        self,
        images: Tensor,
        *,
        method: Method | None = None,
        max_length: int | None = None,
        prompt: Tensor | None = None,
        first_row: int = 0,
    ) -> Tensor:
        """Captions of images [B, 3, height, width] -> ids [B, L] long, on the images' device.

        Each row is start of text, the prompt, what was written, end of text, padding (0). L is at most `max_length`
        (None: the context length), and a row that reaches it may lack its end of text. Padding and start of text are
        never written. A row does not depend on the others. `method`: None is Greedy(). `prompt`: ids [P] that every
        caption begins with, without start and end of text. `first_row`: the number of the first image, where the
        images of one list come in several batches; Nucleus draws by seed and number. Raises InputError for a
        `max_length` or a prompt that does not fit.
        """
        text = self.config.text_cfg
        assert isinstance(text, TextConfig)
        method = method or Greedy()
        ids = _beginnings(len(images), prompt, text, images.device)
        rules = Rules(text.start_id, text.end_id, _longest(max_length, ids.shape[1], text))
        cache = self.start_captions(images, rules.longest)
        if isinstance(method, Beam):
            return beam_search(self.next_logits, cache, ids, rules, method)
        pick: Pick = likeliest
        if isinstance(method, Nucleus):
            pick = Draws(method, range(first_row, first_row + len(ids)), rules.longest, ids.device)
        return write_one_by_one(self.next_logits, cache, ids, rules, pick)


def _beginnings(rows: int, prompt: Tensor | None, text: TextConfig, device: torch.device) -> Tensor:
    """[rows, 1 + P]: start of text and the prompt."""
    words = [] if prompt is None else prompt.tolist()
    if not all(isinstance(word, int) and PAD_ID < word < text.start_id for word in words):
        raise InputError(
            f"prompt = {words}: expected ids from 1 to {text.start_id - 1}: no start and end of text, and no padding "
            "(which is also `!` in CLIP's BPE)"
        )
    return torch.tensor([text.start_id, *words], device=device).repeat(rows, 1)


def _longest(max_length: int | None, begun: int, text: TextConfig) -> int:
    """The number of tokens of the longest caption."""
    longest = text.context_length if max_length is None else max_length
    if not begun < longest <= text.context_length:
        raise InputError(
            f"max_length = {longest}: expected {begun + 1} to {text.context_length}, the model's context length "
            f"(start of text{' and the prompt' * (begun > 1)} take {begun})"
        )
    return longest
