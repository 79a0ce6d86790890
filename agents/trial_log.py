"""A VecEnv that remembers the commands of the trials under way, so that a checkpoint can hold them.

A trial follows from its random state and its commands. To take up trials again where they were left is to begin them
once more and to repeat their commands: a checkpoint then holds no state of a simulation, which a reader could not
check.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from agents.environments import put_random_states, random_states
from agents.vec_env import CupVecEnv


class TrialLog(VecEnvWrapper):
    """Record the commands given in each environment since its trial began."""

    def __init__(self, venv: VecEnv) -> None:
        """Wrap a VecEnv; `reset` begins the first trials."""
        super().__init__(venv)
        self._commands: list[NDArray[Any]] = []
        self._ages = np.zeros(self.num_envs, dtype=np.int64)

    def reset(self) -> Any:
        """Begin a trial in every environment."""
        self._commands.clear()
        self._ages[:] = 0
        return self.venv.reset()

    def step_async(self, actions: NDArray[Any]) -> None:
        """Record the commands (num_envs, 4) and hand them on."""
        self._commands.append(np.array(actions))
        self.venv.step_async(actions)

    def step_wait(self) -> Any:
        """Return what the environments return; forget the commands of trials that have ended."""
        stepped = self.venv.step_wait()
        self._ages += 1
        self._ages[stepped[2]] = 0
        del self._commands[: len(self._commands) - int(self._ages.max())]
        return stepped

    def under_way(self) -> dict[str, NDArray[Any]]:
        """Return the trials under way.

        Returns:
            "commands": (steps, num_envs, 4), those of the latest steps; "ages": (num_envs,), how many of them belong to
            the present trial of each environment.
        """
        size = (len(self._commands), self.num_envs, *(self.action_space.shape or ()))
        return {"commands": np.array(self._commands, dtype=np.float32).reshape(size), "ages": self._ages.copy()}

    def take_up(self, commands: NDArray[Any], ages: NDArray[np.int64]) -> None:
        """Live through the trials under way once more.

        The environments hold the random states that they had when `under_way` was read.

        Args:
            commands: (steps, num_envs, 4).
            ages: (num_envs,).

        Raises:
            ValueError: an age outside 0 to the number of steps, or an environment that has begun no trial yet.
        """
        if not np.all((ages >= 0) & (ages <= len(commands))):
            raise ValueError(f"ages of the trials under way are {ages.tolist()}; 0 to {len(commands)} are allowed")
        states = random_states(self.venv)
        if any(count < 1 for state in states for count in state["episodes"]):
            raise ValueError("the random states are of environments without a trial under way")
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
        """Begin the next trial in some environments."""
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
