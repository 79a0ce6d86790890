"""Practised LSTM cells predict what the next reach will lack, and no synapse changes while they do."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.env_util import make_vec_env

from agents.error.learner import make_feedforward
from agents.error.memory import NOISE_RAD, ImaginedPerturbations, MemoryFeedForward
from agents.learner import make_learner, train_trials
from agents.reaching.controller import Controller
from agents.registry import PRACTICE_RATE
from reach import Arm

BODY = Controller(Arm.winter(), grab=True)


def imagined(seed: int, count: int = 30, reaches: int = 40) -> tuple[Any, Any]:
    perturbations = ImaginedPerturbations(BODY.arm, BODY.motor_error, np.random.default_rng(seed))
    return perturbations.sequences(count, reaches)


@cache
def once_practised(name: str) -> MemoryFeedForward:
    part = make_feedforward(name, np.random.default_rng(3))
    assert isinstance(part, MemoryFeedForward)
    # A third of the practice is enough.
    with patch("agents.error.memory.UPDATES", 200):
        part.end_baseline(BODY, PRACTICE_RATE)
    return part


def practised(name: str = "error-memory-bp") -> MemoryFeedForward:
    """A practised network before its first reach."""
    return deepcopy(once_practised(name))


def reaches(part: MemoryFeedForward, cups: Any, lacked: Any) -> Any:
    """Return what is still lacking (reaches, 3) rad in reaches for cups one after the other."""
    left = []
    for cup, need in zip(cups, lacked, strict=True):
        state = part.begin()
        below = part.below.posture(part.below.begin(), cup)
        left.append(need - (part.posture(state, cup) - below))
        part.change(part.eligibility(state), left[-1], 0.5)
    return np.array(left)


@pytest.mark.parametrize(("name", "least"), [("error-memory-bp", 0.5), ("error-memory-shallow", 0.35)])
def test_practised_cells_predict_what_reaches_lack(name: str, least: float) -> None:
    part = practised(name)
    cups, lacked = imagined(seed=77)
    left = np.array([reaches(part, *sequence) for sequence in zip(cups, lacked, strict=True)])
    assert np.mean(left**2) < (1.0 - least) * np.mean(lacked**2)


def test_no_synapse_changes_after_the_practice_and_what_is_remembered_does() -> None:
    part = practised()
    before = {name: value.copy() for name, value in part.arrays().items()}
    reaches(part, *(values[0] for values in imagined(seed=77)))
    changed = {name for name, value in part.arrays().items() if not np.array_equal(value, before[name])}
    assert changed == {"memory.hidden", "memory.held", "memory.lacked"}
    assert part.cost().get("weight_updates", 0.0) == 0.0


def test_before_the_practice_the_network_below_learns_and_nothing_is_added() -> None:
    part: Any = make_feedforward("error-memory-bp", np.random.default_rng(3))
    cup, error = np.array([0.1, 0.55]), np.array([0.1, -0.2, 0.05])
    state = part.begin()
    np.testing.assert_array_equal(part.posture(state, cup), part.below.posture(part.below.begin(), cup))
    for _ in range(20):
        state = part.begin()
        lacking = error - part.posture(state, cup)
        part.change(part.eligibility(state), lacking, 0.5)
    assert np.linalg.norm(lacking) < 0.01
    np.testing.assert_array_equal(part.begin().cells.memory, 0.0)


def test_it_practises_once_and_a_loaded_learner_remembers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.error.memory.UPDATES", 10)
    model = make_learner("error-memory-bp", gym.make("reach/CupGrab-v1"), seed=4)
    model.end_baseline()
    part = model.feedforward
    weights = part.cells.weights.copy()
    model.end_baseline()
    np.testing.assert_array_equal(part.cells.weights, weights)
    cups, lacked = imagined(seed=5)
    reaches(part, cups[0], lacked[0])
    model.save(tmp_path / "kept")
    again = type(model).load(tmp_path / "kept", gym.make("reach/CupGrab-v1")).feedforward
    np.testing.assert_array_equal(reaches(again, cups[1], lacked[1]), reaches(part, cups[1], lacked[1]))


def test_an_imagined_lack_moves_the_hand_to_the_place_where_it_is_seen_at_the_cup() -> None:
    perturbations = ImaginedPerturbations(BODY.arm, BODY.motor_error, np.random.default_rng(2))
    cups, lacked = perturbations.sequences(200, 20)
    start = np.array([0.12, 0.36])
    ways = (cups - start).reshape(-1, 2)
    angles = BODY.arm.inverse_kinematics(cups.reshape(-1, 2), np.arctan2(ways[:, 1], ways[:, 0]))
    moved = np.array([BODY.arm.hand(at) for at in angles + lacked.reshape(-1, 3)]) - start
    # A stretch is by 1.6 at most; the body map is linear, and noise is added.
    assert np.percentile(np.linalg.norm(moved - ways, axis=1) / np.linalg.norm(ways, axis=1), 99) < 0.9
    # It turns as many ways to one side as to the other.
    turns = (ways[:, 0] * moved[:, 1] - ways[:, 1] * moved[:, 0]) / np.linalg.norm(ways, axis=1) ** 2
    assert abs(np.mean(turns)) < 0.2 * np.std(turns)
    spread = np.linalg.norm(lacked.reshape(-1, 3), axis=1)
    still = np.mean(spread < 4.0 * NOISE_RAD)
    assert 0.25 < still < 0.75, "some reaches lack nothing, others do"


def test_the_control_without_memory_takes_the_step_size_that_leaves_least() -> None:
    part: Any = make_feedforward("error-paced-bp", np.random.default_rng(3))
    before = {name: value.copy() for name, value in part.arrays().items()}
    with patch("agents.error.memory.PACED_SEQUENCES", 4):
        part.end_baseline(BODY, PRACTICE_RATE)
    assert [name for name, value in part.arrays().items() if not np.array_equal(value, before[name])] == ["step_size"]
    assert part.cost() == {}, "the practice is no cost"
    left = {}
    for rate in (part.practised_rate, 0.02, 2.0):
        sequences = zip(*imagined(seed=77, count=3), strict=True)
        left[rate] = sum(learned(deepcopy(part), *sequence, rate) for sequence in sequences)
    assert min(left, key=left.__getitem__) == part.practised_rate


def test_environments_side_by_side_share_the_step_size_of_the_practice() -> None:
    model = make_learner("error-paced-bp", make_vec_env("reach/CupGrab-v1", n_envs=2, seed=0), seed=0)
    model.feedforward.arrays()["step_size"][0] = 1.2
    with patch.object(model.feedforward, "change") as change:
        train_trials(model, 2)
    assert {call.args[2] for call in change.call_args_list} == {0.6}


def learned(part: Any, cups: Any, lacked: Any, rate: float) -> float:
    """Return the squared error, rad2, that is left in reaches one after the other, between which synapses change."""
    before = [part.posture(part.begin(), cup) for cup in cups]
    left = 0.0
    for cup, unperturbed, need in zip(cups, before, lacked, strict=True):
        state = part.begin()
        error = need - (part.posture(state, cup) - unperturbed)
        left += float(error @ error)
        part.change(part.eligibility(state), error, rate)
    return left
