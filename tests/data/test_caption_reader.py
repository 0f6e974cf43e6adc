"""Captions out of texts and records: what is read, what is refused, and which one a position takes."""

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from webdataset.autodecode import basichandlers

from mammut_clip.config.data import FilterConfig
from mammut_clip.data.bad_samples import Bad, BadSampleError
from mammut_clip.data.captions import CaptionReader

NO_FILTER = FilterConfig()


def read(captions: dict[str, float], text: bytes | None = None, record: Any = None, position: int = 0) -> str:
    data = record if record is None or isinstance(record, bytes) else json.dumps(record).encode()
    return CaptionReader(captions, NO_FILTER, seed=1).read(text, data, position)


def refused(captions: dict[str, float], text: bytes | None = None, record: Any = None) -> Bad:
    with pytest.raises(BadSampleError) as caught:
        read(captions, text, record)
    assert caught.value.reason
    return caught.value.kind


TXT = {"txt": 1.0}
FIELD = {"json.a": 1.0}


@given(st.text())
def test_texts_are_what_open_clip_reads(text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    if not text.strip():
        assert refused(TXT, data) is Bad.EMPTY_CAPTION
    else:
        assert read(TXT, data) == basichandlers("0000.txt", data) == text


def test_bad_texts_are_refused() -> None:
    assert refused(TXT) is Bad.NO_CAPTION
    assert refused(TXT, b"") is Bad.EMPTY_CAPTION
    assert refused(TXT, " \n\t\u3000".encode()) is Bad.EMPTY_CAPTION
    assert refused(TXT, "\ufeff\n".encode()) is Bad.EMPTY_CAPTION
    assert refused(TXT, "é".encode("latin-1")) is Bad.CAPTION_NOT_UTF8
    assert refused(TXT, b"a cat\xff") is Bad.CAPTION_NOT_UTF8
    assert refused(TXT, None, {"a": "x"}) is Bad.NO_CAPTION


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        (None, Bad.NO_CAPTION),
        ({}, Bad.NO_CAPTION),
        ({"a": None}, Bad.NO_CAPTION),
        ({"a": 3}, Bad.NO_CAPTION),
        ({"a": {"b": "x"}}, Bad.NO_CAPTION),
        ({"a": []}, Bad.NO_CAPTION),
        ({"a": [1, 2]}, Bad.NO_CAPTION),
        ({"a": [["x"]]}, Bad.NO_CAPTION),
        (["a"], Bad.NO_CAPTION),
        (b'"a"', Bad.NO_CAPTION),
        ({"a": " \n"}, Bad.EMPTY_CAPTION),
        ({"a": ["", ""]}, Bad.EMPTY_CAPTION),
        (b"", Bad.BROKEN_JSON),
        (b'{"a": "x"', Bad.BROKEN_JSON),
        (b'{"a": "\xff"}', Bad.BROKEN_JSON),
        (b"[" * 200_000, Bad.BROKEN_JSON),
        (b'{"a": ' + b"1" * 10_000 + b"}", Bad.BROKEN_JSON),
        (b'{"a": "\\ud83d"}', Bad.CAPTION_NOT_UTF8),
    ],
    ids=lambda value: None if isinstance(value, Bad) else repr(value)[:20],
)
def test_bad_records_are_refused(record: Any, kind: Bad) -> None:
    assert refused(FIELD, b"text", record) is kind


@settings(max_examples=50)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda s: st.lists(s) | st.dictionaries(st.text(), s)
    )
)
def test_any_record_gives_a_caption_or_a_reason(value: Any) -> None:
    try:
        caption = read(FIELD, None, {"a": value})
    except BadSampleError as error:
        assert error.kind in (Bad.NO_CAPTION, Bad.EMPTY_CAPTION, Bad.CAPTION_NOT_UTF8)
    else:
        assert caption.strip() and (caption == value or caption in value)


def test_fields_can_be_nested() -> None:
    record = {"a": {"b": {"c": "deep"}, "list": ["x", "x"]}, "a.b": "not this"}
    assert read({"json.a.b.c": 1.0}, None, record) == "deep"
    assert read({"json.a.list": 1.0}, None, record) == "x"
    assert refused({"json.a.b.d": 1.0}, None, record) is Bad.NO_CAPTION
    assert refused({"json.a.b.c.d": 1.0}, None, record) is Bad.NO_CAPTION


def test_fields_are_taken_with_their_weights() -> None:
    record = json.dumps({"a": "a", "b": "b"}).encode()
    weights = {"txt": 2.0, "json.a": 5.0, "json.b": 1.0}
    reader = CaptionReader(weights, NO_FILTER, seed=7)
    count = 4000
    found = Counter(reader.read(b"txt", record, position) for position in range(10**12, 10**12 + count))
    for name, weight in weights.items():
        share = weight / 8
        deviation = (share * (1 - share) * count) ** 0.5
        assert abs(found[name.removeprefix("json.")] - share * count) < 5 * deviation


def test_entries_of_a_list_are_taken_equally_and_apart_from_the_field() -> None:
    record = json.dumps({"a": ["0", "1", "2"]}).encode()
    reader = CaptionReader({"txt": 1.0, "json.a": 1.0}, NO_FILTER, seed=7)
    found = Counter(reader.read(b"txt", record, position) for position in range(6000))
    deviation = (1 / 6 * 5 / 6 * 6000) ** 0.5
    assert all(abs(found[entry] - 1000) < 5 * deviation for entry in "012") and found["txt"] > 2800


def test_the_choice_belongs_to_seed_and_position() -> None:
    record = json.dumps({"a": [str(number) for number in range(10)]}).encode()

    def choices(captions: dict[str, float], seed: int, positions: range) -> list[str]:
        reader = CaptionReader(captions, NO_FILTER, seed)
        return [reader.read(b"txt", record, position) for position in positions]

    both = {"txt": 1.0, "json.a": 3.0}
    first = choices(both, 3, range(50))
    assert choices(both, 3, range(49, -1, -1)) == first[::-1]
    assert choices({"json.a": 3.0, "txt": 1.0}, 3, range(50)) == first
    assert choices({"json.a": 6.0, "txt": 2.0}, 3, range(50)) == first
    assert choices(both, 4, range(50)) != first


def test_choices_stay_as_they_are() -> None:
    """A run that was begun under an earlier version goes on with the same captions."""
    record = json.dumps({"a": ["x", "y", "z"]}).encode()
    reader = CaptionReader({"txt": 1.0, "json.a": 2.0}, NO_FILTER, seed=5)
    assert "".join(reader.read(b"t", record, position) for position in range(24)) == "tyxxttyzyyyzyzyxtztxztzy"


def test_only_members_that_are_named_are_needed() -> None:
    needs = [
        (reader.needs_text, reader.needs_json)
        for reader in (CaptionReader(c, NO_FILTER, 0) for c in (TXT, FIELD, TXT | FIELD))
    ]
    assert needs == [(True, False), (False, True), (True, True)]


def test_filters_count_characters_without_space_around_them() -> None:
    reader = CaptionReader(TXT | FIELD, FilterConfig(min_caption=3, max_caption=5), 0)
    for position in range(8):  # of either member
        for caption, kind in (("äb", Bad.SHORT_CAPTION), ("äbcdef", Bad.LONG_CAPTION)):
            padded = f"  {caption} \n"
            with pytest.raises(BadSampleError) as caught:
                reader.read(padded.encode(), json.dumps({"a": padded}).encode(), position)
            assert caught.value.kind is kind
        for caption in (" äbc ", "äbcde\n"):
            assert reader.read(caption.encode(), json.dumps({"a": caption}).encode(), position) == caption
