"""The laws of the charts: numbers at their places, values in words, learners told apart without colour."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import numpy as np

from reach.study.report.charts import Look, Row, Series, Shade, legend_sample, line_chart, looks, value_chart
from reach.study.report.metrics import short_number

LOOK = Look("#0072b2")
NOTHING = np.full(3, np.nan)


def drawn(*series: Series, **options: object) -> ElementTree.Element:
    svg = line_chart(series, alternative="a < b", x_label="reach", y_label="error, degrees", **options)  # type: ignore[arg-type]
    return ElementTree.fromstring(svg)


def marks(svg: ElementTree.Element, kind: str) -> list[ElementTree.Element]:
    """Return the marks (paths and lines) of one kind of the chart's own layers."""
    groups = [g for g in svg.iter("g") if f"mark-{kind} role-mark" in g.get("class", "")]
    return [mark for group in groups for mark in group if mark.tag in ("path", "line", "text")]


def words(svg: ElementTree.Element) -> list[str]:
    return [mark.get("aria-label", "") for mark in marks(svg, "rect") if mark.get("aria-label")]


def test_numbers_are_written_short() -> None:
    assert [short_number(v) for v in (0.0, -0.5, 12345.6, 0.0123456, math.inf, math.nan)] == [
        "0", "\N{MINUS SIGN}0.5", "12,346", "0.0123", "never", "",
    ]  # fmt: skip


def test_a_chart_has_an_accessible_name_and_its_values_in_words() -> None:
    x = np.arange(1.0, 6.0)
    svg = drawn(Series("a & b", LOOK, x, x**2, x**2 - 1.0, x**2 + 1.0), Series("c", LOOK, x[:1], x[:1]))
    assert (svg.get("role"), svg.get("aria-label")) == ("img", "a < b")
    assert words(svg)[:2] == ["reach: 1\na & b 1 [0, 2]\nc 1", "reach: 2\na & b 4 [3, 5]"]
    assert len(words(svg)) == 5


def test_a_line_goes_through_its_values_and_a_larger_one_lies_higher() -> None:
    svg = drawn(Series("a", LOOK, np.array([0.0, 10.0]), np.array([0.0, 1.0])))
    (path,) = marks(svg, "line")
    (x0, y0), (x1, y1) = (map(float, point) for point in re.findall(r"([\d.]+),([\d.]+)", path.get("d", "")))
    assert x0 < x1
    assert y0 > y1
    assert path.get("stroke") == LOOK.colour


def test_what_is_unknown_is_left_out() -> None:
    svg = drawn(Series("a", LOOK, np.arange(3.0), np.array([0.0, np.nan, 1.0]), NOTHING, NOTHING))
    assert words(svg) == ["reach: 0\na 0", "reach: 2\na 1"]
    assert marks(svg, "area") == []
    assert "nan" not in ElementTree.tostring(svg, encoding="unicode").lower()
    assert marks(drawn(Series("a", LOOK, NOTHING, NOTHING)), "line") == []


def test_a_title_too_wide_for_its_block_is_left_out() -> None:
    blocks = [Shade(0.0, 2.0, "much too wide a title", True), Shade(2.0, 100.0, "before", False)]
    assert [mark.text for mark in marks(drawn(shades=blocks), "text")] == ["before"]


def test_a_row_shows_its_interval_its_seeds_and_its_text() -> None:
    rows = [
        Row("a", LOOK, 20.0, 10.0, 30.0, np.array([15.0, 25.0, np.nan]), "20 % [10, 30]"),
        Row("b", LOOK, math.nan, math.nan, math.nan, np.array([math.inf]), "never"),
    ]
    svg = ElementTree.fromstring(value_chart(rows, alternative="", x_label="left, %"))
    assert words(svg) == ["a\n20 % [10, 30]\nseeds: 15, 25", "b\nnever\nseeds: never"]
    assert len(marks(svg, "symbol")) == 3, "two seeds and one value"
    assert len(marks(svg, "rule")) == 1
    assert [mark.text for mark in marks(svg, "text")] == ["a", "b", "20 % [10, 30]", "never"]


def test_the_same_data_give_the_same_bytes_and_charts_share_no_ids() -> None:
    x = np.arange(3.0)

    def chart(alternative: str) -> str:
        return line_chart([Series("a", LOOK, x, x)], alternative=alternative, x_label="x", y_label="y")

    assert chart("one") == chart("one")
    ids = [set(re.findall(r'id="([^"]+)"', chart(name))) for name in ("one", "two")]
    assert ids[0]
    assert not ids[0] & ids[1]
    assert ids[0] == set(re.findall(r"url\(#([^)]+)\)", chart("one")))


def test_learners_differ_without_their_colour() -> None:
    chosen = looks([f"learner {k}" for k in range(36)], lambda _: "#000000")
    assert len(set(chosen.values())) == 36
    assert len(set(map(legend_sample, chosen.values()))) == 36
