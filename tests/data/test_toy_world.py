"""The toy world: the same picture for the same number, labels that fit, and pairs that training never sees."""

import io
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from mammut_clip.config.errors import InputError
from mammut_clip.data import toy_world
from mammut_clip.data.toy_shapes import stamp
from mammut_clip.data.toy_words import (
    COLOUR_NAMES,
    COLOURS,
    SHAPES,
    Group,
    caption,
    held_out_pairs,
    plural,
    training_pairs,
    vocabulary,
)
from mammut_clip.data.toy_world import ToyWorld


def test_a_sample_depends_on_seed_and_number_alone() -> None:
    many = ToyWorld(3).samples(toy_world.TRAIN, 100, 164)
    again = ToyWorld(3).sample(toy_world.TRAIN, 130)
    assert np.array_equal(many[30].image, again.image)
    assert np.array_equal(many[30].mask, again.mask)
    assert many[30].caption == again.caption
    assert not np.array_equal(again.image, ToyWorld(4).sample(toy_world.TRAIN, 130).image)
    assert not np.array_equal(again.image, ToyWorld(3).sample(toy_world.RETRIEVAL, 130).image)


def test_held_out_pairs_are_balanced() -> None:
    held_out, training = held_out_pairs(), training_pairs()
    assert (len(set(held_out)), len(set(training)), set(held_out) & set(training)) == (32, 112, set())
    for axis in (0, 1):
        left = Counter(pair[axis] for pair in training)
        assert len(left) == 12 and min(left.values()) >= 9


def test_training_never_shows_or_names_a_held_out_pair() -> None:
    held_out = set(held_out_pairs())
    forms = {form: number for number, shape in enumerate(SHAPES) for form in (shape, plural(shape))}
    pairs = Counter()
    for sample in ToyWorld(0).samples(toy_world.TRAIN, 0, 4000):
        groups = [sample.scene.main] + ([sample.scene.other] if sample.scene.other else [])
        pairs.update((group.shape, group.colour) for group in groups)
        words = sample.caption.split()
        named = [
            (forms[noun], COLOUR_NAMES.index(colour))
            for colour, noun in pairwise(words)
            if noun in forms and colour in COLOURS
        ]
        assert not held_out & set(named), sample.caption
        assert set(words) <= set(vocabulary())
    assert not held_out & set(pairs)
    assert set(pairs) == set(training_pairs())


def test_captions_read_as_people_say_them() -> None:
    circles = Group(SHAPES.index("circle"), COLOUR_NAMES.index("red"), 0, 0, 1)
    square = Group(SHAPES.index("square"), COLOUR_NAMES.index("blue"), 1, 1, 0)
    assert caption(circles, 0, square) == "two small red circles above a striped blue square"
    assert caption(circles, None, None, opening=4) == "there are two small red circles"
    assert caption(square, 2, circles, opening=1) == "a photo of a striped blue square left of two small red circles"
    assert caption(replace(square, unsaid="colour"), None, None, opening=4) == "there is a striped square"


def test_the_longest_caption_fits_the_toy_models_context() -> None:
    group = Group(SHAPES.index("circle"), COLOUR_NAMES.index("red"), 1, 0, 2)
    longest = caption(group, 3, group, opening=1)
    assert longest.startswith("a photo of three small striped red circles right of three small striped red")
    sampled = max(len(sample.caption.split()) for sample in ToyWorld(1).samples(toy_world.TRAIN, 0, 3000))
    assert sampled <= len(longest.split()) <= 18  # 20 positions less start and end


@pytest.mark.parametrize("size", [32, 48, 64])
def test_masks_show_where_the_shapes_are(size: int) -> None:
    for sample in ToyWorld(5, size).samples(toy_world.SEGMENTATION, 0, 60):
        assert sample.image.shape == (size, size, 3) and sample.mask.shape == (size, size)
        shapes = {1 + sample.scene.main.shape} | ({1 + sample.scene.other.shape} if sample.scene.other else set())
        assert set(np.unique(sample.mask).tolist()) == {0} | shapes


def test_relations_hold_in_the_picture() -> None:
    for sample in ToyWorld(6).samples(toy_world.TRAIN, 0, 400):
        main, other = sample.scene.main, sample.scene.other
        if other is None or main.shape == other.shape:
            continue
        y, x = (np.argwhere(sample.mask == 1 + main.shape).mean(axis=0)) - np.argwhere(
            sample.mask == 1 + other.shape
        ).mean(axis=0)
        assert (y < 0, y > 0, x < 0, x > 0)[sample.scene.relation or 0], sample.caption


def test_the_main_object_has_its_colour() -> None:
    """The nearest of the 12 colours to the brightest-jitter-free mean of a plain object is the one in its label."""
    palette = np.array(list(COLOURS.values()), dtype=np.float32)
    hits = []
    pairs = [(0, colour) for colour in range(12)]
    for sample in ToyWorld(7).samples(toy_world.PAIRS, 0, 600, pairs=pairs):
        if sample.scene.main.texture:
            continue
        mean = sample.image[sample.mask > 0].mean(axis=0)
        # Brightness differs per picture: compare directions and, for black and white, lengths.
        distances = min(
            (np.linalg.norm(np.clip(palette * gain, 0, 255) - mean, axis=1) for gain in (0.85, 1.0, 1.1)),
            key=lambda d: d.min(),
        )
        hits.append(int(distances.argmin()) == sample.pair[1])
    assert len(hits) > 50 and np.mean(hits) > 0.95


def test_shapes_are_told_apart_at_the_smallest_size() -> None:
    """No two shapes cover the same pixels: their covers overlap by less than 85% at nine pixels."""
    covers = [1 - stamp(shape, 0, 0, 9, 1, 1.0).bare[..., 0] for shape in range(12)]
    for one in range(12):
        for two in range(one):
            shared = np.minimum(covers[one], covers[two]).sum() / np.maximum(covers[one], covers[two]).sum()
            assert shared < 0.85, (SHAPES[one], SHAPES[two], shared)


def test_jpeg_keeps_the_picture() -> None:
    sample = ToyWorld(8).sample(toy_world.TRAIN, 0)
    decoded = np.asarray(Image.open(io.BytesIO(toy_world.encode_jpeg(sample.image))), dtype=np.float32)
    assert np.abs(decoded - sample.image).mean() < 5


def test_sizes_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="32 to 64"):
        ToyWorld(0, 16)
