"""Cue lamps are seen in every form of observation and change nothing else."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from reach import Rotation, twin
from reach.sim import layout as s
from reach.sim.retina import MOST_LAMPS

ENV_ID = "reach/CupReach-v1"
LIT = (1, 0, 0, 1)


def lamps(observation: np.ndarray) -> np.ndarray:
    return observation[..., s.OBSERVATION_SIZE :]


def test_lamps_shift_no_other_draw() -> None:
    plain = gym.make(ENV_ID, mass_kg=(60.0, 80.0))
    given = gym.make(ENV_ID, mass_kg=(60.0, 80.0), context=4)
    for trial in range(4):
        seed = 5 if trial == 0 else None
        observation, _ = plain.reset(seed=seed)
        with_lamps, _ = given.reset(seed=seed, options={"context": LIT} if trial == 2 else None)
        for _ in range(5):
            np.testing.assert_array_equal(with_lamps[: s.OBSERVATION_SIZE], observation)
            observation, with_lamps = plain.step(np.full(4, 0.5))[0], given.step(np.full(4, 0.5))[0]


def test_lamps_stay_for_a_trial_and_are_as_often_on_as_off() -> None:
    env = gym.make(ENV_ID, context=MOST_LAMPS)
    drawn: list[np.ndarray] = []
    for _ in range(200):
        first, _ = env.reset(seed=0 if not drawn else None)
        np.testing.assert_array_equal(lamps(env.step(np.zeros(4))[0]), lamps(first))
        drawn.append(lamps(first))
    assert set(np.unique(drawn)) == {0.0, 1.0}
    # Five standard deviations of 200 draws, and of their products.
    np.testing.assert_allclose(np.mean(drawn, axis=0), 0.5, atol=5.0 * 0.5 / np.sqrt(200))
    correlation = np.corrcoef(np.transpose(drawn)) - np.eye(MOST_LAMPS)
    assert np.abs(correlation).max() < 5.0 / np.sqrt(200)


def test_twins_copies_and_saved_states_keep_lamps() -> None:
    env = gym.make(ENV_ID, context=4, perturbation=Rotation(30.0))
    first, _ = env.reset(seed=1, options={"context": LIT})
    other = gym.make(ENV_ID, context=4)
    other.reset(seed=2, options={"context": (0, 0, 0, 0)})
    other.unwrapped.set_state(env.unwrapped.get_state())  # type: ignore[attr-defined]
    env.step(np.zeros(4))
    kept: list[Any] = [env, copy.deepcopy(env), twin(env), other]
    for same in kept:
        np.testing.assert_array_equal(lamps(same.step(np.zeros(4))[0]), LIT)
    np.testing.assert_array_equal(lamps(first), LIT)
    assert not np.array_equal([lamps(env.reset()[0]) for _ in range(8)], [LIT] * 8)


@pytest.mark.parametrize("autoreset", ["NextStep", "SameStep"])
def test_a_vector_draws_the_lamps_of_single_environments_in_every_new_trial(autoreset: str) -> None:
    given: dict[str, Any] = {"context": 3, "max_episode_steps": 3}
    ours = gym.make_vec(ENV_ID, 9, "vector_entry_point", autoreset_mode=autoreset, **given)
    theirs = gym.make_vec(ENV_ID, 9, "sync", vector_kwargs={"autoreset_mode": autoreset}, **given)
    rows = [(ours.reset(seed=3)[0], theirs.reset(seed=3)[0])]
    rows += [(ours.step(np.zeros((9, 4)))[0], theirs.step(np.zeros((9, 4)))[0]) for _ in range(12)]
    for observation, other in rows:
        np.testing.assert_array_equal(observation, other)
    assert len({lamps(observation).tobytes() for observation, _ in rows}) > 3


def test_lamps_may_differ_between_environments() -> None:
    envs = gym.make_vec(ENV_ID, 2, "vector_entry_point", context=2)
    np.testing.assert_array_equal(lamps(envs.reset(options={"context": (1, 0)})[0]), [[1, 0], [1, 0]])
    each = np.array([[0, 1], [1, 1]])
    np.testing.assert_array_equal(lamps(envs.reset(options={"context": each})[0]), each)
    with pytest.raises(ValueError, match=r"option context: expected shape .* got \(3, 2\)"):
        envs.reset(options={"context": np.ones((3, 2))})


def test_goals_hold_lamps_and_a_retina_shows_where_they_are_on() -> None:
    goal = gym.make(ENV_ID, context=4, observation="goal")
    np.testing.assert_array_equal(lamps(goal.reset(options={"context": LIT})[0]["observation"]), LIT)
    retina = gym.make(ENV_ID, context=4, observation="retina", retina_px=64)
    dark, lit = (retina.reset(seed=0, options={"context": given})[0] for given in ((0, 0, 0, 0), LIT))
    np.testing.assert_array_equal(lit["proprioception"], dark["proprioception"])
    rows, columns = np.nonzero(lit["retina"][..., 0] > dark["retina"][..., 0])
    assert rows.max() < 12, "lamps are at the far edge"
    groups = np.split(np.unique(columns), np.flatnonzero(np.diff(np.unique(columns)) > 1) + 1)
    assert len(groups) == sum(LIT)
    assert not np.any(lit["retina"] < dark["retina"])


@pytest.mark.parametrize(
    "value", [(1, 0), (1, 0, 2, 0), (1, 0, 0.5, 0), "1001", 1, (True, False, True, False), LIT * 2]
)
def test_other_lamps_are_refused_and_nothing_begins(value: Any) -> None:
    env = gym.make(ENV_ID, context=4)
    with pytest.raises(ValueError, match=r"option context: expected 4 lamps, each 0 or 1, got"):
        env.reset(seed=0, options={"context": value})
    with pytest.raises(ValueError, match=r"option context: expected 0 lamps"):
        gym.make(ENV_ID).reset(options={"context": LIT})
