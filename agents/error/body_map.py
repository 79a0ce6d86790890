"""Body maps: which change of posture moves the seen hand as wanted, as the teacher of an error learner has it.

The error of a reach is seen: how the hand would have to move and turn. Synapses need it in joint angles. A map is
`exact`, the inverse of the arm's own Jacobian; `babbled`, learned from the learner's own movements; or `random`, a
fixed matrix, which is direct feedback alignment (Nokland 2016, NeurIPS 29) through the body. Only the teacher uses it:
the feedback controller has the exact map in every learner.

A change of the seen hand is (3,): right, m, forward, m, and turn, rad.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.networks.registry import JOINTS
from agents.reaching.controller import DAMPING_M, PREPARATION_STEPS, TURN_WEIGHT_M, Controller, Reach
from reach import START_AXIS_DEGREES, START_HAND_M

Array = NDArray[np.float64]

# Metres that weigh as much as one unit of a change of the hand.
UNITS_M = np.array([1.0, 1.0, TURN_WEIGHT_M])
# Random streams of their own, so that drawing from them does not change the network's weights.
RANDOM_STREAM, BABBLE_STREAM = 1, 2
# In its first reaches a learner babbles: it adds random angles, up to this size, to the posture of the network.
BABBLED_REACHES = 30
LARGEST_BABBLE_RAD = 0.3
# The place of the hand is a polynomial of this degree in the joint angles; powers of the angles in each of its terms.
DEGREE = 3
POWERS = np.array([powers for powers in itertools.product(range(DEGREE + 1), repeat=JOINTS) if sum(powers) <= DEGREE])
# What the regression adds to the sum of squares of each term, by its degree. Coefficients of a smooth function fall
# with the factorial of the degree, as in its Taylor series.
RIDGE = np.diag([1e-2 * math.factorial(sum(powers)) ** 2 for powers in POWERS])


class BodyMap:
    """Base class of body maps."""

    def __init__(self, controller: Controller, seed: int) -> None:
        """Make the map of a learner with this seed and the body of this controller."""

    def motor_error(self, controller: Controller, angles: Array, change: Array) -> Array:
        """Return the change of posture (3,) rad for a change (3,) of the seen hand, at joint angles (3,) rad."""
        raise NotImplementedError

    def error(self, controller: Controller, reach: Reach, missing: Array) -> Array:
        """Return the error of a reach, (3,) rad.

        It is what the map makes of the whole error of the hand: of what feedback has corrected, and of what is missing.

        Args:
            controller: of the reach.
            reach: its memory, when the hand was last seen.
            missing: (3,) change of the seen hand that would bring it to its planned place and direction.
        """
        return self.motor_error(controller, reach.angles_at_sight, reach.corrected + missing)

    def babble(self, place: int) -> Array:
        """Return what the next reach of an environment adds to the posture of the network, so that the map is learned.

        Args:
            place: of the environment, from 0; environments side by side babble differently.

        Returns:
            (3,) rad.
        """
        return np.zeros(JOINTS)

    def learn(self, reach: Reach) -> None:
        """Learn from a reach that is over."""

    def end_baseline(self) -> None:
        """End unperturbed training: from now on the map is fixed."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return every array that a checkpoint must hold, by name, as views that can be filled in place."""
        return {}


class ExactMap(BodyMap):
    """The map of the controller."""

    def motor_error(self, controller: Controller, angles: Array, change: Array) -> Array:
        """Return the change of posture by the inverse of the arm's Jacobian."""
        right, forward, turn = change.tolist()
        return controller.motor_error(angles, (right, forward), turn)

    def error(self, controller: Controller, reach: Reach, missing: Array) -> Array:
        """Return what feedback has added to the posture, by the same map along the way, and what it still has to."""
        return reach.feedback + self.motor_error(controller, reach.angles_at_sight, missing)


class RandomMap(BodyMap):
    """A fixed random matrix with the size of the exact map at the start of a reach.

    Each coordinate of the hand has the root mean square, over joints, of the exact map. A locked wrist stays locked.

    Corrections by a map M make the seen error e smaller only where J M, with the arm's Jacobian J, has eigenvalues with
    positive real parts: a small step at rate a leaves (1 - a J M) e. Weights align with random feedback; the body does
    not, so most seeds fail.
    """

    def __init__(self, controller: Controller, seed: int) -> None:
        """Draw the matrix."""
        start = _start(controller)
        exact = np.array([controller.motor_error(start, (right, forward), turn) for right, forward, turn in np.eye(3)])
        size = np.sqrt(np.mean(exact**2, axis=1)) * np.any(exact, axis=0)[:, None]
        self._matrix: Array = np.random.default_rng((seed, RANDOM_STREAM)).normal(size=size.shape) * size

    def motor_error(self, controller: Controller, angles: Array, change: Array) -> Array:
        """Return the product of matrix and change, whatever the angles."""
        product: Array = self._matrix @ change
        return product

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the matrix."""
        return {"body_map": self._matrix}


class BabbledMap(BodyMap):
    """A map learned from where the hand was seen at which joint angles, in the first reaches, which babble.

    Ridge regression predicts the place of the seen hand from the joint angles at that moment, by a polynomial around
    the posture at the start of a reach. The change of posture is the damped inverse of this forward model, as in the
    exact map, but with the slopes of the model instead of the arm's Jacobian (Jordan and Rumelhart 1992, Cognitive
    Science 16:307). The direction of the hand is felt: it is the sum of the joint angles.

    Practised reaches vary in two dimensions, those of the cup's place; babbling (Bullock, Grossberg and Guenther 1993,
    J. Cognitive Neuroscience 5:408) makes the third known. The network learns from the same reaches, since what was
    babbled is known. Regressing changes of the joints on changes of the hand would need no inverse, but noise in the
    regressors (errors in variables) turns that map by 20 degrees and more: near the end of a reach changes are as small
    as the noise. Here the regressors are angles, whose noise is 1 % of their range.
    """

    def __init__(self, controller: Controller, seed: int) -> None:
        """Start with a hand that is always at the same place."""
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
        """Return a random change of posture in the first reaches, none later."""
        if self._is_fixed[0] or self._reaches[0] >= BABBLED_REACHES:
            return np.zeros(JOINTS)
        rng = np.random.default_rng((self._seed, BABBLE_STREAM, int(self._reaches[0]), place))
        return self._free * rng.uniform(-LARGEST_BABBLE_RAD, LARGEST_BABBLE_RAD, JOINTS)

    def learn(self, reach: Reach) -> None:
        """Add the moments of a babbled reach in which the hand was seen to the regression."""
        if not np.any(reach.babble):
            return
        self._reaches[0] += 1
        sights = reach.sights[PREPARATION_STEPS - 1 :]
        # Vision is 50 ms later than proprioception, two and a half steps.
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
        """Return the map, and what the regression has summed."""
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
    """Return the terms (..., terms) of the polynomial at joint angles (..., 3) rad less the centre."""
    terms: Array = np.prod(angles[..., None, :] ** POWERS, axis=-1)
    return terms


def _slopes(angles: Array) -> Array:
    """Return the slopes (terms, 3) of the terms with respect to the joint angles, at (3,) rad less the centre."""
    lower = np.maximum(POWERS - np.eye(JOINTS, dtype=int)[:, None], 0)
    slopes: Array = POWERS * np.prod(angles**lower, axis=-1).T
    return slopes
