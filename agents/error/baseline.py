"""What is normal in unperturbed reaches: how far the hand ends from where it should, and which postures are asked for.

A displacement that is always there is no error. And joints do not vary alike: from one cup to another shoulder and
elbow turn against each other, far more than together. A read-out that has learned such postures passes changes of
hidden cells on along the same lines, so an error in another combination of joints would hardly be corrected through it.
Weighed by the inverse of the postures' covariance (Mahalanobis 1936, Proc. Natl. Inst. Sci. India 2:49), an error
counts in each combination of joints by how little that combination varies.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agents.checkpoint import CheckpointError, Entry, entries_of, fill, require_fit, require_values
from agents.networks.registry import JOINTS

Array = NDArray[np.float64]

# Reaches from which one can tell what is normal; later ones replace earlier ones.
REACHES = 200
# Of the mean variance of a combination of joints, added to each: the least known ones are not trusted without bound.
RIDGE = 0.02


class Baseline:
    """The last unperturbed reaches, and what they have settled.

    Attributes:
        displacements: (2,) m each, from the seen hand to where it ought to be.
        postures: (3,) rad each, what the network asked for.
        expected: (2,) m, the mean displacement; 0 until settled.
        weights: (3, 3) by which errors are weighed; the identity until settled.
    """

    def __init__(self) -> None:
        """Nothing is known to be normal."""
        self.displacements: deque[Array] = deque(maxlen=REACHES)
        self.postures: deque[Array] = deque(maxlen=REACHES)
        self.expected: Array = np.zeros(2)
        self.weights: Array = np.eye(JOINTS)

    def note(self, displacement: Array, posture: Array) -> None:
        """Remember a reach."""
        self.displacements.append(displacement)
        self.postures.append(posture)

    def settle(self) -> None:
        """Take the reaches remembered for normal; nothing is settled before there are REACHES of them."""
        if len(self.displacements) < REACHES:
            return
        self.expected[:] = np.mean(np.array(self.displacements), axis=0)
        covariance = np.cov(np.array(self.postures).T)
        ridge = RIDGE * float(np.trace(covariance)) / JOINTS
        if ridge > 0.0:
            self.weights[:] = np.linalg.inv(covariance + ridge * np.eye(JOINTS))

    def weighed(self, error: Array) -> Array:
        """An error (3,) rad turned towards the combinations of joints that vary little, of the same size."""
        turned: Array = self.weights @ error
        length = float(np.linalg.norm(turned))
        return turned * (float(np.linalg.norm(error)) / length) if length > 0.0 else error

    def arrays(self) -> dict[str, Array]:
        """Everything that a checkpoint must hold, by name."""
        return {
            "recent_displacements_m": np.array(self.displacements).reshape(-1, 2),
            "recent_postures_rad": np.array(self.postures).reshape(-1, JOINTS),
            "expected_displacement_m": self.expected,
            "error_weights": self.weights,
        }

    def entries(self) -> dict[str, Entry]:
        """What those arrays must be when they are read: of recent reaches there are up to REACHES."""
        return {
            **entries_of(self.arrays()),
            "recent_displacements_m": Entry(np.dtype(np.float64), (REACHES, 2), is_shorter_valid=True),
            "recent_postures_rad": Entry(np.dtype(np.float64), (REACHES, JOINTS), is_shorter_valid=True),
        }

    def restore(self, kept: dict[str, Array], path: str | Path) -> None:
        """Take in what `arrays` gave.

        Args:
            kept: the arrays.
            path: of the checkpoint, for messages.

        Raises:
            CheckpointError: other arrays, of other shapes, or not as many of one as of the other.
        """
        wanted = self.entries()
        require_fit({name: (array.dtype.str, array.shape) for name, array in kept.items()}, wanted, path)
        require_values(kept, wanted, path)
        recent = {"recent_displacements_m": self.displacements, "recent_postures_rad": self.postures}
        lengths = {name: len(kept[name]) for name in recent}
        if len(set(lengths.values())) > 1:
            raise CheckpointError(f"checkpoint {path} holds {lengths}; as many of one as of the other are expected")
        fill(
            {"expected_displacement_m": self.expected, "error_weights": self.weights},
            {name: value for name, value in kept.items() if name not in recent},
            path,
        )
        for name, values in recent.items():
            values.clear()
            values.extend(kept[name])
