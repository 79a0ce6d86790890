"""What an error learner needs of its network and rule, behind one small interface.

For each the change of a synapse is rate x modulator x eligibility: the network supplies the eligibility, the rule the
modulator, and the error comes from the teacher.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from agents.reaching.controller import Controller
    from reach.render.inside import Inside

Array = NDArray[np.float64]
# Which synapses learn: all, or all but those of the read-out.
Plastic = Literal["all", "hidden"]
# What a network is given to see.
Sees = Literal["cup", "picture"]
JOINTS = 3
CONTROL_STEP_MS = 20


class SensoryCells(Protocol):
    """Cells that turn what is seen into activity, and do not learn."""

    @property
    def size(self) -> int:
        """Number of cells."""

    def activity(self, seen: Array) -> Array:
        """Activity (size,), 0 or more."""


class FeedForward(Protocol):
    """A network that changes the resting posture for what is seen, and how it learns.

    Attributes:
        plastic: which synapses `change` changes.
        sees: what `posture` is given: the place of the "cup" (2,) m, or the "picture" on the retina.
        waits_for_launch: whether it is asked only once the arm sets out. What needs no time to settle need not look at
            every picture of the preparation, whose mean it is given in the end.
    """

    plastic: Plastic
    sees: Sees
    waits_for_launch: bool

    def begin(self) -> Any:
        """The network's state at the start of a reach."""

    def posture(self, state: Any, seen: Array) -> Array:
        """The change of posture (3,) rad for what is seen; advances the network by one control step."""

    def eligibility(self, state: Any) -> Any:
        """What may change, as of now."""

    def change(self, eligible: Any, error: Array, rate: float) -> None:
        """Change the synapses for a motor error (3,) rad; `rate` is the share of it to correct."""

    def settle(self, body: Controller, practice_rate: float) -> None:
        """Unperturbed training with this body has ended; what now practises does so with this step size."""

    def alignment(self) -> dict[str, float]:
        """Angle, degrees, between the last step and the true gradient, by layer; empty where there is no gradient."""

    def cost(self) -> dict[str, float]:
        """What it has computed and changed since it was made, by the names of `agents.costs`."""

    def inside(self, state: Any) -> Inside:
        """What goes on in the network, for a picture; looking changes no number that it computes."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Every array that a checkpoint must hold, by name; views, so that they can be filled in place."""

    def limits(self) -> dict[str, tuple[float, float]]:
        """Lowest and highest value of those arrays that have such limits, by name."""


class NoFeedForward:
    """No network: what is left is feedback alone."""

    plastic: Plastic = "all"
    sees: Sees = "cup"
    waits_for_launch = False

    def begin(self) -> None:
        """Nothing to begin."""

    def posture(self, state: None, seen: Array) -> Array:
        """No change of posture."""
        return np.zeros(JOINTS)

    def eligibility(self, state: None) -> None:
        """Nothing is eligible."""

    def change(self, eligible: None, error: Array, rate: float) -> None:
        """Nothing changes."""

    def settle(self, body: Controller, practice_rate: float) -> None:
        """Nothing has been trained."""

    def alignment(self) -> dict[str, float]:
        """Nothing has a gradient."""
        return {}

    def cost(self) -> dict[str, float]:
        """Nothing is computed."""
        return {}

    def inside(self, state: None) -> Inside:
        """Nothing to show."""
        from reach.snapshot import Inside

        return Inside()

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Nothing to keep."""
        return {}

    def limits(self) -> dict[str, tuple[float, float]]:
        """Nothing to keep."""
        return {}
