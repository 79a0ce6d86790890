"""Gymnasium's wrappers, copies and tools find in these environments what they expect of any."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import imageio.v3 as iio
import numpy as np
import pygame
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.wrappers import (
    FilterObservation,
    FlattenObservation,
    FrameStackObservation,
    RecordEpisodeStatistics,
    RenderCollection,
    RescaleAction,
    TimeLimit,
)

from reach import Arm, CurlField, Rotation
from reach.scene import Label

IDS = ("reach/CupReach-v1", "reach/CupGrab-v1")
OBSERVATIONS = ("vector", "goal", "retina")
AT_WORK = np.array([0.3, -0.2, 0.5, 0.8], dtype=np.float32)

pytestmark = pytest.mark.parametrize("env_id", IDS)


def to_the_end(env: gym.Env[Any, Any], action: np.ndarray) -> list[Any]:
    """The steps of the trial that has begun, until it is over."""
    steps = [env.step(action)]
    while not (steps[-1][2] or steps[-1][3]):
        steps.append(env.step(action))
    return steps


def assert_same_steps(one: list[Any], other: list[Any]) -> None:
    """Observations, rewards and endings are the same to the last bit."""
    assert len(one) == len(other)
    for ours, theirs in zip(one, other, strict=True):
        assert data_equivalence(ours[:4], theirs[:4], exact=True)


def test_episode_statistics_are_the_sum_and_the_number_of_steps(env_id: str) -> None:
    env = RecordEpisodeStatistics(gym.make(env_id))
    env.reset(seed=0)
    steps = to_the_end(env, AT_WORK)
    episode = steps[-1][4]["episode"]
    assert episode["l"] == len(steps)
    assert episode["r"] == pytest.approx(sum(step[1] for step in steps))
    assert all("episode" not in step[4] for step in steps[:-1])


@pytest.mark.parametrize("mode", ["sync", "vector_entry_point"])
def test_vector_statistics_mark_the_episodes_that_ended(env_id: str, mode: str) -> None:
    envs = gym.wrappers.vector.RecordEpisodeStatistics(gym.make_vec(env_id, num_envs=3, vectorization_mode=mode))
    envs.action_space.seed(0)
    envs.reset(seed=0)
    returns, lengths, episodes = np.zeros(3), np.zeros(3, dtype=np.int64), 0
    for _ in range(400):
        resets_now = lengths == -1
        _, rewards, terminated, truncated, infos = envs.step(envs.action_space.sample())
        returns = np.where(resets_now, 0.0, returns + rewards)
        lengths = np.where(resets_now, 0, lengths + 1)
        over = terminated | truncated
        np.testing.assert_array_equal(infos.get("_episode", np.zeros(3, dtype=np.bool_)), over)
        if over.any():
            np.testing.assert_allclose(infos["episode"]["r"][over], returns[over], rtol=1e-6)
            np.testing.assert_array_equal(infos["episode"]["l"][over], lengths[over])
            lengths[over] = -1
        episodes += over.sum()
    assert episodes >= 6


def leaves_of(info: Any) -> list[Any]:
    """The values in nested dictionaries."""
    return [leaf for value in info.values() for leaf in leaves_of(value)] if type(info) is dict else [info]


def test_information_is_of_plain_dictionaries_arrays_numbers_and_bools(env_id: str) -> None:
    env = gym.make(env_id)
    for info in (env.reset(seed=0)[1], env.step(AT_WORK)[4]):
        assert {type(leaf) for leaf in leaves_of(info)} == {np.ndarray, float, bool}
        arrays = [leaf for leaf in leaves_of(info) if isinstance(leaf, np.ndarray)]
        assert all(array.dtype == np.float64 and array.flags.c_contiguous and array.flags.writeable for array in arrays)


def test_every_array_arrives_as_a_tensor(env_id: str) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("array_api_compat")
    from gymnasium.wrappers.numpy_to_torch import NumpyToTorch
    from gymnasium.wrappers.vector import NumpyToTorch as VectorToTorch

    plain, env = gym.make(env_id), NumpyToTorch(gym.make(env_id))
    envs = VectorToTorch(gym.make_vec(env_id, 2, "vector_entry_point"))
    plain.reset(seed=0), env.reset(seed=0), envs.reset(seed=0)
    hand = plain.step(AT_WORK)[4]["truth"]["hand"]
    np.testing.assert_array_equal(env.step(torch.tensor(AT_WORK))[4]["truth"]["hand"], hand)
    np.testing.assert_array_equal(envs.step(torch.tensor(np.tile(AT_WORK, (2, 1))))[4]["truth"]["hand"][0], hand)


@pytest.mark.parametrize("mode", ["sync", "vector_entry_point"])
def test_vector_information_can_be_listed_by_environment(env_id: str, mode: str) -> None:
    envs = gym.wrappers.vector.DictInfoToList(gym.make_vec(env_id, num_envs=3, vectorization_mode=mode))
    envs.reset(seed=12)
    infos = envs.step(np.tile(AT_WORK, (3, 1)))[4]
    for index, info in enumerate(infos):
        alone = gym.make(env_id)
        alone.reset(seed=12 + index)
        expected = alone.step(AT_WORK)[4]
        assert {name: info[name] for name in info if name != "truth"} == {
            name: expected[name] for name in expected if name != "truth"
        }
        np.testing.assert_array_equal(info["truth"]["hand"], expected["truth"]["hand"])


@pytest.mark.parametrize("observation", OBSERVATIONS)
def test_a_flat_observation_holds_every_number(env_id: str, observation: str) -> None:
    plain, flat = (gym.make(env_id, observation=observation) for _ in range(2))
    flat = FlattenObservation(flat)
    seen, row = plain.reset(seed=1)[0], flat.reset(seed=1)[0]
    assert row in flat.observation_space
    assert row.shape == (gym.spaces.flatdim(plain.observation_space),)
    back = gym.spaces.unflatten(plain.observation_space, row)
    assert data_equivalence(back, seen, exact=True)


@pytest.mark.parametrize(("observation", "kept"), [("goal", ["observation", "desired_goal"]), ("retina", ["retina"])])
def test_filtered_observations_keep_what_is_named(env_id: str, observation: str, kept: list[str]) -> None:
    plain = gym.make(env_id, observation=observation)
    env = FilterObservation(gym.make(env_id, observation=observation), kept)
    plain.reset(seed=2), env.reset(seed=2)
    whole, part = plain.step(AT_WORK)[0], env.step(AT_WORK)[0]
    assert part in env.observation_space
    assert sorted(part) == sorted(kept)
    assert data_equivalence(part, {name: whole[name] for name in part}, exact=True)


@pytest.mark.parametrize("observation", OBSERVATIONS)
def test_stacked_observations_are_the_last_ones_and_stay_as_they_were(env_id: str, observation: str) -> None:
    plain = gym.make(env_id, observation=observation)
    env = FrameStackObservation(gym.make(env_id, observation=observation), 3)
    seen = [copy.deepcopy(plain.reset(seed=3)[0])]
    env.reset(seed=3)
    for _ in range(4):
        seen.append(copy.deepcopy(plain.step(AT_WORK)[0]))
        stacked = env.step(AT_WORK)[0]
    assert stacked in env.observation_space
    whole = stacked if isinstance(stacked, dict) else {"": stacked}
    for name, frames in whole.items():
        expected = np.stack([one[name] if name else one for one in seen[-3:]])
        np.testing.assert_array_equal(frames, expected)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.0, 10.0)])
def test_rescaled_actions_mean_the_same_movement(env_id: str, low: float, high: float) -> None:
    plain, scaled = gym.make(env_id), RescaleAction(gym.make(env_id), np.float32(low), np.float32(high))
    plain.reset(seed=4), scaled.reset(seed=4)
    # Quarters, so that scaling there and back is exact.
    action = np.array([0.25, -0.5, 0.75, 1.0], dtype=np.float32)
    moved = low + (action + 1.0) * (high - low) / 2.0
    assert_same_steps([plain.step(action) for _ in range(5)], [scaled.step(moved) for _ in range(5)])
    for bound in (scaled.action_space.low, scaled.action_space.high):
        scaled.step(bound)


def test_a_list_of_pictures_has_one_for_each_moment(env_id: str) -> None:
    env = gym.make(env_id, render_mode="rgb_array_list", width=96, height=80)
    assert env.render_mode == "rgb_array_list"
    env.reset(seed=6)
    for _ in range(10):
        env.step(AT_WORK)
    pictures = env.render()
    assert len(pictures) == 11
    assert all(picture.shape == (80, 96, 3) and picture.dtype == np.uint8 for picture in pictures)
    # Each picture is an array of its own, which later drawing leaves alone.
    assert len({picture.tobytes() for picture in pictures}) == 11
    assert env.render() == []


def test_a_film_of_the_pictures_is_as_long_as_the_movement(env_id: str, tmp_path: Path) -> None:
    env = RenderCollection(gym.make(env_id, render_mode="rgb_array", width=96, height=96))
    rate = env.metadata["render_fps"]
    env.reset(seed=7)
    steps = 25
    for _ in range(steps):
        env.step(AT_WORK)
    film = tmp_path / "film.mp4"
    iio.imwrite(film, np.stack(env.render()), fps=rate)
    about = iio.immeta(film, plugin="FFMPEG")
    assert about["fps"] == rate == 1 / 0.02
    assert len(iio.imread(film, plugin="FFMPEG")) == steps + 1


def test_pictures_go_on_after_somebody_has_quit_pygame(env_id: str) -> None:
    env, untouched = (gym.make(env_id, render_mode="rgb_array") for _ in range(2))
    for one in (env, untouched):
        one.reset(seed=10)
        # Words that nobody has written before, so that they are not merely remembered.
        one.unwrapped.label = Label(f"before, {env_id}")
        one.render()
        one.unwrapped.label = Label(f"after, {env_id}")
    pygame.quit()
    picture = env.render()
    pygame.font.init()
    np.testing.assert_array_equal(untouched.render(), picture)
    untouched.unwrapped.label = Label()
    assert not np.array_equal(untouched.render(), picture)


def test_the_environment_goes_on_after_its_window_was_lost_with_pygame(
    env_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    plain, shown = gym.make(env_id), gym.make(env_id, render_mode="human", width=96, height=96)
    plain.reset(seed=11), shown.reset(seed=11)
    pygame.quit()
    assert_same_steps([plain.step(AT_WORK) for _ in range(3)], [shown.step(AT_WORK) for _ in range(3)])
    shown.close()


PLAY = """
import sys
import gymnasium as gym, numpy as np, pygame
from gymnasium.utils.play import play
import reach

