"""The data part of a run's config: sources or a mixture of data sets, and what is refused."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mammut_clip.config.data import DataConfig, DatasetConfig
from mammut_clip.config.errors import ConfigError
from mammut_clip.config.load import parse_yaml, to_yaml, validate


def checked(**values: Any) -> DataConfig:
    return validate(DataConfig, {"train": "shards"} | values, "here.yaml")


def problems(**values: Any) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        checked(**values)
    return {problem.key: str(problem) for problem in caught.value.problems}


def test_one_source_stands_for_a_list_of_one() -> None:
    assert checked(train="data/{0..3}.tar").train == ["data/{0..3}.tar"]
    assert checked(train=["a", "b"]).train == ["a", "b"]
    assert checked(train={"name": "a", "sources": "b"}).train == [DatasetConfig(name="a", sources=["b"])]


def test_plain_sources_are_one_data_set() -> None:
    assert checked(train=["a", "b"]).datasets == [DatasetConfig(name="train", sources=["a", "b"])]
    assert checked(train=["a", "b"]).label == "a,b"


def test_a_mixture_keeps_its_order_and_weights() -> None:
    mixture = checked(train=[{"name": "web", "sources": ["a", "b"], "weight": 3}, {"name": "books", "sources": "c"}])
    assert [(d.name, d.sources, d.weight) for d in mixture.datasets] == [("web", ["a", "b"], 3), ("books", ["c"], 1)]
    assert mixture.label == "web:3,books:1"


weights = st.floats(1e-6, 1e12)
sources = st.lists(st.text("abc/{}.:%é ", min_size=1).filter(str.strip), min_size=1, max_size=3)
mixtures = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._=+-]{0,4}", fullmatch=True),
            "sources": sources,
            "weight": weights,
        }
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda dataset: dataset["name"],
)
captions = st.dictionaries(st.from_regex(r"txt|json\.[a-z_][a-z_.]{0,8}[a-z]", fullmatch=True), weights, min_size=1)
bounds = st.none() | st.integers(1, 10**6)


@given(
    train=sources | mixtures,
    captions=captions,
    filters=st.fixed_dictionaries({"min_side": bounds, "min_caption": bounds}),
    shuffle=st.fixed_dictionaries({"lanes": st.integers(1, 4096), "window": st.integers(1, 4096)}),
    ahead=st.integers(1, 2**50),
    sampling=st.sampled_from(["epochs", "resampled"]),
    cache=st.none() | st.fixed_dictionaries({"folder": st.just("$TMPDIR/shards"), "size": st.integers(1, 10**15)}),
)
@settings(deadline=None)
def test_a_written_config_reads_back_equal(train: Any, ahead: int, **values: Any) -> None:
    config = checked(train=train, reading={"ahead": ahead}, **values)
    assert validate(DataConfig, parse_yaml(to_yaml(config), "x"), "x") == config
    assert config.reading.ahead == ahead


@pytest.mark.parametrize(
    ("values", "key", "expected"),
    [
        ({"train": []}, "train", "at least 1"),
        ({"train": [" "]}, "train", "empty name"),
        ({"train": 3}, "train", "list"),
        ({"train": [3]}, "train.0", "keys: name, sources, weight"),
        ({"train": ["a", {"name": "b", "sources": "c"}]}, "train", "not both"),
        ({"train": [{"name": "b", "sources": "c"}, {"name": "b", "sources": "d"}]}, "train", "'b' stands twice"),
        ({"train": [{"name": "b"}]}, "train.0.sources", "required"),
        ({"train": [{"name": "b", "sources": []}]}, "train.0.sources", "at least 1"),
        ({"train": [{"name": "b", "sources": [" "]}]}, "train.0.sources", "empty name"),
        ({"train": [{"name": "", "sources": "c"}]}, "train.0.name", "match pattern"),
        ({"train": [{"name": "a,b", "sources": "c"}]}, "train.0.name", "match pattern"),
        ({"train": [{"name": "b", "sources": "c", "wait": 1}]}, "train.0.wait", "did you mean weight?"),
        ({"train": [{"name": "b", "sources": "c", "weight": 0}]}, "train.0.weight", "greater than 0"),
        ({"train": [{"name": "b", "sources": "c", "weight": float("inf")}]}, "train.0.weight", "finite"),
        ({"sampling": "random"}, "sampling", "'epochs' or 'resampled'"),
        ({"shuffle": 3}, "shuffle", "keys: lanes, window"),
        ({"shuffle": {"lanes": 0}}, "shuffle.lanes", "1"),
        ({"shuffle": {"window": 0}}, "shuffle.window", "1"),
        ({"shuffle_shards": 2}, "shuffle_shards", "did you mean shuffle?"),
        ({"captions": {}}, "captions", "found nothing"),
        ({"captions": {"caption": 1}}, "captions", "json.<field>"),
        ({"captions": {"json.": 1}}, "captions", "json.<field>"),
        ({"captions": {"txt": 0}}, "captions", "> 0"),
        ({"captions": {"txt": float("nan")}}, "captions.txt", "finite"),
        ({"captions": {"txt": "much"}}, "captions.txt", "number"),
        ({"filters": {"min_side": 0}}, "filters.min_side", "1"),
        ({"filters": {"max_aspect": 0.5}}, "filters.max_aspect", "1"),
        ({"filters": {"min_caption": 9, "max_caption": 8}}, "filters", "no caption fits both"),
        ({"bad_samples": {"max_rate": 1.1}}, "bad_samples.max_rate", "1"),
        ({"bad_samples": {"max_pixels": 0}}, "bad_samples.max_pixels", "1"),
        ({"decode": "faster"}, "decode", "'pil' or 'fast'"),
        ({"crop_scale": [0.0, 1.0]}, "crop_scale", "smallest"),
        ({"crop_scale": [0.9, 0.5]}, "crop_scale", "smallest"),
        ({"workers": -1}, "workers", "0"),
        ({"reading": {"ahead": "much"}}, "reading.ahead", "500GB"),
        ({"reading": {"retries": -1}}, "reading.retries", "0"),
        ({"reading": {"stuck_after": 0}}, "reading.stuck_after", "0"),
        ({"cache": {}}, "cache.folder", "required"),
        ({"cache": {"folder": ""}}, "cache.folder", "at least 1"),
        ({"cache": {"folder": "x", "size": 0}}, "cache.size", "500GB"),
    ],
)
def test_bad_values_are_refused_by_name(values: dict[str, Any], key: str, expected: str) -> None:
    found = problems(**values)
    assert list(found) == [key]
    assert expected in found[key]


def test_data_are_required() -> None:
    with pytest.raises(ConfigError, match="train: this key is required"):
        validate(DataConfig, {}, "here.yaml")
