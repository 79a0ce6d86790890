"""Environments of a learner: `CupVecEnv`, `TrialLog`, and functions that accept a `CupEnv` or a VecEnv.

Stable-Baselines3 does not accept Gymnasium's vector environments. Its `VecEnv` resets an environment in the step that
ends a trial and returns the last observation in `infos`. `CupVecEnv` gives the vector environment that interface.
`TrialLog` records unfinished trials, so that a checkpoint can restore them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

import reach  # noqa: F401  (registers the environments)
from agents.checkpoint import CheckpointError, generator_state, loading, mapping_of, require_entries
from agents.settings import FLAG, Setting, check_settings, short
from reach import COMMANDS, CONTROLS, LARGEST_RETINA_PX, MOST_LAMPS, SMALLEST_RETINA_PX, command_for_control
from reach.arguments import require_seed, require_whole
from reach.spaces import OBSERVATION_FORMS

Array = NDArray[np.float64]
Env = gym.Env[Any, Any] | VecEnv
# Valid values of the options that `env_options_of` returns.
ENV_OPTIONS = {
    "control": Setting(allowed=CONTROLS),
    "command": Setting(allowed=COMMANDS),
    "observation": Setting(allowed=OBSERVATION_FORMS),
    "retina_px": Setting(SMALLEST_RETINA_PX, LARGEST_RETINA_PX, is_integer=True),
    "retina_colour": FLAG,
    "context": Setting(0, MOST_LAMPS, is_integer=True),
}
# Valid values in the lists of `CupEnv.random_state`. The limit of the number of episodes is far below 2**64, so that
# the counter cannot overflow.
RANDOM_STATE = {
    "streams": Setting(0, 2**64 - 1, is_integer=True),
    "episodes": Setting(0, 2**62, is_integer=True),
    "seeded": FLAG,
}


def env_attribute(env: Env, name: str) -> Any:
    """Return an attribute of a `CupEnv`, wrapped or not, or of the first `CupEnv` of a VecEnv.

    Raises:
        ValueError: the environment is not a `CupEnv` and lacks the attribute.
    """
    try:
        return env.get_attr(name, 0)[0] if isinstance(env, VecEnv) else env.get_wrapper_attr(name)
    except AttributeError:
        given = env.env_method("__str__", indices=0)[0] if isinstance(env, VecEnv) else env
        raise ValueError(f"env: expected a CupEnv, wrapped or not, or a VecEnv of them, got {given}") from None


def env_id(env: Env) -> str | None:
    """Return the id with which an environment, or the first one of a VecEnv, was made; None without an id."""
    spec = env_attribute(env, "spec")
    return None if spec is None else str(spec.id)


def env_options_of(env: Env) -> dict[str, Any]:
    """Return the non-default arguments of `gym.make` for an environment with the actions and observations of `env`."""
    observing = env_attribute(env, "observing")
    options = {name: env_attribute(env, name) for name in ("control", "command", "context")}
    options["observation"] = observing.form
    if observing.form == "retina":
        options |= {"retina_px": observing.retina_px, "retina_colour": observing.retina_colour}
    usual = command_for_control(None, options["control"])
    defaults = {
        "control": "posture", "command": usual, "context": 0, "observation": "vector", "retina_px": 64,
        "retina_colour": False,
    }  # fmt: skip
    return {name: value for name, value in options.items() if value != defaults[name]}


def saved_env_options(config: dict[str, Any], path: str | Path) -> dict[str, Any]:
    """Validate and return the options of `env_options_of` from the config of a checkpoint.

    Raises:
        CheckpointError: an option is unknown or its value invalid.
    """
    options = mapping_of(config, "env_options", path)
    with loading(path):
        check_settings(options, ENV_OPTIONS)
    return options


def num_envs_of(env: Env) -> int:
    """Return the number of environments."""
    return env.num_envs if isinstance(env, VecEnv) else 1


def env_entries(env: Env, *, is_seeded: bool) -> dict[str, Any]:
    """Return the entries of a checkpoint's config about an environment or VecEnv.

    Environments that are not seeded yet have no reproducible state.
    """
    states = random_states(env) if is_seeded else [None] * num_envs_of(env)
    return {"env": env_id(env), "env_options": env_options_of(env), "random_states": states}


def random_states(env: Env) -> list[dict[str, Any]]:
    """Return the `CupEnv.random_state` of each environment; for a `CupVecEnv`, one state for all environments."""
    if not isinstance(env, VecEnv):
        return [env.get_wrapper_attr("random_state")()]
    states: list[dict[str, Any]] = env.env_method("random_state")
    return states if len(states[0]["streams"]) == 1 else states[:1]


def saved_random_states(config: dict[str, Any], env: Env, path: str | Path) -> list[dict[str, Any]] | None:
    """Validate and return the result of `random_states` from the config of a checkpoint.

    Returns:
        The states, or None if the learner was saved before its environments were seeded.

    Raises:
        CheckpointError: the entry holds no random states, or those of another number of environments.
    """
    require_entries(config, ["random_states"], path)
    states, num_envs = config["random_states"], num_envs_of(env)
    if not isinstance(states, list) or not states:
        raise CheckpointError(f"checkpoint {path}: random_states: expected a list, got {short(states)}")
    is_seeded = any(state is not None for state in states)
    if is_seeded:
        for state in states:
            _require_random_state(state, path)
    saved_envs = sum(len(state["streams"]) for state in states) if is_seeded else len(states)
    if saved_envs != num_envs:
        raise CheckpointError(
            f"checkpoint {path}: random_states: expected those of {num_envs} environments, got those of {saved_envs}"
        )
    return states if is_seeded else None


def _require_random_state(state: Any, path: str | Path) -> None:
    saved = mapping_of({"random_states": state}, "random_states", path)
    require_entries(saved, [*RANDOM_STATE, "generator"], path)
    generator_state(saved, "generator", path)
    for name, setting in RANDOM_STATE.items():
        values = saved[name]
        if not isinstance(values, list) or len(values) != len(saved["streams"]):
            raise CheckpointError(
                f"checkpoint {path}: {name}: expected a list with a value for each environment, got {short(values)}"
            )
        with loading(path):
            for value in values:
                setting.check(name, value)


def reset_and_set_random_states(env: Env, states: list[dict[str, Any]]) -> None:
    """Reset, then set the random states: the next trials are those that would have followed when these were read.

    Raises:
        ValueError: the states do not fit the environments.
    """
    if isinstance(env, VecEnv):
        # This reset uses up the seeds that a VecEnv has drawn for its first reset; they would replace the states.
        env.reset()
    write_random_states(env, states)


def write_random_states(env: Env, states: list[dict[str, Any]]) -> None:
    """Set the random states of an environment, or of all environments in a VecEnv, without ending their trials."""
    for index, state in enumerate(states):
        if isinstance(env, VecEnv):
            env.env_method("set_random_state", state, indices=[index])
        else:
            env.get_wrapper_attr("set_random_state")(state)


def observations_of(batch: Any) -> list[Any]:
    """Split a batch of observations, an array or a dictionary of arrays, into a list with one per environment."""
    if isinstance(batch, dict):
        return [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
    return list(batch)


def is_single(observation: Any, space: gym.Space[Any]) -> bool:
    """Return whether an observation is a single observation (True) or a batch (False).

    Raises:
        ValueError: the observation is neither.
    """
    parts = space.spaces if isinstance(space, gym.spaces.Dict) else {"observation": space}
    given = observation if isinstance(observation, dict) else {"observation": observation}
    if set(given) != set(parts):
        raise ValueError(f"observation: expected the parts {sorted(parts)}, got {sorted(given)}")
    for name, part in parts.items():
        shape, single = np.shape(given[name]), part.shape or ()
        if shape != single and shape[1:] != single:
            raise ValueError(f"{name}: expected shape {single} or {('n', *single)}, got {shape}")
    return all(np.shape(given[name]) == part.shape for name, part in parts.items())


def require_finite(observation: Any) -> None:
    """Check that an observation or a batch is finite.

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
    """Step and restart one environment or a VecEnv through the same interface."""

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
        """Step by actions (n, 4); return rewards (n,), whether each trial is over (n,), and infos."""
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
        """Begin the next trial after the last one has ended; do nothing for a VecEnv, which has already done so."""
        if not isinstance(self._env, VecEnv):
            self.observations = [self._env.reset()[0]]


