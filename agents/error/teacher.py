"""The teacher of error learners: from the seen hand to the motor error of a reach.

The error follows feedback-error learning (Kawato, Furukawa and Suzuki 1987): the error of the feed-forward posture is
the feedback that was added during the reach plus the correction that is still missing, converted to joint angles by a
body map. Three maps are available: `exact`, the damped inverse of the arm's Jacobian; `babbled`, learned from the
learner's own movements; and `random`, a fixed matrix, which is direct feedback alignment (Nokland 2016, NeurIPS 29)
through the body. Only the teacher uses the map. The feedback controller uses the exact map in every learner. A change
of the seen hand is (3,): m to the right, m forward, and turn, rad.

A displacement that is present in every unperturbed reach is not an error: `Baseline` stores its mean, which is
subtracted. Errors are weighted by the inverse covariance of the postures (Mahalanobis 1936, Proc. Natl. Inst. Sci.
India 2:49), so they count more in combinations of joints that vary less. Reason: from cup to cup, shoulder and elbow
mostly turn in opposite directions. A read-out that has learned such postures turns changes of hidden cells into the
same combination, so it would hardly correct an error in another one.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.checkpoint import CheckpointError, Entry, entries_of
from agents.networks.registry import JOINTS
from agents.reaching.controller import (
    DAMPING_M,
    MOVEMENT_S,
    PREPARATION_S,
    PREPARATION_STEPS,
    SIGHT_LAG_S,
    TURN_WEIGHT_M,
    Controller,
    Reach,
    minimum_jerk,
)
from reach import START_AXIS_DEGREES, START_HAND_M

Array = NDArray[np.float64]

# Weight of each component of a change of the hand, m: a turn of 1 rad counts as TURN_WEIGHT_M.
UNITS_M = np.array([1.0, 1.0, TURN_WEIGHT_M])
# Number of latest reaches from which the baseline is computed.
REACHES = 200
# Share of the mean variance of a joint that is added to the diagonal of the covariance, which bounds the weights.
COVARIANCE_RIDGE = 0.02
LARGEST_ERROR_RAD = 0.6
# Separate random streams, so that the body map does not change which weights the network draws.
RANDOM_STREAM, BABBLE_STREAM = 1, 2
# In its first reaches a learner babbles: it adds random angles of up to this size to the network's posture.
BABBLED_REACHES = 30
LARGEST_BABBLE_RAD = 0.3
# Degree of the polynomial that predicts the hand's position from the joint angles, and the powers of the three angles
# in each of its terms.
DEGREE = 3
POWERS = np.array([powers for powers in itertools.product(range(DEGREE + 1), repeat=JOINTS) if sum(powers) <= DEGREE])
# Ridge penalty of each term. It grows with the squared factorial of the term's degree, because the coefficients of a
# Taylor series fall with the factorial.
RIDGE = np.diag([1e-2 * math.factorial(sum(powers)) ** 2 for powers in POWERS])


class BodyMap:
    """Base class of body maps."""

    def __init__(self, controller: Controller, seed: int) -> None:
        """Make the map for the body of this controller; `seed` is the learner's."""

    def motor_error(self, controller: Controller, angles: Array, change: Array) -> Array:
        """Return the change of posture (3,) rad for a change (3,) of the seen hand, at joint angles (3,) rad."""
        raise NotImplementedError

    def error(self, controller: Controller, reach: Reach, missing: Array) -> Array:
        """Return the error of a reach, (3,) rad: the whole error of the hand converted by the map.

        The whole error is the part that feedback has corrected plus the part that is missing.

        Args:
            controller: controller of the reach.
            reach: memory of the reach when the hand was last seen.
            missing: (3,) change of the seen hand that would bring it to its planned position and direction.
        """
        return self.motor_error(controller, reach.angles_at_sight, reach.corrected + missing)

    def babble(self, place: int) -> Array:
        """Return the random change of posture (3,) rad to add in the next reach; zeros if the map does not babble.

        Args:
            place: index of the environment, from 0; each environment gets other random angles.
        """
        return np.zeros(JOINTS)

    def learn(self, reach: Reach) -> None:
        """Update the map after a reach."""

    def end_baseline(self) -> None:
        """Fix the map at the end of unperturbed training."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return every array that a checkpoint must hold, by name, as views that can be filled in place."""
        return {}


