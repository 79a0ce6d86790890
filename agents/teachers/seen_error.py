"""The seen-error teacher: after an attempt, what was seen to be missing becomes a motor error.

Feedback-error learning (Kawato, Furukawa and Suzuki 1987): what feedback had to add, and what it had yet to add, is
the error of the feed-forward command. It is read once per reach, when the movement should be over and has been seen
to be, and used between reaches only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agents.controller import Array, Controller, Reach
from agents.posture_servo import CONTROL_STEP_S
from agents.reach_kernel import MOVEMENT_S, PREPARATION_S, SIGHT_LAG_S, minimum_jerk

READING_S = PREPARATION_S + MOVEMENT_S + SIGHT_LAG_S
READING_STEP = round(READING_S / CONTROL_STEP_S)
# What is read now was caused this much earlier.
CREDIT_LAG_S = 0.15
CREDIT_STEP = round((READING_S - CREDIT_LAG_S) / CONTROL_STEP_S)
LARGEST_ERROR_RAD = 0.6


@dataclass(frozen=True)
class Reading:
    """One reading of a reach.

    Attributes:
        displacement: (2,) m, from the seen hand to where it ought to be by now.
        error: (3,) rad, what the feed-forward posture lacked.
    """

    displacement: Array
    error: Array


class SeenError:
    """Reads the error of a reach from the senses.

    Attributes:
        expected: (2,) m, the displacement that is normal in unperturbed reaches; subtracted from every reading.
    """

    def __init__(self, controller: Controller) -> None:
        """Make a teacher that uses a controller's body map."""
        self._controller = controller
        self.expected = np.zeros(2)

    def read(self, reach: Reach) -> Reading | None:
        """The error of a reach that has been sensed up to now; None when the hand is not seen or has not set out.

        It is asked for at `READING_STEP`, or at the end of a trial that ended before.
        """
        course = minimum_jerk((reach.time_s - PREPARATION_S - SIGHT_LAG_S) / MOVEMENT_S)
        if not reach.visible or course < 0.5:
            return None
        displacement = reach.start + course * (reach.aimed_cup - reach.start) - reach.hand
        turn = course * (reach.axis - float(np.sum(reach.felt)))
        right, forward = (displacement - self.expected).tolist()
        error = reach.feedback + self._controller.motor_error(reach.felt, (right, forward), turn)
        # A glance that is wildly off says in which direction, not how far.
        size = float(np.linalg.norm(error))
        return Reading(displacement, error * min(1.0, LARGEST_ERROR_RAD / max(size, 1e-12)))
