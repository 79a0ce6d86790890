"""The laws that Gymnasium's own tests check of its environments and vectors hold for every id and form of observation.

See `tests/envs/test_envs.py` and `tests/vector` in Gymnasium's repository.
"""

from __future__ import annotations

import copy
import itertools
import pickle
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.wrappers import RescaleAction

from reach import ENVIRONMENTS

FORMS: tuple[dict[str, Any], ...] = (
    {},
    {"reward": "sparse"},
    {"control": "torque"},
    {"control": "muscle"},
    {"observation": "goal"},
    {"context": 4},
    {"observation": "retina", "retina_px": 16},
    {"observation": "retina", "retina_px": 16, "retina_colour": True, "context": 4},
)
MODES = ("sync", "async", "vector_entry_point")

pytestmark = [
    pytest.mark.parametrize("env_id", ENVIRONMENTS),
    pytest.mark.parametrize("options", FORMS, ids=lambda options: "-".join(map(str, options.values())) or "default"),
]


def rollout(env: Any, steps: int = 60, seed: int = 0) -> list[Any]:
    """What `reset` and `step` return, with random actions that stay for a while, over the ends of trials."""
    env.action_space.seed(seed)
    rows = [env.reset(seed=seed)]
    for k in range(steps):
        if k % 6 == 0:
            action = env.action_space.sample()
        rows.append(env.step(action))
        if rows[-1][2] or rows[-1][3]:
            rows.append(env.reset())
    return rows


def test_the_checkers_find_nothing(env_id: str, options: dict[str, Any]) -> None:
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    if options.get("retina_px") == 16:
        # Stable-Baselines3 warns of pictures below 36 pixels.
        options = {**options, "retina_px": 36}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gym.make(env_id, max_episode_steps=20, **options).unwrapped)
        checker.check_env(gym.make(env_id, **options).unwrapped)


def test_the_same_seed_gives_the_same_rollout_and_another_seed_another(env_id: str, options: dict[str, Any]) -> None:
    rows = rollout(gym.make(env_id, **options))
    env = gym.make(env_id, **options)
    assert all(row[0] in env.observation_space for row in rows)
    assert data_equivalence(rows, rollout(env), exact=True)
    assert data_equivalence(rows, rollout(env), exact=True)
    assert not data_equivalence(rows[0][0], env.reset(seed=1)[0], exact=True)


def test_copies_of_environment_spaces_and_spec_go_on_alike(env_id: str, options: dict[str, Any]) -> None:
    env = gym.make(env_id, **options)
    rollout(env, 10)
    for copied in (copy.deepcopy(env), pickle.loads(pickle.dumps(env))):
        assert copied.spec == env.spec
        assert (copied.action_space, copied.observation_space) == (env.action_space, env.observation_space)
        assert data_equivalence(rollout(copied, 10), rollout(copy.deepcopy(env), 10), exact=True)
    again = gym.make(pickle.loads(pickle.dumps(env.spec)))
    assert data_equivalence(rollout(again, 10), rollout(env, 10), exact=True)


def test_every_vector_gives_the_same(env_id: str, options: dict[str, Any]) -> None:
    vectors = [gym.make_vec(env_id, 3, mode, max_episode_steps=12, **options) for mode in MODES]
    single = gym.make(env_id, **options)
    for envs in vectors:
        assert envs.single_observation_space == single.observation_space
        assert envs.single_action_space == single.action_space
        assert envs.metadata["autoreset_mode"] == vectors[0].metadata["autoreset_mode"]
    vectors[0].action_space.seed(0)
    steps = [[envs.reset(seed=4) for envs in vectors]]
    for _ in range(26):
        actions = 1.5 * vectors[0].action_space.sample()
        steps.append([envs.step(actions) for envs in vectors])
    for sync, *others in steps:
        assert sync[0] in vectors[0].observation_space
        assert all(data_equivalence(sync, other, exact=True) for other in others)
    for envs in vectors:
        envs.close()


def test_without_truth_info_is_flat(env_id: str, options: dict[str, Any]) -> None:
    """TorchRL, for one, reads no nested dictionaries."""
    env = gym.make(env_id, truth=False, **options)
    env.reset(seed=0)
    _, reward, _, _, info = env.step(np.full(4, 0.5))
    assert all(isinstance(value, bool | float) for value in info.values())
    assert reward == pytest.approx(sum(value for name, value in info.items() if name.startswith("reward_")))
    for mode in MODES:
        envs = gym.make_vec(env_id, 2, mode, truth=False, **options)
        envs.reset(seed=0)
        infos = envs.step(np.full((2, 4), 0.5))[4]
        assert set(infos) == {mask + name for name in info for mask in ("", "_")}
        assert all(values.shape == (2,) and values.dtype != object for values in infos.values())
        envs.close()


def test_actions_of_any_range_can_be_rescaled(env_id: str, options: dict[str, Any]) -> None:
    for low, high in itertools.product(np.linspace(-3.0, 0.0, 4), np.linspace(0.1, 9.7, 4)):
        env = RescaleAction(gym.make(env_id, **options), np.float32(low), np.float32(high))
        env.reset(seed=0)
        for action in (env.action_space.low, env.action_space.high):
            assert env.observation_space.contains(env.step(action)[0])


def test_every_render_mode_renders(env_id: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    for mode in (*gym.make(env_id).metadata["render_modes"], "rgb_array_list"):
        env = gym.make(env_id, render_mode=mode, width=64, height=48, **options)
        assert env.render_mode == mode
        env.reset(seed=0)
        env.step(env.action_space.sample())
        picture = env.render()
        if mode == "human":
            assert picture is None
        else:
            for frame in picture if isinstance(picture, list) else [picture]:
                assert (frame.shape, frame.dtype) == ((48, 64, 3), np.uint8)
        env.close()
