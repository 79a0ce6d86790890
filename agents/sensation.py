"""One observation of the environment by name, whatever its form: numbers, or a coloured picture and what is felt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.eye import Eye
from reach import Arm

Array = NDArray[np.float64]

# Where the environment's observation table has what; what is seen comes first, and what is felt ends with the latest
# command.
HAND, VISIBLE, CUP, SEEN = 0, 2, 3, 5
ANGLES, APERTURE, TOUCH, COMMAND = 5, 11, 12, 15
COMMANDS = 4


@dataclass(frozen=True)
class Sensation:
    """One observation of `CupEnv`, by name; see its observation table for units.

    Attributes:
        row: (19,) the observation; where there is a picture, with what the eye finds in it.
        picture: (size, size, 3) of the retina, if there is one.
    """

    row: Array
    picture: NDArray[np.uint8] | None = None

    @classmethod
    def of(cls, observation: NDArray[np.float32]) -> Sensation:
        """Name the parts of an observation (19,)."""
        return cls(np.asarray(observation, dtype=np.float64))

    @property
    def felt(self) -> Array:
        """(6,) joint angles and velocities, rad and rad/s."""
        return self.row[ANGLES:APERTURE]


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

    def read(self, row: Any, past_angles: Array) -> Sensation:
        """One observation by name.

        Args:
            row: (19,) numbers, or a dictionary of "retina" and "felt".
            past_angles: joint angles (n, 3) rad as they were felt in the latest steps, the oldest first.
        """
        if not isinstance(row, dict):
            return Sensation.of(row)
        felt = np.asarray(row["felt"], dtype=np.float64)
        # What is seen is later than what is felt.
        axis = float(np.sum(past_angles[0] if len(past_angles) else felt[:3]))
        hand, visible, cup = self._eye.look(row["retina"], axis, float(felt[APERTURE - SEEN]))
        return Sensation(np.concatenate([hand, [visible], cup, felt]), row["retina"])

    @staticmethod
    def latest_command(row: Any) -> NDArray[np.float32]:
        """The command (4,) of which an observation tells."""
        felt: NDArray[np.float32] = row["felt"] if isinstance(row, dict) else row[SEEN:]
        return felt[-COMMANDS:]
