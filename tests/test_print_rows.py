"""Rows on the terminal."""

import pytest

from mammut_clip.tables import print_rows


def test_numbers_print_with_the_digits_that_they_have(capsys: pytest.CaptureFixture[str]) -> None:
    values = [0.123456, 12.3456, 1234.56, 1.5e9, 1.5e15, -2e300, float("nan"), 10**16, None, "name"]
    print_rows([{"value": value} for value in values])
    lines = [line.strip("│ ") for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert lines == [
        "0.1235", "12.35", "1,235", "1,500,000,000", "1.5e+15", "-2e+300", "nan", "10000000000000000", "", "name"
    ]  # fmt: skip


def test_rows_with_other_keys_get_a_table_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([{"a": 1}, {"a": 2}, {"b": "x"}], title="shown")
    out = capsys.readouterr().out
    assert out.count("shown") == 2 and out.index("a") < out.index("2") < out.rindex("b") < out.index("x")
