"""The report's figures, as SVG text to be put into the page: small, printable, the same bytes on every run.

Each function takes plain tables and a colour for each learner, and gives one <svg> element. Text stays text,
so it can be read aloud and searched; the ids inside are made unique to the figure.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from reach.study.people import HumanCurve

Floats = NDArray[np.float64]
Band = Callable[[Floats], tuple[Floats, Floats, Floats]]  # (seeds, n) -> mean, low, high, each (n,)

INK = "#222222"
FAINT = "#8a8a8a"
SHADE = "#f2eee4"
# Learners differ in marker as well as in colour, for print and for the colour-blind.
MARKERS = ("", "o", "s", "^", "D", "v", "P", "X")
MARK_EVERY = 12  # reaches
STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 11,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "figure.constrained_layout.use": True,
}
BLOCK_TITLES = {"baseline": "no perturbation", "perturbed": "perturbed", "washout": "perturbation gone"}


def to_svg(figure: Figure, name: str, alternative: str) -> str:
    """A figure as one <svg> element as wide as its place. alternative: what a screen reader says."""
    text = io.StringIO()
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<svg [^>]*viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" role="img">', svg, count=1)
    svg = re.sub(r'(\bid=")', rf"\1{name}-", svg)
    svg = re.sub(r"(url\(#|href=\"#)", rf"\1{name}-", svg)
    # One generic family instead of the machine's list, which the reader's browser does not have.
    svg = re.sub(r"font: ([^;\"]*?)px [^;\"]*", r"font: \1px system-ui, sans-serif", svg)
    escaped = alternative.replace("&", "&amp;").replace("<", "&lt;")
    return svg.replace(">", f"><title>{escaped}</title>", 1)


def _new(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height))
    axes = figure.subplots(1, columns, squeeze=False, sharey=columns > 1)
    return figure, list(axes[0])


def _marks(colours: Mapping[str, str], learner: str, every: int = MARK_EVERY) -> dict[str, Any]:
    """The markers on a learner's line, the same in every figure; staggered, so that they do not cover each other."""
    place = list(colours).index(learner)
    start = place * every // len(colours)
    return {"marker": MARKERS[place % len(MARKERS)], "ms": 5, "mew": 0, "markevery": (start, every)}


def headline(
    rows: pd.DataFrame,
    per_seed: pd.DataFrame,
    *,
    learners: Sequence[str],
    titles: Mapping[str, str],
    colours: Mapping[str, str],
) -> str:
    """L30 of every learner with its interval, one panel a protocol; each seed is a small dot.

    rows: protocol, learner, value, low, high. per_seed: protocol, learner, value. titles: protocol -> title.
    """
    with mpl.rc_context(STYLE):
        figure, axes = _new(0.6 + 3.1 * len(titles), 1.15 + 0.42 * len(learners), len(titles))
        for ax, (protocol, title) in zip(axes, titles.items(), strict=True):
            ax.axvline(100.0, color=FAINT, lw=1, ls=(0, (3, 3)))
            for place, learner in enumerate(learners):
                mine = per_seed[(per_seed.protocol == protocol) & (per_seed.learner == learner)]
                row = rows[(rows.protocol == protocol) & (rows.learner == learner)]
                dots = 100 * mine["value"].to_numpy(float)
                ax.plot(
                    dots,
                    np.full(len(dots), place + 0.24),
                    ".",
                    ms=5,
                    color=colours[learner],
                    alpha=0.55,
                    mew=0,
                )
                if row.empty or not np.isfinite(row["value"].iloc[0]):
                    continue
                value, low, high = (100 * float(row[key].iloc[0]) for key in ("value", "low", "high"))
                if np.isfinite(low) and np.isfinite(high):
                    ax.plot([low, high], [place, place], color=colours[learner], lw=4, alpha=0.5)
                ax.plot(value, place, "o", ms=8, color=colours[learner])
                ax.annotate(
                    f"{value:.0f} %",
                    (value, place),
                    (0, 8),
                    textcoords="offset points",
                    ha="center",
                    fontsize=10,
                    bbox={"boxstyle": "square,pad=0.1", "fc": "white", "ec": "none"},
                )
            ax.set_title(title, fontsize=11, loc="left")
            ax.set_xlim(0, max(112.0, ax.get_xlim()[1]))
            ax.set_xlabel("of the miss left (%)")
            ax.set_ylim(len(learners) - 0.4, -0.75)
            ax.set_yticks(range(len(learners)), learners)
            ax.tick_params(axis="y", length=0)
        axes[0].annotate(
            "learns\nnothing", (100, len(learners) - 0.45), (-4, 2), textcoords="offset points",
            ha="right", va="bottom", fontsize=9, color="#666666",
        )  # fmt: skip
        return to_svg(
            figure,
            "headline",
            "Share of the miss that is left over the first 30 perturbed reaches, by learner",
        )


