"""The part of all commands that reaches are made of, as the action space of environments to learn in.

A policy that is squashed to its action space gives commands in it alone. From most of what a joint could be commanded
to no cup is reached, and what was never tried there leads a learner astray: its values are but errors, and some of them
are high.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from agents.environments import env_attribute

# Shoulder, elbow, wrist: those of reaches that were learned from their seen error, and some room beyond.
LOWEST = (-0.75, -0.08, -0.85)
HIGHEST = (-0.05, 0.82, 0.05)
# Grip: all of it, and the part in which a hand is open as wide as a cup.
ANY_GRIP = (-1.0, 1.0)
OPEN_GRIP = (0.4, 1.0)


class UsualCommands(VecEnvWrapper):
    """Environments whose action space is that of the usual commands; what they are told, they do as ever."""

    def __init__(self, venv: VecEnv, grip: tuple[float, float]) -> None:
        """Wrap environments commanded by postures; `grip` has the lowest and the highest command of the fingers."""
        low, high = (
            np.array([*joints, end], dtype=np.float32) for joints, end in zip((LOWEST, HIGHEST), grip, strict=True)
        )
        super().__init__(venv, action_space=spaces.Box(low, high, dtype=np.float32))

    def reset(self) -> Any:
        """As the environments."""
        return self.venv.reset()

    def step_wait(self) -> Any:
        """As the environments."""
        return self.venv.step_wait()


def within_usual_commands(env: VecEnv, grip: tuple[float, float]) -> VecEnv:
    """Environments with the usual commands alone; as they are where joints are commanded otherwise than by postures."""
    if isinstance(env, UsualCommands) or env_attribute(env, "control") != "posture":
        return env
    return UsualCommands(env, grip)
