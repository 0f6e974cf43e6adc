import pytest
from hypothesis import given
from hypothesis import strategies as st

from mammut_clip.config.quantity import format_bytes, format_quantity, parse_bytes, parse_quantity


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


@given(
    st.integers(1, 2**60)
    | st.integers(1, 2**20).map(lambda n: n * 10**9)
    | st.integers(1, 2**20).map(lambda n: n << 30)
)
def test_formatted_bytes_read_back_as_the_same_number(number: int) -> None:
    assert parse_bytes(format_bytes(number)) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("500GB", 500 * 10**9),
        ("1GiB", 2**30),
        ("1.5 kb", 1500),
        ("2tib", 2**41),
        ("1,000,000", 10**6),
        (512, 512),
        (1e6, 10**6),
    ],
)
def test_bytes_as_people_write_them(text: object, number: int) -> None:
    assert parse_bytes(text) == number


def test_bytes_are_written_in_the_largest_unit_that_fits() -> None:
    assert [format_bytes(n) for n in (10**11, 2**30, 1536, 999)] == ["100GB", "1GiB", "1536", "999"]


@pytest.mark.parametrize("text", ["", "GB", "0", "-1GB", "1.5", "500M", "1 PB", "nan", "inf", True, None, [1]])
def test_what_is_no_number_of_bytes_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="number of bytes"):
        parse_bytes(text)
