"""How learners from reward explore: decisions that are held, commands within the range of reaches, noise that lasts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from agents.vec_env import env_attribute
from reach import ACTION_SIZE

# Control steps from one decision to the next: 0.16 s.
DECISION_STEPS = 8
# Share of the distance to the wanted command that the command covers in a step: most of it in a third of a second.
FOLLOWED_SHARE = 0.12
# Lowest and highest command of shoulder, elbow and wrist in learned reaches, with a margin.
LOWEST = (-0.75, -0.08, -0.85)
HIGHEST = (-0.05, 0.82, 0.05)
# Grip: the whole range, and the part in which the hand is open as wide as a cup.
ANY_GRIP = (-1.0, 1.0)
OPEN_GRIP = (0.4, 1.0)


def followed(wanted: NDArray[np.float32], observation: Any) -> NDArray[np.float32]:
    """Return the commands (..., 4) that move `FOLLOWED_SHARE` of the way from the last commands to the wanted ones.

    The last commands are the end of the observation (the efference copy).
    """
    last = np.asarray(observation["observation"])[..., -ACTION_SIZE:]
    command: NDArray[np.float32] = (last + FOLLOWED_SHARE * (wanted - last)).astype(np.float32)
    return command


class HeldCommands(VecEnvWrapper):
    """A VecEnv whose step is a decision that is held for `DECISION_STEPS` control steps or until the trial ends.

    People correct a reach by decisions that are a psychological refractory period apart (Gawthrop, Loram, Lakie and
    Gollee 2011). With fewer decisions the values of two decisions also differ by more: the difference vanishes with
    the time step (Tallec, Blier and Ollivier 2019, ICML).

    Attributes:
        steps: control steps that the last decision was held for.
    """

    def __init__(self, venv: VecEnv) -> None:
        """Wrap a VecEnv of one environment with `observation="goal"`.

        Raises:
            ValueError: more than one environment: their trials would end within each other's decisions.
        """
        if venv.num_envs != 1:
            raise ValueError(f"env: expected 1 environment, got {venv.num_envs}")
        super().__init__(venv)
        self.steps = 0
        self._observation: Any = None
        self._wanted = np.zeros((1, ACTION_SIZE), dtype=np.float32)

    def reset(self) -> Any:
        """Reset the environment."""
        self._observation = self.venv.reset()
        return self._observation

    def observe(self, observation: Any) -> None:
        """Set the latest observation, when trials continue that were restored from a checkpoint."""
        self._observation = observation

    def step_async(self, actions: NDArray[np.float32]) -> None:
        """Take the wanted commands (1, 4)."""
        self._wanted = actions

    def step_wait(self) -> Any:
        """Return observation, reward, done and info of the last control step of the decision."""
        self.steps, is_done = 0, False
        while self.steps < DECISION_STEPS and not is_done:
            stepped = self.venv.step(followed(self._wanted, self._observation))
            self._observation, is_done = stepped[0], bool(stepped[2].any())
            self.steps += 1
        return stepped


class UsualCommands(VecEnvWrapper):
    """A VecEnv whose action space is limited to the commands that reaches need.

    A policy that is squashed to its action space then never leaves them. Most postures outside reach no cup, and a
    critic that is never corrected there overestimates some of them.
    """

    def __init__(self, venv: VecEnv, grip: tuple[float, float]) -> None:
        """Wrap environments with `control="posture"`; `grip` is the lowest and the highest command of the fingers."""
        low, high = (
            np.array([*joints, end], dtype=np.float32) for joints, end in zip((LOWEST, HIGHEST), grip, strict=True)
        )
        super().__init__(venv, action_space=spaces.Box(low, high, dtype=np.float32))

    def reset(self) -> Any:
        """Reset the environments."""
        return self.venv.reset()

    def step_wait(self) -> Any:
        """Step the environments."""
        return self.venv.step_wait()


def within_usual_commands(env: VecEnv, grip: tuple[float, float]) -> VecEnv:
    """Limit the action space by `UsualCommands` where commands are postures; return other environments unchanged."""
    if isinstance(env, UsualCommands) or env_attribute(env, "control") != "posture":
        return env
    return UsualCommands(env, grip)


@dataclass
class HeldNoise(ActionNoise):
    """Normal action noise that is held for a random number of decisions; some of the draws are zero.

    The springs of the arm average out fast changes, so only noise that lasts moves the hand to other places and lets it
    come to rest there, as a reach asks for. Compare Eberhard et al. (2023, ICLR) on coloured noise.

    Attributes:
        spread: (4,) SD of each command, in units of half the range of commands.
        least_decisions, most_decisions: range of the number of decisions that a draw is held for.
        share: probability that a draw is not zero.
    """

    spread: tuple[float, ...] = (0.8, 0.8, 0.8, 0.5)
    least_decisions: int = 3
    most_decisions: int = 8
    share: float = 0.35

    def __post_init__(self) -> None:
        super().__init__()
        self.reset()

    def reset(self) -> None:
        """Draw new noise at the next decision."""
        self._left = 0
        self._held = np.zeros(len(self.spread), dtype=np.float32)

    def state(self) -> NDArray[np.float64]:
        """Return (5,): the noise that is held and the number of decisions left for it."""
        return np.append(self._held.astype(np.float64), self._left)

    def set_state(self, state: NDArray[np.float64]) -> None:
        """Set what `state` returned."""
        self._held, self._left = state[:-1].astype(np.float32), int(state[-1])

    def __call__(self) -> NDArray[np.float32]:
        """Return the noise (4,) of one decision, drawn from NumPy's global generator as in Stable-Baselines3."""
        if self._left == 0:
            self._left = int(np.random.randint(self.least_decisions, self.most_decisions + 1))  # noqa: NPY002
            drawn = np.random.normal(0.0, self.spread)  # noqa: NPY002
            self._held = (drawn * (np.random.random() < self.share)).astype(np.float32)  # noqa: NPY002
        self._left -= 1
        return self._held
