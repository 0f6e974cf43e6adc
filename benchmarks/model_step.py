"""Forward and backward of one model, ours or a peer's, in a process of its own: `python -m benchmarks.model_step JSON`.

Prints one line of JSON: seconds of each timed step, and the peak memory in MB above what the imports took. On a GPU the
peak is that of allocated tensors; on a CPU, of the resident set.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mammut_clip.config.model import CocaConfig, MammutConfig, load_model_config
from mammut_clip.losses import chunked_caption_loss, contrastive_loss
from mammut_clip.models.build import build_model
from mammut_clip.models.output import cut_after_texts, make_captions
from mammut_clip.models.recompute import Recompute

Side = Literal["ours", "open_clip", "plain", "released"]


@dataclass(frozen=True)
class Job:
    """What one process measures."""

    side: Side
    """ours; open_clip's class; for MaMMUT the straightforward code, or that with the released code's lost product."""
    model: str
    batch: int
    text: Literal["captions", "tail", "full"]
    """Captions that fill 15 to 25 positions; the same but for one that fills the context; or all fill it."""
    device: Literal["cpu", "cuda"]
    steps: int
    """Timed steps, after one that is not; 0 where only memory is asked for."""
    recompute: Recompute = "none"
    """Ours only: what the backward pass computes again."""
    compile: bool = False
    """Ours only: torch.compile for each block."""


Step = Callable[[], Tensor]


def inputs(job: Job) -> tuple[Tensor, Tensor]:
    """Images [B, 3, 224, 224] and ids [B, T] with start, words, end and padding."""
    config = load_model_config(job.model)
    generator = torch.Generator().manual_seed(0)
    length, vocabulary = config.text_cfg.context_length, config.text_cfg.vocab_size
    images = torch.randn(job.batch, 3, 224, 224, generator=generator)
    ids = torch.randint(1, vocabulary - 2, (job.batch, length), generator=generator)
    ends = torch.randint(14, 25, (job.batch,), generator=generator)
    full = {"captions": 0, "tail": 1, "full": job.batch}[job.text]
    ends[:full] = length - 1
    ids[:, 0] = vocabulary - 2
    ids[torch.arange(job.batch), ends] = vocabulary - 1
    return images, ids.masked_fill(torch.arange(length) > ends[:, None], 0)


def our_step(job: Job) -> Step:
    """Our model with our losses, fed as the trainer feeds it."""
    config = load_model_config(job.model)
    model = build_model(config).to(job.device)
    for block in model.blocks():
        block.recompute = job.recompute
        if job.compile:
            block.compile()
    images, ids = inputs(job)
    captions = make_captions(ids) if config.writes_captions else None
    ids = cut_after_texts(ids) if config.text_feature_ignores_padding else ids
    images, ids = images.to(job.device), ids.to(job.device)
    task = (
        () if captions is None else (type(captions)(*(part.to(job.device) for part in captions)), chunked_caption_loss)
    )

    def step() -> Tensor:
        with torch.autocast(job.device, torch.bfloat16, enabled=job.device == "cuda"):
            output = model(images, ids, *task)
        loss = contrastive_loss(output.image_features, output.text_features, output.logit_scale).loss
        if captions is None:
            return loss
        return loss + 2 * output.caption_loss_sum / len(captions.labels)

    return _with_backward(step, model)


def peer_step(job: Job) -> Step:
    """The peer's model with dense losses."""
    config = load_model_config(job.model)
    images, ids = (part.to(job.device) for part in inputs(job))
    if isinstance(config, MammutConfig):
        from benchmarks.peer_mammut import PlainMammut

        model: torch.nn.Module = PlainMammut(config, discarded_product=job.side == "released")
    else:
        import open_clip

        from mammut_clip.models.exchange.open_clip_config import to_open_clip

        parts = to_open_clip(config)
        parts.pop("custom_text", None)
        coca = isinstance(config, CocaConfig)
        model = open_clip.CoCa(**parts) if coca else open_clip.CLIP(**parts, output_dict=True)
    model = model.to(job.device).train()

    def step() -> Tensor:
        with torch.autocast(job.device, torch.bfloat16, enabled=job.device == "cuda"):
            output = model(images, ids)
        if isinstance(output, tuple):
            return _dense_losses(*output[:2], model.logit_scale.exp(), *output[2:])
        return _dense_losses(
            output["image_features"],
            output["text_features"],
            output["logit_scale"],
            output.get("logits"),
            output.get("labels"),
        )

    return _with_backward(step, model)


def _dense_losses(images: Tensor, texts: Tensor, scale: Tensor, logits: Tensor | None, labels: Tensor | None) -> Tensor:
    """As open_clip's ClipLoss and CoCaLoss."""
    similarities = scale * images.float() @ texts.float().T
    own = torch.arange(len(images), device=images.device)
    loss = (F.cross_entropy(similarities, own) + F.cross_entropy(similarities.T, own)) / 2
    if logits is None or labels is None:
        return loss
    return loss + 2 * F.cross_entropy(logits.permute(0, 2, 1), labels, ignore_index=0)


def _with_backward(forward: Step, model: torch.nn.Module) -> Step:
    def step() -> Tensor:
        model.zero_grad(set_to_none=True)
        loss = forward()
        loss.backward()
        return loss.detach()

    return step


def peak_mb(device: str) -> float:
    """The peak so far: allocated tensors of a GPU, or the resident set; MB are 1e6 bytes."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def main() -> None:
    """Measure the job of the command line."""
    job = Job(**json.loads(sys.argv[1]))
    if job.side != "ours":
        import open_clip  # noqa: F401  before memory is read
    before = 0.0 if job.device == "cuda" else peak_mb("cpu")
    step = our_step(job) if job.side == "ours" else peer_step(job)
    loss, seconds = step(), []
    for _ in range(job.steps):
        started = time.perf_counter()
        float(step())  # waits for a GPU
        seconds.append(time.perf_counter() - started)
    print(json.dumps({**asdict(job), "seconds": seconds, "peak_mb": peak_mb(job.device) - before, "loss": float(loss)}))


if __name__ == "__main__":
    main()
