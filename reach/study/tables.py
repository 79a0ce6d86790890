"""The measures as a reader sees them: names, units, meanings, and the table that is printed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

NO_NUMBER = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
TITLES = {"rotation30": "30° rotation of the seen hand", "prism": "prism shift"}


@dataclass(frozen=True)
class Measure:
    """One column of the table. better: "low", "high" or "" where neither is; scale: shown = value x scale."""

    metric: str
    label: str
    unit: str
    digits: int
    better: str
    meaning: str
    scale: float = 1.0
    no_number: str = NO_NUMBER


MEASURES: tuple[Measure, ...] = (
    Measure(
        metric="L30",
        label="L30",
        unit="% of the miss",
        digits=0,
        better="low",
        meaning="Mean size of the launch error over the first 30 perturbed reaches, in percent of that of "
        "the arm that does not learn. 100 % learns nothing, 0 % is corrected at once. The headline.",
        scale=100.0,
    ),
    Measure(
        metric="N63",
        label="N63",
        unit="reaches",
        digits=0,
        better="low",
        meaning="First perturbed reach by which 63 % of the miss is gone (running median of 4 below 0.368).",
        no_number="never",
    ),
    Measure(
        metric="A",
        label="A",
        unit="of the miss",
        digits=2,
        better="",
        meaning="How much is corrected in the end (1 = all): asymptote of the fit A (1 - exp(-(n - 1) / tau)).",
    ),
    Measure(
        metric="tau",
        label="tau",
        unit="reaches",
        digits=1,
        better="",
        meaning="How many reaches that fit takes for 63 % of A. Says nothing where A is near 0.",
    ),
    Measure(
        metric="late_error",
        label="left at the end",
        unit="% of the miss",
        digits=0,
        better="low",
        meaning="Mean size of the launch error over the last 10 perturbed reaches.",
        scale=100.0,
    ),
    Measure(
        metric="after_effect",
        label="after-effect",
        unit="of the miss",
        digits=2,
        better="",
        meaning="Launch error in the first 4 reaches after the perturbation has gone, as a fraction of the "
        "miss. Negative: to the other side, the sign that something was learned and not merely steered.",
    ),
    Measure(
        metric="endpoint_early_cm",
        label="endpoint, early",
        unit="cm",
        digits=1,
        better="low",
        meaning="Distance from the cup to the seen hand at its first stop, first 10 perturbed reaches.",
    ),
    Measure(
        metric="endpoint_late_cm",
        label="endpoint, late",
        unit="cm",
        digits=1,
        better="low",
        meaning="The same over the last 10 perturbed reaches.",
    ),
    Measure(
        metric="time_to_success_s",
        label="time to success",
        unit="s",
        digits=2,
        better="low",
        meaning="Mean time until the hand is at the cup, of the perturbed reaches that got there.",
    ),
    Measure(
        metric="success",
        label="success",
        unit="%",
        digits=0,
        better="high",
        meaning="Share of perturbed reaches that got there in time.",
        scale=100.0,
    ),
)


def named_protocol(protocol: str) -> str:
    """What a protocol is called in a sentence."""
    return TITLES.get(protocol, protocol)


def counted(n: int, thing: str) -> str:
    """A number of things in words."""
    return f"{n} {thing}" + ("" if n == 1 else "s")


def number(measure: Measure, value: Any) -> str:
    """A value as it is shown."""
    if value is None or not math.isfinite(value):
        return measure.no_number
    text = f"{float(value) * measure.scale:.{measure.digits}f}"
    return text.replace("-", MINUS) if float(text) != 0.0 else text.lstrip("-")


def interval(measure: Measure, low: Any, high: Any) -> str:
    """An interval as it is shown; empty when there is none."""
    if low is None or high is None or math.isnan(low) or math.isnan(high) or math.isinf(low):
        return ""
    return f"[{number(measure, low)}, {number(measure, high)}]"


def shown_measures(summary: pd.DataFrame) -> list[Measure]:
    """The measures of MEASURES that the summary holds."""
    held = set(summary["metric"])
    return [measure for measure in MEASURES if measure.metric in held]


def lookup(summary: pd.DataFrame) -> Mapping[tuple[str, str, str], Mapping[str, Any]]:
    """(protocol, learner, metric) -> row."""
    rows: list[dict[str, Any]] = [{str(k): v for k, v in row.items()} for row in summary.to_dict("records")]
    return {(row["protocol"], row["learner"], row["metric"]): row for row in rows}


def print_table(summary: pd.DataFrame, console: Console | None = None) -> None:
    """Print one table a protocol: measures down, learners across, each number with its interval below it."""
    console = console or Console()
    rows = lookup(summary)
    for protocol in summary["protocol"].unique():
        mine = summary[summary["protocol"] == protocol]
        learners = [str(learner) for learner in mine["learner"].unique()]
        title = f"{named_protocol(protocol)}, {counted(int(mine['seeds'].max()), 'seed')}, 95 % intervals"
        table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
        table.add_column("")
        for learner in learners:
            table.add_column(learner, justify="right", overflow="fold")
        for measure in shown_measures(mine):
            cells = [Text(f"{measure.label}\n{measure.unit}")]
            for learner in learners:
                row = rows.get((protocol, learner, measure.metric), {"value": None, "low": None, "high": None})
                below = interval(measure, row["low"], row["high"])
                cells.append(Text.assemble(number(measure, row["value"]), "\n", (below, "dim")))
            table.add_row(*cells)
        console.print(table)
