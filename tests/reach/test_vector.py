"""The vector environment is its single environments, bit for bit, and keeps Gymnasium's promises for vectors."""

from __future__ import annotations

import copy
import importlib.util
import json
import os
import subprocess
import sys
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode
from hypothesis import given, settings
from hypothesis import strategies as st

from reach import CupJump, CurlField, EndVision, HideHand, Load, Prism, Rotation
from reach.sim.tasks import REWARD_TERMS

IDS = ("reach/CupReach-v1", "reach/CupGrab-v1")
CONTROLS = ("posture", "torque", "muscle")


def native(env_id: str, num_envs: int, **options: Any) -> Any:
    return gym.make_vec(env_id, num_envs=num_envs, vectorization_mode="vector_entry_point", **options)


def singles(env_id: str, num_envs: int, mode: str, **options: Any) -> Any:
    return gym.make_vec(
        env_id, num_envs=num_envs, vectorization_mode="sync", vector_kwargs={"autoreset_mode": mode}, **options
    )


def actions_of(seed: int, num_envs: int, steps: int) -> np.ndarray:
    """Commands that stay for a while, so that cups are met, tipped and pushed."""
    rng = np.random.default_rng(seed)
    held = rng.uniform(-1, 1, (steps // 15 + 1, num_envs, 4))
    return np.repeat(held, 15, axis=0)[:steps].astype(np.float32)


def height_of(truth: Any) -> float:
    """Body height, m, that puts the hand of Winter's arm where it is at these joint angles."""
    first, second, third = np.cumsum(truth["joint_angles"])
    return float(
        np.linalg.norm(truth["hand"])
        / np.linalg.norm(
            0.186 * np.array([np.cos(first), np.sin(first)])
            + 0.146 * np.array([np.cos(second), np.sin(second)])
            + 0.87 * 0.108 * np.array([np.cos(third), np.sin(third)])
        )
    )


def assert_same_steps(ours: Any, theirs: Any) -> None:
    for a, b in zip(ours[:4], theirs[:4], strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(ours[4]["is_success"], theirs[4]["is_success"])
    for name in REWARD_TERMS:
        np.testing.assert_array_equal(ours[4][name], theirs[4][name])


def assert_same_layout(ours: Any, theirs: Any, mask: np.ndarray) -> None:
    """Keys, types, shapes and dtypes are the same, and the values of the environments in `mask`."""
    assert type(ours) is type(theirs)
    if isinstance(ours, dict):
        assert set(ours) == set(theirs)
        for name in ours:
            assert_same_layout(ours[name], theirs[name], mask)
        return
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    np.testing.assert_array_equal(ours[mask], theirs[mask])


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("num_envs", [1, 3, 8, 13])
def test_each_environment_is_a_single_one_to_the_last_bit(control: str, num_envs: int) -> None:
    ours = native("reach/CupGrab-v1", num_envs, control=control, max_episode_steps=60)
    theirs = singles("reach/CupGrab-v1", num_envs, "NextStep", control=control, max_episode_steps=60)
    np.testing.assert_array_equal(ours.reset(seed=3)[0], theirs.reset(seed=3)[0])
    endings = 0
    for action in actions_of(0, num_envs, 200):
        step = ours.step(action)
        assert_same_steps(step, theirs.step(action))
        endings += np.sum(step[2] | step[3])
    assert endings > 0


@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize("reward", ["dense", "sparse"])
def test_same_step_autoreset_agrees_with_gymnasiums(env_id: str, reward: str) -> None:
    ours = native(env_id, 6, reward=reward, autoreset_mode="SameStep", max_episode_steps=50)
    theirs = singles(env_id, 6, "SameStep", reward=reward, max_episode_steps=50)
    np.testing.assert_array_equal(ours.reset(seed=5)[0], theirs.reset(seed=5)[0])
    finals = 0
    for action in actions_of(1, 6, 160):
        step, other = ours.step(action), theirs.step(action)
        assert_same_steps(step, other)
        assert ("final_obs" in step[4]) == ("final_obs" in other[4])
        for index in np.flatnonzero(step[4].get("_final_obs", np.zeros(6, dtype=bool))):
            np.testing.assert_array_equal(step[4]["final_obs"][index], other[4]["final_obs"][index])
            finals += 1
        if "final_info" in step[4]:
            assert_same_layout(step[4]["final_info"], other[4]["final_info"], step[4]["_final_info"])
    assert finals > 0


def test_without_autoreset_ended_trials_wait_for_their_reset() -> None:
    env = native("reach/CupGrab-v1", 4, autoreset_mode=AutoresetMode.DISABLED, max_episode_steps=5)
    env.reset(seed=0)
    rest = env.reset(seed=0)[0][:, 15:19]
    for _ in range(5):
        observation, _, _, truncated, _ = env.step(rest)
    assert truncated.all()
    with pytest.raises(gym.error.ResetNeeded, match="reset_mask"):
        env.step(rest)
    mask = np.array([True, False, True, False])
    options = {"reset_mask": mask}
    again, info = env.reset(options=options)
    assert options == {"reset_mask": mask}
    np.testing.assert_array_equal(again[~mask], observation[~mask])
    assert np.all(np.any(again[mask] != observation[mask], axis=1))
    np.testing.assert_array_equal(info["_is_success"], mask)
    env.reset(options={"reset_mask": ~mask})
    env.step(rest)


def test_perturbations_seeds_and_cups_may_differ_between_environments() -> None:
    perturbations: list[Any] = [None, Rotation(30.0), (CurlField(13.0), CupJump()), Load(1.0), None]
    seeds, cups = [7, 7, 7, 7, 8], np.array([[0.2, 0.52], [0.2, 0.52], [0.1, 0.55], [0.1, 0.55], [0.0, 0.55]])
    ours = native("reach/CupReach-v1", 5)
    seen, _ = ours.reset(seed=seeds, options={"perturbation": perturbations, "cup": cups})
    others = []
    for index in range(5):
        env = gym.make("reach/CupReach-v1")
        options = {"perturbation": perturbations[index], "cup": cups[index]}
        np.testing.assert_array_equal(seen[index], env.reset(seed=seeds[index], options=options)[0])
        others.append(env)
    under_way = set(range(5))
    for action in actions_of(2, 5, 60):
        step = ours.step(action)
        for index in sorted(under_way):
            alone = others[index].step(action[index])
            np.testing.assert_array_equal(step[0][index], alone[0])
            if alone[2] or alone[3]:
                under_way.remove(index)
    standing = native("reach/CupReach-v1", 5, perturbation=perturbations)
    np.testing.assert_array_equal(standing.reset(seed=seeds, options={"cup": cups})[0], seen)


STACKED = st.lists(
    st.sampled_from([Rotation(20.0), Prism(0.03), CurlField(9.0), Load(0.5), HideHand(0.2), EndVision()]),
    max_size=3,
    unique=True,
).map(tuple)


def through_json(env: Any) -> EnvSpec:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return EnvSpec.from_json(json.dumps(json.loads(env.spec.to_json())))


def gentle(seed: int, num_envs: int, rest: np.ndarray) -> list[np.ndarray]:
    """Commands about rest, for too short a time to end a trial."""
    return [rest + 0.02 * action for action in actions_of(seed, num_envs, 12) * (1.0, 1.0, 1.0, 0.0)]


@settings(max_examples=8)
@given(STACKED, st.integers(0, 2**31))
def test_stacked_perturbations_mean_the_same_alone_in_a_vector_and_from_json(acting: Any, seed: int) -> None:
    alone = gym.make("reach/CupReach-v1", perturbation=acting)
    again = gym.make(through_json(alone))
    first, _ = alone.reset(seed=seed)
    np.testing.assert_array_equal(again.reset(seed=seed)[0], first)
    # As many environments as perturbations, and another number.
    vectors = [native("reach/CupReach-v1", number, perturbation=acting) for number in (max(2, len(acting)), 5)]
    others = [gym.make_vec(through_json(env)) for env in vectors]
    for env in (*vectors, *others):
        np.testing.assert_array_equal(env.reset(seed=seed)[0][0], first)
    for action in gentle(seed, 1, first[15:19]):
        observation = alone.step(action[0])[0]
        np.testing.assert_array_equal(again.step(action[0])[0], observation)
        for env, other in zip(vectors, others, strict=True):
            rows = env.step(np.repeat(action, env.num_envs, axis=0))[0]
            np.testing.assert_array_equal(rows[0], observation)
            np.testing.assert_array_equal(other.step(np.repeat(action, env.num_envs, axis=0))[0], rows)


@settings(max_examples=8)
@given(st.lists(st.one_of(st.none(), STACKED), min_size=2, max_size=4), st.integers(0, 2**31))
def test_a_perturbation_for_each_environment_means_the_same_from_json(each: list[Any], seed: int) -> None:
    ours = native("reach/CupReach-v1", len(each), perturbation=each)
    again = gym.make_vec(through_json(ours))
    rows, _ = ours.reset(seed=seed)
    np.testing.assert_array_equal(again.reset(seed=seed)[0], rows)
    alone = [gym.make("reach/CupReach-v1", perturbation=acting) for acting in each]
    for index, env in enumerate(alone):
        np.testing.assert_array_equal(env.reset(seed=seed + index)[0], rows[index])
    for action in gentle(seed, len(each), rows[:, 15:19]):
        step = ours.step(action)[0]
        np.testing.assert_array_equal(again.step(action)[0], step)
        np.testing.assert_array_equal([env.step(action[k])[0] for k, env in enumerate(alone)], step)


def test_a_list_that_could_mean_either_is_refused_with_what_is_meant() -> None:
    with pytest.raises(ValueError, match=r"perturbation: expected a tuple.*2 tuples.*\[Rotation"):
        native("reach/CupReach-v1", 2, perturbation=[Rotation(30.0), Load(1.0)])
    each = native("reach/CupReach-v1", 2, perturbation=[(Rotation(30.0),), (Load(1.0),)]).reset(seed=0)[0]
    other = native("reach/CupReach-v1", 2, perturbation=((Rotation(30.0),), (Load(1.0),))).reset(seed=0)[0]
    np.testing.assert_array_equal(each, other)


def test_an_array_gives_each_environment_its_own_body() -> None:
    heights = np.array([1.5, 1.75, 1.95])
    ours = native("reach/CupReach-v1", 3, height_m=heights, cup={"radius_m": np.array([0.02, 0.03, 0.04])})
    seen, _ = ours.reset(seed=1)
    for index, height in enumerate(heights):
        env = gym.make("reach/CupReach-v1", height_m=float(height), cup={"radius_m": 0.02 + 0.01 * index})
        np.testing.assert_array_equal(env.reset(seed=1 + index)[0], seen[index])
    for number in (1, 2, 4):
        with pytest.raises(ValueError, match=f"height_m: expected a value for each of {number} environments, got 3"):
            native("reach/CupReach-v1", number, height_m=heights)


def test_drawn_bodies_agree_with_single_environments_and_differ_between_trials() -> None:
    drawn = {"height_m": (1.5, 1.9), "senses": {"vision_delay_s": (0.05, 0.2), "hand_noise_m": (0.0, 0.01)}}
    ours = native("reach/CupReach-v1", 3, max_episode_steps=20, **drawn)
    theirs = singles("reach/CupReach-v1", 3, "NextStep", max_episode_steps=20, **drawn)
    np.testing.assert_array_equal(ours.reset(seed=2)[0], theirs.reset(seed=2)[0])
    heights = set()
    for action in actions_of(3, 3, 70):
        step = ours.step(action)
        assert_same_steps(step, theirs.step(action))
        heights.add(round(height_of({name: values[0] for name, values in step[4]["truth"].items()}), 6))
    assert len(heights) > 2


def test_threads_change_no_bit() -> None:
    results = []
    for threads in (1, 2):
        env = native("reach/CupGrab-v1", 40, threads=threads)
        env.reset(seed=0)
        results.append([env.step(action)[:4] for action in actions_of(4, 40, 40)])
    for one, two in zip(*results, strict=True):
        for a, b in zip(one, two, strict=True):
            np.testing.assert_array_equal(a, b)


def test_information_of_earlier_steps_stays_as_it_was() -> None:
    env = native("reach/CupGrab-v1", 3)
    env.reset(seed=1)
    action = np.zeros((3, 4))
    info = env.step(action)[4]
    kept = copy.deepcopy(info)
    env.step(action)
    assert data_equivalence(info, kept, exact=True)


@pytest.mark.parametrize("mode", ["sync", "vector_entry_point"])
def test_without_truth_the_rest_is_the_same(mode: str) -> None:
    with_truth, without = (gym.make_vec("reach/CupGrab-v1", 2, mode, truth=truth) for truth in (True, False))
    with_truth.reset(seed=1)
    assert "truth" not in without.reset(seed=1)[1]
    for action in actions_of(2, 2, 5):
        full, bare = with_truth.step(action), without.step(action)
        del full[4]["truth"], full[4]["_truth"]
        assert data_equivalence(full, bare, exact=True)


def test_other_libraries_keep_their_number_of_threads() -> None:
    """In a process of its own, because torch has to bring the OpenMP runtime before Numba asks for it."""
    if importlib.util.find_spec("torch") is None:
        pytest.skip("expected torch, found none")
    code = (
        "import torch; torch.set_num_threads(1)\n"
        "import gymnasium as gym, reach\n"
        "env = gym.make_vec('reach/CupGrab-v1', 40, vectorization_mode='vector_entry_point', threads=2)\n"
        "env.reset(seed=0); env.step(env.action_space.sample())\n"
        "assert torch.get_num_threads() == 1"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_forked_child_steps_although_its_parent_has_used_threads() -> None:
    env = native("reach/CupGrab-v1", 40, threads=2)
    env.reset(seed=0)
    step = np.zeros((40, 4))
    env.step(step)
    child = os.fork()
    if child == 0:
        env.step(step)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def test_observations_of_earlier_steps_stay_as_they_were() -> None:
    env = native("reach/CupGrab-v1", 3)
    first, _ = env.reset(seed=0)
    kept = first.copy()
    second = env.step(np.zeros((3, 4)))[0]
    again = second.copy()
    env.step(np.ones((3, 4)))
    env.reset()
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(second, again)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"render_mode": "human"}, "render_mode: .* got 'human'"),
        ({"render_mode": "depth_array"}, "render_mode: .* got 'depth_array'"),
        ({"perturbation": [None]}, "each of 2 environments, got 1"),
    ],
)
def test_bad_arguments_are_refused_by_name(options: dict[str, Any], message: str) -> None:
    from reach.vector import CupVectorEnv

    with pytest.raises(ValueError, match=message):
        CupVectorEnv(**{"num_envs": 2, **options})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cups": 1}, r"got \['cups'\]"),
        ({"cup": np.zeros((3, 2))}, "option cup: expected shape"),
        ({"reset_mask": [True, True]}, "reset_mask"),
        ({"reset_mask": np.zeros(2, dtype=bool)}, "at least one True"),
    ],
)
def test_bad_reset_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        native("reach/CupGrab-v1", 2).reset(options=options)


