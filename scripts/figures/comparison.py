"""Draw the result of a study as one picture: `figure.py comparison --study runs/paper`.

On the left is the error of each reach over the whole protocol, on the right L30 of each learner with its interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from figures.picture_file import require_picture_file, write_figure

from reach.files import make_folder
from reach.render.palette import learner_colour
from reach.study import load
from reach.study.report import towards_the_miss
from reach.study.statistics import summarise

# Length of the running mean that smooths a curve.
SMOOTHED_REACHES = 3


@dataclass
class Options:
    """Draw the result of a study as one picture."""

    study: Path
    """Folder of a study, as `compare.py` writes it."""
    out: Path = Path("docs/pictures/comparison.png")
    """File of the picture: .png, .svg or .pdf."""
    protocol: str = "rotation30"
    """Protocol to show."""

    def __post_init__(self) -> None:
        require_picture_file(self.out)

    def draw(self) -> None:
        """Draw and write."""
        from matplotlib.figure import Figure

        make_folder(self.out.parent, "--out")
        try:
            trials = load(self.study)
        except (OSError, ValueError) as error:
            raise SystemExit(f"--study {self.study}: {error}") from None
        trials = trials[trials["protocol"] == self.protocol]
        if trials.empty:
            raise SystemExit(
                f"--protocol {self.protocol}: expected a protocol of {self.study}, which has no reach of it"
            )
        l30 = summarise(trials).query("metric == 'L30'").reset_index(drop=True)
        if l30.empty:
            raise SystemExit(f"--protocol {self.protocol}: expected a lasting perturbation, which L30 needs")
        figure = Figure(figsize=(9.6, 4.0), layout="constrained")
        curves, values = figure.subplots(1, 2, width_ratios=[1.7, 1.0])
        draw_curves(curves, towards_the_miss(trials))
        draw_values(values, l30)
        write_figure(figure, self.out, dpi=150)
        print(f"Picture: {self.out}")


def draw_curves(axes: Any, trials: pd.DataFrame) -> None:
    """Draw the error of each reach: mean over seeds, and the middle half of the seeds as a band."""
    reaches = trials[~trials["probe"].astype(bool)]
    for _, block in reaches[reaches["block"] == "perturbed"].groupby("block_number"):
        first, last = int(block["trial"].min()), int(block["trial"].max())
        axes.axvspan(first, last, color="#f5f1e6", lw=0)
        axes.text(first + 1, 1.0, "perturbed", transform=axes.get_xaxis_transform(), va="bottom", color="#555555")
    axes.axhline(0.0, color="#cccccc", lw=1)
    for learner, rows in reaches.groupby("learner", sort=False):
        table = rows.pivot(index=["block_number", "trial"], columns="seed", values="launch_error_deg")
        smooth = table.groupby("block_number").rolling(SMOOTHED_REACHES, center=True, min_periods=1).mean()
        smooth.index = smooth.index.get_level_values("trial")
        colour = learner_colour(str(learner))
        axes.fill_between(
            smooth.index, *smooth.quantile([0.25, 0.75], axis=1).to_numpy(), color=colour, alpha=0.2, lw=0
        )
        axes.plot(smooth.index, smooth.mean(axis=1), color=colour, lw=1.4)
    axes.set(xlabel="reach", ylabel="launch error, degrees")
    axes.spines[["top", "right"]].set_visible(False)


def draw_values(axes: Any, rows: pd.DataFrame) -> None:
    """Draw L30, a row for each learner."""
    place = np.arange(len(rows))[::-1]
    for at, row in zip(place, rows.to_dict("records"), strict=True):
        colour = learner_colour(row["learner"])
        interval = [100 * row["low"], 100 * row["high"]]
        axes.plot(interval, [at, at], color=colour, lw=3, alpha=0.5, solid_capstyle="butt")
        axes.plot(100 * row["value"], at, "o", color=colour, ms=6)
    axes.set_yticks(place, rows["learner"])
    axes.set_xlim(0, None)
    axes.set(xlabel="left of the miss (L30), %")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)
    axes.grid(axis="x", color="#ececec")