actions = []

def callback(before, after, action, reward, terminated, truncated, info):
    actions.append(tuple(action))
    events = {2: (pygame.KEYDOWN, pygame.K_w), 4: (pygame.KEYUP, pygame.K_w), 160: (pygame.QUIT, None)}
    if len(actions) in events:
        kind, key = events[len(actions)]
        pygame.event.post(pygame.event.Event(kind, key=key) if key else pygame.event.Event(kind))

env = gym.make(sys.argv[1], render_mode="rgb_array", width=96, height=96)
still, pressed = np.zeros(4, np.float32), np.full(4, 0.5, np.float32)
play(env, fps=100_000, callback=callback, keys_to_action={"w": pressed}, noop=still, seed=0)
assert len(actions) == 160, len(actions)
assert actions[2] == actions[3] == tuple(pressed), actions[:6]
assert actions[1] == actions[4] == tuple(still), actions[:6]
"""


def test_play_moves_the_arm_by_keys_over_the_end_of_a_trial(env_id: str, tmp_path: Path) -> None:
    # In a process of its own: importing play() chooses matplotlib's backend, and its end quits pygame for everybody.
    quiet = {
        "SDL_VIDEODRIVER": "dummy",
        "SDL_AUDIODRIVER": "dummy",
        "MPLBACKEND": "agg",
        "PYTHONPATH": ":".join(sys.path),
    }
    result = subprocess.run(
        [sys.executable, "-W", "error::UserWarning:reach", "-c", PLAY, env_id],
        env=quiet, cwd=tmp_path, capture_output=True, text=True, timeout=300.0, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("render_mode", [None, "rgb_array"])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_wrapped_copy_in_the_middle_of_a_trial_ends_as_the_first_does(
    env_id: str, copied: Callable[[Any], Any], render_mode: str | None
) -> None:
    perturbation = (Rotation(20.0), CurlField(8.0))
    env = RecordEpisodeStatistics(gym.make(env_id, perturbation=perturbation, render_mode=render_mode))
    env.reset(seed=8)
    for _ in range(20):
        env.step(AT_WORK)
    other = copied(env)
    if render_mode is not None:
        np.testing.assert_array_equal(env.render(), other.render())
    ours = to_the_end(env, AT_WORK)
    theirs = to_the_end(other, AT_WORK)
    assert_same_steps(ours, theirs)
    assert ours[-1][4]["episode"]["l"] == theirs[-1][4]["episode"]["l"]
    assert data_equivalence(env.reset()[0], other.reset()[0], exact=True)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"perturbation": (Rotation(20.0), CurlField(8.0)), "control": "muscle"},
        {"arm": Arm.winter(1.8, 80.0)},
        {"observation": "goal", "height_m": (1.6, 1.9)},
        {"observation": "retina", "cup": {"radius_m": 0.03}, "senses": {"vision_delay_s": 0.2}},
    ],
)
def test_the_specification_of_a_wrapped_environment_survives_json(env_id: str, arguments: dict[str, Any]) -> None:
    env = FrameStackObservation(TimeLimit(gym.make(env_id, **arguments), 5), 2)
    assert env.spec is not None
    again = gym.make(EnvSpec.from_json(json.dumps(json.loads(env.spec.to_json()))))
    assert again.spec is not None
    assert again.spec.to_json() == env.spec.to_json()
    assert again.action_space == env.action_space
    assert again.observation_space == env.observation_space
    assert data_equivalence(env.reset(seed=9)[0], again.reset(seed=9)[0], exact=True)
    ours, theirs = to_the_end(env, AT_WORK), to_the_end(again, AT_WORK)
    assert len(ours) == 5
    assert_same_steps(ours, theirs)
