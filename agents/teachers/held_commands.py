"""Environments in which what a policy wants is held for a while, as intermittent control has it.

People correct a reach by decisions that are a psychological refractory period apart (Gawthrop, Loram, Lakie and Gollee
2011). A learner that decides so tells its decisions apart more easily: by the time between two of them, one is better
than another by more, where it vanishes with the time step (Tallec, Blier and Ollivier 2019, ICML).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from reach.sim.layout import ACTION_SIZE

# Control steps from one decision to the next: 0.16 s.
DECISION_STEPS = 8
# Share of the way to what the policy wants that a command goes in one step: most of it in a third of a second.
FOLLOWED_SHARE = 0.12


def followed(wanted: NDArray[np.float32], observation: Any) -> NDArray[np.float32]:
    """The commands (..., 4) that lie a share of the way from the last ones, which are observed, to those wanted."""
    last = np.asarray(observation["observation"])[..., -ACTION_SIZE:]
    command: NDArray[np.float32] = (last + FOLLOWED_SHARE * (wanted - last)).astype(np.float32)
    return command


class HeldCommands(VecEnvWrapper):
    """One environment whose step is a decision: commands follow what it wants until the next one or the trial's end.

    Attributes:
        steps: control steps that the last decision was held for.
    """

    def __init__(self, venv: VecEnv) -> None:
        """Wrap a VecEnv of one environment of goals.

        Raises:
            ValueError: it holds several, whose trials would end at different steps of a decision.
        """
        if venv.num_envs != 1:
            raise ValueError(f"env holds {venv.num_envs} environments; 1 is allowed")
        super().__init__(venv)
        self.steps = 0
        self._observation: Any = None
        self._wanted = np.zeros((1, ACTION_SIZE), dtype=np.float32)

    def reset(self) -> Any:
        """As the environment."""
        self._observation = self.venv.reset()
        return self._observation

    def observe(self, observation: Any) -> None:
        """Follow commands from an observation of trials that are under way."""
        self._observation = observation

    def step_async(self, actions: NDArray[np.float32]) -> None:
        """Take what is wanted, (1, 4)."""
        self._wanted = actions

    def step_wait(self) -> Any:
        """The last control step's observation, reward, end and info."""
        self.steps, over = 0, False
        while self.steps < DECISION_STEPS and not over:
            stepped = self.venv.step(followed(self._wanted, self._observation))
            self._observation, over = stepped[0], bool(stepped[2].any())
            self.steps += 1
        return stepped
