"""Draw the result of every step size that was tried, by learner: `figure.py tuning`."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

from figures.picture_file import require_picture_file, write_figure
from tuning import criterion_of, read_settings, search_space

from agents.networks.registry import NETWORKS
from agents.registry import TUNED, find, is_learner
from reach.files import make_folder

PANELS_IN_A_ROW = 4
# Learners of similar colour differ in their marker.
MARKERS = "osD^vPX*"
MOST_TICKS = 6
TICKS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)


@dataclass
class Options:
    """Draw the result of every step size that was tried, by learner."""

    settings: Path = TUNED
    """File of settings with their history, as `tune.py --settings` writes it."""
    out: Path = Path("docs/pictures/tuning.png")
    """File of the picture: .png, .svg or .pdf."""

    def __post_init__(self) -> None:
        require_picture_file(self.out)

    def draw(self) -> None:
        """Draw and write."""
        make_folder(self.out.parent, "--out")
        try:
            searches = read_settings(self.settings)
        except (OSError, ValueError) as error:
            raise SystemExit(f"--settings {self.settings}: {error}") from None
        unknown = [
            name
            for name, search in searches.items()
            if not (is_learner(name) and isinstance(search, dict) and "history" in search)
        ]
        if unknown or not searches:
            raise SystemExit(
                f"--settings {self.settings}: expected a file as tune.py writes it, got no search of "
                f"{', '.join(unknown) or 'any learner'}"
            )
        draw(searches, self.out)
        print(f"Picture: {self.out}")


def draw(searches: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw L30, or the share of missed cups, over the step size, a panel for each kind of network and each setting."""
    from matplotlib.figure import Figure

    from reach.render.palette import learner_colour

    panels: dict[tuple[str, str], list[str]] = {}
    specs = {learner: find(learner).spec for learner in searches}
    for learner in sorted(
        searches, key=lambda name: (specs[name].teacher == "reward", specs[name].plastic == "hidden")
    ):
        panels.setdefault((panel_of(learner), search_space(learner).setting), []).append(learner)
    columns = min(len(panels), PANELS_IN_A_ROW)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(3.6 * columns, 3.7 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    labelled = ""
    for k, (axes, ((title, setting), learners)) in enumerate(zip(grid, panels.items(), strict=False)):
        for learner, marker in zip(learners, cycle(MARKERS), strict=False):
            tried = sorted(
                (trial[setting], trial[criterion_of(learner).name])
                for trial in searches[learner]["history"]
                if not trial["pruned"]
            )
            name = learner.partition("-")[2]
            axes.plot(*zip(*tried, strict=True), marker, ls="-", ms=5, label=name, color=learner_colour(learner))
        unit, axis = search_space(learners[0]).unit, criterion_of(learners[0]).axis
        axes.set(xscale="log", xlabel=f"{setting.replace('_', ' ')} ({unit})", ylim=(0.0, 1.2))
        if k % columns == 0 or axis != labelled:
            axes.set_ylabel(axis)
            labelled = axis
        low, high = axes.get_xlim()
        ticks = [tick for tick in TICKS if low <= tick <= high]
        ticks = ticks if len(ticks) <= MOST_TICKS else ticks[::2]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        # Above the panel, because curves may lie anywhere in it.
        axes.legend(
            title=title,
            title_fontsize="large",
            frameon=False,
            fontsize="small",
            loc="lower center",
            bbox_to_anchor=(0.5, 1.0),
            ncols=2,
            columnspacing=0.8,
            handlelength=1.4,
        )
        axes.spines[["top", "right"]].set_visible(False)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    write_figure(figure, path, dpi=120)


def panel_of(learner: str) -> str:
    """Return the title of the panel of a learner: its kind of rate network, or spiking."""
    spec = find(learner).spec
    is_spiking = NETWORKS[spec.network].cells == "spiking"
    kind = "spiking" if is_spiking else f"{spec.algorithm} {spec.network}".strip()
    if spec.teacher == "reward":
        return f"{kind}, from reward"
    return f"{kind}, hidden cells alone" if spec.plastic == "hidden" else kind
