"""Goals and retina tell what the vector tells, and the reward of a goal is the reward of its step."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import FilterObservation, FlattenObservation
from hypothesis import given, settings
from hypothesis import strategies as st

from reach import CupRemoved, HideHand, Prism, Rotation
from reach.sim.layout import SHOWN_CENTRE_M, SHOWN_M
from reach.sim.tasks import compute_reward

IDS = ("reach/CupReach-v1", "reach/CupGrab-v1")
QUIET = {"hand_noise_m": 0.0, "cup_noise_m": 0.0}


@settings(max_examples=40)
@given(
    env_id=st.sampled_from(IDS),
    seed=st.integers(0, 2**31),
    perturbation=st.sampled_from([(), Rotation(40.0), Prism(0.1), HideHand(0.1), CupRemoved(0.5)]),
    eager=st.floats(0.0, 1.0),
)
def test_the_reward_of_a_goal_is_that_of_its_step(env_id: str, seed: int, perturbation: Any, eager: float) -> None:
    """Over random courses and, so that trials are won as well, the expert's."""
    from agents.reaching.expert import Expert

    env = gym.make(env_id, observation="goal", perturbation=perturbation)
    rng = np.random.default_rng(seed)
    expert = Expert(env)
    _, info = env.reset(seed=seed)
    expert.begin(info["truth"])
    achieved, desired, rewards = [], [], []
    random = rng.uniform(-1, 1, 4)
    for k in range(150):
        if k % 20 == 0:
            random = rng.uniform(-1, 1, 4)
        share = eager if eager < 0.5 else 1.0
        action = share * expert.act(info["truth"]) + (1.0 - share) * random
        observation, reward, terminated, truncated, info = env.step(np.clip(action, -1, 1))
        achieved.append(observation["achieved_goal"])
        desired.append(observation["desired_goal"])
        rewards.append(reward)
        goals = achieved[-1], desired[-1], info
        assert env.unwrapped.compute_reward(*goals) == reward
        assert env.unwrapped.compute_terminated(*goals) == terminated
        assert not env.unwrapped.compute_truncated(*goals)
        if terminated or truncated:
            break
    np.testing.assert_array_equal(compute_reward(np.array(achieved), np.array(desired), [{}] * len(rewards)), rewards)


def test_the_expert_wins_goals_so_the_reward_of_success_is_met() -> None:
    from agents.reaching.expert import Expert

    for env_id in IDS:
        env = gym.make(env_id, observation="goal")
        expert = Expert(env)
        _, info = env.reset(seed=0)
        expert.begin(info["truth"])
        terminated = False
        while not terminated:
            observation, reward, terminated, _, info = env.step(expert.act(info["truth"]))
        assert info["is_success"]
        assert reward == 0.0
        assert compute_reward(observation["achieved_goal"], observation["desired_goal"], info) == 0.0


def test_a_goal_that_was_reached_is_rewarded_in_hindsight_and_an_unready_hand_is_not() -> None:
    achieved = np.array([[0.1, 0.5, 1.0, 0.0], [0.1, 0.5, 0.0, 0.0], [0.1, 0.5, 1.0, 0.0], [0.1, 0.5, 0.0, 30.0]])
    desired = np.array([[0.1, 0.5, 1.0, 0.0], [0.1, 0.5, 1.0, 0.0], [0.2, 0.5, 1.0, 0.0], [0.2, 0.5, 1.0, 0.0]])
    np.testing.assert_array_equal(compute_reward(achieved, desired, None), [0.0, -1.0, -1.0, -31.0])
    with pytest.raises(ValueError, match=r"achieved_goal: .* got \(2,\)"):
        compute_reward(np.zeros(2), np.zeros(4), None)


def test_goals_ask_for_sparse_reward() -> None:
    with pytest.raises(ValueError, match=r"reward: .*sparse.* got 'dense'"):
        gym.make("reach/CupReach-v1", observation="goal", reward="dense")
    assert not hasattr(gym.make("reach/CupReach-v1").unwrapped, "compute_reward")