class ExactMap(BodyMap):
    """The controller's own map: the damped inverse of the Jacobian of the unperturbed arm."""

    def motor_error(self, controller: Controller, angles: Array, change: Array) -> Array:
        """Return the change of posture by the damped inverse of the arm's Jacobian."""
        right, forward, turn = change.tolist()
        return controller.motor_error(angles, (right, forward), turn)

    def error(self, controller: Controller, reach: Reach, missing: Array) -> Array:
        """Return the feedback added during the reach, which used the same map, plus the map of what is missing."""
        return reach.feedback + self.motor_error(controller, reach.angles_at_sight, missing)


class RandomMap(BodyMap):
    """A fixed random matrix with the size of the exact map at the start of a reach.

    For each coordinate of the hand, the root mean square over joints equals that of the exact map. A locked wrist does
    not move.

    A small step at rate a turns the seen error e into (1 - a J M) e, with the arm's Jacobian J and the map M. The error
    shrinks only if all eigenvalues of J M have positive real parts. Network weights can align with random feedback, but
    the body cannot, so most seeds fail.
    """

    def __init__(self, controller: Controller, seed: int) -> None:
        """Draw the matrix."""
        start = _start(controller)
        exact = np.array([controller.motor_error(start, (right, forward), turn) for right, forward, turn in np.eye(3)])
        size = np.sqrt(np.mean(exact**2, axis=1)) * np.any(exact, axis=0)[:, None]
        self._matrix: Array = np.random.default_rng((seed, RANDOM_STREAM)).normal(size=size.shape) * size

    def motor_error(self, controller: Controller, angles: Array, change: Array) -> Array:
        """Return the product of matrix and change; `angles` is not used."""
        product: Array = self._matrix @ change
        return product

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the matrix."""
        return {"body_map": self._matrix}


class BabbledMap(BodyMap):
    """A forward model learned from joint angles and seen hand positions in the first, babbled reaches, and inverted.

    Ridge regression predicts the position of the seen hand from the joint angles at that moment, by a polynomial around
    the posture at the start of a reach. The map is the damped inverse of this forward model: that of the exact map with
    the slopes of the polynomial in place of the arm's Jacobian (Jordan and Rumelhart 1992, Cognitive Science 16:307).
    The direction of the hand needs no regression: it is the sum of the sensed joint angles.

    Reaches to cups vary joint angles in two dimensions only, those of the cup's position. Babbling (Bullock, Grossberg
    and Guenther 1993, J. Cognitive Neuroscience 5:408) explores the third. The network can learn from the same reaches,
    because the babbled angles are known and are subtracted from its error. Regressing changes of the joints on changes
    of the hand would need no inverse, but noise in the regressors (errors in variables) would turn that map by 20
    degrees or more, since changes near the end of a reach are as small as the noise. Here the regressors are angles,
    whose noise is 1 % of their range.
    """

    def __init__(self, controller: Controller, seed: int) -> None:
        """Start with a forward model that predicts the same hand position for all angles."""
        self._seed = seed
        self._free = controller.free
        self._centre: Array = _start(controller)
        self._moments = np.zeros((len(POWERS), len(POWERS)))
        self._products = np.zeros((len(POWERS), 2))
        self._weights = np.zeros((len(POWERS), 2))
        self._reaches = np.zeros(1, dtype=np.uint64)
        self._is_fixed = np.zeros(1, dtype=bool)

    def motor_error(self, controller: Controller, angles: Array, change: Array) -> Array:
        """Return the change of posture by the damped inverse of the learned slopes."""
        jacobian = np.vstack([self._weights.T @ _slopes(angles - self._centre), np.full(JOINTS, TURN_WEIGHT_M)])
        if controller.arm.wrist_locked:
            jacobian[2], jacobian[:, 2] = 0.0, 0.0
        damped = jacobian @ jacobian.T + DAMPING_M**2 * np.eye(len(jacobian))
        error: Array = jacobian.T @ np.linalg.solve(damped, UNITS_M * change)
        return error

    def babble(self, place: int) -> Array:
        """Return random angles (3,) rad in the first `BABBLED_REACHES` reaches, zeros later."""
        if self._is_fixed[0] or self._reaches[0] >= BABBLED_REACHES:
            return np.zeros(JOINTS)
        rng = np.random.default_rng((self._seed, BABBLE_STREAM, int(self._reaches[0]), place))
        return self._free * rng.uniform(-LARGEST_BABBLE_RAD, LARGEST_BABBLE_RAD, JOINTS)

    def learn(self, reach: Reach) -> None:
        """Add all steps of a babbled reach in which the hand was seen to the regression."""
        if not np.any(reach.babble):
            return
        self._reaches[0] += 1
        sights = reach.sights[PREPARATION_STEPS - 1 :]
        # Vision lags proprioception by 50 ms, two and a half steps: average the angles of the two nearest steps.
        angles = 0.5 * (sights["angles"][:-1] + sights["angles"][1:])
        is_seen = sights["visible"][1:]
        terms = _terms(angles[is_seen] - self._centre)
        self._moments += terms.T @ terms
        self._products += terms.T @ sights["hand"][1:][is_seen]
        self._weights[:] = np.linalg.solve(self._moments + RIDGE, self._products)

    def end_baseline(self) -> None:
        """Fix the map."""
        self._is_fixed[0] = True

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the coefficients of the forward model and the sums of the regression."""
        return {
            "body_map": self._weights,
            "body_map_centre": self._centre,
            "body_map_moments": self._moments,
            "body_map_products": self._products,
            "body_map_reaches": self._reaches,
            "body_map_is_fixed": self._is_fixed,
        }


