"""The laws of the charts: numbers on their places, data carried along, learners told apart without colour."""

from __future__ import annotations

import json
import math
from xml.etree import ElementTree

import numpy as np
import pytest

from reach.study.report.charts import Look, Row, Series, Shade, line_chart, log_ticks, looks, ticks, value_chart
from reach.study.report.metrics import shown

LOOK = Look("#0072b2")


def drawn(*series: Series, **options: object) -> ElementTree.Element:
    svg = line_chart(series, name="one", alternative="a < b", x_label="reach", y_label="error", **options)  # type: ignore[arg-type]
    return ElementTree.fromstring(svg)


def named(svg: ElementTree.Element, tag: str, kind: str) -> list[ElementTree.Element]:
    return [one for one in svg.iter(tag) if one.get("class") == kind]


def test_ticks_are_round_and_inside_their_range() -> None:
    for low, high in [(-37.0, 38.0), (0.0, 1.0), (0.0, 0.013), (3.0, 140.0), (-5.0, -1.0)]:
        found = ticks(low, high)
        assert 2 <= len(found) <= 6
        assert all(low <= tick <= high for tick in found)
        step = found[1] - found[0]
        assert step / 10 ** math.floor(math.log10(step) + 1e-9) == pytest.approx(
            round(step / 10 ** math.floor(math.log10(step) + 1e-9))
        )
    assert log_ticks(0.15, 3.0) == [0.2, 0.5, 1.0, 2.0]
    assert log_ticks(1e-4, 1e3) == pytest.approx([10.0**k for k in range(-4, 4)])


def test_numbers_are_written_short() -> None:
    assert [shown(v) for v in (0.0, -0.5, 12345.6, 0.0123456, math.inf, math.nan)] == [
        "0", "\N{MINUS SIGN}0.5", "12,346", "0.0123", "never", "",
    ]  # fmt: skip


def test_a_chart_is_well_formed_names_itself_and_carries_its_values() -> None:
    x = np.arange(1.0, 6.0)
    svg = drawn(Series("a & b", LOOK, x, x**2, x**2 - 1.0, x**2 + 1.0))
    assert svg.find("title") is not None
    assert svg.find("title").text == "a < b"  # type: ignore[union-attr]
    (series,) = named(svg, "g", "series")
    assert series.get("data-name") == "a & b"
    assert json.loads(series.get("data-points", ""))[1] == [2.0, 4.0, 3.0, 5.0]
    frame = json.loads(svg.get("data-frame", ""))
    assert frame["x"] == [1.0, 5.0]
    assert frame["y"][0] <= 0.0
    assert frame["y"][1] >= 26.0


def test_a_line_goes_through_its_values_and_a_larger_one_lies_higher() -> None:
    svg = drawn(Series("a", LOOK, np.array([0.0, 10.0]), np.array([0.0, 1.0])))
    (path,) = [one for one in svg.iter("path") if one.get("fill") == "none"]
    (x0, y0), (x1, y1) = (map(float, point.split()) for point in path.get("d", "")[1:].split("L"))
    assert x0 < x1
    assert y0 > y1


def test_what_is_unknown_is_left_out() -> None:
    nothing = np.full(3, np.nan)
    svg = drawn(Series("a", LOOK, np.arange(3.0), np.array([0.0, np.nan, 1.0]), nothing, nothing))
    (series,) = named(svg, "g", "series")
    assert [point[0] for point in json.loads(series.get("data-points", ""))] == [0.0, 2.0]
    assert "nan" not in ElementTree.tostring(svg, encoding="unicode")
    assert named(drawn(Series("a", LOOK, nothing, nothing)), "g", "series")


def test_a_title_too_wide_for_its_block_is_left_out() -> None:
    blocks = [Shade(0.0, 2.0, "much too wide a title", True), Shade(2.0, 100.0, "before", False)]
    texts = [one.text for one in drawn(shades=blocks).iter("text")]
    assert "before" in texts
    assert "much too wide a title" not in texts


def test_a_row_shows_its_interval_its_seeds_and_its_text() -> None:
    rows = [
        Row("a", LOOK, 20.0, 10.0, 30.0, np.array([15.0, 25.0, np.nan]), "20 % [10, 30]"),
        Row("b", LOOK, math.inf, math.nan, math.nan, np.array([math.inf]), "never"),
    ]
    svg = ElementTree.fromstring(value_chart(rows, name="v", alternative="", x_label="left, %"))
    first, second = named(svg, "g", "row")
    assert first.get("data-seeds") == "15, 25"
    assert [one.get("r") for one in first.iter("circle")] == ["2", "2", "5"]
    assert [one.text for one in second.iter("text")] == ["b", "never"]
    assert list(second.iter("circle")) == []


def test_learners_differ_without_their_colour() -> None:
    found = looks([f"learner {k}" for k in range(30)], lambda _: "#000000")
    assert len(set(found.values())) == 30
