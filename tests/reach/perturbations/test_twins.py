"""A trial can be saved, gone back to and played again without its perturbation."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence

from reach import CupJump, CurlField, DelayChange, Load, Nudge, Rotation, twin
from reach.perturbations import PERTURBATIONS

CONTROLS = ("posture", "torque", "muscle")


def play(env: Any, steps: int, seed: int) -> list[Any]:
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(steps):
        observation, reward, terminated, _, info = env.step(rng.uniform(-0.6, 0.6, 4))
        rows.append((observation, reward, terminated, info["truth"]))
        if terminated:
            observation, info = env.reset()
            rows.append((observation, 0.0, False, info["truth"]))
    return rows


def assert_same(ours: list[Any], theirs: list[Any]) -> None:
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a[0], b[0])
        assert data_equivalence(a[1:], b[1:], exact=True)


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("perturbation", [(), (Rotation(30.0, 0.2), CurlField(13.0)), (Load(0.5), CupJump(0.05))])
def test_what_follows_a_saved_state_is_the_same_to_the_last_bit(control: str, perturbation: Any) -> None:
    env = gym.make("reach/CupGrab-v1", control=control, height_m=(1.6, 1.9)).unwrapped
    env.reset(seed=1, options={"perturbation": perturbation})
    play(env, 13, 0)
    state = env.get_state()
    first = play(env, 120, 1)
    env.set_state(state)
    assert_same(first, play(env, 120, 1))
    other = gym.make("reach/CupGrab-v1", control=control, height_m=(1.6, 1.9)).unwrapped
    other.set_state(state)
    assert_same(first, play(other, 120, 1))


def test_what_is_no_state_is_refused() -> None:
    env = gym.make("reach/CupGrab-v1").unwrapped
    with pytest.raises(ValueError, match="state: expected a mapping with"):
        env.set_state({})
    env.reset(seed=0)
    state = env.get_state()
    state["simulation"]["_changed"] = np.zeros(4, dtype=bool)
    with pytest.raises(ValueError, match=r"state: .* got one of 4"):
        env.set_state(state)


def with_nan(array: Any) -> Any:
    spoilt = array.copy()
    spoilt.flat[-1] = np.nan
    return spoilt


def as_float32(array: Any) -> Any:
    with np.errstate(over="ignore"):
        return array.astype(np.float32)


def in_simulation(name: str, value: Any) -> Any:
    return lambda state: {**state, "simulation": {**state["simulation"], name: value(state["simulation"][name])}}


def in_world(name: str, value: Any) -> Any:
    return in_simulation("world", lambda world: replace(world, **{name: value(getattr(world, name))}))


def of_state(name: str, value: Any) -> Any:
    return lambda state: {**state, name: value(state[name])}


WRONG = (None, "x", 3, math.nan, [], {}, [None], b"", np.zeros(7), np.array(["x"]))
ARRAYS = ("tiles", "history", "streams", "episodes", "tick")
NEGATIVE = {"bit_generator": "PCG64", "state": {"state": -1, "inc": 1}, "has_uint32": 0, "uinteger": 0}
# The entry, where it is in a state, and what is put in its place.
SPOILT: list[tuple[str, Any, Any]] = [
    *(
        (name, within, lambda _, value=value: value)
        for within, names in (
            (of_state, ("simulation", "generator", "_begun", "_cup_option", "_done_actions", "_paths")),
            (in_simulation, ("world", "seeded", "_observations", "_changed", "arms", "perturbations")),
            (in_world, ARRAYS),
        )
        for name in names
        for value in WRONG
        # No cup was asked for, and nothing has been done yet: these mean something.
        if (name, repr(value)) not in (("_cup_option", "None"), ("_done_actions", "[]"))
    ),
    ("generator", of_state, lambda _: NEGATIVE),
    *(("_cup_option", of_state, lambda _, cup=cup: cup) for cup in ((0.0, math.nan), ("x", 0.4), (0.0, 9.0))),
    *(
        ("_done_actions", of_state, lambda _, done=done: [done])
        for done in (b"0" * 31, np.full(4, np.inf).tobytes(), np.full(4, np.nan).tobytes())
    ),
    *(("perturbations", in_simulation, lambda _, acting=acting: [acting]) for acting in ((3,), [Nudge()], ("nudge",))),
    *((name, in_world, lambda array: array[..., :-1]) for name in ARRAYS),
    *((name, in_world, as_float32) for name in ARRAYS),
    *((name, in_world, with_nan) for name in ("tiles", "history")),
    ("_observations", in_simulation, with_nan),
]


def test_a_state_with_a_wrong_entry_is_refused_by_its_name_and_changes_nothing() -> None:
    env = gym.make("reach/CupGrab-v1", perturbation=Nudge(onset_s=0.1)).unwrapped
    env.reset(seed=1)
    play(env, 9, 0)
    state = env.get_state()
    after = play(env, 5, 1)
    for name, within, value in SPOILT:
        env.set_state(state)
        with pytest.raises(ValueError, match=rf"{name}\b.*expected "):
            env.set_state(within(name, value)(state))
        assert_same(after, play(env, 5, 1))


@pytest.mark.parametrize(("name", "value"), [("_done_actions", []), ("_cup_option", [0.1, 0.5]), ("_begun", True)])
def test_a_state_with_another_entry_that_means_something_works(name: str, value: Any) -> None:
    env = gym.make("reach/CupGrab-v1").unwrapped
    env.reset(seed=1)
    play(env, 9, 0)
    env.set_state({**env.get_state(), name: value})
    ours, twins = env.step(np.zeros(4)), env.twin().step(np.zeros(4))
    assert np.isfinite(ours[0]).all()
    assert np.isfinite(twins[0]).all()


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("perturbation", [kind() for kind in PERTURBATIONS.values()], ids=lambda p: p.kind)
def test_a_twin_is_the_same_reach_without_the_perturbation(control: str, perturbation: Any) -> None:
    env = gym.make("reach/CupReach-v1", control=control, perturbation=perturbation)
    plain = gym.make("reach/CupReach-v1", control=control)
    first, _ = env.reset(seed=5)
    plain.reset(seed=5)
    rest = first[15:19].astype(np.float64)
    for _ in range(35):
        step = plain.step(np.clip(rest + 0.2, -1, 1))
        env.step(np.clip(rest + 0.2, -1, 1))
    other = twin(env)
    ours, theirs = other.step(rest), plain.step(rest)
    np.testing.assert_array_equal(ours[0], theirs[0])
    assert data_equivalence(ours[4], theirs[4], exact=True)
    assert step[4]["truth"]["time_s"] == pytest.approx(0.70)


def test_a_twin_leaves_its_trial_alone_and_keeps_its_cup_and_body() -> None:
    def make() -> Any:
        env = gym.make("reach/CupReach-v1", height_m=(1.5, 1.9), perturbation=Nudge(onset_s=0.1)).unwrapped
        env.reset(seed=3)
        env.reset(options={"cup": (0.2, 0.5), "perturbation": (DelayChange(0.1), Rotation(20.0))})
        return env

    env, alone = make(), make()
    for _ in range(10):
        env.step(np.zeros(4))
        alone.step(np.zeros(4))
    other = env.twin()
    assert other.arm == env.arm
    for _ in range(20):
        ours, theirs = env.step(np.full(4, 0.2)), alone.step(np.full(4, 0.2))
        beside = other.step(np.full(4, 0.2))
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_array_equal(beside[4]["truth"]["hand"], ours[4]["truth"]["hand"])
        np.testing.assert_array_equal(beside[4]["truth"]["cup"], [0.2, 0.5])
    assert np.any(beside[0] != ours[0])


def test_a_twin_needs_a_trial() -> None:
    with pytest.raises(gym.error.ResetNeeded):
        twin(gym.make("reach/CupReach-v1"))


def test_a_twin_of_another_environment_is_refused() -> None:
    with pytest.raises(ValueError, match=r"env: expected an environment of this project, .*, got <.*CartPole"):
        twin(gym.make("CartPole-v1"))