BODY_MAPS: dict[str, type[BodyMap]] = {"exact": ExactMap, "babbled": BabbledMap, "random": RandomMap}


def _start(controller: Controller) -> Array:
    """Return the joint angles (3,) rad at the start of a reach."""
    return controller.arm.inverse_kinematics(START_HAND_M, math.radians(START_AXIS_DEGREES))


def _terms(angles: Array) -> Array:
    """Return the polynomial's terms (..., terms) at joint angles (..., 3) rad relative to the centre."""
    terms: Array = np.prod(angles[..., None, :] ** POWERS, axis=-1)
    return terms


def _slopes(angles: Array) -> Array:
    """Return the derivatives (terms, 3) of the terms by the joint angles, at (3,) rad relative to the centre."""
    lower = np.maximum(POWERS - np.eye(JOINTS, dtype=int)[:, None], 0)
    slopes: Array = POWERS * np.prod(angles**lower, axis=-1).T
    return slopes


@dataclass(frozen=True)
class Reading:
    """The error of one reach.

    Attributes:
        displacement: (2,) m, from the seen hand to its planned position.
        error: (3,) rad, desired minus actual feed-forward posture.
    """

    displacement: Array
    error: Array


class SeenError:
    """The teacher: reads the error of a reach from the senses."""

    def __init__(self, controller: Controller, body_map: BodyMap, expected: Array) -> None:
        """Make a teacher.

        Args:
            controller: the learner's controller.
            body_map: converts a change of the seen hand to a change of posture.
            expected: (2,) m, the mean displacement of unperturbed reaches, which is subtracted in every reading. Kept
                as a view, because `Baseline.end` fills it in place.
        """
        self._controller = controller
        self._body_map = body_map
        self._expected = expected

    def read(self, reach: Reach) -> Reading | None:
        """Return the error of a reach; None if the hand is not seen or less than half of the movement is done.

        Call this at `READING_STEP`, or at the end of a shorter trial.
        """
        progress = minimum_jerk((reach.time_s - PREPARATION_S - SIGHT_LAG_S) / MOVEMENT_S)
        if not reach.visible or progress < 0.5:
            return None
        displacement = reach.start + progress * (reach.aimed_cup - reach.start) - reach.hand
        turn = progress * (reach.axis - float(np.sum(reach.angles_at_sight)))
        missing = np.append(displacement - self._expected, turn)
        arm = self._controller.arm
        error = self._error(reach, missing)
        posture = self._controller.free * (reach.rest + reach.memory["goal"][0])
        if not arm.is_within_limits(posture + error):
            # A joint at its limit cannot turn the hand further. If this error were taught in every reach, the network's
            # postures would leave the range of the joints, and the hand would leave the straight line to the cup.
            missing[2] = 0.0
            error = self._error(reach, missing)
        return Reading(displacement, np.clip(posture + error, arm.lower, arm.upper) - posture)

    def _error(self, reach: Reach, missing: Array) -> Array:
        """Return the motor error (3,) rad for the missing change of the hand, limited to `LARGEST_ERROR_RAD`."""
        # The posture was the network's plus the babbled angles. Adding these gives the error of the network alone.
        error = self._body_map.error(self._controller, reach, missing) + reach.babble
        size = float(np.linalg.norm(error))
        return error * min(1.0, LARGEST_ERROR_RAD / max(size, 1e-12))


