"""An intervention in a running trial changes what it names and nothing else."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import reach
from reach.scene import copy_scene
from reach.simulation import move_cup, perturb

ACTION = np.array([0.2, 0.3, 0.0, 0.9], dtype=np.float32)


def running_trial(steps: int = 10, **options: Any) -> Any:
    env = gym.make("reach/CupGrab-v1", render_mode="rgb_array")
    env.reset(seed=2, options=options)
    for _ in range(steps):
        env.step(ACTION)
    return env


def truths(env: Any, steps: int) -> list[Any]:
    return [env.step(ACTION)[4]["truth"]["hand"] for _ in range(steps)]


def test_a_perturbation_acts_as_if_its_onset_were_now() -> None:
    changed, plain = running_trial(), running_trial(perturbation=(reach.ConstantForce(6.0, 0.0, 0.2),))
    perturb(changed, reach.ConstantForce(6.0, 0.0))
    np.testing.assert_array_equal(truths(changed, 15), truths(plain, 15))


def test_the_next_trial_is_unchanged() -> None:
    changed, plain = running_trial(), running_trial()
    perturb(changed, (reach.CurlField(13.0), reach.Prism(0.1)))
    for env in (changed, plain):
        env.reset(seed=3)
    np.testing.assert_array_equal(truths(changed, 15), truths(plain, 15))
    np.testing.assert_array_equal(changed.step(ACTION)[0], plain.step(ACTION)[0])


def test_perturbations_that_cannot_be_combined_change_nothing() -> None:
    changed, plain = running_trial(), running_trial()
    with pytest.raises(ValueError, match="onset"):
        perturb(changed, (reach.Prism(0.1), reach.Rotation(30.0, 0.5)))
    np.testing.assert_array_equal(truths(changed, 5), truths(plain, 5))


def test_a_cup_that_is_moved_is_seen_there_one_delay_later() -> None:
    env = running_trial(1)
    x, y = copy_scene(env).cup
    assert move_cup(env, (x + 0.05, y))
    seen = [copy_scene(env).seen_cup[0] - x for _ in range(7) if env.step(ACTION)]
    assert seen == pytest.approx([0.05] * 7)


def test_a_copied_scene_stays_unchanged() -> None:
    env = running_trial()
    scene = copy_scene(env)
    hand = scene.grasp_point.copy()
    truths(env, 10)
    np.testing.assert_array_equal(scene.grasp_point, hand)


def test_a_place_off_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="on the table"):
        move_cup(running_trial(), (3.0, 3.0))
