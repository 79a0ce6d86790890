"""The interface between an error learner and its network with a rule.

The change of a synapse is rate x modulator x eligibility: the network supplies the eligibility, the rule the modulator,
and the teacher the error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from agents.networks.registry import JOINTS, Sees
from reach.snapshot import Snapshot

if TYPE_CHECKING:
    from agents.reaching.controller import Controller

Array = NDArray[np.float64]
# Which synapses learn: all, or all but those of the read-out.
Plastic = Literal["all", "hidden"]


class SensoryCells(Protocol):
    """Cells that turn what is seen into activity, and do not learn."""

    @property
    def size(self) -> int:
        """Return the number of cells."""

    def activity(self, seen: Array) -> Array:
        """Return the activity (size,), 0 or more."""


class FeedForward(Protocol):
    """A network that changes the resting posture for what is seen, and how it learns.

    Attributes:
        plastic: which synapses `change` changes.
        sees: what `posture` is given: the place of the "cup" (2,) m, or the "picture" on the retina.
        waits_for_launch: whether it is called only from the launch of the arm on, with the mean of the pictures seen
            during the preparation. Networks whose state takes time to develop are called at every control step.
    """

    plastic: Plastic
    sees: Sees
    waits_for_launch: bool

    def begin(self) -> Any:
        """Return the network's state at the start of a reach."""

    def posture(self, state: Any, seen: Array) -> Array:
        """Advance the network by one control step; return the change of posture (3,) rad for what is seen."""

    def eligibility(self, state: Any) -> Any:
        """Return what may change, as of now."""

    def change(self, eligible: Any, error: Array, rate: float) -> None:
        """Change the synapses for a motor error (3,) rad; `rate` is the share of it to correct."""

    def end_baseline(self, body: Controller, practice_rate: float) -> None:
        """End unperturbed training with this body; a network that practises does so now, with this step size."""

    def alignment(self) -> dict[str, float]:
        """Return the angle, degrees, between the last step and the gradient, by layer; empty without a gradient."""

    def cost(self) -> dict[str, float]:
        """Return what it has computed and changed since it was made, by the names of `agents.costs`."""

    def snapshot(self, state: Any) -> Snapshot:
        """Return a snapshot of the network for a picture; it changes no number that the network computes."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return every array that a checkpoint must hold, by name, as views that can be filled in place."""

    def limits(self) -> dict[str, tuple[float, float]]:
        """Return the lowest and highest value of those arrays that have limits, by name."""


class NoFeedForward:
    """No network: the learner has feedback control alone."""

    plastic: Plastic = "all"
    sees: Sees = "cup"
    waits_for_launch = False

    def begin(self) -> None:
        """Return no state."""

    def posture(self, state: None, seen: Array) -> Array:
        """Return no change of posture."""
        return np.zeros(JOINTS)

    def eligibility(self, state: None) -> None:
        """Return nothing."""

    def change(self, eligible: None, error: Array, rate: float) -> None:
        """Change nothing."""

    def end_baseline(self, body: Controller, practice_rate: float) -> None:
        """Do nothing."""

    def alignment(self) -> dict[str, float]:
        """Return no angles."""
        return {}

    def cost(self) -> dict[str, float]:
        """Return no counts."""
        return {}

    def snapshot(self, state: None) -> Snapshot:
        """Return an empty snapshot."""
        return Snapshot()

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return no arrays."""
        return {}

    def limits(self) -> dict[str, tuple[float, float]]:
        """Return no limits."""
        return {}
