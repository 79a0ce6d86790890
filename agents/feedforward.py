"""Feed-forward parts: a network and the rule that changes it, behind one small interface.

For each the change of a synapse is rate x modulator x eligibility: the network supplies the eligibility, the rule the
modulator, and the error comes from the teacher.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from agents.networks.mlp import MLP, Activity
from agents.networks.place_cells import Array
from agents.networks.spiking import SpikingNetwork, SpikingState
from agents.rules.backprop import Backprop
from agents.rules.direct_feedback_alignment import DirectFeedbackAlignment
from agents.rules.stdp import ErrorGatedSTDP

CONTROL_STEP_MS = 20


class FeedForward(Protocol):
    """What a reaching learner needs of its network and rule."""

    def begin(self) -> Any:
        """The network's state at the start of a reach."""

    def posture(self, state: Any, cup: Array) -> Array:
        """The change of posture (3,) rad for a seen cup (2,) m; advances the network by one control step."""

    def eligibility(self, state: Any) -> Any:
        """What may change, as of now."""

    def change(self, eligible: Any, error: Array, rate: float) -> None:
        """Change the synapses for a motor error (3,) rad; `rate` is the share of it to correct."""

    def arrays(self) -> dict[str, Array]:
        """Every array that a checkpoint must hold, by name; views, so that they can be filled in place."""


class NoFeedForward:
    """No network: what is left is feedback alone."""

    def begin(self) -> None:
        """Nothing to begin."""

    def posture(self, state: None, cup: Array) -> Array:
        """No change of posture."""
        return np.zeros(3)

    def eligibility(self, state: None) -> None:
        """Nothing is eligible."""

    def change(self, eligible: None, error: Array, rate: float) -> None:
        """Nothing changes."""

    def arrays(self) -> dict[str, Array]:
        """Nothing to keep."""
        return {}


class RateFeedForward:
    """An MLP under back-propagation or direct feedback alignment."""

    def __init__(self, rule: str, hidden: tuple[int, ...], rng: np.random.Generator) -> None:
        """Make the network and its rule.

        Args:
            rule: "bp" or "dfa".
            hidden: cells in each hidden layer.
            rng: source of weights, and then of the feedback matrices.

        Raises:
            ValueError: another rule.
        """
        if rule not in ("bp", "dfa"):
            raise ValueError(f"rule is {rule!r}; 'bp' or 'dfa' is allowed for a network of rate cells")
        self.network = MLP(hidden, rng)
        self.rule: Backprop | DirectFeedbackAlignment = (
            Backprop() if rule == "bp" else DirectFeedbackAlignment(self.network, rng)
        )

    def begin(self) -> list[Activity]:
        """An empty place for the latest activity."""
        return []

    def posture(self, state: list[Activity], cup: Array) -> Array:
        """One forward pass."""
        state[:] = [self.network.forward(cup)]
        return state[0].output

    def eligibility(self, state: list[Activity]) -> Activity:
        """The latest activity."""
        return state[0]

    def change(self, eligible: Activity, error: Array, rate: float) -> None:
        """One normalised step."""
        self.network.change(eligible, self.rule.modulators(self.network, eligible, error), rate)

    def arrays(self) -> dict[str, Array]:
        """Weights and feedback matrices."""
        found = {f"weight_{k}": weight for k, weight in enumerate(self.network.weights)}
        if isinstance(self.rule, DirectFeedbackAlignment):
            found |= {f"feedback_{k}": matrix for k, matrix in enumerate(self.rule.feedback)}
        return found


class SpikingFeedForward:
    """LIF cells under STDP gated by a broadcast error."""

    def __init__(self, hidden: int, cells_per_muscle: int, depression: float, rng: np.random.Generator) -> None:
        """Make the network and its rule; see `SpikingNetwork`."""
        self.network = SpikingNetwork(hidden, cells_per_muscle, depression, rng)
        self.rule = ErrorGatedSTDP(self.network, rng)

    def begin(self) -> SpikingState:
        """The network at rest."""
        return self.network.begin()

    def posture(self, state: SpikingState, cup: Array) -> Array:
        """Twenty milliseconds of spikes."""
        return self.network.run(state, cup, CONTROL_STEP_MS)

    def eligibility(self, state: SpikingState) -> Any:
        """The pair terms that have gathered in this reach."""
        return self.network.eligibility(state)

    def change(self, eligible: Any, error: Array, rate: float) -> None:
        """One normalised step."""
        hidden, output = self.rule.modulators(error)
        self.network.change(eligible, hidden, output, rate)

    def arrays(self) -> dict[str, Array]:
        """Weights, feedback and the spiking state in which a reach begins."""
        network = self.network
        return {
            "input_weight": network.input_weight,
            "output_weight": network.output_weight,
            "feedback": self.rule.feedback,
            "first_phase": network.first_phase,
            "first_voltage": network.first_voltage,
        }


HIDDEN_CELLS = (128, 128)
SPIKING_HIDDEN_CELLS = 300
CELLS_PER_MUSCLE = 20
DEPRESSION = 0.3


def _rate_cells(rule: str) -> Callable[[np.random.Generator], FeedForward]:
    return lambda rng: RateFeedForward(rule, HIDDEN_CELLS, rng)


FEEDFORWARD: dict[str, Callable[[np.random.Generator], FeedForward]] = {
    "none": lambda rng: NoFeedForward(),
    "error-bp": _rate_cells("bp"),
    "error-dfa": _rate_cells("dfa"),
    "error-stdp": lambda rng: SpikingFeedForward(SPIKING_HIDDEN_CELLS, CELLS_PER_MUSCLE, DEPRESSION, rng),
}
