"""Where a learner's trials come from: one environment or a Stable-Baselines3 VecEnv, in the same words."""

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
from reach.env import OBSERVATION_FORMS
from reach.sim.layout import CONTROLS
from reach.sim.retina import LARGEST_PX, SMALLEST_PX

Array = NDArray[np.float64]
Env = gym.Env[Any, Any] | VecEnv
# What `env_options_of` may give.
ENV_OPTIONS = {
    "control": Setting(also=CONTROLS),
    "observation": Setting(also=OBSERVATION_FORMS),
    "retina_px": Setting(SMALLEST_PX, LARGEST_PX, whole=True),
    "retina_colour": FLAG,
}
STREAM = Setting(0, 2**64 - 1, whole=True)
# Far from the end of 64 bits, where a counter would begin again at 0.
EPISODES = Setting(0, 2**62, whole=True)


def env_attribute(env: Env, name: str) -> Any:
    """An attribute of a `CupEnv`, wrapped or not, or of the first of a VecEnv's.

    Raises:
        ValueError: an environment of another kind, which has no such attribute.
    """
    try:
        return env.get_attr(name, 0)[0] if isinstance(env, VecEnv) else env.get_wrapper_attr(name)
    except AttributeError:
        given = env.env_method("__str__", indices=0)[0] if isinstance(env, VecEnv) else env
        raise ValueError(f"env is {given}; a CupEnv, wrapped or not, or a VecEnv of them is allowed") from None


def env_id(env: Env) -> str | None:
    """The id by which an environment, or the first of a VecEnv's, was made; None where it was made without one."""
    spec = env_attribute(env, "spec")
    return None if spec is None else str(spec.id)


def env_options_of(env: Env) -> dict[str, Any]:
    """What `gym.make` must be told for an environment whose actions and observations mean the same as those of `env`.

    Defaults are left out.
    """
    observing = env_attribute(env, "observing")
    found = {"control": env_attribute(env, "control"), "observation": observing.form}
    if observing.form == "retina":
        found |= {"retina_px": observing.retina_px, "retina_colour": observing.retina_colour}
    usual = {"control": "posture", "observation": "vector", "retina_px": 64, "retina_colour": False}
    return {name: value for name, value in found.items() if value != usual[name]}


def kept_env_options(config: dict[str, Any], path: str | Path) -> dict[str, Any]:
    """Return what `env_options_of` gave, out of a checkpoint's config.

    Raises:
        CheckpointError: an option that is not known, or a value that is not valid.
    """
    options = mapping_of(config, "env_options", path)
    with loading(path):
        check_settings(options, ENV_OPTIONS)
    return options


def num_envs_of(env: Env) -> int:
    """Return how many environments there are."""
    return env.num_envs if isinstance(env, VecEnv) else 1


def random_states(env: Env) -> list[dict[str, Any]]:
    """What `CupEnv.random_state` says of every environment; of a native vector one state for all."""
    if not isinstance(env, VecEnv):
        return [env.get_wrapper_attr("random_state")()]
    states: list[dict[str, Any]] = env.env_method("random_state")
    return states if len(states[0]["streams"]) == 1 else states[:1]


def kept_random_states(config: dict[str, Any], env: Env, path: str | Path) -> list[dict[str, Any]] | None:
    """Return what `random_states` gave, out of a checkpoint's config.

    Returns:
        The states, or None where the learner was kept before its environments were seeded.

    Raises:
        CheckpointError: they are no random states, or those of another number of environments.
    """
    require_entries(config, ["random_states"], path)
    states, own = config["random_states"], num_envs_of(env)
    if not isinstance(states, list) or not states:
        raise CheckpointError(f"checkpoint {path}: random_states is {short(states)}; a list of them is expected")
    is_seeded = any(state is not None for state in states)
    if is_seeded:
        for state in states:
            _require_random_state(state, path)
    held = sum(len(state["streams"]) for state in states) if is_seeded else len(states)
    if held != own:
        raise CheckpointError(
            f"checkpoint {path}: the random states are of {held} environments; those of {own} are expected"
        )
    return states if is_seeded else None


