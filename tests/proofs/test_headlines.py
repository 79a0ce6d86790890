"""The figures that README states, measured anew: `make proofs` prints each."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest

from agents.learner import evaluate, make_learner, prepare
from reach import CupJump, CurlField, HideHand, Prism, Rotation
from reach.protocols import PROTOCOLS
from reach.study import Store, complete, plan
from reach.study.statistics import summarise

pytestmark = pytest.mark.slow

ERROR_LEARNERS = ("error-bp", "error-dfa", "error-stdp")
SEEDS = 10
PPO_STEPS = 400_000
RANDOM_STEPS = 1_000_000


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
        trials = store.read_trials(jobs)
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
    assert said(summary, learner, "L30")["value"] <= 0.5
    assert said(summary, learner, "N63")["value"] <= 20
    after = said(summary, learner, "after_effect")
    assert after["value"] < 0
    assert after["high"] < 0


@pytest.mark.parametrize("learner", ERROR_LEARNERS)
def test_each_error_learner_grabs_the_cup_after_a_thousand_trials(
    summary: pd.DataFrame, out: Path, learner: str
) -> None:
    folders = sorted((out / "baseline").glob(f"{learner}-*"))
    assert len(folders) == SEEDS
    shares = [evaluate(prepare(learner, k, folders[k]), "reach/CupGrab-v0", trials=500, seed=k) for k in range(3)]
    print(f"\nCupGrab-v0 {learner}: {', '.join(f'{100 * s:.1f} %' for s in shares)} of 500 fresh trials, 3 seeds")
    assert min(shares) >= 0.9


def test_feedback_alone_seldom_grabs_the_cup() -> None:
    share = evaluate(make_learner("none", gym.make("reach/CupGrab-v0")), "reach/CupGrab-v0", trials=500)
    print(f"\nCupGrab-v0 none: {100 * share:.1f} % of 500 trials")
    assert share < 0.5


def test_ppo_grabs_the_cup_from_reward() -> None:
    model = make_learner("reward-ppo", gym.make("reach/CupGrab-v0"), seed=0)
    model.learn(PPO_STEPS)
    share = evaluate(model, "reach/CupGrab-v0", trials=500)
    print(f"\nCupGrab-v0 reward-ppo: {100 * share:.1f} % of 500 fresh trials after {model.num_timesteps:,} steps")
    assert share >= 0.9


def test_a_million_random_steps_keep_the_world_sound() -> None:
    kinds = [
        (),
        Prism(0.1),
        Rotation(45.0),
        HideHand(0.2, 0.6),
        CupJump(0.08, -0.05, 0.3),
        CurlField(20.0),
        (Prism(-0.05, 0.3), Rotation(-30.0, 0.3), HideHand(0.5), CupJump(-0.1, 0.0, 0.2), CurlField(-13.0)),
    ]
    rng = np.random.default_rng(0)
    worst, steps, trial = 0.0, 0, 0
    envs = [gym.make(env_id) for env_id in ("reach/CupReach-v0", "reach/CupGrab-v0")]
    while steps < RANDOM_STEPS:
        env = envs[trial % 2]
        env.reset(seed=trial, options={"perturbation": kinds[trial // 2 % len(kinds)]})
        # From white noise to slow wandering near the rest, where the cup survives longest.
        persistence, spread = rng.choice([0.0, 0.8, 0.95]), rng.choice([0.05, 0.3, 1.0])
        rest = np.array([-0.64, 0.72, -0.41, 0.82])
        command, over = rest, False
        while not over:
            if rng.random() >= persistence:
                command = np.clip(rest + spread * rng.uniform(-2, 2, 4), -1, 1)
            observation, _, terminated, truncated, info = env.step(command)
            over = terminated or truncated
            steps += 1
            assert np.isfinite(observation).all()
            worst = max(worst, info["truth"]["penetration_m"])
        trial += 1
    print(f"\n{steps:,} random steps, {trial:,} trials: deepest interpenetration {1000 * worst:.4f} mm")
    assert worst < 1e-3
