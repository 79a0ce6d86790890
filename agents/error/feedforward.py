"""The interface between an error learner and its network with a rule.

The change of a synapse is rate x modulator x eligibility: the network supplies the eligibility, the rule the modulator,
and the teacher the error.

A network counts what it computes and changes. Names are those of NeuroBench (Yik et al. 2025, Nature Communications
16:1545) where it has them. Counted is what the network and its rule require, not how a learner computes it: the forward
pass that a step of a rate network repeats is left out. So are products of vectors alone, such as those that normalise a
step: there are few.

| name | counts |
|---|---|
| `effective_macs` | multiply-accumulates whose input is not 0, of cells with rates |
| `effective_acs` | accumulates caused by spikes |
| `dense_operations` | all connections in every pass or step, whatever their input |
| `learning_macs` | multiply-accumulates for carrying the error and computing the step |
| `eligibility_updates` | pair terms that spikes add |
| `weight_updates` | weights, biases and feedback weights that a step changes |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from agents.networks.registry import JOINTS, Sees
from agents.registry import Plastic
from reach.snapshot import Snapshot

if TYPE_CHECKING:
    from agents.reaching.controller import Controller

Array = NDArray[np.float64]


def rms(values: Array) -> float:
    """Return the root mean square of values (n,)."""
    return float(np.sqrt(np.mean(values * values)))


def scale_to_error(modulator: Array, error: Array) -> float:
    """Return the factor that gives a modulator (cells,) the root mean square of an error (n,); 1 for one of 0."""
    size = rms(modulator)
    return rms(error) / size if size > 0.0 else 1.0


class SensoryCells(Protocol):
    """Cells that turn the visual input into activity, and do not learn."""

    @property
    def size(self) -> int:
        """Return the number of cells."""

    def activity(self, visual_input: Array) -> Array:
        """Return the activity (size,), 0 or more."""


class FeedForward:
    """Base class of networks that change the resting posture for what is seen, and learn.

    Attributes:
        plastic: which synapses `change` changes: "all", or "hidden" for a fixed read-out.
        sees: what `posture` is given: the place of the "cup" (2,) m and the lamps, or the "picture" on the retina.
        waits_for_launch: whether it is called only from the launch of the arm on, with the mean of the pictures seen
            during the preparation. Networks whose state takes time to develop are called at every control step.
    """

    plastic: Plastic = "all"
    sees: Sees = "cup"
    waits_for_launch = False

    def __init__(self) -> None:
        """Start with all counts at zero."""
        self._counts: dict[str, float] = {}

    def begin(self) -> Any:
        """Return the network's state at the start of a reach."""

    @property
    def is_compiled(self) -> bool:
        """Return whether `compiled` may be called."""
        return False

    def compiled(self, state: Any, lamps: Array) -> tuple[Any, Any, Any]:
        """Return the network of `agents.error.loop.run` for a reach with these lamps: places, layers and circuit."""
        raise NotImplementedError(f"{type(self).__name__} is not compiled")

    def end_play(self, state: Any, steps: int) -> None:
        """Count the `steps` in which `run` has called the network."""

    def posture(self, state: Any, visual_input: Array) -> Array:
        """Advance the network by one control step; return the change of posture (3,) rad for the visual input."""
        return np.zeros(JOINTS)

    def eligibility(self, state: Any) -> Any:
        """Return what may change, as of now."""

    def change(self, eligible: Any, error: Array, rate: float) -> None:
        """Change the synapses for a motor error (3,) rad; `rate` is the share of it to correct."""

    def end_baseline(self, body: Controller, practice_rate: float) -> None:
        """End unperturbed training with this body; a network that practises does so now, with this step size."""

    @property
    def practised_rate(self) -> float:
        """Return the rate that the network has chosen in its practice; 0 for that of the learner."""
        return 0.0

    def alignment(self) -> dict[str, float]:
        """Return the angle, degrees, between the last step and the gradient, by layer; empty without a gradient."""
        return {}

    def weights(self) -> dict[str, NDArray[Any]]:
        """Return the weights of each layer that a rule may change, by name, as views."""
        return {}

    def cost(self) -> dict[str, float]:
        """Return the counts since the network was made, by the names in the table of this module."""
        return dict(self._counts)

    def _count(self, **counts: float) -> None:
        """Add to the counts of these names."""
        for name, count in counts.items():
            self._counts[name] = self._counts.get(name, 0.0) + float(count)

    def snapshot(self, state: Any) -> Snapshot:
        """Return a snapshot of the network for a picture; it changes no number that the network computes."""
        return Snapshot()

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return every array that a checkpoint must hold, by name, as views that can be filled in place."""
        return {}

    def limits(self) -> dict[str, tuple[float, float]]:
        """Return the lowest and highest value of those arrays that have limits, by name."""
        return {}


class NoNetwork(FeedForward):
    """No network: the learner `none` has feedback control alone."""

    @property
    def is_compiled(self) -> bool:
        """Return True: a reach needs no network to be compiled."""
        return True

    def compiled(self, state: Any, lamps: Array) -> tuple[None, None, None]:
        """Return None for each part of a network."""
        return None, None, None
