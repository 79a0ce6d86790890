"""A hand in a trial under way changes what it says and nothing else."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import reach
from reach.interventions import move_cup, perturb
from reach.scene import scene_in

ACTION = np.array([0.2, 0.3, 0.0, 0.9], dtype=np.float32)


def under_way(steps: int = 10, **options: Any) -> Any:
    env = gym.make("reach/CupGrab-v0", render_mode="rgb_array")
    env.reset(seed=2, options=options)
    for _ in range(steps):
        env.step(ACTION)
    return env


def truths(env: Any, steps: int) -> list[Any]:
    return [env.step(ACTION)[4]["truth"]["hand"] for _ in range(steps)]


def test_what_is_put_on_acts_from_now_on_as_if_it_had_set_in_now() -> None:
    handled, plain = under_way(), under_way(perturbation=(reach.ConstantForce(6.0, 0.0, 0.2),))
    perturb(handled, reach.ConstantForce(6.0, 0.0))
    np.testing.assert_array_equal(truths(handled, 15), truths(plain, 15))


def test_the_trial_after_it_is_as_it_would_have_been() -> None:
    handled, plain = under_way(), under_way()
    perturb(handled, (reach.CurlField(13.0), reach.Prism(0.1)))
    for env in (handled, plain):
        env.reset(seed=3)
    np.testing.assert_array_equal(truths(handled, 15), truths(plain, 15))
    np.testing.assert_array_equal(handled.step(ACTION)[0], plain.step(ACTION)[0])


def test_what_cannot_act_together_changes_nothing() -> None:
    handled, plain = under_way(), under_way()
    with pytest.raises(ValueError, match="onset"):
        perturb(handled, (reach.Prism(0.1), reach.Rotation(30.0, 0.5)))
    np.testing.assert_array_equal(truths(handled, 5), truths(plain, 5))


def test_a_cup_that_is_moved_is_seen_there_one_delay_later() -> None:
    env = under_way(1)
    x, y = scene_in(env).cup
    assert move_cup(env, (x + 0.05, y))
    seen = [scene_in(env).seen_cup[0] - x for _ in range(7) if env.step(ACTION)]
    assert seen == pytest.approx([0.05] * 7)


def test_a_kept_scene_stays_as_it_was() -> None:
    env = under_way()
    scene = scene_in(env)
    hand = scene.grasp_point.copy()
    truths(env, 10)
    np.testing.assert_array_equal(scene.grasp_point, hand)


def test_a_place_off_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="on the table"):
        move_cup(under_way(), (3.0, 3.0))
