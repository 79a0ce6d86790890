"""Exploration that dwells: a deviation from the command that is held for a while, so that the arm comes to rest there.

The springs of the arm even out what changes fast; only deviations that last explore places, and only
between their changes is a hand at rest, as a reach asks for (compare Eberhard et al. 2023, ICLR, on coloured noise).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.noise import ActionNoise


@dataclass
class HeldNoise(ActionNoise):
    """Normal deviations, each held for a number of decisions that is drawn as well; some are none.

    Attributes:
        spread: (4,) SD of each command, in units of half the range of commands.
        least_decisions, most_decisions: for how many decisions a deviation is held.
        share: of the deviations that are not none.
    """

    spread: tuple[float, ...] = (0.8, 0.8, 0.8, 0.5)
    least_decisions: int = 3
    most_decisions: int = 8
    share: float = 0.35

    def __post_init__(self) -> None:
        super().__init__()
        self.reset()

    def reset(self) -> None:
        """Draw another deviation at the next decision."""
        self._left = 0
        self._held = np.zeros(len(self.spread), dtype=np.float32)

    def state(self) -> NDArray[np.float64]:
        """Return the deviation that is held, (4,), and for how many decisions more, (1,)."""
        return np.append(self._held.astype(np.float64), self._left)

    def set_state(self, state: NDArray[np.float64]) -> None:
        """Set what `state` returned."""
        self._held, self._left = state[:-1].astype(np.float32), int(state[-1])

    def __call__(self) -> NDArray[np.float32]:
        """The deviation (4,) of one decision, drawn from NumPy's global generator as Stable-Baselines3's own are."""
        if self._left == 0:
            self._left = int(np.random.randint(self.least_decisions, self.most_decisions + 1))  # noqa: NPY002
            drawn = np.random.normal(0.0, self.spread)  # noqa: NPY002
            self._held = (drawn * (np.random.random() < self.share)).astype(np.float32)  # noqa: NPY002
        self._left -= 1
        return self._held
