"""What a synapse expects its eligibility to be, and what is left of an eligibility beside that.

A reward that comes as a surprise tells of what a cell did otherwise than usual. The eligibility that pair STDP leaves
is mostly what the cell does every time, and multiplied by a fluctuating surprise it drowns the rest (Fremaux, Sprekeler
and Gerstner 2010, J. Neurosci. 30:13326, on why learning by reward needs the covariance of reward and eligibility). So
each synapse keeps in mind what it found so far for a given activity of its axon, h, and hands on e_ij - x_i h_ij: as
local as e itself.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class ExpectedEligibility:
    """Expectations of one projection.

    Attributes:
        per_activity: (axons, targets) h, the expected eligibility for a unit of the axon's activity; belongs into a
            checkpoint.
    """

    def __init__(self, shape: tuple[int, int], rate: float) -> None:
        """Expect nothing yet.

        Args:
            shape: (axons, targets) of the projection.
            rate: share of the difference by which the expectation of a fully active axon follows, in (0, 1].

        Raises:
            ValueError: a rate outside its range.
        """
        if not 0.0 < rate <= 1.0:
            raise ValueError(f"rate is {rate}; above 0 up to 1 is allowed")
        self.per_activity = np.zeros(shape)
        self.rate = rate

    def beyond(self, eligible: NDArray[np.floating], activity: Array) -> Array:
        """What of an eligibility (axons, targets) was not expected, for the activities (axons,) of the axons, 0..1."""
        left: Array = eligible - activity[:, None] * self.per_activity
        return left

    def follow(self, eligible: NDArray[np.floating], activity: Array) -> None:
        """Let the expectation follow what was found; synapses of a silent axon find nothing."""
        self.per_activity += self.rate * self.beyond(eligible, activity)
