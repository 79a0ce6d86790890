"""A learner's environments: functions that work alike on one `CupEnv` and on a Stable-Baselines3 VecEnv of them."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from agents.checkpoint import (
    FLAG,
    CheckpointError,
    Setting,
    check_settings,
    generator_state,
    loading,
    mapping_of,
    require_entries,
    short,
)
from reach import CONTROLS, LARGEST_RETINA_PX, SMALLEST_RETINA_PX
from reach.env import OBSERVATION_FORMS

Array = NDArray[np.float64]
Env = gym.Env[Any, Any] | VecEnv
# Valid values of the options that `env_options_of` returns.
ENV_OPTIONS = {
    "control": Setting(also=CONTROLS),
    "observation": Setting(also=OBSERVATION_FORMS),
    "retina_px": Setting(SMALLEST_RETINA_PX, LARGEST_RETINA_PX, whole=True),
    "retina_colour": FLAG,
}
STREAM = Setting(0, 2**64 - 1, whole=True)
# Number of episodes: far below 2**64, so that counting on cannot overflow.
EPISODES = Setting(0, 2**62, whole=True)


def env_attribute(env: Env, name: str) -> Any:
    """Return an attribute of a `CupEnv`, wrapped or not, or of the first one of a VecEnv.

    Raises:
        ValueError: the environment has no such attribute, as it is not a `CupEnv`.
    """
    try:
        return env.get_attr(name, 0)[0] if isinstance(env, VecEnv) else env.get_wrapper_attr(name)
    except AttributeError:
        given = env.env_method("__str__", indices=0)[0] if isinstance(env, VecEnv) else env
        raise ValueError(f"expected env to be a CupEnv, wrapped or not, or a VecEnv of them, got {given}") from None


def env_id(env: Env) -> str | None:
    """Return the id by which an environment, or the first one of a VecEnv, was made; None without one."""
    spec = env_attribute(env, "spec")
    return None if spec is None else str(spec.id)


def env_options_of(env: Env) -> dict[str, Any]:
    """Return arguments of `gym.make` for an environment with the same actions and observations as `env`.

    Defaults are left out.
    """
    observing = env_attribute(env, "observing")
    options = {"control": env_attribute(env, "control"), "observation": observing.form}
    if observing.form == "retina":
        options |= {"retina_px": observing.retina_px, "retina_colour": observing.retina_colour}
    defaults = {"control": "posture", "observation": "vector", "retina_px": 64, "retina_colour": False}
    return {name: value for name, value in options.items() if value != defaults[name]}


def saved_env_options(config: dict[str, Any], path: str | Path) -> dict[str, Any]:
    """Return the environment's options, as of `env_options_of`, that the config of a checkpoint holds.

    Raises:
        CheckpointError: an unknown option or an invalid value.
    """
    options = mapping_of(config, "env_options", path)
    with loading(path):
        check_settings(options, ENV_OPTIONS)
    return options


def num_envs_of(env: Env) -> int:
    """Return the number of environments."""
    return env.num_envs if isinstance(env, VecEnv) else 1


def random_states(env: Env) -> list[dict[str, Any]]:
    """Return the `CupEnv.random_state` of each environment; for a `CupVecEnv`, one state that covers all."""
    if not isinstance(env, VecEnv):
        return [env.get_wrapper_attr("random_state")()]
    states: list[dict[str, Any]] = env.env_method("random_state")
    return states if len(states[0]["streams"]) == 1 else states[:1]


def saved_random_states(config: dict[str, Any], env: Env, path: str | Path) -> list[dict[str, Any]] | None:
    """Return the random states, as of `random_states`, that the config of a checkpoint holds.

    Returns:
        The states, or None if the learner was saved before its environments were seeded.

    Raises:
        CheckpointError: the entry holds no random states, or those of another number of environments.
    """
    require_entries(config, ["random_states"], path)
    states, num_envs = config["random_states"], num_envs_of(env)
    if not isinstance(states, list) or not states:
        raise CheckpointError(f"checkpoint {path}: expected random_states to be a list, got {short(states)}")
    is_seeded = any(state is not None for state in states)
    if is_seeded:
        for state in states:
            _require_random_state(state, path)
    saved_envs = sum(len(state["streams"]) for state in states) if is_seeded else len(states)
    if saved_envs != num_envs:
        raise CheckpointError(
            f"checkpoint {path}: expected random states of {num_envs} environments, got those of {saved_envs}"
        )
    return states if is_seeded else None


def _require_random_state(state: Any, path: str | Path) -> None:
    valid_values = {"streams": STREAM, "episodes": EPISODES, "sown": FLAG}
    given = mapping_of({"random_states": state}, "random_states", path)
    require_entries(given, [*valid_values, "generator"], path)
    generator_state(given["generator"], "generator", path)
    for name, setting in valid_values.items():
        if not isinstance(given[name], list) or len(given[name]) != len(given["streams"]):
            raise CheckpointError(
                f"checkpoint {path}: expected {name} to be a list, one for each environment, got {short(given[name])}"
            )
        with loading(path):
            for value in given[name]:
                setting.check(name, value)


def set_random_states(env: Env, states: list[dict[str, Any]]) -> None:
    """Set the random states. The next trials are then those that would have followed when the states were read.

    Raises:
        ValueError: the states belong to environments of another kind.
    """
    if isinstance(env, VecEnv):
        # Uses up the seeds that a VecEnv has drawn for its first reset, which would replace the states.
        env.reset()
    put_random_states(env, states)


def put_random_states(env: Env, states: list[dict[str, Any]]) -> None:
    """Set the random states of an environment, or of all in a VecEnv, without ending their trials."""
    for index, state in enumerate(states):
        if isinstance(env, VecEnv):
            env.env_method("set_random_state", state, indices=[index])
        else:
            env.get_wrapper_attr("set_random_state")(state)


def observations_of(batch: Any) -> list[Any]:
    """Split a batch of observations, an array or a dictionary of arrays, by environment."""
    if isinstance(batch, dict):
        return [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
    return list(batch)


def is_one(observation: Any, space: gym.Space[Any]) -> bool:
    """Return whether an observation is that of one environment, not a batch of them.

    Raises:
        ValueError: it is neither.
    """
    parts = space.spaces if isinstance(space, gym.spaces.Dict) else {"observation": space}
    given = observation if isinstance(observation, dict) else {"observation": observation}
    if set(given) != set(parts):
        raise ValueError(f"expected an observation with parts {sorted(parts)}, got {sorted(given)}")
    for name, part in parts.items():
        shape, single = np.shape(given[name]), part.shape or ()
        if shape != single and shape[1:] != single:
            raise ValueError(f"{name}: expected shape {single} or {('n', *single)}, got {shape}")
    return all(np.shape(given[name]) == part.shape for name, part in parts.items())


def require_finite(observation: Any) -> None:
    """Check that an observation, or a batch of them, is finite.

    Raises:
        ValueError: a part holds NaN or infinity, or is not numeric; the message names the part.
    """
    # Fast path. The sum of squares of large finite numbers may overflow, so an infinite sum needs the check below.
    if (
        type(observation) is np.ndarray
        and observation.dtype.kind == "f"
        and isfinite(np.vdot(observation, observation))
    ):
        return
    for name, values in (observation if isinstance(observation, dict) else {"observation": observation}).items():
        array = np.asarray(values)
        if array.dtype.kind in "iub":
            continue
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise ValueError(f"{name}: expected finite numbers, got {values!r}")


class TrialSource:
    """Source of trials: steps and restarts one environment or a VecEnv."""

    def __init__(self, env: Env, seed: int | None) -> None:
        """Begin a trial in each environment; with seed None, their random number generators continue."""
        self._env = env
        if isinstance(env, VecEnv):
            if seed is not None:
                env.seed(seed)
            self.num_envs = env.num_envs
            self.observations = observations_of(env.reset())
        else:
            self.num_envs = 1
            self.observations = [env.reset(seed=seed)[0]]

    def step(self, commands: NDArray[np.float32]) -> tuple[Array, NDArray[np.bool_], list[dict[str, Any]]]:
        """Step by commands (n, 4); return rewards (n,), whether trials are over (n,), and infos."""
        if isinstance(self._env, VecEnv):
            batch, rewards, dones, infos = self._env.step(commands)
            self.observations = observations_of(batch)
            return rewards, dones, infos
        observation, reward, terminated, truncated, info = self._env.step(commands[0])
        self.observations = [observation]
        return np.array([reward]), np.array([terminated or truncated]), [info]

    def last_observation(self, k: int, infos: list[dict[str, Any]]) -> Any:
        """Return the last observation of the trial that just ended in environment k.

        A VecEnv has already begun the next trial and stores the last observation in `infos`.
        """
        return infos[k].get("terminal_observation", self.observations[k])

    def restart(self) -> None:
        """Begin the next trial after one has ended. A VecEnv has already done so."""
        if not isinstance(self._env, VecEnv):
            self.observations = [self._env.reset()[0]]
