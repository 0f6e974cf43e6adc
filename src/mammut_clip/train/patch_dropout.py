"""Which patches of a picture a training step looks at (patch dropout; Li et al. 2023, FLIP).

The choice is a pure function of the run's seed and the sample's position in the data, not of a generator's state: it
is the same after a resume and on any number of GPUs.
"""

import torch
from torch import Tensor


def kept_patches(positions: range, seed: int, patches: int, kept: int, device: torch.device) -> Tensor:
    """For the samples at `positions` [B]: `kept` of `patches` indices each, ascending -> [B, kept] int64."""
    samples = torch.arange(positions.start, positions.stop, positions.step, device=device)[:, None]
    numbers = _mixed(samples * patches + torch.arange(patches, device=device) + _mixed_number(seed))
    return numbers.topk(kept, dim=1, sorted=False).indices.sort(dim=1).values


def _mixed(x: Tensor) -> Tensor:
    """A bijection of 64-bit integers whose output bits look random (splitmix64's finaliser, Steele et al. 2014)."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ _shifted(x, shift)) * (factor - 2**64)  # two's complement of the unsigned factor
    return x ^ _shifted(x, 31)


def _shifted(x: Tensor, bits: int) -> Tensor:
    """Right shift that fills with zeros; torch's fills with the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mixed_number(seed: int) -> int:
    """The seed, spread over 63 bits: neighbouring seeds must not give shifted copies of each other's choices."""
    return int(_mixed(torch.tensor(seed)).item()) >> 1
