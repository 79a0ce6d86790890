"""One observation of the environment by name, whatever its form: numbers, or a coloured picture and what is felt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.eye import Eye
from reach import Arm

Array = NDArray[np.float64]

# The environment's observation table: what is seen comes first, and what is felt ends with the latest command.
SEEN, COMMANDS = 5, 4


@dataclass(frozen=True)
class Sensation:
    """One observation of `CupEnv`, by name; see its observation table for units."""

    hand: Array
    visible: bool
    cup: Array
    angles: Array
    velocities: Array
    aperture: float
    touch: Array
    command: Array
    picture: NDArray[np.uint8] | None = None

    @classmethod
    def of(cls, observation: NDArray[np.float32]) -> Sensation:
        """Split an observation (19,)."""
        row = np.asarray(observation, dtype=np.float64)
        return cls.felt_and_seen(row[SEEN:], row[0:2], bool(row[2] > 0.5), row[3:5])

    @classmethod
    def felt_and_seen(
        cls, felt: Array, hand: Array, visible: bool, cup: Array, picture: NDArray[np.uint8] | None = None
    ) -> Sensation:
        """Join what is felt (14,) with what is seen."""
        return cls(hand, visible, cup, felt[0:3], felt[3:6], float(felt[6]), felt[7:10], felt[10:14], picture)


class Senses:
    """Reads the observations of an environment."""

    def __init__(self, arm: Arm, observed: Mapping[str, Any]) -> None:
        """Make the senses of somebody with this arm.

        Args:
            arm: the own body, by whose shape the eye knows the hand.
            observed: what `gym.make` was told of observations: "observation" and "retina_colour", where they are not
                the defaults.

        Raises:
            ValueError: observations from which nobody could tell where hand and cup are.
        """
        form = observed.get("observation", "vector")
        if form == "goal" or (form == "retina" and not observed.get("retina_colour")):
            raise ValueError(
                f"env observes {dict(observed)}; observation='vector', or 'retina' with retina_colour=True, is allowed"
            )
        self.has_pictures = form == "retina"
        self._eye = Eye(arm)

    def read(self, row: Any, past_angles: Sequence[Array]) -> Sensation:
        """One observation by name.

        Args:
            row: (19,) numbers, or a dictionary of "retina" and "felt".
            past_angles: joint angles (3,) rad as they were felt up to now, the oldest first.
        """
        if not isinstance(row, dict):
            return Sensation.of(row)
        felt = np.asarray(row["felt"], dtype=np.float64)
        # What is seen is later than what is felt.
        axis = float(np.sum(past_angles[0] if past_angles else felt[:3]))
        seen = self._eye.look(row["retina"], axis, float(felt[6]))
        return Sensation.felt_and_seen(felt, *seen, picture=row["retina"])

    @staticmethod
    def latest_command(row: Any) -> NDArray[np.float32]:
        """The command (4,) of which an observation tells."""
        felt: NDArray[np.float32] = row["felt"] if isinstance(row, dict) else row[SEEN:]
        return felt[-COMMANDS:]
