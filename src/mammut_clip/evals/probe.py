"""Linear probes: softmax regression on frozen features, and the weight decay that suits it.

The procedure is that of CLIP_benchmark 1.6.2 (clip_benchmark/metrics/linear_probe.py), after Radford et al. 2021,
appendix A.3, with AdamW in place of L-BFGS: a coarse grid of weight decays, then steps of half the width around the
best of them, scored on a validation set. Initial weights and the order of samples are those that its torch.nn.Linear
and torch.utils.data.DataLoader draw from the same seed, so that results are the same but for rounding.

The probes of one round differ in their weight decay alone. They are trained together, side by side in one matrix, and
no weight decay is tried twice.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

WEIGHT_DECAYS: tuple[float, ...] = tuple(np.logspace(-6, 2, num=97).tolist())
"""All that can be chosen."""
_FIRST_ROUND = range(0, len(WEIGHT_DECAYS), 16)
_SPANS = (8, 4, 2, 1)
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Recipe:
    """How a probe is trained: AdamW with a cosine from `lr` to 0."""

    lr: float = 0.1
    epochs: int = 10
    batch_size: int = 64
    seed: int = 0


@dataclass(frozen=True)
class LabelledFeatures:
    """Frozen features with their labels."""

    features: Tensor
    """[n, D] float32."""
    labels: Tensor
    """[n] int64."""

    def __len__(self) -> int:
        return len(self.labels)

    def __add__(self, other: "LabelledFeatures") -> "LabelledFeatures":
        return LabelledFeatures(torch.cat([self.features, other.features]), torch.cat([self.labels, other.labels]))

    def to(self, device: torch.device) -> "LabelledFeatures":
        """The same on a device."""
        return LabelledFeatures(self.features.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Probes:
    """K linear classifiers of D features into C classes."""

    matrix: Tensor
    """[D + 1, K, C]; the last row holds the biases."""

    def logits(self, features: Tensor) -> Tensor:
        """[n, D] -> [K, n, C]."""
        weights, biases = self.matrix[:-1], self.matrix[-1]
        return torch.einsum("nd,dkc->knc", features, weights) + biases[:, None]

    def accuracies(self, samples: LabelledFeatures) -> Tensor:
        """[K]: the share of samples whose label has the highest logit."""
        hits = torch.zeros(self.matrix.shape[1], dtype=torch.int64, device=self.matrix.device)
        for start in range(0, len(samples), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            hits += (self.logits(samples.features[rows]).argmax(dim=2) == samples.labels[rows]).sum(dim=1)
        return hits.double() / len(samples)


@torch.no_grad()
def train_probes(samples: LabelledFeatures, classes: int, weight_decays: Sequence[float], recipe: Recipe) -> Probes:
    """One probe for each weight decay, on the device of the samples; all see the same batches."""
    count, width = samples.features.shape
    device, probes = samples.features.device, len(weight_decays)
    generator = torch.Generator().manual_seed(recipe.seed)
    first = _initial(width, classes, generator).to(device)
    matrix = first[:, None].repeat(1, probes, 1).flatten(1)  # [D + 1, K x C]
    # The optimiser has one weight decay for all its columns, and here each probe has its own. AdamW's is a factor
    # before each step (Loshchilov and Hutter 2019, algorithm 2), so that it can as well be applied here.
    optimizer = torch.optim.AdamW([matrix], weight_decay=0.0, fused=True)
    decays = torch.tensor(weight_decays, dtype=torch.float64).repeat_interleave(classes).to(device)
    steps = recipe.epochs * math.ceil(count / recipe.batch_size)
    for step, rows in enumerate(_batches(count, recipe, generator, device)):
        lr = 0.5 * (1 + math.cos(math.pi * step / steps)) * recipe.lr
        matrix.grad = _gradient(matrix, samples.features[rows], samples.labels[rows], probes)
        matrix *= (1 - lr * decays).to(matrix.dtype)
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step()
    return Probes(matrix.detach().view(width + 1, probes, classes))


def _gradient(matrix: Tensor, features: Tensor, labels: Tensor, probes: int) -> Tensor:
    """Of the sum over probes of the mean cross-entropy of a batch, by [D + 1, K x C]."""
    batch = len(labels)
    inputs = torch.cat([features, features.new_ones(batch, 1)], dim=1)
    errors = (inputs @ matrix).view(batch, probes, -1).softmax(dim=2)
    errors[torch.arange(batch, device=labels.device), :, labels] -= 1
    return inputs.T @ errors.view(batch, -1) / batch


def _initial(width: int, classes: int, generator: torch.Generator) -> Tensor:
    """[D + 1, C]: what torch.nn.Linear starts from."""
    weight, bias = torch.empty(classes, width), torch.empty(classes)
    torch.nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=generator)
    torch.nn.init.uniform_(bias, -1 / math.sqrt(width), 1 / math.sqrt(width), generator=generator)
    return torch.cat([weight.T, bias[None]])


def _batches(count: int, recipe: Recipe, generator: torch.Generator, device: torch.device) -> Iterator[Tensor]:
    """Row numbers of every batch of every epoch, shuffled as a DataLoader shuffles."""
    for _ in range(recipe.epochs):
        _draw_seed(generator)  # the one that a DataLoader hands to its workers
        order = torch.randperm(count, generator=torch.Generator().manual_seed(_draw_seed(generator)))
        yield from order.to(device).split(recipe.batch_size)


def _draw_seed(generator: torch.Generator) -> int:
    return int(torch.empty((), dtype=torch.int64).random_(generator=generator))


def best_weight_decay(train: LabelledFeatures, validation: LabelledFeatures, classes: int, recipe: Recipe) -> float:
    """That of WEIGHT_DECAYS whose probe is best on the validation set, found in five rounds."""
    known: dict[int, float] = {}

    def best(numbers: Sequence[int]) -> int:
        new = [number for number in numbers if number not in known]
        if new:
            probes = train_probes(train, classes, [WEIGHT_DECAYS[number] for number in new], recipe)
            known.update(zip(new, probes.accuracies(validation).tolist(), strict=True))
        return max(numbers, key=lambda number: known[number])  # of equals the first

    peak = best(_FIRST_ROUND)
    for span in _SPANS:
        peak = best((max(peak - span, 0), peak, min(peak + span, len(WEIGHT_DECAYS) - 1)))
    return WEIGHT_DECAYS[peak]


def few_shot(labels: Tensor, shots: int | None, generator: torch.Generator) -> Tensor:
    """Numbers of samples in random order: `shots` of each class that occurs in `labels`, fewer where there are no
    more; all of them for None."""
    order = torch.randperm(len(labels), generator=generator)
    if shots is None:
        return order
    # how many of its class come before each, from a stable sort by class
    grouped = torch.argsort(labels[order], stable=True)
    _, counts = labels.unique(return_counts=True)
    ranks = torch.cat([torch.arange(int(count)) for count in counts])
    return order[torch.sort(grouped[ranks < shots]).values]
