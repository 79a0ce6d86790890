"""A feed-forward part with memory: sensory cells, a layer of LSTM cells, and a linear read-out of the posture.

It hears the cup in every control step of a reach, and is taught at one of them. Its forget gate says what it keeps.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from agents.costs import Costs
from agents.feedforward import JOINTS, Array, Plastic, Sees, SensoryCells
from agents.networks.lstm import LSTMCells, LSTMState
from agents.networks.place_cells import PlaceCells
from agents.rate_feedforward import ALIGNING_DECAY
from agents.rules.recurrent import (
    RecurrentEligible,
    back_through_time,
    carry_forward,
    eligible_now,
    recurrent_rule,
)

if TYPE_CHECKING:
    from agents.reaching.controller import Controller
    from reach.render.inside import Inside, Way

CELLS = 64
# The layer of cells in the alignment that is told.
LAYER = "lstm"


class LSTMFeedForward:
    """LSTM cells under a rule of `agents.rules.recurrent`.

    Attributes:
        lstm: the cells.
        readout: (3, cells) rad, zero at first, so that an untrained arm rests; `readout_bias` is (3,) rad.
        feedback: (3, cells), fixed, through which a broadcast error reaches the cells; SD 1/sqrt(3). None without.
        plastic: "all", or "hidden" where the read-out stays as it is.
    """

    waits_for_launch = False

    def __init__(
        self,
        rule: str,
        rng: np.random.Generator,
        *,
        aligning: bool = False,
        cells: int = CELLS,
        sensory: SensoryCells | None = None,
        sees: Sees = "cup",
    ) -> None:
        """Make the network and put it under its rule.

        Args:
            rule: one of `agents.rules.recurrent.RECURRENT_RULES`.
            rng: source of weights, and then of the feedback.
            aligning: let weights decay while all are plastic, so that the read-out aligns with the feedback.
            cells: LSTM cells, 1 or more.
            sensory: the cells before them; place cells of the cup without a word.
            sees: what those are given.

        Raises:
            ValueError: an unknown rule, or no cells.
        """
        self._rule = recurrent_rule(rule)
        self.sensory = PlaceCells() if sensory is None else sensory
        self.sees: Sees = sees
        self.lstm = LSTMCells(self.sensory.size, cells, rng)
        self.readout = np.zeros((JOINTS, cells))
        self.readout_bias = np.zeros(JOINTS)
        self.feedback: Array | None = None
        if self._rule.broadcast:
            self.feedback = rng.normal(0.0, 1.0 / math.sqrt(JOINTS), (JOINTS, cells))
        self._decay = ALIGNING_DECAY if aligning else 0.0
        self._taught: tuple[RecurrentEligible, Array] | None = None
        self._errors = 0
        self.plastic: Plastic = "all"
        self._costs = Costs()

    def begin(self) -> LSTMState:
        """The cells at rest."""
        return self.lstm.begin()

    def posture(self, state: LSTMState, seen: Array) -> Array:
        """One control step of the cells, and what is read out."""
        hidden = self.lstm.advance(state, self.sensory.activity(seen))
        macs = self.lstm.weights.size + self.readout.size
        self._costs.add(dense_operations=macs, effective_macs=macs)
        if self._rule.forward:
            carry_forward(state)
            # A trace is kept by one product and added to by another.
            self._costs.add(learning_macs=2 * self.lstm.weights.size)
        posture: Array = self.readout @ hidden + self.readout_bias
        return posture

    def eligibility(self, state: LSTMState) -> RecurrentEligible:
        """The reach so far, and under a rule that carries them forward the eligibility traces of the synapses."""
        return eligible_now(state)

    def change(self, eligible: RecurrentEligible, error: Array, rate: float) -> None:
        """One step by the rule, each layer normalised by the power of what it hears; the layers share it.

        As in `agents.rate_feedforward`: the power is that of a layer's input as its weights' and biases' steps tell it,
        so that a rate means the same share of the error corrected whatever the size of a layer.
        """
        self._taught = eligible, error.copy()
        self._errors += 1
        if not np.any(error):
            return
        share = rate / (1 if self.plastic == "hidden" else 2)
        kept = 1.0 - self._decay if self.plastic == "all" else 1.0
        step = self._step(eligible, error)
        if step is not None and np.any(step[-1]):
            power = 1.0 + float(np.sum(step[:-1] ** 2) / np.sum(step[-1] ** 2))
            self.lstm.weights += (share / power) * step
            self._costs.add(weight_updates=step.size, learning_macs=self._rule.step_macs(self.lstm, eligible))
            self.lstm.weights[:-1] *= kept
        if self.plastic == "all":
            power = 1.0 + float(np.sum(eligible.hidden**2))
            self.readout += (share / power) * np.outer(error, eligible.hidden)
            self.readout_bias += (share / power) * error
            self.readout *= kept
            self._costs.add(weight_updates=self.readout.size + JOINTS, learning_macs=self.readout.size)

    def _step(self, eligible: RecurrentEligible, error: Array) -> Array | None:
        """Modulator x eligibility of the cells' synapses, (heard, 4 x cells); None where they do not learn."""
        if self._rule.step is None:
            return None
        return self._rule.step(self.lstm, eligible, error @ (self.readout if self.feedback is None else self.feedback))

    def settle(self, body: Controller, practice_rate: float) -> None:
        """Learning goes on as before."""

    def alignment(self) -> dict[str, float]:
        """Angle, degrees, between the rule's last step of the cells' synapses and the true gradient."""
        step = None if self._taught is None else self._step(*self._taught)
        if self._taught is None or step is None:
            return {}
        eligible, error = self._taught
        # Without the biases, as of other networks.
        step, gradient = step[:-1], back_through_time(self.lstm, eligible, error @ self.readout)[:-1]
        length = float(np.linalg.norm(step) * np.linalg.norm(gradient))
        if length == 0.0:
            return {}
        return {LAYER: math.degrees(math.acos(max(-1.0, min(1.0, float(np.sum(step * gradient)) / length))))}

    def cost(self) -> dict[str, float]:
        """Counts so far, by the names of `agents.costs`."""
        return dict(self._costs.counts)

    def inside(self, state: LSTMState) -> Inside:
        """What the cells hear, hold and give, and how the last error came to them."""
        from reach.snapshot import Arrival, Inside, Layer, Travel

        layers = (
            Layer("senses", state.heard[: self.sensory.size].copy()),
            Layer("memory", state.memory.copy()),
            Layer("cells", state.hidden.copy()),
            Layer("posture", self.readout @ state.hidden + self.readout_bias),
        )
        if self._taught is None:
            return Inside(layers=layers)
        error = self._taught[1]
        learns = self._rule.step is not None
        told = (
            error @ (self.readout if self.feedback is None else self.feedback)
            if learns
            else np.zeros_like(state.hidden)
        )
        arrivals = Arrival("cells", told), Arrival("posture", error if self.plastic == "all" else np.zeros_like(error))
        way: Way = "broadcast" if self._rule.broadcast else "backward"
        return Inside(layers=layers, travel=Travel(way, error, arrivals, self._errors))

    def arrays(self) -> dict[str, Array]:
        """Weights and feedback, views; those of the cells as `torch.nn.LSTM` has them."""
        found = {
            "lstm.weight_ih": self.lstm.weight_ih,
            "lstm.weight_hh": self.lstm.weight_hh,
            "lstm.bias": self.lstm.bias,
            "posture.weight": self.readout,
            "posture.bias": self.readout_bias,
        }
        return found if self.feedback is None else found | {"posture.feedback": self.feedback}

    def limits(self) -> dict[str, tuple[float, float]]:
        """Any finite number is valid."""
        return {}
