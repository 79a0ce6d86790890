"""Draw a figure of the README or the docs: `python scripts/figure.py comparison --study runs/paper`."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import command
import numpy as np
import pandas as pd
import torch
import tyro
from tuning import criterion_of, read_settings, search_space

from agents.learner import prepare
from agents.networks.registry import NETWORKS
from agents.registry import FACTORIES, POSTURE, TUNED, find, is_learner
from reach.files import make_folder, write_file
from reach.protocols import PROTOCOLS
from reach.render import side_by_side
from reach.render.canvas import Frame
from reach.render.film import write_png
from reach.render.palette import learner_colour
from reach.study import load, plan
from reach.study.report import towards_the_miss
from reach.study.run import run_protocol
from reach.study.statistics import summarise
from reach.study.watch.session import trial_indices

FORMATS = (".png", ".svg", ".pdf")


def require_picture_file(out: Path) -> None:
    """Exit with an error message unless `out` is a file name that ends in one of FORMATS."""
    if out.suffix not in FORMATS or out.is_dir():
        raise SystemExit(f"--out {out}: expected a file whose name ends in {', '.join(FORMATS)}")


def write_figure(figure: Any, path: Path, dpi: int) -> None:
    """Write a matplotlib figure atomically, in the format that the suffix of `path` names."""
    data = io.BytesIO()
    figure.savefig(data, format=path.suffix.removeprefix("."), dpi=dpi)
    write_file(path, data.getvalue())


# --- comparison: the result of a study ------------------------------------------------------------------------

# Length of the moving average of a curve.
SMOOTHING_REACHES = 3


@dataclass
class Comparison:
    """Draw the result of a study: launch error of each reach, and L30 of each learner with its confidence interval."""

    study: Path
    """Folder of a study, written by `compare.py`."""
    out: Path = Path("docs/pictures/comparison.png")
    """File of the picture: .png, .svg or .pdf."""
    protocol: str = "rotation30"
    """Protocol to show."""

    def __post_init__(self) -> None:
        require_picture_file(self.out)

    def draw(self) -> None:
        """Draw the figure and write it to `out`."""
        from matplotlib.figure import Figure

        make_folder(self.out.parent, "--out")
        try:
            trials = load(self.study)
        except (OSError, ValueError) as error:
            raise SystemExit(f"--study {self.study}: {error}") from None
        trials = trials[trials["protocol"] == self.protocol]
        if trials.empty:
            raise SystemExit(f"--protocol {self.protocol}: the study {self.study} has no reaches of this protocol")
        l30 = summarise(trials).query("metric == 'L30'").reset_index(drop=True)
        if l30.empty:
            raise SystemExit(
                f"--protocol {self.protocol}: expected a protocol with a lasting perturbation, for which L30 is defined"
            )
        figure = Figure(figsize=(9.6, 4.0), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=[1.7, 1.0])
        draw_learning_curves(left, towards_the_miss(trials))
        draw_l30(right, l30)
        write_figure(figure, self.out, dpi=150)
        print(f"Picture: {self.out}")


def draw_learning_curves(axes: Any, trials: pd.DataFrame) -> None:
    """Draw the launch error of each reach: the mean over seeds, and their interquartile range as a band."""
    reaches = trials[~trials["probe"].astype(bool)]
    for _, block in reaches[reaches["block"] == "perturbed"].groupby("block_number"):
        first, last = int(block["trial"].min()), int(block["trial"].max())
        axes.axvspan(first, last, color="#f5f1e6", lw=0)
        axes.text(first + 1, 1.0, "perturbed", transform=axes.get_xaxis_transform(), va="bottom", color="#555555")
    axes.axhline(0.0, color="#cccccc", lw=1)
    for learner, rows in reaches.groupby("learner", sort=False):
        table = rows.pivot(index=["block_number", "trial"], columns="seed", values="launch_error_deg")
        smooth = table.groupby("block_number").rolling(SMOOTHING_REACHES, center=True, min_periods=1).mean()
        smooth.index = smooth.index.get_level_values("trial")
        colour = learner_colour(str(learner))
        low, high = smooth.quantile([0.25, 0.75], axis=1).to_numpy()
        axes.fill_between(smooth.index, low, high, color=colour, alpha=0.2, lw=0)
        axes.plot(smooth.index, smooth.mean(axis=1), color=colour, lw=1.4)
    axes.set(xlabel="reach", ylabel="launch error, degrees")
    axes.spines[["top", "right"]].set_visible(False)


def draw_l30(axes: Any, rows: pd.DataFrame) -> None:
    """Draw L30 of each learner with its confidence interval, from top to bottom."""
    heights = np.arange(len(rows))[::-1]
    for height, row in zip(heights, rows.to_dict("records"), strict=True):
        colour = learner_colour(row["learner"])
        interval = [100 * row["low"], 100 * row["high"]]
        axes.plot(interval, [height, height], color=colour, lw=3, alpha=0.5, solid_capstyle="butt")
        axes.plot(100 * row["value"], height, "o", color=colour, ms=6)
    axes.set_yticks(heights, rows["learner"])
    axes.set_xlim(0, None)
    axes.set(xlabel="left of the miss (L30), %")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)
    axes.grid(axis="x", color="#ececec")


# --- correction: four reaches of a learner -------------------------------------------------------------------

PROTOCOL = "rotation30"
# This control step ends at 0.90 s, when the first movement is over.
FIRST_MOVEMENT_STEP = 44
# Later than every trial, so that its last step is shown.
LAST_STEP = 10_000
# Number of the reach -> title and control step of the frame.
SHOWN_REACHES = {
    20: ("before: unperturbed", LAST_STEP),
    21: ("seen hand turned by 30°", FIRST_MOVEMENT_STEP),
    50: ("30 reaches later", LAST_STEP),
    121: ("turned back: the after-effect", FIRST_MOVEMENT_STEP),
}


@dataclass
class Correction:
    """Draw four reaches of a learner: before, during and after a rotation of the seen hand."""

    out: Path = Path("docs/pictures")
    """Folder to which correction.png is written."""
    keep: Path = Path("runs/watch")
    """Folder of trained learners. A missing learner is trained first and stored there."""
    learner: str = "error-dfa"
    """Learner whose reaches are shown."""

    def __post_init__(self) -> None:
        command.require_learners("--learner", [self.learner])

    def draw(self) -> None:
        """Run the learner in the protocol and write the four frames side by side."""
        torch.set_num_threads(1)
        make_folder(self.out, "--out")
        (training,) = plan([self.learner], {}, [0], factory=FACTORIES[POSTURE], out=self.keep)
        model = prepare(self.learner, 0, Path(training.folder))
        protocol = PROTOCOLS[PROTOCOL]
        observer = FrameObserver(
            {trial_indices(protocol, 0, reach, reach).pop(): shown for reach, shown in SHOWN_REACHES.items()}
        )
        run_protocol(model, protocol, 0, observer=observer)
        titles = [title for title, _ in SHOWN_REACHES.values()]
        picture = side_by_side([observer.frames[title] for title in titles], titles)
        path = write_png(self.out / "correction.png", picture)
        print(f"Picture: {path}")


@dataclass
class FrameObserver:
    """An observer that renders one frame of each chosen trial.

    Attributes:
        chosen: index of the trial -> title and control step of the frame. If the trial ends before, its last step is
            rendered.
        frames: title -> frame.
    """

    chosen: dict[int, tuple[str, int]]
    frames: dict[str, Frame] = field(default_factory=dict)

    def watches(self, index: int) -> bool:
        """Return whether a frame of a trial is rendered."""
        return index in self.chosen

    def on_step(self, index: int, step: int, over: bool, render: Callable[[], Any]) -> None:
        """Render the frame if this is its step."""
        title, chosen_step = self.chosen.get(index, ("", 0))
        if title and (step == chosen_step or (over and step < chosen_step)):
            self.frames[title] = np.asarray(render(), dtype=np.uint8)


# --- tuning: the result of each step size ---------------------------------------------------------------------

PANELS_IN_A_ROW = 4
# Markers distinguish learners of similar colour.
MARKERS = "osD^vPX*"
# If more of these ticks are in range, every second one is drawn.
MOST_TICKS = 6
TICKS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)


@dataclass
class Tuning:
    """Draw the result of each step size in the searches of `tune.py`, for each learner."""

    settings: Path = TUNED
    """File of settings with the history of their searches, written by `tune.py --settings`."""
    out: Path = Path("docs/pictures/tuning.png")
    """File of the picture: .png, .svg or .pdf."""

    def __post_init__(self) -> None:
        require_picture_file(self.out)

    def draw(self) -> None:
        """Draw the figure and write it to `out`."""
        make_folder(self.out.parent, "--out")
        try:
            searches = read_settings(self.settings)
        except (OSError, ValueError) as error:
            raise SystemExit(f"--settings {self.settings}: {error}") from None
        # An empty file is an error too.
        for name, search in searches.items() or (("any learner", None),):
            if not (is_learner(name) and isinstance(search, dict) and "history" in search):
                raise SystemExit(
                    f"--settings {self.settings}: expected a file written by tune.py, got no search of {name}"
                )
        draw_tuning(searches, self.out)
        print(f"Picture: {self.out}")


def draw_tuning(searches: dict[str, dict[str, Any]], path: Path) -> None:
    """Plot L30 or the share of missed cups against the step size, in a panel for each kind of network and setting."""
    from matplotlib.figure import Figure

    panels: dict[tuple[str, str], list[str]] = {}

    def panel_order(learner: str) -> tuple[bool, bool]:
        """Return the sorting key: learners from reward last, those with plastic hidden layers only after others."""
        spec = find(learner).spec
        return spec.teacher == "reward", spec.plastic == "hidden"

    for learner in sorted(searches, key=panel_order):
        panels.setdefault((panel_title(learner), search_space(learner).setting), []).append(learner)
    columns = min(len(panels), PANELS_IN_A_ROW)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(3.6 * columns, 3.7 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    last_label = ""
    for k, (axes, ((title, setting), learners)) in enumerate(zip(grid, panels.items(), strict=False)):
        for learner, marker in zip(learners, cycle(MARKERS), strict=False):
            complete = [trial for trial in searches[learner]["history"] if not trial["pruned"]]
            results = sorted((trial[setting], trial[criterion_of(learner).name]) for trial in complete)
            name = learner.partition("-")[2]
            axes.plot(*zip(*results, strict=True), marker, ls="-", ms=5, label=name, color=learner_colour(learner))
        unit, label = search_space(learners[0]).unit, criterion_of(learners[0]).axis
        axes.set(xscale="log", xlabel=f"{setting.replace('_', ' ')} ({unit})", ylim=(0.0, 1.2))
        if k % columns == 0 or label != last_label:
            axes.set_ylabel(label)
            last_label = label
        low, high = axes.get_xlim()
        ticks = [tick for tick in TICKS if low <= tick <= high]
        ticks = ticks if len(ticks) <= MOST_TICKS else ticks[::2]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        # The legend is above the panel, because curves may be anywhere inside.
        position: Any = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": 2, "columnspacing": 0.8}
        axes.legend(title=title, title_fontsize="large", frameon=False, fontsize="small", handlelength=1.4, **position)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    write_figure(figure, path, dpi=120)


def panel_title(learner: str) -> str:
    """Return the title of the panel of a learner: algorithm and network, or "spiking", and what learns."""
    spec = find(learner).spec
    is_spiking = NETWORKS[spec.network].cells == "spiking"
    kind = "spiking" if is_spiking else f"{spec.algorithm} {spec.network}".strip()
    if spec.teacher == "reward":
        return f"{kind}, from reward"
    return f"{kind}, hidden cells alone" if spec.plastic == "hidden" else kind


# --- the command line -----------------------------------------------------------------------------------------


@dataclass
class Figure:
    """Draw a figure of the README or the docs."""

    picture: tyro.conf.OmitArgPrefixes[tyro.conf.OmitSubcommandPrefixes[Comparison | Correction | Tuning]]


def main(options: Figure) -> None:
    """Draw the chosen figure."""
    options.picture.draw()


if __name__ == "__main__":
    command.run(main, Figure)
