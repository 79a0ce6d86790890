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
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (2, 1.2)), (0, (6, 1.5, 1.5, 1.5)), (0, (1, 1)))
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
        for place, (learner, (trials, errors)) in enumerate(curves.items()):
            mean, low, high = band(errors)
            colour = colours[learner]
            ax.fill_between(trials, low, high, color=colour, alpha=0.2, lw=0)
            ax.plot(trials, mean, color=colour, lw=1.8, ls=DASHES[place % len(DASHES)], label=learner)
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
    upto: int = 60,
) -> str:
    """Adaptation index by reach after onset: learners as lines, people as block means.

    learners: name -> index by reach (seeds, n); the perturbations differ, and the legend says so.
    """
    markers = ("o", "s", "^")
    with mpl.rc_context(STYLE):
        figure, (ax,) = _new(5.6, 3.9)
        ax.axhline(0.0, color=FAINT, lw=1)
        ax.axhline(1.0, color=FAINT, lw=1, ls=(0, (3, 3)))
        for place, (learner, index) in enumerate(learners.items()):
            mean, _, _ = band(index[:, :upto])
            reaches = np.arange(1, len(mean) + 1)
            ax.plot(
                reaches, mean, color=colours[learner], lw=1.5, ls=DASHES[place % len(DASHES)],
                label=f"{learner}, {learners_title}",
            )  # fmt: skip
        for place, one in enumerate(people):
            shown = [(first, last, level) for (first, last), level in zip(one.blocks, one.index, strict=True)
                     if last <= upto]  # fmt: skip
            ax.plot(
                [(first + last) / 2 for first, last, _ in shown], [level for *_, level in shown],
                ls="", marker=markers[place % len(markers)], ms=7, mfc="white" if place else INK, mec=INK,
                mew=1.4, label=f"{one.name}, {one.perturbation}",
            )  # fmt: skip
            for first, last, level in shown:
                ax.plot([first - 0.4, last + 0.4], [level, level], color=INK, lw=0.9)
        ax.set_xlabel("reach after the perturbation began")
        ax.set_ylabel("adaptation index")
        ax.set_ylim(-0.25, 1.25)
        ax.annotate(
            "fully corrected",
            (upto, 1.0),
            (0, 3),
            textcoords="offset points",
            ha="right",
            fontsize=9,
            color="#555555",
        )
        figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9, handlelength=2.6)
        return to_svg(figure, "people", "Adaptation index of the learners and of people, by reach")
