"""Made-up results of a study: learners that keep a known share of their error from reach to reach."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

BLOCKS = (("baseline", 20), ("perturbed", 60), ("washout", 20))
MISS_DEG = {"rotation30": 30.0, "prism": -12.0}


def trials_of(
    rates: dict[str, float], seeds: int = 6, noise: float = 0.5, misses: dict[str, float] | None = None
) -> pd.DataFrame:
    """Return trials of learners that keep (1 - rate) of their error at each reach. misses: protocol -> degrees."""
    rows = []
    for learner, rate in rates.items():
        for protocol, miss in (misses or MISS_DEG).items():
            for seed in range(seeds):
                rng = np.random.default_rng(seed)
                learned, trial = 0.0, 0
                for block, trials in BLOCKS:
                    for place in range(1, trials + 1):
                        trial += 1
                        error = (miss if block == "perturbed" else 0.0) - learned
                        learned += rate * error
                        row = {"learner": learner, "protocol": protocol, "seed": seed, "trial": trial, "block": block}
                        row |= {"trial_in_block": place, "probe": False, "cup_x": 0.1, "cup_y": 0.1 * (trial % 4)}
                        row |= {"launch_error_deg": error + rng.normal(0.0, noise), "endpoint_error_cm": abs(error) / 5}
                        row |= {"time_to_success_s": 1.0, "success": True, "attempts": 1, "tipped": False}
                        row |= {"reward": 0.0, "duration_s": 1.0}
                        rows.append(row)
    return pd.DataFrame(rows)


def with_rows(summary: pd.DataFrame, protocol: str, metrics: dict[str, dict[str, float]]) -> pd.DataFrame:
    """Return the summary with further metrics of a protocol: metric -> learner -> value."""
    rows = [
        {"learner": learner, "protocol": protocol, "metric": metric, "value": value, "low": value - 0.05}
        | {"high": value + 0.05, "seeds": 6, "failed": 0.0}
        for metric, of in metrics.items()
        for learner, value in of.items()
    ]
    return pd.concat([summary.assign(failed=0.0), pd.DataFrame(rows)], ignore_index=True)


def traces_of(taus: dict[str, float], protocol: str, seeds: int = 6, delay_s: float = 0.12) -> pd.DataFrame:
    """Return corrections that start after a delay and then decay exponentially. taus: learner -> s."""
    time = np.arange(0.0, 1.001, 0.02)
    rows = [
        {"learner": learner, "protocol": protocol, "seed": seed, "block": "perturbed", "time_s": at, "trials": 40}
        | {"remaining": float(np.exp(-max(at - delay_s, 0.0) / tau)) + 0.002 * seed}
        for learner, tau in taus.items()
        for seed in range(seeds)
        for at in time.tolist()
    ]
    return pd.DataFrame(rows)


def costs_of(macs: dict[str, float], acs: dict[str, float], trials: pd.DataFrame) -> pd.DataFrame:
    """Return counts of whole runs, the same for every run of a learner."""
    rows = []
    for learner, protocol, seed in trials[["learner", "protocol", "seed"]].drop_duplicates().itertuples(index=False):
        for metric, of in (("effective_macs", macs), ("effective_acs", acs)):
            if learner in of:
                rows.append({"learner": learner, "protocol": protocol, "seed": seed, "metric": metric})
                rows[-1] |= {"value": of[learner]}
        rows.append({"learner": learner, "protocol": protocol, "seed": seed, "metric": "parameters", "value": 4864.0})
    return pd.DataFrame(rows)


def tuning_of(*learners: str) -> dict[str, dict[str, Any]]:
    """Return a history of tuning with a best step size of 0.4, and one try that was stopped early."""
    tried = [
        {"rate": rate, "left_of_the_miss": 0.3 + abs(rate - 0.4), "pruned": False} for rate in (0.1, 0.2, 0.4, 0.8)
    ]
    given_up = {"rate": 0.05, "left_of_the_miss": 0.01, "pruned": True}
    tuned = {"settings": {"rate": 0.4}, "history": [*tried, given_up], "command": "python scripts/tune.py"}
    return dict.fromkeys(learners, tuned)


def write_human_files(folder: Path) -> Path:
    """Write a folder with one curve of each kind and a table of fits."""
    folder.mkdir(parents=True, exist_ok=True)
    reach = np.arange(1, 101)
    index = 0.9 * (1.0 - np.exp(-(reach - 1) / 7.0))
    curve = pd.DataFrame({"trial_after_onset": reach, "n": 20, "ai_mean": index, "ai_sem": 0.05, "ai_median": index})
    curve.to_csv(folder / "rot30_someone_total.csv", index=False)
    force = pd.DataFrame({"fc_trial": range(1, 26), "n": 10, "ai_mean": np.linspace(0.1, 0.7, 25), "ai_sem": 0.04})
    force.to_csv(folder / "ff_someone.csv", index=False)
    clamp = pd.DataFrame({"target_group": ["big"] * 9 + ["small"] * 9, "cycle_of_8": [*range(1, 10)] * 2, "n": 16})
    clamp["hand_angle_deg_mean"], clamp["hand_angle_deg_sem"] = 5.0 + clamp["cycle_of_8"], 0.5
    clamp.to_csv(folder / "clamp_someone.csv", index=False)
    pd.DataFrame({"group": ["rot30"], "n": [20], "reach_asymptote_deg": [18.5]}).to_csv(
        folder / "fits.csv", index=False
    )
    return folder
