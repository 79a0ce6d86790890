"""Draw a person's corrections with those of learners and of people in a laboratory, and summarise them in words."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reach.protocols import Protocol
from reach.render.palette import learner_colour
from reach.study.people import human_data
from reach.study.run.measures import adaptation_index, per_seed

PERSON_COLOUR = "#a63e7b"
LEGEND_COLUMNS = 3


@dataclass(frozen=True)
class Chart:
    """A chart: (height, width, 3) uint8 pixels, and the bytes of a PNG of the same."""

    pixels: NDArray[np.uint8]
    png: bytes


def summary_lines(trials: pd.DataFrame) -> list[str]:
    """Return a person's measures, one line each, without those that the protocol does not have."""
    measured = per_seed(trials).set_index("metric")["value"]
    lines = []

    def share(name: str) -> str | None:
        """Return a measure in percent; None if it was not measured."""
        value = float(measured.get(name, math.nan))
        return f"{100 * value:.0f} %" if math.isfinite(value) else None

    if (remaining := share("L30")) is not None:
        lines.append(f"{remaining} of the error remained on average over your first 30 perturbed reaches (L30).")
    if (corrected := share("A")) is not None:
        tau = float(measured.get("tau", math.nan))
        within = f", 63 % of that within {tau:.0f} reaches (tau)" if math.isfinite(tau) else ""
        lines.append(f"You corrected {corrected} of it in the end{within}.")
    if (after := share("after_effect")) is not None:
        side = "to the other side (after-effect)" if measured["after_effect"] < 0.0 else "to the same side"
        lines.append(f"Without the perturbation you then missed by {after.replace('-', '')} of it {side}.")
    reaction_s = float(trials.loc[~trials["probe"], "reaction_time_s"].median())
    if math.isfinite(reaction_s):
        lines.append(f"Your hand started {1000 * reaction_s:.0f} ms after the cup appeared (median).")
    return lines


def draw_chart(trials: pd.DataFrame, others: pd.DataFrame | None, protocol: Protocol, size: tuple[int, int]) -> Chart:
    """Return a chart of a person's corrections.

    Args:
        trials: of the person.
        others: of learners, in any protocols; None for none.
        protocol: of the person.
        size: (width, height), pixels.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size[0] / 100, size[1] / 100), dpi=100, layout="constrained")
    canvas: Any = FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.axhline(0.0, color="#cccccc", lw=1)
    axes.axhline(1.0, color="#cccccc", lw=1)
    if others is not None:
        beside = adaptation_index(others[others["protocol"] == protocol.name])
        for learner, rows in beside.groupby("learner", sort=False):
            mean = rows.groupby("trial_in_block")["index"].mean()
            axes.plot(mean.index, mean, color=learner_colour(str(learner)), lw=1.3, label=str(learner))
    if protocol.name.startswith("rotation"):
        for curve, mark in zip(human_data.CURVES[:2], ("s", "D"), strict=True):
            middles = [0.5 * (first + last) for first, last in curve.blocks]
            label = f"{curve.name}, {curve.perturbation} ('t Hart 2024)"
            axes.plot(middles, curve.index, mark, color="black", mfc="white", ms=5, label=label, zorder=4)
    own = adaptation_index(trials)
    axes.plot(own["trial_in_block"], own["index"], "o-", color=PERSON_COLOUR, ms=4, lw=1.8, label="you")
    axes.set(xlabel="reach since the perturbation began", ylabel="corrected, share of the miss", ylim=(-0.5, 1.6))
    axes.set_title("\n".join(summary_lines(trials)), loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower left", ncols=LEGEND_COLUMNS, frameon=False, fontsize=8)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3].copy()
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=100)
    return Chart(pixels, data.getvalue())
