"""README's figures of learners that are taught by their seen error, measured anew: `make proofs` prints each."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import gymnasium as gym
import pandas as pd
import pytest

from agents.learner import evaluate, make_learner, prepare
from reach.protocols import PROTOCOLS
from reach.study import Store, complete, plan
from reach.study.statistics import summarise

pytestmark = pytest.mark.slow

# What each may leave of the miss over the first 30 perturbed reaches.
LARGEST_L30 = {"error-shallow": 0.35, "error-bp": 0.35, "error-dfa": 0.35, "error-stdp": 0.40}
ERROR_LEARNERS = tuple(LARGEST_L30)
# README's figures are of ten seeds.
SEEDS = int(os.environ.get("PROOF_SEEDS", "10"))


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the study."""
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def summary(out: Path) -> pd.DataFrame:
    """`rotation30` with ten seeds: learner, metric -> value, low, high."""
    protocols = {"rotation30": PROTOCOLS["rotation30"]}
    factory = "agents.learner:prepare"
    jobs = plan(("none", *ERROR_LEARNERS), protocols, range(SEEDS), factory=factory, out=out)
    store = Store(out)
    with store.only_writer():
        assert complete(jobs, store, processes=os.cpu_count() or 1) == {}
        trials = store.read("trials", jobs)
    return summarise(trials).set_index(["learner", "metric"])


def said(summary: pd.DataFrame, learner: str, metric: str) -> Any:
    """One row, printed."""
    row = summary.loc[(learner, metric)]
    print(f"\nrotation30 {learner} {metric} = {row['value']:.3g} [{row['low']:.3g}, {row['high']:.3g}], {SEEDS} seeds")
    return row


def test_without_learning_the_miss_stays(summary: pd.DataFrame) -> None:
    assert 0.9 <= said(summary, "none", "L30")["value"] <= 1.1


@pytest.mark.parametrize("learner", ERROR_LEARNERS)
def test_each_error_learner_corrects_a_rotation(summary: pd.DataFrame, learner: str) -> None:
    assert said(summary, learner, "L30")["value"] <= LARGEST_L30[learner]
    assert said(summary, learner, "N63")["value"] <= 20
    after = said(summary, learner, "after_effect")
    assert after["value"] < 0
    assert after["high"] < 0


@pytest.mark.parametrize("learner", ERROR_LEARNERS)
def test_each_error_learner_grabs_the_cup_after_a_thousand_trials(
    summary: pd.DataFrame, out: Path, learner: str
) -> None:
    folders = sorted(path for path in (out / "baseline").glob(f"{learner}-*") if path.is_dir())
    assert len(folders) == SEEDS
    shares = [evaluate(prepare(learner, k, folders[k]), "reach/CupGrab-v1", trials=500, seed=k) for k in range(3)]
    print(f"\nCupGrab-v1 {learner}: {', '.join(f'{100 * s:.1f} %' for s in shares)} of 500 fresh trials, 3 seeds")
    assert min(shares) >= 0.9


def test_feedback_alone_seldom_grabs_the_cup() -> None:
    share = evaluate(make_learner("none", gym.make("reach/CupGrab-v1")), "reach/CupGrab-v1", trials=500)
    print(f"\nCupGrab-v1 none: {100 * share:.1f} % of 500 trials")
    assert share < 0.5
