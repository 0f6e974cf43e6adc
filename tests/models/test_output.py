"""The captioning task without padding holds the same labels as the whole one."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mammut_clip.models.output import cut_after_texts, make_captions, text_mask


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(1, 5), length=st.integers(2, 20), longest=st.integers(0, 20), seed=st.integers(0, 999))
def test_captions_are_the_labels_that_are_not_padding(rows: int, length: int, longest: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 9, (rows, length), generator=generator)  # zeros may stand inside a text as well
    ids[:, longest:] = 0
    captions = make_captions(ids)
    read = captions.ids.shape[1]
    assert read == length - 1 or read % 8 == 0
    assert torch.equal(captions.ids, ids[:, :read])
    expected = [
        (row, place, int(ids[row, place + 1]))
        for row in range(rows)
        for place in range(length - 1)
        if ids[row, place + 1]
    ]
    found = zip(captions.positions.tolist(), captions.labels.tolist(), strict=True)
    assert [(p // read, p % read, label) for p, label in found] == expected


def test_no_more_is_read_than_needed() -> None:
    ids = torch.zeros(2, 77, dtype=torch.long)
    ids[0, :9], ids[1, :5] = 7, 7
    assert make_captions(ids).ids.shape == (2, 8)  # the ninth token is a label only
    ids[0, 9] = 7
    assert make_captions(ids).ids.shape == (2, 16)


def test_a_text_goes_up_to_its_largest_id() -> None:
    ids = torch.tensor([[5, 0, 9, 0], [9, 0, 0, 0], [1, 2, 3, 9]])  # 9 ends a text; 0 may be a word
    assert text_mask(ids).tolist() == [[True, True, True, False], [True, False, False, False], [True] * 4]
    assert cut_after_texts(torch.cat([ids, torch.zeros(3, 16, dtype=torch.long)], dim=1)).shape == (3, 8)
