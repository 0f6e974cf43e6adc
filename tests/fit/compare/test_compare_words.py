"""What a comparison says: sentences, warnings, tables, JSON."""

import json
from typing import Any

import numpy as np
from known_laws import SPAN, Known, normal, power, shifted

from mammut_clip.config.fit_compare import CompareConfig
from mammut_clip.fit.compare import Comparisons, compare
from mammut_clip.fit.compare.tables import comparison_tables
from mammut_clip.fit.compare.words import span
from mammut_clip.fit.tables import to_csv, to_latex, to_markdown

COUNT = 1001
MEASURED = {"one": SPAN, "two": SPAN}


def compared(one: Known, two: Known, **asked: Any) -> Comparisons:
    return compare({"one": one, "two": two}, MEASURED, 0.95, CompareConfig.model_validate(asked))


def test_sentence_says_who_is_ahead_where_and_what_it_is_worth() -> None:
    """At 1e10 the second law is e^(0.1 ln 100) = 1.58 times lower, worth 1.58^(-1 / 0.3) = 0.22 times the compute."""
    found = compared(power(0.3, 0.2, normal(COUNT, 0.02, 0)), power(0.3, 0.3, [0.0] * COUNT))
    (said,) = found.sentences("GFLOPs (paper)")
    assert said.startswith(
        "Between 1e+06 and 1e+10 GFLOPs (paper), one against two: one has the lower error from 1e+06 "
    )
    for part in (
        "; two has the lower error from 1.5e+08 to 1e+10",
        "; elsewhere the data do not separate them; their laws cross at 1e+08 (95% interval 6.9e+07 to 1.5e+08)",
        "; for the error of one at 1e+10, two needs 0.22 times as many GFLOPs (paper) (95% interval 0.19 to 0.24).",
    ):
        assert part in said, said


def test_nothing_is_claimed_of_laws_that_the_data_do_not_separate() -> None:
    found = compared(power(0.3, 0.2, normal(COUNT, 0.5, 0)), power(0.3, 0.21, normal(COUNT, 0.5, 1)))
    assert found.sentences("samples") == ["Between 1e+06 and 1e+10 samples the data do not separate one from two."]


def test_a_crossing_whose_interval_leaves_the_data_is_open() -> None:
    """It may be at 3e6 or below every x that was measured; that the second is ahead further up is clear."""
    found = compared(power(0.3, 0.2, normal(COUNT, 0.1, 0)), power(0.3 * 0.03**0.1, 0.3, [0.0] * COUNT))
    said = found.sentences("GFLOPs")[0]
    assert "two has the lower error from 2e+07 to 1e+10; elsewhere the data do not separate them; whether" in said
    assert "; whether they cross near 3e+06 is open (95% interval 480,000 to 2e+07); for the error of one" in said


def test_a_crossing_back_is_said_to_lie_outside_the_data() -> None:
    found = compared(shifted(0.40, 0.2, floor=0.10), shifted(0.36, 0.4, floor=0.15))
    _, said = found.sentences("GFLOPs")
    back = found.pairs[0].outside[0].x  # 1.6e12
    assert said.startswith(f"The laws of one and two cross back at {back:.2g} GFLOPs (95% interval ")
    assert (
        f"which lies outside the data: {round(back / 1e10, -1):.0f} times the largest that both were measured at"
        in said
    )
    below = compared(power(0.3, 0.2), power(0.3 * 1e-4**0.1, 0.3)).sentences("GFLOPs")[1]
    assert "cross at 10,000 GFLOPs" in below and "1/100 of the smallest that both were measured at (1e+06)" in below


def test_warnings_of_extrapolation_and_of_refits_that_cross_beyond() -> None:
    once, again = shifted(0.36, 0.4), shifted(0.36, 0.4, floor=0.15)
    law = shifted(0.40, 0.2, floor=0.10).law
    found = compared(Known(law, [law] * 10), Known(once.law, [once.law] * 6 + [again.law] * 4), at=[1e12])
    beyond, extrapolated = found.sentences("GFLOPs")[1:]
    assert beyond.startswith("In 40% of the refits the laws of one and two cross beyond the data, between 1e+10 and ")
    assert "At 1e+12 GFLOPs the comparison of one and two is extrapolated: a factor of 100 outside" in extrapolated


