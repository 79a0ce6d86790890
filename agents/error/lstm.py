"""A recurrent feed-forward network: sensory cells, a layer of LSTM cells, and a linear read-out of the posture.

The network sees the cup in every control step of a reach. The error of a reach belongs to one of these steps.
"""

from __future__ import annotations

import math

import numpy as np

from agents.error.feedforward import Array, FeedForward, SensoryCells, scale_to_error
from agents.networks.lstm import LSTMCells, LSTMState
from agents.networks.registry import JOINTS, Sees
from agents.rules.assign import degrees_between
from agents.rules.recurrent import BackpropagationThroughTime, RecurrentEligible, RecurrentRule
from agents.rules.registry import rule_for
from reach.snapshot import ErrorPath, Layer, LayerSignal, Snapshot

# Name of the layer of LSTM cells in `alignment`.
LAYER = "lstm"
GRADIENT = BackpropagationThroughTime()


class LSTMFeedForward(FeedForward):
    """LSTM cells under a rule of `agents.rules.recurrent`.

    Attributes:
        lstm: the cells.
        readout: (3, cells) rad, initially zero, so that an untrained arm rests.
        readout_bias: (3,) rad.
        feedback: (3, cells), fixed weights of SD 1/sqrt(3) that broadcast the error to the cells; None if the rule does
            not broadcast.
    """

    def __init__(
        self,
        rule: str,
        sensory: SensoryCells,
        lstm: LSTMCells,
        rng: np.random.Generator,
        *,
        sees: Sees = "cup",
    ) -> None:
        """Put cells under a rule.

        Args:
            rule: name of a rule for recurrent cells.
            sensory: the sensory cells.
            lstm: LSTM cells with one input for each sensory cell.
            rng: generator of the feedback.
            sees: the visual input of the sensory cells, "cup" or "picture".

        Raises:
            ValueError: an unknown rule.
        """
        super().__init__()
        self._rule: RecurrentRule = rule_for(rule, "recurrent")
        self.sensory = sensory
        self.sees = sees
        self.lstm = lstm
        self.readout = np.zeros((JOINTS, lstm.cells))
        self.readout_bias = np.zeros(JOINTS)
        self.feedback: Array | None = None
        if self._rule.route == "broadcast":
            self.feedback = rng.normal(0.0, 1.0 / math.sqrt(JOINTS), (JOINTS, lstm.cells))
        self._taught: tuple[RecurrentEligible, Array] | None = None
        self._errors = 0

    def begin(self) -> LSTMState:
        """Return the cells at rest."""
        return self.lstm.begin()

    def posture(self, state: LSTMState, visual_input: Array) -> Array:
        """Advance the cells by one control step; return the read-out."""
        hidden = self.lstm.advance(state, self.sensory.activity(visual_input))
        macs = self.lstm.weights.size + self.readout.size
        self._count(dense_operations=macs, effective_macs=macs)
        self._rule.advance_traces(state)
        if state.traces is not None:
            # Each trace takes two products: one for its decay, one for its input.
            self._count(learning_macs=2 * self.lstm.weights.size)
        posture: Array = self.readout @ hidden + self.readout_bias
        return posture

    def eligibility(self, state: LSTMState) -> RecurrentEligible:
        """Return the inputs of the reach so far and, if the rule keeps traces, the eligibility of the synapses."""
        return self._rule.eligible(state)

    def change(self, eligible: RecurrentEligible, error: Array, rate: float) -> None:
        """Take one step by the rule, normalised in each layer by the power of its input; the layers share the rate.

        As in `agents.error.rate`, the power of a layer's input is computed from the steps of its weights and biases.
        With normalised steps a rate means the same share of the error for layers of any size.
        """
        self._taught = eligible, error.copy()
        self._errors += 1
        if not np.any(error):
            return
        share = rate / (1 if self.plastic == "hidden" else 2)
        step = self._step(eligible, error)
        if step is not None and np.any(step[-1]):
            power = 1.0 + float(np.sum(step[:-1] ** 2) / np.sum(step[-1] ** 2))
            self.lstm.weights += (share / power) * step
            # One product for each weight of the read-out, or of the feedback, carries the error to the cells.
            macs = self.readout.size + self._rule.step_macs(self.lstm, eligible)
            self._count(weight_updates=step.size, learning_macs=macs)
        if self.plastic == "all":
            power = 1.0 + float(np.sum(eligible.hidden**2))
            self.readout += (share / power) * np.outer(error, eligible.hidden)
            self.readout_bias += (share / power) * error
            self._count(weight_updates=self.readout.size + JOINTS, learning_macs=self.readout.size)

    def _signal(self, error: Array) -> Array:
        """Return the modulator (cells,) of the cells' output, scaled to the root mean square of the error."""
        signal: Array = error @ (self.readout if self.feedback is None else self.feedback)
        return signal * scale_to_error(signal, error)

    def _step(self, eligible: RecurrentEligible, error: Array) -> Array | None:
        """Return modulator x eligibility of the LSTM synapses, (sources, 4 x cells); None if they do not learn."""
        if "hidden" not in self._rule.modifies:
            return None
        return self._rule.step(self.lstm, eligible, self._signal(error))

    def alignment(self) -> dict[str, float]:
        """Return the angle in degrees between the last step of the LSTM synapses and the gradient."""
        step = None if self._taught is None else self._step(*self._taught)
        if self._taught is None or step is None:
            return {}
        eligible, error = self._taught
        # The last row holds the biases, which are left out as for other networks.
        step, gradient = step[:-1], GRADIENT.step(self.lstm, eligible, error @ self.readout)[:-1]
        angle = degrees_between(step, gradient)
        return {} if angle is None else {LAYER: angle}

    def weights(self) -> dict[str, Array]:
        """Return views of the weights of the LSTM cells and the read-out."""
        return {LAYER: self.lstm.weights, "posture": self.readout}

    def synapses(self) -> dict[str, Array]:
        """Return views of weights and biases of the LSTM cells and the read-out."""
        return {name: array for name, array in self.arrays().items() if name != "posture.feedback"}

    def snapshot(self, state: LSTMState) -> Snapshot:
        """Return the activities of sensory cells, LSTM memory, LSTM output and posture, and the last error's path."""
        layers = (
            Layer("senses", state.sources[: self.sensory.size].copy()),
            Layer("memory", state.memory.copy()),
            Layer("cells", state.hidden.copy()),
            Layer("posture", self.readout @ state.hidden + self.readout_bias),
        )
        if self._taught is None:
            return Snapshot(layers=layers)
        error = self._taught[1]
        learns = "hidden" in self._rule.modifies
        signals = (
            LayerSignal("cells", self._signal(error) if learns else np.zeros_like(state.hidden)),
            LayerSignal("posture", error if self.plastic == "all" else np.zeros_like(error)),
        )
        return Snapshot(layers=layers, error_path=ErrorPath(self._rule.route, error, signals, self._errors))

    def arrays(self) -> dict[str, Array]:
        """Return views of weights and feedback; LSTM weights are in the layout of `torch.nn.LSTM`."""
        arrays = {
            "lstm.weight_ih": self.lstm.weight_ih,
            "lstm.weight_hh": self.lstm.weight_hh,
            "lstm.bias": self.lstm.bias,
            "posture.weight": self.readout,
            "posture.bias": self.readout_bias,
        }
        return arrays if self.feedback is None else arrays | {"posture.feedback": self.feedback}