def test_bad_actions_are_refused_before_anything_moves() -> None:
    env = native("reach/CupGrab-v1", 2)
    with pytest.raises(gym.error.ResetNeeded):
        env.step(np.zeros((2, 4)))
    env.reset(seed=0)
    for actions, message in (
        (np.zeros((2, 3)), r"got \(2, 3\)"),
        (np.array([[0.0] * 4, [0.0, np.nan, 0.0, 0.0]]), "environment 1"),
        (np.full((2, 4), -np.inf), "environment 0"),
    ):
        with pytest.raises(ValueError, match=message):
            env.step(actions)
    other = native("reach/CupGrab-v1", 2)
    other.reset(seed=0)
    np.testing.assert_array_equal(env.step(np.zeros((2, 4)))[0], other.step(np.zeros((2, 4)))[0])


@pytest.mark.parametrize("mode", ["sync", "async", "vector_entry_point"])
def test_a_vector_tells_the_attributes_of_each_environment(mode: str) -> None:
    envs = gym.make_vec("reach/CupGrab-v1", 2, mode, perturbation=Rotation(30.0), control="torque")
    envs.reset(seed=0)
    assert envs.get_attr("perturbation") == ((Rotation(30.0),),) * 2
    assert envs.get_attr("control") == ("torque",) * 2
    assert envs.get_attr("arm")[0] == gym.make("reach/CupGrab-v1").unwrapped.arm
    envs.close()


@pytest.mark.parametrize("autoreset", ["NextStep", "SameStep"])
@pytest.mark.parametrize("mode", ["rgb_array", "rgb_array_list"])
def test_pictures_are_those_of_gymnasiums_vectors(mode: str, autoreset: str) -> None:
    options = {"render_mode": mode, "width": 48, "height": 40, "max_episode_steps": 5}
    vectors = singles(IDS[1], 2, autoreset, **options), native(IDS[1], 2, autoreset_mode=autoreset, **options)
    for env in vectors:
        assert mode in env.metadata["render_modes"]
        env.reset(seed=3)
    for step, actions in enumerate(actions_of(0, 2, 16)):
        for env in vectors:
            env.step(actions)
        # A list begins anew with each call and with each trial.
        if step % 3 == 0:
            sync, ours = (env.render() for env in vectors)
            assert data_equivalence(sync, ours, exact=True)
