"""The data part of a run's config: one source or several, and what is refused."""

import pytest

from mammut_clip.config.data import DataConfig
from mammut_clip.config.errors import ConfigError
from mammut_clip.config.load import validate


def test_one_source_stands_for_a_list_of_one() -> None:
    assert validate(DataConfig, {"train": "data/{0..3}.tar"}, "here").train == ["data/{0..3}.tar"]
    assert validate(DataConfig, {"train": ["a", "b"]}, "here").train == ["a", "b"]


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"train": []}, "train"),
        ({"train": [" "]}, "train"),
        ({}, "train"),
        ({"train": "a", "workers": -1}, "workers"),
        ({"train": "a", "shuffle_shards": 0}, "shuffle_shards"),
        ({"train": "a", "crop_scale": [0.0, 1.0]}, "crop_scale"),
        ({"train": "a", "crop_scale": [0.9, 0.5]}, "crop_scale"),
        ({"train": "a", "shuffle": 3}, "shuffle"),
    ],
)
def test_bad_values_are_refused_by_name(values: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(DataConfig, values, "here.yaml")
    assert [problem.key for problem in caught.value.problems] == [key]
