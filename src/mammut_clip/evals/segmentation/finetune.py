"""Fine-tuning a segmenter, by all processes together.

What a step sees is a function of the recipe's seed: the same pictures, cut in the same way, on any number of processes.
But these add up their gradients in another order than one process does, and a GPU adds up some of its own in no fixed
order: weights, and with them the metrics, are equal to rounding only, which training enlarges.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from mammut_clip.config.errors import InputError
from mammut_clip.data.evalsets import IGNORED, EvalSet
from mammut_clip.data.order.mixing import mix, permutation
from mammut_clip.distributed.collectives import on_every
from mammut_clip.evals.segmentation.augment import Augmentation
from mammut_clip.evals.segmentation.pictures import read_picture
from mammut_clip.evals.segmentation.recipe import Recipe
from mammut_clip.evals.segmentation.segmenter import Segmenter
from mammut_clip.evals.segmentation.windows import enlarged
from mammut_clip.evals.sharing import Shared
from mammut_clip.evals.subject import Subject

Crop = tuple[Tensor, Tensor]
"""Pixels uint8 [3, S, S], and the class numbers [S, S] of each."""
_ORDER, _DRAWS = 1, 2
_STEPS_AHEAD = 3


def finetune(segmenter: Segmenter, dataset: EvalSet, recipe: Recipe, subject: Subject, batch_size: int) -> None:
    """Train a segmenter in place, on crops of its tower's size, `batch_size` of them per forward pass of a process.

    Collective: every process gives the same segmenter and ends with the same weights. Raises InputError, on all of
    them, for a picture that cannot be read and for weights that are no longer finite.
    """
    encoder, head = segmenter.groups()
    optimizer = torch.optim.AdamW(
        [{"params": head, "share": 1.0}, {"params": encoder, "share": recipe.encoder_lr_factor}],
        lr=recipe.lr,
        weight_decay=recipe.weight_decay,
    )
    scaler = torch.amp.GradScaler(subject.device.type, enabled=subject.precision == "fp16")
    augmentation = Augmentation(segmenter.tower.config.image_size, recipe.scale, recipe.flip, recipe.colour_jitter)
    shared = subject.shared
    for step, crops in enumerate(_steps(dataset, recipe, augmentation, shared)):
        for start in range(0, len(crops), batch_size):
            loss = _loss_sum(segmenter, crops[start : start + batch_size], subject) / recipe.pictures_per_step
            scaler.scale(loss).backward()
        sum_gradients(encoder + head, shared.process.world_size)
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * group["share"] * recipe.rate(step)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        if shared.process.is_main:
            shared.progress(step + 1, recipe.steps)
    if not all(bool(parameter.isfinite().all()) for parameter in encoder + head):
        raise InputError(f"fine-tuning for segmentation diverged with lr {recipe.lr}; expected a lower recipe.lr")


def _loss_sum(segmenter: Segmenter, crops: list[Crop], subject: Subject) -> Tensor:
    """The sum over pictures of each one's mean cross-entropy over its labelled pixels."""
    images = subject.batch([pixels for pixels, _ in crops])
    truth = torch.stack([truth for _, truth in crops]).to(subject.device)
    with subject.computing(), torch.enable_grad():
        logits = segmenter(images)
    with torch.enable_grad():
        large = enlarged(logits, (truth.shape[1], truth.shape[2]))
        losses = F.cross_entropy(large, truth, ignore_index=IGNORED, reduction="none")
        labelled = (truth != IGNORED).sum(dim=(1, 2)).clamp(min=1)
        return (losses.sum(dim=(1, 2)) / labelled).sum()


def sum_gradients(parameters: list[Tensor], processes: int) -> None:
    """Replace each gradient by the sum over processes, where none counts as zero. Collective."""
    if processes == 1:
        return
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    for parameter, part in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
        parameter.grad = part.view_as(parameter)


def picture_numbers(recipe: Recipe, count: int, step: int) -> list[int]:
    """Which of `count` pictures a step sees: the order is shuffled anew for each pass over all of them."""
    positions = range(step * recipe.pictures_per_step, (step + 1) * recipe.pictures_per_step)
    orders = {epoch: permutation(count, recipe.seed, _ORDER, epoch) for epoch in {p // count for p in positions}}
    return [int(orders[position // count][position % count]) for position in positions]


def _steps(dataset: EvalSet, recipe: Recipe, augmentation: Augmentation, shared: Shared) -> Iterator[list[Crop]]:
    """What this process sees of each step, in order; its pictures are read in threads, some steps ahead."""
    process = shared.process

    def crop(step: int, index: int, number: int) -> Crop:
        picture, mask = read_picture(dataset, number)
        return augmentation(picture, mask, int(mix(recipe.seed, _DRAWS, step, index)[0]))

    def submit(step: int) -> list[Future[Crop]]:
        numbers = list(enumerate(picture_numbers(recipe, len(dataset), step)))
        mine = numbers[process.rank :: process.world_size]
        return [pool.submit(crop, step, index, number) for index, number in mine]

    pool = ThreadPoolExecutor(max(1, shared.threads), thread_name_prefix="crop")
    try:
        ahead: deque[list[Future[Crop]]] = deque()
        for step in range(recipe.steps + _STEPS_AHEAD):
            if step < recipe.steps:
                ahead.append(submit(step))
            if step >= _STEPS_AHEAD:
                # agreed on: the others would wait for the gradients of a process that met a bad picture
                yield on_every(partial(_results, ahead.popleft()))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _results(futures: list[Future[Crop]]) -> list[Crop]:
    return [future.result() for future in futures]
