"""The contrastive loss of one process: its definition, and properties that hold for any features.

Over several processes: tests/distributed/test_collectives.py.
"""

import math

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mammut_clip.losses import contrastive_loss


def features(rows: int, width: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    both = torch.randn(2, rows, width, generator=generator)
    images, texts = F.normalize(both, dim=-1)
    return images, texts


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 9), seed=st.integers(0, 1000), scale=st.floats(1.0, 100.0))
def test_is_the_mean_of_two_cross_entropies_and_symmetric(rows: int, seed: int, scale: float) -> None:
    images, texts = features(rows, 5, seed)
    factor = torch.tensor(scale)
    similarities = scale * images.double() @ texts.double().T
    picked = similarities.diag()
    expected = ((similarities.logsumexp(1) - picked) + (similarities.logsumexp(0) - picked)).mean() / 2
    loss = contrastive_loss(images, texts, factor)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=2e-5)
    torch.testing.assert_close(contrastive_loss(texts, images, factor), loss)
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(contrastive_loss(images[order], texts[order], factor), loss)


def test_equal_features_tell_nothing_apart() -> None:
    same = F.normalize(torch.ones(8, 4), dim=-1)
    torch.testing.assert_close(contrastive_loss(same, same, torch.tensor(50.0)), torch.tensor(math.log(8)))