def picture(place: tuple[float, float], **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """The first retina with the cup at a place, and the felt vector."""
    env = gym.make("reach/CupReach-v1", observation="retina", senses=QUIET, **options)
    observation, _ = env.reset(seed=0, options={"cup": place})
    return observation["retina"].astype(float), observation["proprioception"]


def pixels(place: Any, size: int) -> np.ndarray:
    """Column and row at which a place (x, y) m is seen."""
    x, y = (np.asarray(place) - SHOWN_CENTRE_M) * size / SHOWN_M
    return np.array([0.5 * size - 0.5 + x, 0.5 * size - 0.5 - y])


@settings(max_examples=30)
@given(st.floats(-0.25, 0.3), st.floats(0.52, 0.62))
def test_the_cup_is_where_it_is_seen_and_as_large_as_it_is(x: float, y: float) -> None:
    size = 64
    blank, _ = picture((x, y), perturbation=CupRemoved(None))
    image, _ = picture((x, y))
    ink = blank[..., 0] - image[..., 0]
    ink /= ink.max()
    rows, columns = np.mgrid[:size, :size]
    centre = np.array([(ink * columns).sum(), (ink * rows).sum()]) / ink.sum()
    np.testing.assert_allclose(centre, pixels((x, y), size), atol=0.1)
    assert ink.sum() == pytest.approx(np.pi * (0.035 * size / SHOWN_M) ** 2, rel=0.05)


def test_a_prism_moves_the_whole_picture_and_a_hidden_hand_leaves_no_trace() -> None:
    one_pixel = SHOWN_M / 64
    plain, felt = picture((0.0, 0.5))
    shifted, felt_shifted = picture((0.0, 0.5), perturbation=Prism(3 * one_pixel))
    np.testing.assert_allclose(shifted[:, 3:], plain[:, :-3], atol=1.0)
    np.testing.assert_array_equal(felt, felt_shifted)
    nothing, _ = picture((0.0, 0.5), perturbation=(HideHand(), CupRemoved(None)))
    assert np.ptp(nothing) == 0.0


def test_grey_is_the_luminance_of_colour() -> None:
    grey, _ = picture((0.0, 0.5))
    colour, _ = picture((0.0, 0.5), retina_colour=True)
    np.testing.assert_allclose(colour @ [0.299, 0.587, 0.114], grey[..., 0], atol=2.0)


def test_the_retina_is_late_by_the_visual_delay() -> None:
    env = gym.make("reach/CupReach-v1", observation="retina", senses=QUIET)
    first, _ = env.reset(seed=0, options={"cup": (0.2, 0.5)})
    images = [first["retina"]]
    for _ in range(30):
        images.append(env.step(np.array([0.3, 0.2, 0.0, 0.5]))[0]["retina"])
    moved = [not np.array_equal(image, images[0]) for image in images]
    # The hand sets out in the first step; the eye has it 0.1 s later.
    assert moved.index(True) >= 6
    assert moved.index(True) <= 8


@pytest.mark.parametrize("form", ["goal", "retina"])
def test_vector_environments_give_the_same_dictionaries(form: str) -> None:
    ours = gym.make_vec(
        "reach/CupGrab-v1",
        3,
        vectorization_mode="vector_entry_point",
        observation=form,
        autoreset_mode="SameStep",
        max_episode_steps=15,
    )
    theirs = gym.make_vec(
        "reach/CupGrab-v1",
        3,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": "SameStep"},
        observation=form,
        max_episode_steps=15,
    )
    first, other = ours.reset(seed=1)[0], theirs.reset(seed=1)[0]
    for k in range(40):
        for name in first:
            np.testing.assert_array_equal(first[name], other[name])
        action = np.full((3, 4), 0.1 * (k % 10), dtype=np.float32)
        (first, *_, info), (other, *_, other_info) = ours.step(action), theirs.step(action)
        for index in np.flatnonzero(info.get("_final_obs", np.zeros(3, dtype=bool))):
            for name in first:
                np.testing.assert_array_equal(info["final_obs"][index][name], other_info["final_obs"][index][name])


def test_dictionary_wrappers_work() -> None:
    env = FlattenObservation(FilterObservation(gym.make("reach/CupReach-v1", observation="retina"), ["proprioception"]))
    assert env.reset(seed=0)[0].shape == (14,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"observation": "smell"}, "observation: .*vector.*goal.*retina.*got 'smell'"),
        ({"observation": "retina", "retina_px": 8}, "retina_px: .* got 8"),
    ],
)
def test_unknown_forms_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gym.make("reach/CupReach-v1", **options)