def test_ends_of_intervals_in_words() -> None:
    inf = float("inf")
    said = [span(*ends) for ends in ((1.4, 2.6), (0.0, 3e10), (3e10, inf), (0.0, inf), (inf, inf), (0.0, 0.0))]
    assert said == ["1.4 to 2.6", "3e+10 or less", "3e+10 or more", "anywhere", "infinite", "0"]
    assert span(float("nan"), float("nan")) == "none"


def test_tables_of_three_groups() -> None:
    laws = {
        "one": power(0.3, 0.2, normal(COUNT, 0.02, 0)),
        "two": power(0.3, 0.3, normal(COUNT, 0.02, 1)),
        "three": shifted(0.5, 0.2, floor=0.2, scatter=normal(COUNT, 0.02, 2)),
    }
    config = CompareConfig(at=(1e8,), errors=(0.15,))
    found = compare(laws, dict.fromkeys(laws, SPAN), 0.9, config)
    tables = comparison_tables(found, "GFLOPs")
    assert list(tables) == [
        f"comparison_{name}" for name in ("verdicts", "crossings", "differences", "multipliers", "orders")
    ]
    for table in tables.values():
        assert {len(row) for row in table.rows} == {len(table.header)}
        assert to_markdown(table).count("\n") == to_csv(table).count("\n") + 1 == len(table.rows) + 2
        assert to_latex(table).count(r"\\") == len(table.rows) + 1
    crossings = tables["comparison_crossings"]
    assert crossings.header[3] == "90% interval"
    rows = {row[:2]: row for row in crossings.rows}
    assert rows["one", "two"][2] == "1e+08" and rows["one", "two"][4:7] == ("one", "two", "inside the data")
    assert rows["one", "three"][2] == "none" and rows["one", "three"][-2:] == ("100.0%", "100.0%")
    differences = [row for row in tables["comparison_differences"].rows if row[:2] == ("one", "three")]
    assert [row[2] for row in differences] == ["1e+08", "1e+10"] and differences[0][5] == "-0.4000"
    missed = [row for row in tables["comparison_multipliers"].rows if row[1] == "three" and row[2] == "error"]
    assert {row[5] for row in missed} == {"not reached by 1e+13"} and {row[6] for row in missed} == {"0"}
    assert tables["comparison_orders"].rows[-1][-1] == "two < one < three"


def test_json_is_plain_and_finite() -> None:
    laws = {
        "a": shifted(0.40, 0.2, floor=0.10),
        "b": shifted(0.36, 0.4, floor=0.15),
        "c": shifted(0.3, 0.3, floor=0.1),
    }
    found = compare(laws, dict.fromkeys(laws, SPAN), 0.95, CompareConfig(errors=(0.12,)))
    read = json.loads(json.dumps(found.to_json_dict("GFLOPs"), allow_nan=False))
    assert [p["first"] + p["second"] for p in read["pairs"]] == ["ab", "ac", "bc"]
    pair = read["pairs"][0]
    assert pair["sentence"].startswith("Between") and pair["multipliers"][1]["second_x"] is None
    assert [c["ahead_after"] for c in pair["crossings"]["found"]] == ["b", "a"]
    assert read["orders"][0]["sentence"].startswith("From 1e+06")


def test_the_order_of_draws_does_not_depend_on_the_questions() -> None:
    """What is asked for at one x does not move the answer at another."""
    one, two = power(0.3, 0.2, normal(COUNT, 0.02, 0)), power(0.3, 0.3, normal(COUNT, 0.02, 1))
    plain, asked = (compared(one, two, **more).pairs[0] for more in ({}, {"at": [3e7, 1e11], "errors": [0.2]}))
    assert plain.differences[0] == asked.differences[1]
    assert np.isclose(plain.crossings.found[0].lower, asked.crossings.found[0].lower, rtol=1e-3)
