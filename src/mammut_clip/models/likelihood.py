"""How likely a captioner finds given texts about given images: MaMMUT, Cap and CoCa.

An image is encoded once, and its keys and values in the decoder are made once, however many texts are scored beside it;
what a decoder does with a text before it first looks at an image is done once for all images. Logits are made for
positions with a label alone, chunk by chunk. Shapes: B images, K candidate texts per image, G is B, or 1 where images
share their candidates, T ids of a text, L positions that are read, M positions with a label, D width, V vocabulary.
"""

import torch
from torch import Tensor

from mammut_clip.models.blocks import CrossAttentionBlock
from mammut_clip.models.generate import Captioner
from mammut_clip.models.kv_cache import TextMemory
from mammut_clip.models.output import PAD_ID, make_captions

TOKENS_AT_ONCE = 16384
"""Positions, of all images together, that go through the decoder at a time: 0.2 GB in an MLP 3,072 wide."""
LOGITS_AT_ONCE = 768
"""Positions whose logits are held at a time: 0.15 GB in float32 at CLIP's vocabulary."""


@torch.no_grad()
def caption_log_likelihoods(
    model: Captioner, images: Tensor, ids: Tensor, tokens_at_once: int = TOKENS_AT_ONCE
) -> Tensor:
    """Images [B, 3, height, width] and candidate texts -> log p(text | image) [B, K], float32, in nats.

    `ids` are [K, T], the same candidates for every image, or [B, K, T], each image's own; best on the CPU, since the
    shapes of what follows depend on them. Summed over tokens is log p(token | image, tokens before it), the end of the
    text among them, by the task of training (see make_captions): id 0 is padding and adds nothing, also where it is
    CLIP's token `!` inside a text, which is read all the same. Up to rounding, a score depends neither on the other
    candidates nor on the other images. Products run in autocast's precision, softmax and sums in float32 (float64
    stays). Raises ValueError where shapes do not fit.
    """
    if ids.ndim not in (2, 3) or (ids.ndim == 3 and len(ids) != len(images)) or 0 in ids.shape:
        raise ValueError(f"expected ids [K, T] or [{len(images)}, K, T], got {list(ids.shape)}")
    candidates = (ids if ids.ndim == 3 else ids[None]).cpu()
    reader = _Reader(model, images)
    parts = _of_like_length(candidates, len(images), tokens_at_once)
    scores = torch.cat([reader.score(candidates[:, numbers]) for numbers in parts], dim=1)
    return scores[:, torch.cat(parts).argsort()]


def label_counts(ids: Tensor) -> Tensor:
    """Ids [..., T] -> [...]: the tokens that a text's likelihood is a sum over."""
    return ids[..., 1:].ne(PAD_ID).sum(dim=-1)


def token_log_likelihoods(hidden: Tensor, head: Tensor, labels: Tensor) -> Tensor:
    """Hidden [M, D], head [D, V], labels [M] -> log of each label's share of the softmax [M], without all logits."""
    chunks = zip(hidden.split(LOGITS_AT_ONCE), labels.split(LOGITS_AT_ONCE), strict=True)
    return torch.cat([_chunk_log_likelihoods(chunk, head, wanted) for chunk, wanted in chunks])


def _chunk_log_likelihoods(hidden: Tensor, head: Tensor, labels: Tensor) -> Tensor:
    """A function of its own, so that a chunk's logits are gone before the next chunk's are made."""
    logits = hidden @ head
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return logits.gather(1, labels[:, None]).squeeze(1) - logits.logsumexp(dim=1)


def _of_like_length(candidates: Tensor, images: int, tokens_at_once: int) -> list[Tensor]:
    """Candidates [G, K, T] -> numbers of those that go through the decoder together: as many as fit of those whose
    texts, in steps of 8 as make_captions cuts them, are of one length."""
    places = torch.arange(1, candidates.shape[2])
    longest = (candidates[..., 1:].ne(PAD_ID) * places).amax(dim=(0, 2))  # [K]
    read = (longest + 7) // 8 * 8
    parts: list[Tensor] = []
    for length in read.unique().tolist():
        numbers = (read == length).nonzero().squeeze(1)
        parts += numbers.split(max(1, tokens_at_once // (images * max(1, length))))
    return parts


class _Reader:
    """A captioner that has looked at images, and can score texts beside them."""

    def __init__(self, model: Captioner, images: Tensor) -> None:
        self._model, self._images = model, len(images)
        self._decoder = model.caption_decoder()
        context = model.caption_context(images)
        self._steps = [
            (block, block.start(context, 0) if isinstance(block, CrossAttentionBlock) else None)
            for block in self._decoder.cached_blocks()
        ]
        self._device = context.device

    def score(self, candidates: Tensor) -> Tensor:
        """Ids [G, k, T] -> [B, k]."""
        groups, count, _ = candidates.shape
        captions = make_captions(candidates.flatten(0, 1))
        shared_by = self._images // groups
        first = captions.ids.numel() * torch.arange(shared_by)[:, None]
        places = (first + captions.positions).flatten().to(self._device)
        labels = captions.labels.repeat(shared_by).to(self._device)
        read = self._read(captions.ids.to(self._device), shared_by).flatten(0, 1)  # [B * k * L, D]
        hidden = self._decoder.ln_final(read.index_select(0, places))
        scores = token_log_likelihoods(hidden, self._decoder.text_projection, labels)
        whole = scores.new_zeros(len(read)).index_copy(0, places, scores)  # each place once: the same on every device
        return whole.view(self._images, count, -1).sum(dim=2)

    def _read(self, ids: Tensor, shared_by: int) -> Tensor:
        """Ids [G * k, L] -> [B * k, L, D], what the decoder's blocks give; an image's rows stand next to each other."""
        x, rows = self._model.caption_tokens(ids), shared_by * len(ids)
        for block, image in self._steps:
            if image is None:
                x = block.step(x, TextMemory(ids.shape[1]))
            else:
                x = block.step(x if len(x) == rows else x.repeat(shared_by, 1, 1), image)
        return x
