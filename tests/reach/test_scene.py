"""A scene shows what the world holds."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import reach
from reach.protocols import ProtocolWrapper
from reach.scene import Label, Paths, scene_of
from reach.sim import layout as s

STILL = np.zeros(4, dtype=np.float32)


def scene(env: gym.Env[Any, Any], label: Label | None = None) -> Any:
    simulation: Any = env.unwrapped._simulation  # type: ignore[attr-defined]
    return scene_of(simulation, 0, Paths(), label or Label())


def begun(**options: Any) -> gym.Env[Any, Any]:
    env = gym.make("reach/CupGrab-v1", **options)
    env.reset(seed=0)
    env.step(STILL)
    return env


def test_a_constant_force_and_a_field_are_shown_where_they_act() -> None:
    plain = scene(begun())
    assert plain.constant_force_n is None
    assert plain.field_n_s_per_m is None
    pulled = scene(begun(perturbation=reach.ConstantForce(3.0, -2.0)))
    np.testing.assert_array_equal(pulled.constant_force_n, [3.0, -2.0])


def test_the_error_is_shown_until_the_trial_is_decided() -> None:
    env = begun()
    assert scene(env).show_error
    simulation: Any = env.unwrapped._simulation  # type: ignore[attr-defined]
    simulation.world.row(0)[s.TIPPED] = 1.0
    assert not scene(env).show_error


def test_trials_are_counted_and_a_protocol_names_its_own() -> None:
    env = gym.make("reach/CupReach-v1", render_mode="rgb_array", width=300, height=300)
    pictures = []
    for _ in range(2):
        env.reset(seed=3)
        pictures.append(env.render())
    assert (pictures[0] != pictures[1])[:40, 150:].any(), "another number"
    wrapped = ProtocolWrapper(env, "rotation30")
    wrapped.reset()
    label: Any = env.unwrapped.label  # type: ignore[attr-defined]
    assert (label.caption, label.trial, label.block) == ("rotation30", 1, "baseline")


def test_no_picture_before_the_first_reset() -> None:
    env = gym.make("reach/CupReach-v1", render_mode="rgb_array")
    with pytest.raises(gym.error.ResetNeeded, match="reset"):
        env.render()
