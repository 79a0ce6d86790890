"""Third factors of learning from reward: what a reward becomes at each spiking cell, as modulators by projection.

A weight changes by rate x modulator_j x eligibility_ij (Fremaux and Gerstner 2016, Front. Neural Circuits 9:85):

- `NormalisedRewardPredictionError`: m is one number for all cells.
- `Hebb`: m = 1, the control without a teacher.

`ExpectedEligibility` removes the predictable part of an eligibility, which learning from reward needs.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from agents.settings import largest_in

Array = NDArray[np.float64]
Modulators = dict[str, Array]
# Root mean square of reward prediction errors before the first one, and the smallest one to divide by.
FIRST_RMS = 0.1
SMALLEST_RMS = 1e-3
# The square of a larger error is not finite.
LARGEST_ERROR = largest_in(np.float64)


class Hebb:
    """m = 1 for every cell: the control without a teacher."""

    def __init__(self, targets: Mapping[str, int]) -> None:
        """Take the number of targets by projection."""
        self.targets = dict(targets)

    def modulators(self) -> Modulators:
        """Return ones (targets,) by projection."""
        return {name: np.ones(size) for name, size in self.targets.items()}


class NormalisedRewardPredictionError:
    """m = d / s, clipped to [-1, 1], for every cell: a reward prediction error d as dopamine cells may report it.

    Their responses adapt to the size of recent rewards (Tobler, Fiorillo and Schultz 2005, Science 307:1642), here to
    the running root mean square s of the errors, and saturate. Small first progress thus teaches as much as later
    success, and one rare failure undoes no more than one success has done.

    Attributes:
        mean_square: (1,) s^2; belongs into a checkpoint.
    """

    def __init__(self, targets: Mapping[str, int], rate: float = 0.02) -> None:
        """Start with small errors.

        Args:
            targets: by projection, number of targets.
            rate: of the running mean square, in (0, 1].

        Raises:
            ValueError: a rate outside its range.
        """
        _require_rate(rate)
        self.targets = dict(targets)
        self.mean_square = np.full(1, FIRST_RMS**2)
        self.rate = rate

    def modulators(self, prediction_error: float) -> Modulators:
        """Update the mean square and return the modulators (targets,) by projection for a reward prediction error.

        Raises:
            ValueError: an error that is not finite or whose square is not; the mean square is unchanged then.
        """
        if not abs(prediction_error) <= LARGEST_ERROR:
            raise ValueError(
                f"prediction_error: expected {-LARGEST_ERROR:.3g} to {LARGEST_ERROR:.3g}, got {prediction_error!r}"
            )
        self.mean_square += self.rate * (prediction_error * prediction_error - self.mean_square)
        normalised = prediction_error / max(float(np.sqrt(self.mean_square[0])), SMALLEST_RMS)
        modulator = min(1.0, max(-1.0, normalised))
        return {name: np.full(size, modulator) for name, size in self.targets.items()}


class ExpectedEligibility:
    """The expected eligibility of one projection, x_i h_ij, for the activity x_i of the axon.

    The eligibility of pair STDP is mostly what a cell does in every reach. Multiplied by a fluctuating reward
    prediction error it hides what the cell did differently this time: learning from reward needs the covariance of
    reward and eligibility (Fremaux, Sprekeler and Gerstner 2010, J. Neurosci. 30:13326). So each synapse learns h_ij,
    and only e_ij - x_i h_ij is reinforced. This is as local as e_ij.

    Attributes:
        per_activity: h, (axons, targets), the expected eligibility for an activity of 1; belongs into a checkpoint.
    """

    def __init__(self, shape: tuple[int, int], rate: float) -> None:
        """Start with an expectation of 0.

        Args:
            shape: (axons, targets) of the projection.
            rate: of h for a fully active axon, in (0, 1].

        Raises:
            ValueError: a rate outside its range.
        """
        _require_rate(rate)
        self.per_activity = np.zeros(shape)
        self.rate = rate

    def unexpected(self, eligibility: NDArray[np.floating], activity: Array) -> Array:
        """Return e_ij - x_i h_ij for eligibilities (axons, targets) and activities (axons,) of 0 to 1."""
        difference: Array = eligibility - activity[:, None] * self.per_activity
        return difference

    def update(self, eligibility: NDArray[np.floating], activity: Array) -> None:
        """Move h towards an eligibility."""
        self.per_activity += self.rate * self.unexpected(eligibility, activity)


def _require_rate(rate: float) -> None:
    if not 0.0 < rate <= 1.0:
        raise ValueError(f"rate: expected a number above 0 and up to 1, got {rate}")
