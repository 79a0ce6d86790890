"""Print the tables of README's results from the numbers that `compare.py` has written: `python docs/tables.py`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

RESULTS = Path(__file__).with_name("results")
# Head of a column, protocol, metric, factor, and decimals.
Column = tuple[str, str, str, float, int]
DEEP: tuple[Column, ...] = (
    ("left at the end", "context16", "late_error", 100.0, 0),
    ("reaches to a half", "context16", "halving_reaches", 1.0, 0),
)
SPIKING: tuple[Column, ...] = (
    ("left at the end", "context", "late_error", 100.0, 0),
    ("reaches to a half", "context", "halving_reaches", 1.0, 0),
)


def table(file: Path, columns: tuple[Column, ...]) -> list[str]:
    """Return the lines of a Markdown table: a line for each learner that has the first column, with intervals.

    Args:
        file: a `summary.csv`. Below five seeds a value has no interval.
        columns: what is shown.
    """
    summary = pd.read_csv(file).set_index(["learner", "protocol", "metric"])
    (_, protocol, metric, *_), *_ = columns
    learners = summary.xs((protocol, metric), level=("protocol", "metric")).index
    lines = [f"| learner | seeds | {' | '.join(head for head, *_ in columns)} |", f"|{'---|' * (2 + len(columns))}"]
    for learner in learners:
        cells = []
        for _, protocol, metric, factor, decimals in columns:
            numbers = summary.loc[(learner, protocol, metric), ["value", "low", "high"]].dropna()
            # Adding 0 makes 0 of -0.
            value, *interval = (f"{round(factor * number, decimals) + 0.0:.{decimals}f}" for number in numbers)
            cells.append(f"{value} [{', '.join(interval)}]" if interval else value)
        seeds = summary.loc[(learner, protocol, metric), "seeds"]
        lines.append(f"| `{learner}` | {seeds} | {' | '.join(cells)} |")
    return lines


def deep() -> list[str]:
    """README's table of the rules preset: four hidden layers and 16 lamps."""
    return table(RESULTS / "rules-summary.csv", DEEP)


def spiking() -> list[str]:
    """README's table of the rules preset: the spiking network and four lamps."""
    return table(RESULTS / "rules-summary.csv", SPIKING)


if __name__ == "__main__":
    print("\n".join([*deep(), "", *spiking()]))
