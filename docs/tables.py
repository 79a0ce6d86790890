"""Print the tables of README's results from the numbers that `compare.py` has written: `python docs/tables.py`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

RESULTS = Path(__file__).with_name("results")
# Head of a column, protocol, metric, factor, and decimals.
Column = tuple[str, str, str, float, int]
# A dagger marks what was computed with an earlier definition of its measure.
PAPER: tuple[Column, ...] = (
    ("rotation by 30°", "rotation30", "L30", 100.0, 0),
    ("prism", "prism", "L30", 100.0, 0),
    ("curl field †", "curl", "L30", 100.0, 0),
    ("rotation that turns every 8 reaches", "switching", "switching_8", 100.0, 0),
    ("after-effect of the rotation †", "rotation30", "after_effect", 1.0, 2),
    ("interference by its opposite", "interference", "interference", 1.0, 2),
    ("reaction to a cup jump, ms †", "jump", "latency_s", 1000.0, 0),
)
SWITCHING: tuple[Column, ...] = tuple(
    (f"every {every}" if every == 32 else str(every), "switching", f"switching_{every}", 1.0, 2)
    for every in (32, 16, 8, 4)
)
HIDDEN: tuple[Column, ...] = (
    ("L30", "rotation30", "L30", 1.0, 2),
    ("left at the end", "rotation30", "late_error", 1.0, 2),
    ("after-effect †", "rotation30", "after_effect", 1.0, 2),
)


def table(file: Path, columns: tuple[Column, ...], without: tuple[str, ...] = ()) -> list[str]:
    """Lines of a Markdown table: a line a learner, in the order of the file, with intervals.

    Args:
        file: a `summary.csv`.
        columns: what is shown.
        without: learners that are left out.
    """
    found = pd.read_csv(file).set_index(["learner", "protocol", "metric"])
    learners = [name for name in dict.fromkeys(found.index.get_level_values("learner")) if name not in without]
    lines = [f"| learner | {' | '.join(head for head, *_ in columns)} |", f"|{'---|' * (1 + len(columns))}"]
    for learner in learners:
        cells = []
        for _, protocol, metric, factor, decimals in columns:
            numbers = found.loc[(learner, protocol, metric), ["value", "low", "high"]]
            # Adding 0 makes a zero of what would read as less than nothing.
            value, low, high = (f"{round(factor * one, decimals) + 0.0:.{decimals}f}" for one in numbers)
            cells.append(f"{value} [{low}, {high}]")
        lines.append(f"| `{learner}` | {' | '.join(cells)} |")
    return lines


def paper() -> list[str]:
    """README's table of the paper preset."""
    return table(RESULTS / "paper-summary.csv", PAPER)


def switching() -> list[str]:
    """README's table of the switching preset."""
    return table(RESULTS / "switching-summary.csv", SWITCHING, without=("none",))


def hidden() -> list[str]:
    """README's table of hidden synapses that correct alone."""
    return table(RESULTS / "hidden-summary.csv", HIDDEN, without=("none",))


if __name__ == "__main__":
    print("\n".join([*paper(), "", *switching(), "", *hidden()]))
