"""Write the tables of results into README.md and docs/results/README.md: `python docs/tables.py`.

Their numbers are those that `scripts/compare.py` and `scripts/success.py` have written, stored in docs/results. A table
stands between the lines `<!-- table: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd

from agents.registry import TUNED, find

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "README.md", ROOT / "docs" / "results" / "README.md")
RESULTS = ROOT / "docs" / "results"
PLACE = re.compile(r"^<!-- table: (\w+) -->\n.*?^<!-- end -->$", re.MULTILINE | re.DOTALL)
# L30 at which learners are compared: about that of people under a rotation by 45 degrees.
MATCHED_L30 = 0.3
# Perturbed reaches of `context`: that many stand for a half that is never reached.
CONTEXT_REACHES = 1500


@cache
def summary(study: str) -> pd.DataFrame:
    """Return the stored `summary.csv` of a study, by learner, protocol and metric."""
    return pd.read_csv(RESULTS / f"{study}-summary.csv").set_index(["learner", "protocol", "metric"]).sort_index()


def cell(study: str, learner: str, protocol: str, metric: str, factor: float = 1.0, decimals: int = 2) -> str:
    """Return a value with its interval, if it has one, and in how many seeds the event never came; "" without one."""
    try:
        row = summary(study).loc[(learner, protocol, metric)]
    except KeyError:
        return ""
    failed = float(row["failed"])
    if failed == 1.0:
        return "never"
    text = written([factor * float(row[column]) for column in ("value", "low", "high")], decimals)
    return f"{text}, never in {100.0 * failed:.0f} %" if failed else text


def written(numbers: Sequence[float], decimals: int) -> str:
    """Return "value [low, high]", or the value alone without an interval; "" without a value."""
    # Adding 0 makes 0 of -0.
    texts = [f"{round(number, decimals) + 0.0:.{decimals}f}" for number in numbers if math.isfinite(number)]
    return f"{texts[0]} [{', '.join(texts[1:])}]" if texts[1:] else "".join(texts)


def markdown(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """Return the lines of a table."""
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *map(list, rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


def compared(study: str, protocol: str) -> list[str]:
    """Return the learners of a stored study except `none`, in its order."""
    rows = pd.read_csv(RESULTS / f"{study}-summary.csv")
    names = rows.loc[(rows["protocol"] == protocol) & (rows["learner"] != "none"), "learner"]
    return list(dict.fromkeys(names))


def without_setting(names: Iterable[str]) -> list[str]:
    """Return the different names before the "," of a setting."""
    return list(dict.fromkeys(name.partition(",")[0] for name in names))


def deep() -> list[str]:
    """Every rule with four hidden layers and 16 lamps."""
    rows = [["`none`", "", *lamps("none", "context16")]]
    rows += [[f"`{name}`", find(name).step, *lamps(name, "context16")] for name in compared("rules", "context16")]
    return markdown(["learner", "step", "left at the end", "reaches to a half"], rows)


def lamps(learner: str, protocol: str) -> tuple[str, str]:
    """Return what a learner leaves at the end of a protocol with lamps, % of the miss, and its reaches to a half."""
    left = cell("rules", learner, protocol, "late_error", 100.0, 0)
    return left, cell("rules", learner, protocol, "halving_reaches", 1.0, 0)


def spiking() -> list[str]:
    """Every rule of the spiking network in three tasks."""
    rows = []
    for name in compared("rules", "context"):
        rotation = cell("spikes", name, "rotation30", "L30", 100.0, 0)
        timing = cell("spikes", name.replace("-snn-", "-timed-"), "context", "late_error", 100.0, 0)
        rows.append(
            [f"`{name.removeprefix('error-snn-')}`", find(name).step, rotation, *lamps(name, "context"), timing]
        )
    heads = ["rule", "step", "`rotation30`: L30", "`context`: left at the end", "reaches to a half", "timing: left"]
    return markdown(heads, rows)


def pairs() -> list[str]:
    """Differences between every two rules of the deep perceptron, % of the miss, paired by seed."""
    table = pd.read_csv(RESULTS / "rules-pairs.csv")
    own = table[table["protocol"] == "context16"].set_index(["first", "second"])
    names = compared("rules", "context16")
    rules = [f"`{find(name).spec.rule}`" for name in names]
    rows = []
    for k, first in enumerate(names[:-1]):
        values = [own.loc[(first, second), ["value", "low", "high"]].to_numpy(np.float64) for second in names[k + 1 :]]
        rows.append([rules[k], *[""] * k, *(written(100.0 * value, 1) for value in values)])
    return markdown(["less", *rules[1:]], rows)


def steps() -> list[str]:
    """Rules at the step at which L30 of the rotation is `MATCHED_L30`, by interpolation over the logarithm of steps."""
    table = summary("steps").drop(index="none").reset_index()
    table[["rule", "rate"]] = table["learner"].str.extract(r"error-(\w+),rate=([\d.]+)")
    measures = [("rotation30", "N63"), ("context", "halving_reaches"), ("context", "late_error")]
    rows = []
    for learner in without_setting(compared("steps", "rotation30")):
        rule = learner.removeprefix("error-")
        own = table[table["rule"] == rule]
        values = own.assign(rate=own["rate"].astype(float)).pivot(
            index="rate", columns=["protocol", "metric"], values="value"
        )
        rates, l30 = np.log(values.index.to_numpy()), values["rotation30", "L30"].to_numpy()
        # L30 falls with the step.
        matched = float(np.interp(-MATCHED_L30, -l30, rates))
        n63, half, left = (float(np.interp(matched, rates, values[measure].to_numpy())) for measure in measures)
        curve = " ".join(f"{value:.2f}" for value in l30)
        rows.append(
            [
                f"`{rule}`",
                curve,
                f"{math.exp(matched):.2f}",
                f"{n63:.1f}",
                "never" if half >= CONTEXT_REACHES else f"{half:.0f}",
                f"{100.0 * left:.0f}",
            ]
        )
    heads = [
        "rule", "L30 at steps of 0.1, 0.2, 0.4, 0.8, 1.6", f"step at L30 = {MATCHED_L30}", "`rotation30`: N63",
        "`context`: reaches to a half", "left at the end",
    ]  # fmt: skip
    return markdown(heads, rows)


def tuned() -> list[str]:
    """The step of each tuned error learner, and what the smallest, best and largest steps leave."""
    rows = []
    for learner, entry in json.loads(TUNED.read_text()).items():
        if learner.startswith("error"):
            (setting,), criterion = entry["settings"], "L30" if "L30" in entry else "left_of_the_miss"
            tried = sorted((trial[setting], trial[criterion]) for trial in entry["history"] if not trial["pruned"])
            ends = [f"{100.0 * left:.0f} at {rate:.3g}" for rate, left in (tried[0], tried[-1])]
            best = f"{100.0 * entry[criterion]:.0f}"
            rows.append([f"`{learner}`", f"{entry['settings'][setting]:.3g}", best, *ends])
    return markdown(["learner", "best step", "left, %", "at the smallest step run to the end", "at the largest"], rows)


def maps() -> list[str]:
    """L30 of every rule under each body map."""
    ways = ("exact", "babbled", "random")
    rows = []
    for name in without_setting(compared("maps", "rotation30")):
        values = (cell("maps", f"{name},body_map={way}", "rotation30", "L30", 100.0, 0) for way in ways)
        rows.append([f"`{name}`", *values])
    return markdown(["learner", *(f"`{way}`" for way in ways)], rows)


def depth() -> list[str]:
    """What rules leave in `context`, by the number of hidden layers."""
    rows = []
    for learner in without_setting(compared("depth", "context")):
        names = [f"{learner},depth={layers}" for layers in (2, 4, 8)]
        left = [cell("depth", name, "context", "late_error", 100.0, 0) for name in names]
        half = [cell("depth", name, "context", "halving_reaches", 1.0, 0) for name in names]
        rows.append([f"`{learner.removeprefix('error-mlp-')}`", *left, *half])
    heads = [f"{what}, {layers} layers" for what in ("left at the end", "reaches to a half") for layers in (2, 4, 8)]
    return markdown(["rule", *heads], rows)


def continual() -> list[str]:
    """What is kept of the first of six rotations."""
    own = summary("continual")
    columns = [("L30", 100.0, 0), ("kept", 100.0, 0), ("interference", 1.0, 2)]
    rows = []
    for learner in own.index.get_level_values("learner").unique():
        values = (cell("continual", learner, "continual", metric, *form) for metric, *form in columns)
        rows.append([f"`{learner}`", *values])
    return markdown(["learner", "L30 of the first", "kept, % of what was learned", "interference"], rows)


def memory() -> list[str]:
    """How activity of cells and change of synapses follow a rotation that changes its sign."""
    blocks = (32, 16, 8, 4, 2, 1)
    rows = []
    for learner in ("error-bp", "error-paced-bp", "error-memory-bp", "error-memory-shallow"):
        left = (cell("memory", learner, "switching", f"switching_{block}", 100.0, 0) for block in blocks)
        again = cell("memory", learner, "interference", "interference")
        rows.append([f"`{learner}`", cell("memory", learner, "rotation30", "L30", 100.0, 0), *left, again])
    heads = ["learner", "`rotation30`: L30", *(f"switch every {block}" for block in blocks), "interference"]
    return markdown(heads, rows)


def prism() -> list[str]:
    """How fast perceptrons correct a prism shift."""
    rows = []
    for learner in ("error-shallow", "error-fa", "error-dfa", "error-mlp-rls", "error-bp"):
        l30 = cell("prism", learner, "prism", "L30", 100.0, 0)
        rows.append([f"`{learner}`", find(learner).step, l30, cell("prism", learner, "prism", "N63", 1.0, 1)])
    return markdown(["learner", "step", "L30", "N63"], rows)


def success(study: str) -> list[str]:
    """Share of successful trials during a training, %: mean and range over seeds."""
    rates = 100.0 * pd.read_csv(RESULTS / f"{study}-curves.csv").set_index(["learner", "after"])["success"]
    by_seed = rates.groupby(["learner", "after"], sort=False)
    mean, low, high = (getattr(by_seed, name)().round() for name in ("mean", "min", "max"))
    learners, amounts = rates.index.unique("learner"), rates.index.unique("after")

    def share(learner: str, after: int) -> str:
        at = learner, after
        ends = "" if low[at] == high[at] else f" ({low[at]:.0f} to {high[at]:.0f})"
        return f"{mean[at]:.0f}{ends}"

    rows = [[f"`{learner.partition(',')[0]}`", *(share(learner, after) for after in amounts)] for learner in learners]
    return markdown(["learner", *(f"{after:,}" for after in amounts)], rows)


TABLES: dict[str, Callable[[], list[str]]] = {
    table.__name__: table for table in (deep, spiking, pairs, steps, tuned, maps, depth, prism, continual, memory)
}
TABLES |= {study: partial(success, study) for study in ("pixels", "ppo", "td3", "sac")}


def with_tables(page: str) -> str:
    """Return a page with its tables replaced by those of the stored results."""

    def table(place: re.Match[str]) -> str:
        return "\n".join([f"<!-- table: {place[1]} -->", *TABLES[place[1]](), "<!-- end -->"])

    return PLACE.sub(table, page)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(with_tables(page.read_text()))