def learning_curves(
    curves: Mapping[str, tuple[Floats, Floats]],
    blocks: Sequence[tuple[str, float, float, bool]],
    *,
    name: str,
    colours: Mapping[str, str],
    band: Band,
    label: str = "launch error (degrees)",
) -> str:
    """Launch error by reach: a line a learner (mean over seeds) with its band, blocks shaded.

    curves: learner -> trial numbers (n,) and errors (seeds, n).
    blocks: name, first trial, last trial, whether perturbed.
    """
    with mpl.rc_context(STYLE):
        figure, (ax,) = _new(5.6, 3.7)
        ax.axhline(0.0, color=FAINT, lw=1)
        for learner, (trials, errors) in curves.items():
            mean, low, high = band(errors)
            colour = colours[learner]
            ax.fill_between(trials, low, high, color=colour, alpha=0.2, lw=0)
            ax.plot(trials, mean, color=colour, lw=1.6, label=learner, **_marks(colours, learner))
        top = ax.get_ylim()[1]
        for block, first, last, perturbed in blocks:
            if perturbed:
                ax.axvspan(first - 0.5, last + 0.5, color=SHADE, zorder=-2, lw=0)
            ax.annotate(
                BLOCK_TITLES.get(block, block), ((first + last) / 2, top), (0, 3), textcoords="offset points",
                ha="center", va="bottom", fontsize=9, color="#555555",
            )  # fmt: skip
        ax.set_xlim(blocks[0][1] - 1, blocks[-1][2] + 1)
        ax.set_xlabel("reach")
        ax.set_ylabel(label)
        figure.legend(
            loc="outside lower center", ncols=4, frameon=False, fontsize=9.5, handlelength=2.2, columnspacing=1.2
        )
        return to_svg(figure, name, f"Launch error by reach for {', '.join(curves)}")


def beside_people(
    learners: Mapping[str, Floats],
    people: Sequence[HumanCurve],
    *,
    learners_title: str,
    colours: Mapping[str, str],
    band: Band,
) -> str:
    """Adaptation index over the same blocks of reaches after onset: learners as lines, people as symbols.

    learners: name -> index by reach (seeds, n). The perturbations differ, and the legend says so.
    """
    blocks = people[0].blocks
    places = np.arange(len(blocks), dtype=np.float64)
    symbols = (("o", INK), ("D", "white"))
    with mpl.rc_context(STYLE):
        figure, (ax,) = _new(5.6, 4.0)
        ax.axhline(0.0, color=FAINT, lw=1)
        ax.axhline(1.0, color=FAINT, lw=1, ls=(0, (3, 3)))
        for learner, index in learners.items():
            mean, low, high = band(np.stack([_block_mean(index, *block) for block in blocks], axis=1))
            colour = colours[learner]
            ax.fill_between(places, low, high, color=colour, alpha=0.2, lw=0)
            ax.plot(
                places, mean, color=colour, lw=1.8, label=f"{learner}, {learners_title}", **_marks(colours, learner, 1)
            )
        for (symbol, fill), one in zip(symbols, people, strict=False):
            ax.plot(
                places, one.index, ls="", marker=symbol, ms=7, mfc=fill, mec=INK, mew=1.4,
                label=f"{one.name}, {one.perturbation}",
            )  # fmt: skip
        ax.set_xticks(places, [f"{first}-{last}" if last > first else f"{first}" for first, last in blocks])
        ax.tick_params(axis="x", labelsize=9.5)
        ax.set_xlabel("reaches after the perturbation began")
        ax.set_ylabel("adaptation index\n(0 none, 1 fully corrected)")
        figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9.5, handlelength=2.2)
        return to_svg(figure, "people", "Adaptation index of the learners and of people, by block of reaches")


def _block_mean(index: Floats, first: int, last: int) -> Floats:
    """Mean of the reaches first to last (from 1) of (seeds, n); NaN for a seed that has none of them."""
    block = index[:, first - 1 : last]
    known = np.isfinite(block)
    total = np.where(known, block, 0.0).sum(axis=1)
    return np.where(known.any(axis=1), total / np.maximum(known.sum(axis=1), 1), np.nan)
