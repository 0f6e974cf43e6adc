import pytest
from hypothesis import given
from hypothesis import strategies as st

from mammut_clip.config.quantity import format_quantity, parse_quantity


@given(st.integers(min_value=0, max_value=10**15))
def test_a_formatted_quantity_reads_back_as_the_same_number(number: int) -> None:
    assert parse_quantity(format_quantity(number)) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1.28M", 1_280_000),
        ("3.07B", 3_070_000_000),
        ("12.8k", 12_800),
        (512, 512),
        ("1,000", 1000),
        (1e6, 1_000_000),
    ],
)
def test_quantities_as_people_write_them(text: object, number: int) -> None:
    assert parse_quantity(text) == number


@pytest.mark.parametrize("text", ["", "M", "1.5", "-3", "1.28 Q", "nan", "inf", True, None, [1], "1.2345K"])
def test_what_is_no_whole_number_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="whole number"):
        parse_quantity(text)
