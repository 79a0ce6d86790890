"""Third factors: what a teacher's signal says to each spiking cell, as modulators by projection.

The change of a synapse is rate x modulator_j x eligibility_ij (Fremaux and Gerstner 2016, Front. Neural Circuits 9:85).
A broadcast error reaches output cells with the sign of what they do, and hidden cells through fixed random weights, as
in direct feedback alignment (Nokland 2016); a reward-prediction error is one number for all; a Hebbian network hears 1.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from agents.spiking.checks import largest_in

Array = NDArray[np.float64]
Modulators = dict[str, Array]
# Errors of expectation to begin with, and those below which none are worth a change, in units of reward.
FIRST_SURPRISE = 0.1
SMALLEST_SURPRISE = 1e-3
LARGEST_SURPRISE = largest_in(np.float64)


class BroadcastError:
    """m = B e: every cell hears the same few errors through fixed weights of its own.

    Attributes:
        feedback: by projection, (targets, errors); buffers that belong into a checkpoint.
    """

    def __init__(self, output: Mapping[str, Array], hidden: Mapping[str, int], rng: np.random.Generator) -> None:
        """Take the output projections' matrices and draw those of the hidden ones, SD 1/sqrt(errors).

        Args:
            output: by projection, (targets, errors): what each cell does to each error's quantity.
            hidden: by projection, number of targets.
            rng: source of the random matrices.

        Raises:
            ValueError: no output projection, or matrices for different numbers of errors.
        """
        errors = {matrix.shape[1] for matrix in output.values()}
        if len(errors) != 1:
            raise ValueError(f"output has matrices for {sorted(errors)} errors; matrices for one number are allowed")
        self.errors = errors.pop()
        spread = 1.0 / np.sqrt(self.errors)
        self.feedback: Modulators = {
            name: rng.normal(0.0, spread, (size, self.errors)) for name, size in hidden.items()
        } | {name: np.array(matrix, dtype=np.float64) for name, matrix in output.items()}

    def modulators(self, error: Array) -> Modulators:
        """Modulators (targets,) by projection for an error (errors,).

        Raises:
            ValueError: another shape, or a number that is not finite.
        """
        if np.shape(error) != (self.errors,):
            raise ValueError(f"error has shape {np.shape(error)}; ({self.errors},) is allowed")
        if not np.all(np.isfinite(error)):
            raise ValueError(f"error is {error!r}; finite numbers are allowed")
        return {name: matrix @ error for name, matrix in self.feedback.items()}


class RewardPredictionError:
    """m = r - V(stimulus) for every cell; the expectation follows the reward.

    One running mean for all stimuli does not do: what a hard stimulus brings would be taken for a fault of the cells
    that answer to it. Hence one for each stimulus (Fremaux, Sprekeler and Gerstner 2010, J. Neurosci. 30:13326).

    Attributes:
        expected: (stimuli,) rewards; belongs into a checkpoint.
    """

    def __init__(self, targets: Mapping[str, int], stimuli: int = 1, rate: float = 0.1) -> None:
        """Expect nothing yet.

        Args:
            targets: by projection, number of targets.
            stimuli: number of stimuli with an expectation of their own, 1 or more.
            rate: share of the surprise by which an expectation follows, in (0, 1].

        Raises:
            ValueError: an argument outside these.
        """
        if stimuli < 1 or not 0.0 < rate <= 1.0:
            raise ValueError(f"stimuli is {stimuli} and rate {rate}; 1 or more, and above 0 up to 1, are allowed")
        self.targets = dict(targets)
        self.expected = np.zeros(stimuli)
        self.rate = rate

    def modulators(self, reward: float, stimulus: int = 0) -> Modulators:
        """Return modulators (targets,) by projection for a reward; the stimulus's expectation moves towards it.

        Raises:
            ValueError: a reward that is not finite or too large to be squared; nothing has changed then.
        """
        _require_squarable("reward", reward)
        surprise = reward - float(self.expected[stimulus])
        self.expected[stimulus] += self.rate * surprise
        return {name: np.full(size, surprise) for name, size in self.targets.items()}


class Hebb:
    """m = 1 for every cell: the control that hears no teacher."""

    def __init__(self, targets: Mapping[str, int]) -> None:
        """Take the number of targets by projection."""
        self.targets = dict(targets)

    def modulators(self) -> Modulators:
        """Ones (targets,) by projection."""
        return {name: np.ones(size) for name, size in self.targets.items()}


class BoundedSurprise:
    """m = d / s, held to -1..1, for every cell: a reward-prediction error d as dopamine cells might report it.

    Their answers adapt to how large rewards are just now (Tobler, Fiorillo and Schultz 2005, Science 307:1642), here to
    the running root mean square s of the errors, and can only fall or rise so far. A first faint progress then teaches
    as much as a success later, and one rare failure undoes no more than one success has done.

    Attributes:
        mean_square: (1,) of the errors; belongs into a checkpoint.
    """

    def __init__(self, targets: Mapping[str, int], rate: float = 0.02) -> None:
        """Suppose faint errors, as long as nothing has been earned.

        Args:
            targets: by projection, number of targets.
            rate: share by which the mean square follows, in (0, 1].

        Raises:
            ValueError: a rate outside its range.
        """
        if not 0.0 < rate <= 1.0:
            raise ValueError(f"rate is {rate}; above 0 up to 1 is allowed")
        self.targets = dict(targets)
        self.mean_square = np.full(1, FIRST_SURPRISE**2)
        self.rate = rate

    def modulators(self, surprise: float) -> Modulators:
        """Return modulators (targets,) by projection for a reward-prediction error; the mean square follows it.

        Raises:
            ValueError: an error that is not finite or too large to be squared; nothing has changed then.
        """
        _require_squarable("surprise", surprise)
        self.mean_square += self.rate * (surprise * surprise - self.mean_square)
        relative = surprise / max(float(np.sqrt(self.mean_square[0])), SMALLEST_SURPRISE)
        heard = min(1.0, max(-1.0, relative))
        return {name: np.full(size, heard) for name, size in self.targets.items()}


def _require_squarable(name: str, value: float) -> None:
    if not abs(value) <= LARGEST_SURPRISE:
        raise ValueError(f"{name} is {value!r}; {-LARGEST_SURPRISE:.3g} to {LARGEST_SURPRISE:.3g} is allowed")


# What a synapse expects its eligibility to be, and what is left of an eligibility beside that.
# A reward that comes as a surprise tells of what a cell did otherwise than usual. The eligibility that pair STDP leaves
# is mostly what the cell does every time, and multiplied by a fluctuating surprise it drowns the rest (Fremaux,
# Sprekeler and Gerstner 2010, J. Neurosci. 30:13326, on why learning by reward needs the covariance of reward and
# eligibility). So each synapse keeps in mind what it found so far for a given activity of its axon, h, and hands on
# e_ij - x_i h_ij: as local as e itself.


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
