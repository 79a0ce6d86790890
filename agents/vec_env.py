"""`CupVecEnv`, the vector environment with Stable-Baselines3's interface, and `TrialLog`, which can restore trials.

Stable-Baselines3 does not accept Gymnasium's vector environments. Its `VecEnv` resets an environment in the step that
ends a trial and returns the last observation in `infos`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

import reach  # noqa: F401  (registers the environments)
from agents.environments import put_random_states, random_states
from reach.arguments import require_seed, require_whole

Indices = None | int | Iterable[int]
# All ids of this project have the vector entry point of this one.
VECTORISED = "reach/CupGrab-v0"


class CupVecEnv(VecEnv):
    """The compiled vector environment as a Stable-Baselines3 `VecEnv`.

    `PPO("MlpPolicy", CupVecEnv("reach/CupGrab-v0", 64))` trains on it as on any VecEnv. `infos` of trials that ended
    have "is_success", "terminal_observation", "TimeLimit.truncated", and "episode" with the return "r" and length "l".
    Other infos are empty, which keeps a step fast.
    """

    def __init__(self, env_id: str, num_envs: int, **options: Any) -> None:
        """Make the environments.

        Args:
            env_id: a registered id of this project.
            num_envs: number of environments, 1 or more.
            options: options of `reach.vector.CupVectorEnv`.
        """
        num_envs = require_whole("num_envs", num_envs, 1)
        made: Any = gym.make_vec(
            env_id, num_envs, vectorization_mode="vector_entry_point", autoreset_mode="SameStep", **options
        )
        self.envs = made
        self.render_mode = made.render_mode
        self._actions: NDArray[Any] = np.zeros((num_envs, *made.single_action_space.shape))
        self._next_seed: int | None = None
        self._returns = np.zeros(num_envs)
        self._lengths = np.zeros(num_envs, dtype=np.int64)
        super().__init__(num_envs, made.single_observation_space, made.single_action_space)

    def reset(self) -> Any:
        """Begin a trial in every environment, with the seeds of `seed` and the options of `set_options`.

        Raises:
            ValueError: options that differ between environments.
        """
        if any(options != self._options[0] for options in self._options):
            raise ValueError("set_options got different options for different environments; expected the same for all")
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
        """Return an attribute of each environment; only "arm" can differ between them."""
        chosen = list(self._get_indices(indices))
        if attr_name == "arm":
            return [self.envs.arms[index] for index in chosen]
        return [getattr(self.envs, attr_name)] * len(chosen)

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
        """Return False for each: there are no wrappers inside."""
        return [False] * len(list(self._get_indices(indices)))

    def get_images(self) -> Sequence[Any]:
        """Return the rendered frame of each environment."""
        return self.envs.render() or ()


def copies_of(env: gym.Env[Any, Any], seed: int, number: int) -> VecEnv:
    """Return a VecEnv of `number` copies of `env`.

    Environments of this project without further wrappers become one `CupVecEnv`, which steps each of them bit-identical
    to a single environment.

    Raises:
        ValueError: an environment without a spec.
    """
    spec = env.spec
    if spec is None:
        raise ValueError("env has no spec; expected an environment made by gym.make, its id, or a VecEnv")
    ours = gym.spec(VECTORISED).vector_entry_point
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
    """Record the commands of the unfinished trials, so that a checkpoint can restore them.

    A trial is determined by its random state and its commands. To restore it, `take_up` begins it again and repeats the
    commands. A checkpoint then needs no state of the simulation, which a reader could not validate.
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
        """Record the commands (num_envs, 4) and pass them on."""
        self._commands.append(np.array(actions))
        self.venv.step_async(actions)

    def step_wait(self) -> Any:
        """Step the environments; drop the commands of trials that ended."""
        stepped = self.venv.step_wait()
        self._ages += 1
        self._ages[stepped[2]] = 0
        del self._commands[: len(self._commands) - int(self._ages.max())]
        return stepped

    def under_way(self) -> dict[str, NDArray[Any]]:
        """Return the unfinished trials.

        Returns:
            "commands": (steps, num_envs, 4), the commands of the latest steps; "ages": (num_envs,), the number of steps
            of each unfinished trial.
        """
        size = (len(self._commands), self.num_envs, *(self.action_space.shape or ()))
        return {"commands": np.array(self._commands, dtype=np.float32).reshape(size), "ages": self._ages.copy()}

    def take_up(self, commands: NDArray[Any], ages: NDArray[np.int64]) -> None:
        """Restore unfinished trials by repeating their commands.

        Restore the random states of the environments first.

        Args:
            commands: (steps, num_envs, 4).
            ages: (num_envs,).

        Raises:
            ValueError: an age above the number of steps, or an environment that has not begun a trial.
        """
        if not np.all((ages >= 0) & (ages <= len(commands))):
            raise ValueError(f"ages: expected 0 to {len(commands)}, got {ages.tolist()}")
        states = random_states(self.venv)
        if any(count < 1 for state in states for count in state["episodes"]):
            raise ValueError("the random states belong to environments that have not begun a trial")
        before = [state | {"episodes": [count - 1 for count in state["episodes"]]} for state in states]
        for step in range(len(commands) + 1):
            beginning = np.flatnonzero(ages == len(commands) - step)
            if len(beginning):
                put_random_states(self.venv, before)
                self._begin(beginning.tolist())
            if step < len(commands):
                self.venv.step(commands[step])
        put_random_states(self.venv, states)
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