Indices = None | int | Iterable[int]
# Environments whose vector entry point is that of this id can become a `CupVecEnv`.
VECTOR_ENV_ID = "reach/CupGrab-v1"


class CupVecEnv(VecEnv):
    """The compiled vector environment as a Stable-Baselines3 `VecEnv`.

    Use it as any VecEnv: `PPO("MlpPolicy", CupVecEnv("reach/CupGrab-v1", 64))`. The infos of trials that ended have
    "is_success", "terminal_observation", "TimeLimit.truncated", and "episode" with the return "r" and length "l". Other
    infos are empty, for speed.
    """

    def __init__(self, env_id: str, num_envs: int, **options: Any) -> None:
        """Make the environments.

        Args:
            env_id: a registered id of this project.
            num_envs: number of environments, 1 or more.
            options: options of `reach.vector.CupVectorEnv`.
        """
        num_envs = require_whole("num_envs", num_envs, 1)
        vector_env: Any = gym.make_vec(
            env_id, num_envs, vectorization_mode="vector_entry_point", autoreset_mode="SameStep",
            **options | {"truth": False},
        )  # fmt: skip
        self.envs = vector_env
        self.render_mode = vector_env.render_mode
        self._actions: NDArray[Any] = np.zeros((num_envs, *vector_env.single_action_space.shape))
        self._next_seed: int | None = None
        self._returns = np.zeros(num_envs)
        self._lengths = np.zeros(num_envs, dtype=np.int64)
        super().__init__(num_envs, vector_env.single_observation_space, vector_env.single_action_space)

    def reset(self) -> Any:
        """Begin a trial in every environment, with the seeds of `seed` and the options of `set_options`.

        Raises:
            ValueError: the options differ between environments.
        """
        if any(options != self._options[0] for options in self._options):
            raise ValueError(f"set_options: expected the same for all environments, got {self._options}")
        options = self._options[0] or None
        observations, _ = self.envs.reset(seed=self._next_seed, options=options)
        self._next_seed = None
        self._returns[:] = 0.0
        self._lengths[:] = 0
        self._reset_options()
        return observations

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seed environment i with `seed + i` at the next reset; None draws a random seed."""
        seed = require_seed("seed", seed)
        first = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        self._next_seed = first
        return [first + index for index in range(self.num_envs)]

    def step_async(self, actions: NDArray[Any]) -> None:
        """Store the actions (num_envs, 4) for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> Any:
        """Return observations, rewards, dones, each (num_envs, ...), and infos of one step."""
        observations, rewards, terminated, truncated, final = self.envs.step(self._actions)
        dones = terminated | truncated
        self._returns += rewards
        self._lengths += 1
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for index in np.flatnonzero(dones).tolist():
            infos[index] = {
                "is_success": bool(final["final_info"]["is_success"][index]),
                "terminal_observation": final["final_obs"][index],
                "TimeLimit.truncated": bool(truncated[index] and not terminated[index]),
                "episode": {"r": float(self._returns[index]), "l": int(self._lengths[index])},
            }
        self._returns[dones] = 0.0
        self._lengths[dones] = 0
        return observations, rewards.astype(np.float32), dones, infos

    def begin_trials(self, indices: Sequence[int]) -> None:
        """Begin the next trial in some environments only."""
        mask = np.zeros(self.num_envs, dtype=np.bool_)
        mask[list(indices)] = True
        self.envs.reset(options={"reset_mask": mask})
        self._returns[mask] = 0.0
        self._lengths[mask] = 0

    def close(self) -> None:
        """Close the environments."""
        self.envs.close()

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """Return an attribute of each environment; only "arm" and "perturbation" can differ between them."""
        values = self.envs.get_attr(attr_name)
        return [values[index] for index in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        """Set an attribute of all environments.

        Raises:
            ValueError: `indices` names only some of them.
        """
        if list(self._get_indices(indices)) != list(range(self.num_envs)):
            raise ValueError(f"indices: expected None, since all environments share {attr_name}; got {indices!r}")
        setattr(self.envs, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: Indices = None, **options: Any) -> list[Any]:
        """Call a method of the vector environment once and return its result for each index."""
        result = getattr(self.envs, method_name)(*args, **options)
        return [result] * len(list(self._get_indices(indices)))

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: Indices = None
    ) -> list[bool]:
        """Return True for `Monitor`, whose "episode" the infos contain, and False for any other wrapper."""
        return [issubclass(wrapper_class, Monitor)] * len(list(self._get_indices(indices)))

    def get_images(self) -> Sequence[Any]:
        """Return the rendered frame of each environment."""
        return self.envs.render() or ()