class Baseline:
    """The last unperturbed reaches, and their statistics once unperturbed training has ended.

    Attributes:
        displacements: (2,) m for each reach, from the seen hand to its planned position.
        postures: (3,) rad for each reach, the output of the network.
        expected: (2,) m, the mean displacement; 0 until `end`.
        weights: (3, 3) weights of an error; the identity until `end`.
    """

    def __init__(self) -> None:
        """Start with no reaches."""
        self.displacements: deque[Array] = deque(maxlen=REACHES)
        self.postures: deque[Array] = deque(maxlen=REACHES)
        self.expected: Array = np.zeros(2)
        self.weights: Array = np.eye(JOINTS)

    def add(self, displacement: Array, posture: Array) -> None:
        """Add a reach."""
        self.displacements.append(displacement)
        self.postures.append(posture)

    def end(self) -> None:
        """Compute the statistics; do nothing after fewer than REACHES reaches."""
        if len(self.displacements) < REACHES:
            return
        self.expected[:] = np.mean(np.array(self.displacements), axis=0)
        covariance = np.cov(np.array(self.postures).T)
        ridge = COVARIANCE_RIDGE * float(np.trace(covariance)) / JOINTS
        if ridge > 0.0:
            self.weights[:] = np.linalg.inv(covariance + ridge * np.eye(JOINTS))

    def weight_error(self, error: Array) -> Array:
        """Return the weighted error (3,) rad, scaled to the size of the given error."""
        turned: Array = self.weights @ error
        length = float(np.linalg.norm(turned))
        return turned * (float(np.linalg.norm(error)) / length) if length > 0.0 else error

    def arrays(self) -> dict[str, Array]:
        """Return the arrays that a checkpoint must hold, by name."""
        return {
            "recent_displacements_m": np.array(self.displacements).reshape(-1, 2),
            "recent_postures_rad": np.array(self.postures).reshape(-1, JOINTS),
            "expected_displacement_m": self.expected,
            "error_weights": self.weights,
        }

    def entries(self) -> dict[str, Entry]:
        """Return the expected form of these arrays in a checkpoint, with up to REACHES reaches."""
        return {
            **entries_of(self.arrays()),
            "recent_displacements_m": Entry(np.dtype(np.float64), (REACHES, 2), is_shorter_valid=True),
            "recent_postures_rad": Entry(np.dtype(np.float64), (REACHES, JOINTS), is_shorter_valid=True),
        }

    def restore(self, saved: dict[str, Array], path: str | Path) -> None:
        """Restore the arrays of a checkpoint.

        Args:
            saved: arrays that `arrays` returned, checked against `entries`.
            path: path of the checkpoint, for messages.

        Raises:
            CheckpointError: different numbers of displacements and postures.
        """
        recent = {"recent_displacements_m": self.displacements, "recent_postures_rad": self.postures}
        lengths = {name: len(saved[name]) for name in recent}
        if len(set(lengths.values())) > 1:
            raise CheckpointError(f"checkpoint {path}: expected as many displacements as postures, got {lengths}")
        self.expected[:], self.weights[:] = saved["expected_displacement_m"], saved["error_weights"]
        for name, values in recent.items():
            values.clear()
            values.extend(saved[name])
