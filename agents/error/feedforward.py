"""The interface of networks that learn from the seen error, and their operation counts.

The change of a synapse is rate x modulator x eligibility: the network supplies the eligibility, the rule the modulator,
and the teacher the error.

A network counts its operations, under the names of NeuroBench (Yik et al. 2025, Nature Communications 16:1545) where
NeuroBench has a name. The counts are what the network and its rule require, independent of the implementation: the
forward pass that a step of a rate network repeats is not counted. Products of vectors, such as those that normalise a
step, are few and are not counted either.

| name | counts |
|---|---|
| `effective_macs` | multiply-accumulates of rate cells whose input is not 0 |
| `effective_acs` | accumulates caused by spikes |
| `dense_operations` | all connections in every pass or step, including those whose input is 0 |
| `learning_macs` | multiply-accumulates that propagate the error and compute the step |
| `eligibility_updates` | spike-pair terms added to eligibilities |
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
    """Return the factor that scales a modulator (cells,) to the rms of an error (n,); 1 if the modulator is 0."""
    size = rms(modulator)
    return rms(error) / size if size > 0.0 else 1.0


class SensoryCells(Protocol):
    """Fixed cells that turn the visual input into activity."""

    @property
    def size(self) -> int:
        """Return the number of cells."""

    def activity(self, visual_input: Array) -> Array:
        """Return the activity (size,), 0 or more."""


class FeedForward:
    """Base class of networks that learn which change of the resting posture brings the hand to the seen cup.

    Attributes:
        plastic: the synapses that `change` changes: "all", or "hidden" for a fixed read-out.
        sees: the visual input of `posture`: "cup", its position (2,) m and the lamps, or "picture", that of the retina.
        waits_for_launch: True if the network is called only from the launch of the arm on, with the mean of the
            pictures seen during the preparation. Networks with dynamics are called at every control step.
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
        """Return `places`, `layers` and `circuit` of `agents.error.loop` for a reach with these lamps (lamps,)."""
        raise NotImplementedError(f"{type(self).__name__} is not compiled")

    def end_play(self, state: Any, steps: int) -> None:
        """Count the operations of the `steps` for which compiled code has called the network."""

    def posture(self, state: Any, visual_input: Array) -> Array:
        """Advance the network by one control step; return the change of posture (3,) rad for the visual input."""
        return np.zeros(JOINTS)

    def eligibility(self, state: Any) -> Any:
        """Return the data from which `change` can change synapses later, as of the present step."""

    def change(self, eligible: Any, error: Array, rate: float) -> None:
        """Change the synapses to correct the share `rate` of a motor error (3,) rad."""

    def end_baseline(self, body: Controller, practice_rate: float) -> None:
        """End unperturbed training; a network that practises does so now, with this body and step size."""

    @property
    def practised_rate(self) -> float:
        """Return the rate that the network has chosen in its practice; 0 to use the learner's rate."""
        return 0.0

    def alignment(self) -> dict[str, float]:
        """Return the angle in degrees between the last step and the gradient, by layer; empty without a gradient."""
        return {}

    def weights(self) -> dict[str, NDArray[Any]]:
        """Return views of the weights that a rule may change, by name of layer."""
        return {}

    def cost(self) -> dict[str, float]:
        """Return the operation counts since the network was made; this module's docstring defines their names."""
        return dict(self._counts)

    def _count(self, **counts: float) -> None:
        """Add to the operation counts."""
        for name, count in counts.items():
            self._counts[name] = self._counts.get(name, 0.0) + float(count)

    def snapshot(self, state: Any) -> Snapshot:
        """Return a snapshot of the network for the display, without changing its results."""
        return Snapshot()

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return views of every array that a checkpoint must hold, by name; they can be filled in place."""
        return {}

    def limits(self) -> dict[str, tuple[float, float]]:
        """Return the lowest and highest value of each bounded array, by name."""
        return {}


class NoNetwork(FeedForward):
    """No network: the learner `none` uses feedback control only."""

    @property
    def is_compiled(self) -> bool:
        """Return True: compiled code can run a reach without a network."""
        return True

    def compiled(self, state: Any, lamps: Array) -> tuple[None, None, None]:
        """Return None for each part of a network."""
        return None, None, None
