"""One captioning loss and its gradients in a process of its own: `caption_loss_step.py chunked|whole FILLED`.

Prints one JSON line: what the step took beyond its inputs, and what it computed.
"""

import json
import resource
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from mammut_clip.losses import chunked_caption_loss
from mammut_clip.models.output import Captions, labelled, make_captions

BATCH, POSITIONS, WIDTH, VOCABULARY = 256, 76, 512, 49408


def texts(filled: int) -> Tensor:
    """Ids [BATCH, POSITIONS + 1] with labels at `filled` positions on average, of lengths as different as can be."""
    generator = torch.Generator().manual_seed(0)
    spread = min(filled - 1, POSITIONS - filled)
    lengths = filled + torch.linspace(-spread, spread, BATCH).round().long()
    ids = torch.randint(1, VOCABULARY, (BATCH, POSITIONS + 1), generator=generator)
    ids[torch.arange(POSITIONS + 1) > lengths[:, None]] = 0
    return ids


def chunked(hidden: Tensor, head: Tensor, captions: Captions) -> Tensor:
    """As our models do it."""
    return chunked_caption_loss(labelled(hidden, captions), head, captions.labels)


def whole(hidden: Tensor, head: Tensor, ids: Tensor) -> Tensor:
    """As open_clip's CoCa does it, as a sum."""
    return F.cross_entropy((hidden @ head).flatten(0, 1), ids[:, 1:].flatten(), ignore_index=0, reduction="sum")


def resident_mb() -> float:
    """Memory of this process now, in MB (1e6 bytes)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def main(form: str, filled: int) -> None:
    ids = texts(filled)
    captions = make_captions(ids)
    read = captions.ids.shape[1] if form == "chunked" else POSITIONS
    torch.manual_seed(0)
    hidden = torch.randn(BATCH, POSITIONS, WIDTH)[:, :read].clone().requires_grad_()
    head = torch.randn(WIDTH, VOCABULARY).mul_(0.02).requires_grad_()
    before, started, used = resident_mb(), time.perf_counter(), time.process_time()
    loss = chunked(hidden, head, captions) if form == "chunked" else whole(hidden, head, ids)
    loss.backward()
    found = {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - used,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6 - before,
        "loss": loss.item() / len(captions.labels),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
