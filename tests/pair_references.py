"""The losses over pairs as their papers write them, with whole logits, and features to try them on."""

import torch
import torch.nn.functional as F
from torch import Tensor


def dense_contrastive(images: Tensor, texts: Tensor, scale: Tensor) -> Tensor:
    """Radford et al. 2021, figure 3: the mean of the cross-entropies of rows and of columns, labels on the diagonal."""
    logits = scale * images @ texts.T
    labels = torch.arange(len(images))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def dense_sigmoid(images: Tensor, texts: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Zhai et al. 2023, equation 1."""
    logits = scale * images @ texts.T + bias
    labels = 2 * torch.eye(len(images), dtype=logits.dtype) - 1
    return -F.logsigmoid(labels * logits).sum() / len(images)


def dense_accuracy(queries: Tensor, keys: Tensor) -> Tensor:
    """The share of rows whose most similar key is their own: argmax over whole similarities."""
    return ((queries @ keys.T).argmax(dim=1) == torch.arange(len(queries))).double().mean()


def features(rows: int, width: int, seed: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Images and texts [rows, width], each pair somewhat alike, as leaves."""
    generator = torch.Generator().manual_seed(seed)
    shared, *own = torch.randn(3, rows, width, generator=generator, dtype=torch.float64)
    images, texts = (F.normalize(shared + part, dim=-1).to(dtype).requires_grad_() for part in own)
    return images, texts


def scalar(value: float, dtype: torch.dtype = torch.float64) -> Tensor:
    """A factor or summand [] of logits, as a leaf."""
    return torch.tensor(value, dtype=dtype, requires_grad=True)


def in_float64(*inputs: Tensor) -> list[Tensor]:
    """Leaves of the same values."""
    return [tensor.detach().double().requires_grad_() for tensor in inputs]


def assert_near(actual: Tensor, expected: Tensor, tolerance: float, what: str = "") -> None:
    """The difference, as a vector, is at most `tolerance` of the expected one's length."""
    difference = (actual.double() - expected.double()).norm()
    assert difference <= tolerance * expected.double().norm(), f"{what}: {difference / expected.double().norm():.2e}"
