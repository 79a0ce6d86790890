"""A scene validates its attributes by name, and shows what the world holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import reach
from reach.protocols import ProtocolWrapper
from reach.render import Scene
from reach.scene import Label, Paths, scene_of
from reach.sim import layout as s


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("joints", np.zeros((3, 2))),
        ("fingers", np.zeros((2, 2))),
        ("cup", np.zeros(3)),
        ("path", np.zeros(2)),
        ("seen_hand", np.zeros((1, 2))),
        ("past_paths", (np.zeros((2, 3)),)),
        ("touch", np.zeros(2, dtype=np.bool_)),
        ("effort", np.zeros(2)),
        ("activation", np.zeros(6)),
        ("field_n_s_per_m", np.zeros(4)),
        ("constant_force_n", np.zeros(3)),
        ("hand_force_n", np.zeros((1, 2))),
        ("channel", np.zeros((2, 2))),
    ],
)
def test_a_wrong_shape_is_named(scene_with: Callable[..., Scene], field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"Scene {field}.*: expected shape .* got"):
        scene_with(**{field: value})


def test_a_place_off_the_world_is_named(scene_with: Callable[..., Scene]) -> None:
    for field in ("grasp_point", "cup", "seen_hand", "seen_cup", "start"):
        for value in (np.nan, np.inf, -11.0):
            with pytest.raises(ValueError, match=f"Scene {field}: expected -10 to 10, got"):
                scene_with(**{field: np.array([0.1, value])})


def test_a_radius_must_be_above_zero(scene_with: Callable[..., Scene]) -> None:
    for radius in (0.0, -0.01, np.nan, np.inf):
        with pytest.raises(ValueError, match="Scene cup_radius"):
            scene_with(cup_radius=radius)


@pytest.mark.parametrize(
    ("field", "shape", "wrong", "allowed"),
    [
        ("effort", (3,), 1001.0, "-1000 to 1000"),
        ("activation", (8,), -0.01, "0 to 1"),
        ("activation", (8,), 1.01, "0 to 1"),
        ("field_n_s_per_m", (2, 2), 1001.0, "-1000 to 1000"),
        ("constant_force_n", (2,), -1001.0, "-1000 to 1000"),
        ("hand_force_n", (2,), 1001.0, "-1000 to 1000"),
        ("channel", (2,), 3.0, "-1.001 to 1.001"),
    ],
)
def test_a_value_out_of_range_is_named(
    scene_with: Callable[..., Scene], field: str, shape: tuple[int, ...], wrong: float, allowed: str
) -> None:
    for value in (wrong, np.nan, np.inf):
        values = np.zeros(shape)
        values.flat[-1] = value
        with pytest.raises(ValueError, match=f"Scene {field}: expected {allowed}, got"):
            scene_with(**{field: values})


def test_a_channel_needs_a_direction(scene_with: Callable[..., Scene]) -> None:
    for wrong in (np.zeros(2), np.array([0.6, 0.6]), np.array([1.0, 1.0])):
        with pytest.raises(ValueError, match="Scene channel: expected a unit vector, got"):
            scene_with(channel=wrong)


def test_a_trial_below_zero_is_named(scene_with: Callable[..., Scene]) -> None:
    with pytest.raises(ValueError, match="Scene trial: expected 0 or more, or None, got -1"):
        scene_with(trial=-1)


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
