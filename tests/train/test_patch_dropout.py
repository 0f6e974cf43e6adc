"""The kept patches are a pure function of seed and position, and look random."""

import torch

from mammut_clip.train.patch_dropout import kept_patches

CPU = torch.device("cpu")


def test_a_sample_keeps_the_same_patches_in_every_batch() -> None:
    whole = kept_patches(range(100, 132), 7, 49, 24, CPU)
    assert torch.equal(kept_patches(range(108, 116), 7, 49, 24, CPU), whole[8:16])
    assert torch.equal(kept_patches(range(101, 132, 4), 7, 49, 24, CPU), whole[1::4]), "a rank's part of a batch"
    assert torch.equal(kept_patches(range(131, 132, 4), 7, 49, 24, CPU), whole[31:])
    assert not torch.equal(kept_patches(range(100, 132), 8, 49, 24, CPU), whole)


def test_patches_are_distinct_and_each_is_as_likely_as_another() -> None:
    samples, patches, kept = 20_000, 49, 12
    found = kept_patches(range(samples), 0, patches, kept, CPU)
    assert found.shape == (samples, kept)
    assert (found.diff(dim=1) > 0).all()
    chosen = torch.zeros(samples, patches).scatter_(1, found, 1.0)
    share = kept / patches
    noise = (share * (1 - share) / samples) ** 0.5
    assert (chosen.mean(dim=0) - share).abs().max() < 5 * noise
    # patches of a picture, and pictures one after another, are chosen independently of each other
    centred = chosen - share
    neighbours = (centred[:, :-1] * centred[:, 1:]).mean(dim=0) + share * (1 - share) / (patches - 1)
    assert neighbours.abs().max() < 5 * share * (1 - share) / samples**0.5
    following = (centred[:-1] * centred[1:]).mean(dim=0)
    assert following.abs().max() < 5 * share * (1 - share) / samples**0.5


def test_neighbouring_seeds_are_no_shifted_copies() -> None:
    first = {tuple(row) for row in kept_patches(range(2000), 0, 49, 12, CPU).tolist()}
    second = {tuple(row) for row in kept_patches(range(2000), 1, 49, 12, CPU).tolist()}
    assert len(first) == len(second) == 2000
    assert not first & second