def copies_of(env: gym.Env[Any, Any], seed: int, number: int) -> VecEnv:
    """Return a VecEnv of `number` copies of `env`.

    An environment of this project without further wrappers becomes a `CupVecEnv`, in which each copy steps
    bit-identically to a single environment.

    Raises:
        ValueError: the environment has no spec.
    """
    spec = env.spec
    if spec is None:
        raise ValueError(
            f"env: expected an environment made by gym.make, its id, or a VecEnv, got {env} without a spec"
        )
    ours = gym.spec(VECTOR_ENV_ID).vector_entry_point
    if spec.vector_entry_point == ours and not spec.additional_wrappers:
        options = {name: value for name, value in spec.kwargs.items() if name != "render_mode"}
        copies = CupVecEnv(spec.id, number, max_episode_steps=spec.max_episode_steps, **options)
        copies.seed(seed)
        return copies
    return make_vec_env(
        lambda: gym.make(spec, disable_env_checker=True),
        n_envs=number,
        seed=seed,
        monitor_kwargs={"info_keywords": ("is_success",)},
    )


class TrialLog(VecEnvWrapper):
    """Record the actions of unfinished trials, so that a checkpoint can restore these trials.

    The random state and the actions determine a trial. `restore_trials` begins it again and repeats the actions. A
    checkpoint therefore needs no state of the simulation, which could not be validated when it is read.
    """

    def __init__(self, venv: VecEnv) -> None:
        """Wrap a VecEnv; call `reset` first."""
        super().__init__(venv)
        self._commands: list[NDArray[Any]] = []
        self._ages = np.zeros(self.num_envs, dtype=np.int64)

    def reset(self) -> Any:
        """Begin a trial in every environment."""
        self._commands.clear()
        self._ages[:] = 0
        return self.venv.reset()

    def step_async(self, actions: NDArray[Any]) -> None:
        """Record the actions (num_envs, 4) and pass them on."""
        self._commands.append(np.array(actions))
        self.venv.step_async(actions)

    def step_wait(self) -> Any:
        """Step the environments; drop the recorded actions of trials that ended."""
        stepped = self.venv.step_wait()
        self._ages += 1
        self._ages[stepped[2]] = 0
        del self._commands[: len(self._commands) - int(self._ages.max())]
        return stepped

    def unfinished_trials(self) -> dict[str, NDArray[Any]]:
        """Return the unfinished trials.

        Returns:
            "commands": (steps, num_envs, 4), the actions of the latest steps; "ages": (num_envs,), the number of steps
            of each unfinished trial.
        """
        size = (len(self._commands), self.num_envs, *(self.action_space.shape or ()))
        return {"commands": np.array(self._commands, dtype=np.float32).reshape(size), "ages": self._ages.copy()}

    def restore_trials(self, commands: NDArray[Any], ages: NDArray[np.int64]) -> None:
        """Restore unfinished trials by repeating their actions.

        Restore the random states of the environments first.

        Args:
            commands: (steps, num_envs, 4) actions, from `unfinished_trials`.
            ages: (num_envs,) number of steps of each trial, from `unfinished_trials`.

        Raises:
            ValueError: an age exceeds the number of steps, or an environment has not begun a trial.
        """
        if not np.all((ages >= 0) & (ages <= len(commands))):
            raise ValueError(f"ages: expected 0 to {len(commands)}, got {ages.tolist()}")
        states = random_states(self.venv)
        if any(count < 1 for state in states for count in state["episodes"]):
            raise ValueError(f"random_states: expected environments that have begun a trial, got {states}")
        states_before_trial = [state | {"episodes": [count - 1 for count in state["episodes"]]} for state in states]
        for step in range(len(commands) + 1):
            beginning = np.flatnonzero(ages == len(commands) - step)
            if len(beginning):
                write_random_states(self.venv, states_before_trial)
                self._begin(beginning.tolist())
            if step < len(commands):
                self.venv.step(commands[step])
        write_random_states(self.venv, states)
        self._commands, self._ages[:] = list(commands), ages

    def _begin(self, indices: list[int]) -> None:
        """Begin the next trial in the environments of `indices`."""
        if isinstance(self.unwrapped, CupVecEnv):
            self.unwrapped.begin_trials(indices)
        else:
            self.venv.env_method("reset", indices=indices)


def trial_log(env: VecEnv) -> TrialLog | None:
    """Return the `TrialLog` around a VecEnv, or None."""
    while not isinstance(env, TrialLog):
        if not isinstance(env, VecEnvWrapper):
            return None
        env = env.venv
    return env


def logged(env: VecEnv) -> VecEnv:
    """Wrap a VecEnv in a `TrialLog`, unless it has one."""
    return TrialLog(env) if trial_log(env) is None else env
