"""The baseline of unperturbed reaches: the mean displacement of the hand, and the covariance of the postures.

A displacement that is present in every reach is not an error. Joints do not vary alike: from cup to cup, shoulder and
elbow mostly turn in opposite directions. A read-out that has learned such postures passes changes of hidden cells on
along the same directions, so an error in another combination of joints would hardly be corrected through it. Weighted
by the inverse of the postures' covariance (Mahalanobis 1936, Proc. Natl. Inst. Sci. India 2:49), an error counts more
in combinations of joints that vary less.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agents.checkpoint import CheckpointError, Entry, entries_of, fill, require_fit, require_values
from agents.networks.registry import JOINTS

Array = NDArray[np.float64]

# Number of reaches in a baseline; later ones replace earlier ones.
REACHES = 200
# Share of the mean variance that is added to the variance of every combination of joints, so that weights are bounded.
RIDGE = 0.02


class Baseline:
    """The last unperturbed reaches, and their statistics once unperturbed training has ended.

    Attributes:
        displacements: (2,) m each, from the seen hand to its planned place.
        postures: (3,) rad each, the output of the network.
        expected: (2,) m, the mean displacement; 0 until the end.
        weights: (3, 3) of errors; the identity until the end.
    """

    def __init__(self) -> None:
        """Start without a reach."""
        self.displacements: deque[Array] = deque(maxlen=REACHES)
        self.postures: deque[Array] = deque(maxlen=REACHES)
        self.expected: Array = np.zeros(2)
        self.weights: Array = np.eye(JOINTS)

    def add(self, displacement: Array, posture: Array) -> None:
        """Add a reach."""
        self.displacements.append(displacement)
        self.postures.append(posture)

    def end(self) -> None:
        """Compute the statistics of the last reaches; nothing changes with fewer than REACHES."""
        if len(self.displacements) < REACHES:
            return
        self.expected[:] = np.mean(np.array(self.displacements), axis=0)
        covariance = np.cov(np.array(self.postures).T)
        ridge = RIDGE * float(np.trace(covariance)) / JOINTS
        if ridge > 0.0:
            self.weights[:] = np.linalg.inv(covariance + ridge * np.eye(JOINTS))

    def weight_error(self, error: Array) -> Array:
        """Return an error (3,) rad of the same size, turned towards combinations of joints that vary little."""
        turned: Array = self.weights @ error
        length = float(np.linalg.norm(turned))
        return turned * (float(np.linalg.norm(error)) / length) if length > 0.0 else error

    def arrays(self) -> dict[str, Array]:
        """Return everything that a checkpoint must hold, by name."""
        return {
            "recent_displacements_m": np.array(self.displacements).reshape(-1, 2),
            "recent_postures_rad": np.array(self.postures).reshape(-1, JOINTS),
            "expected_displacement_m": self.expected,
            "error_weights": self.weights,
        }

    def entries(self) -> dict[str, Entry]:
        """Return what those arrays must be when they are read: of recent reaches there are up to REACHES."""
        return {
            **entries_of(self.arrays()),
            "recent_displacements_m": Entry(np.dtype(np.float64), (REACHES, 2), is_shorter_valid=True),
            "recent_postures_rad": Entry(np.dtype(np.float64), (REACHES, JOINTS), is_shorter_valid=True),
        }

    def restore(self, saved: dict[str, Array], path: str | Path) -> None:
        """Restore what `arrays` returned.

        Args:
            saved: the arrays.
            path: of the checkpoint, for messages.

        Raises:
            CheckpointError: other arrays, other shapes, or different numbers of displacements and postures.
        """
        entries = self.entries()
        require_fit({name: (array.dtype.str, array.shape) for name, array in saved.items()}, entries, path)
        require_values(saved, entries, path)
        recent = {"recent_displacements_m": self.displacements, "recent_postures_rad": self.postures}
        lengths = {name: len(saved[name]) for name in recent}
        if len(set(lengths.values())) > 1:
            raise CheckpointError(f"checkpoint {path}: expected as many displacements as postures, got {lengths}")
        fill(
            {"expected_displacement_m": self.expected, "error_weights": self.weights},
            {name: value for name, value in saved.items() if name not in recent},
            path,
        )
        for name, values in recent.items():
            values.clear()
            values.extend(saved[name])