def _require_random_state(state: Any, path: str | Path) -> None:
    kinds = {"streams": STREAM, "episodes": EPISODES, "sown": FLAG}
    given = mapping_of({"random_states": state}, "random_states", path)
    require_entries(given, [*kinds, "generator"], path)
    generator_state(given["generator"], "generator", path)
    for name, kind in kinds.items():
        if not isinstance(given[name], list) or len(given[name]) != len(given["streams"]):
            raise CheckpointError(
                f"checkpoint {path}: {name} is {short(given[name])}; one for each environment is expected"
            )
        with loading(path):
            for value in given[name]:
                kind.check(name, value)


def set_random_states(env: Env, states: list[dict[str, Any]]) -> None:
    """Let the next trials be those that would have followed where `random_states` was read.

    Raises:
        ValueError: the states are of environments that are put together otherwise.
    """
    if isinstance(env, VecEnv):
        # Takes up the seeds that a VecEnv has drawn for its first reset.
        env.reset()
    put_random_states(env, states)


def put_random_states(env: Env, states: list[dict[str, Any]]) -> None:
    """Set the random states of an environment, or of all of a VecEnv's; the trials under way go on."""
    for index, state in enumerate(states):
        if isinstance(env, VecEnv):
            env.env_method("set_random_state", state, indices=[index])
        else:
            env.get_wrapper_attr("set_random_state")(state)


def rows_of(observations: Any) -> list[Any]:
    """The observations of each environment out of those of all, which are arrays or dictionaries of them."""
    if isinstance(observations, dict):
        return [dict(zip(observations, values, strict=True)) for values in zip(*observations.values(), strict=True)]
    return list(observations)


def is_one(observation: Any, space: gym.Space[Any]) -> bool:
    """Whether an observation is that of one environment, and not of a batch of them.

    Raises:
        ValueError: an observation that fits neither.
    """
    parts = space.spaces if isinstance(space, gym.spaces.Dict) else {"observation": space}
    given = observation if isinstance(observation, dict) else {"observation": observation}
    if set(given) != set(parts):
        raise ValueError(f"observation has parts {sorted(given)}; {sorted(parts)} are allowed")
    for name, part in parts.items():
        shape, allowed = np.shape(given[name]), part.shape or ()
        if shape != allowed and shape[1:] != allowed:
            raise ValueError(f"{name} has shape {shape}; {allowed} or (n, {', '.join(map(str, allowed))}) is allowed")
    return all(np.shape(given[name]) == part.shape for name, part in parts.items())


def require_finite(observation: Any) -> None:
    """Validate the numbers of an observation, or of a batch of them.

    Raises:
        ValueError: a part holds NaN or infinity, or no numbers; the message names it.
    """
    # The usual case in little time. The sum of squares of large numbers may be infinite.
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
            raise ValueError(f"{name} is {values!r}; finite numbers are allowed")


class TrialSource:
    """Trials from one environment or from a VecEnv, in the same words."""

    def __init__(self, env: Env, seed: int | None) -> None:
        """Begin a trial in each environment; None goes on with the random numbers it has."""
        self._env = env
        if isinstance(env, VecEnv):
            if seed is not None:
                env.seed(seed)
            self.num_envs = env.num_envs
            self.rows = rows_of(env.reset())
        else:
            self.num_envs = 1
            self.rows = [env.reset(seed=seed)[0]]

    def step(self, commands: NDArray[np.float32]) -> tuple[Array, NDArray[np.bool_], list[dict[str, Any]]]:
        """Rewards, whether trials are over, (n,) each, and infos of one step of commands (n, 4)."""
        if isinstance(self._env, VecEnv):
            observation, rewards, dones, infos = self._env.step(commands)
            self.rows = rows_of(observation)
            return rewards, dones, infos
        observation, reward, terminated, truncated, info = self._env.step(commands[0])
        self.rows = [observation]
        return np.array([reward]), np.array([terminated or truncated]), [info]

    def last_row(self, k: int, infos: list[dict[str, Any]]) -> Any:
        """The last observation of a trial that has just ended (a VecEnv has already begun the next one)."""
        return infos[k].get("terminal_observation", self.rows[k])

    def restart(self) -> None:
        """Begin the next trial now that one has ended; a VecEnv has done so by itself."""
        if not isinstance(self._env, VecEnv):
            self.rows = [self._env.reset()[0]]
