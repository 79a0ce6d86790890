"""A feed-forward network of spiking cells: sensory cells, a hidden population and antagonist output populations.

Synapses from sensory to hidden and from hidden to output cells learn by a rule for spiking cells, such as pair STDP
with a third factor. Cells differ in time constant and threshold. Identical output cells with the same input would fire
in synchrony, and their mean rate would fluctuate as much as that of one cell. Hidden cells are excitatory or inhibitory
(Dale's law), and constant synapses may connect them with each other. The circuit computes in single precision, which is
faster and learns equally well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.error.feedforward import Array, FeedForward, SensoryCells, scale_to_error
from agents.networks.registry import JOINTS, Sees
from agents.networks.sensory_cells import ComplexCells, PlaceCells, TimedCells
from agents.reaching.controller import CONTROL_STEP_MS
from agents.rules.assign import degrees_between
from agents.rules.registry import rule_for
from agents.rules.spiking import SpikingRule, WeightChange
from agents.spiking.circuit import FASTEST_HZ, SpikeRecord, SpikingCircuit, populations_of
from agents.spiking.kernels import CircuitState
from agents.spiking.lif import AntagonistReadout, LIFCells, muscle_parts
from agents.spiking.projections import Projection, StructuralPlasticity
from agents.spiking.stdp import PairSTDP
from reach.snapshot import ErrorPath, LayerSignal, Snapshot

HIDDEN_CELLS = 300
# One in five, as in the cortex (Braitenberg and Schuez 1998, "Cortex: Statistics and Geometry").
INHIBITORY_CELLS = 60
CELLS_PER_MUSCLE = 20
INPUT_PEAK_HZ = 100.0
SYNAPSE_MS = 5.0
# Drive without input, in units of the threshold. Hidden cells rest just below the threshold. Output cells fire at about
# 25 Hz, so that their rates can rise and fall.
HIDDEN_DRIVE = 0.85
OUTPUT_DRIVE = 1.2
INPUT_WEIGHT_SD = 0.9
# Ranges from which the values of each cell are drawn; thresholds in units of their mean.
MEMBRANE_MS = (10.0, 30.0)
THRESHOLD = (0.9, 1.1)
# Change of posture per difference of antagonist rates, rad/Hz.
READOUT_RAD_PER_HZ = 0.02
# Derivative of a cell's rate by its drive, at the drive without input, Hz.
RATE_SLOPE_HZ = 60.0
TO_HIDDEN, TO_OUTPUT = "input-hidden", "hidden-output"
# Name of the layer of cells after each projection.
LAYERS = {TO_HIDDEN: "hidden 1", TO_OUTPUT: "posture"}
# Effect of a unit change of drive that the rate is a share of: the drive itself for hidden cells, the posture in rad
# for output cells.
EFFECT_OF_DRIVE = {TO_HIDDEN: 1.0, TO_OUTPUT: 2.0 * READOUT_RAD_PER_HZ * RATE_SLOPE_HZ}
# A step that changes drives by less is skipped.
SMALLEST_DRIVE = 1e-12
# Longest reach whose spikes are stored for the rules, ms.
LONGEST_RUN_MS = 3000
# Time between weight changes for structural plasticity, s.
TRIAL_S = 3.0
# Density of the sensory synapses of the networks `sparse` and `structural`.
SPARSE_DENSITY = 0.5
# Constant synapses among hidden cells of the network `brain`, which spread and balance activity; axonal delays in ms.
# Inhibitory cells are fewer than excitatory ones, and their synapses stronger by the same factor, so that a cell
# receives as much inhibition as excitation (van Vreeswijk and Sompolinsky 1996, Science 274:1724).
RECURRENCE = Projection("hidden", "hidden", weight_sd=0.1, probability=0.2, delay_steps=(1, 8))
# Structural plasticity of the sensory synapses of the network `structural`.
TURNOVER = StructuralPlasticity(near_zero=0.1, patience_s=9.0, turnover_per_s=0.001, new_weight=0.3)


@dataclass
class SpikingState:
    """The state of the network in one reach.

    Attributes:
        circuit: state of the circuit.
        counted: (units,) number of spikes that are already counted in `cost`.
        visual_input: the latest visual input.
        rate_hz: (inputs,) rates of the sources for this input, Hz.
        train: (LONGEST_RUN_MS, inputs), spikes of the sources so far.
        record: spikes recorded for the display; None if none are recorded.
    """

    circuit: CircuitState
    counted: NDArray[np.int64]
    train: NDArray[np.uint8]
    visual_input: Array | None = None
    rate_hz: Array = field(default_factory=lambda: np.zeros(0))
    record: SpikeRecord | None = None


@dataclass(frozen=True)
class SpikingEligible:
    """Data of a reach from which a weight change is computed.

    Attributes:
        spikes: result of the rule's `eligible`.
        before_hz: mean rates (axons,) of the presynaptic cells, Hz, by projection.
        train: (steps, inputs), spikes of the sources.
    """

    spikes: Any
    before_hz: dict[str, Array]
    train: NDArray[np.uint8]


class SpikingFeedForward(FeedForward):
    """Leaky integrate-and-fire cells that learn by a rule for spiking cells.

    Attributes:
        circuit: cells and synapses.
        feedback: B (cells, 3) by projection: random for hidden cells; for output cells, the sign of their effect on
            each joint.
    """

    def __init__(
        self,
        rule: str,
        rng: np.random.Generator,
        *,
        cells: SensoryCells,
        sees: Sees,
        recurrence: Projection | None = None,
        density: float = 1.0,
        structure: StructuralPlasticity | None = None,
    ) -> None:
        """Make the circuit and its feedback.

        Args:
            rule: name of a rule for spiking cells.
            rng: generator of cells, weights and feedback.
            cells: sensory cells.
            sees: the visual input of the sensory cells.
            recurrence: constant synapses among hidden cells; None for none.
            density: fraction of the synapses from sensory to hidden cells that exist, above 0, up to 1.
            structure: structural plasticity of the synapses from sensory to hidden cells between reaches; None for
                none.

        Raises:
            ValueError: the rule is unknown, or an argument is out of range.
        """
        super().__init__()
        self._rule: SpikingRule = rule_for(rule, "spiking")
        self.cells = cells
        self.sees = sees
        self.readout = AntagonistReadout(JOINTS, CELLS_PER_MUSCLE, READOUT_RAD_PER_HZ)
        plasticity = PairSTDP(**self._rule.stdp)
        # Weights of fewer synapses are larger, which keeps the SD of the drives.
        input_weight_sd = INPUT_WEIGHT_SD / math.sqrt(density)
        settings: dict[str, Any] = {"weight_sd": input_weight_sd, "probability": density, "structure": structure}
        self.circuit = SpikingCircuit(
            inputs=self.cells.size,
            cells={
                "hidden": LIFCells(
                    HIDDEN_CELLS, INHIBITORY_CELLS, membrane_ms=MEMBRANE_MS, threshold=THRESHOLD, bias=HIDDEN_DRIVE
                ),
                "output": LIFCells(
                    len(self.readout.sign),
                    membrane_ms=MEMBRANE_MS,
                    threshold=THRESHOLD,
                    bias=OUTPUT_DRIVE,
                    first_voltage=(0.0, 1.0),
                ),
            },
            projections=[
                Projection("input", "hidden", plasticity=plasticity, **settings),
                *([] if recurrence is None else [recurrence]),
                Projection("hidden", "output", plasticity=plasticity),
            ],
            rng=rng,
            dtype=np.float32,
        )
        if recurrence is not None:
            inhibition = self.circuit.weight(recurrence.name)[-INHIBITORY_CELLS:]
            inhibition *= (HIDDEN_CELLS - INHIBITORY_CELLS) / INHIBITORY_CELLS
        self.feedback: dict[str, Array] = {
            TO_HIDDEN: rng.normal(0.0, 1.0 / math.sqrt(JOINTS), (HIDDEN_CELLS, JOINTS)),
            TO_OUTPUT: self.readout.sign.copy(),
        }
        self._structured = structure is not None and "hidden" in self._rule.modifies
        self._fan_out, self._pairs = self._fans()
        self._connections = sum(int(self.circuit.connected(name).sum()) for name in self.circuit.projections)
        self._records_spikes = False
        # The last error with its weight changes, the spikes of the sources in its reach, and the number of errors.
        self._last_error: tuple[Array, dict[str, WeightChange]] | None = None
        self._last_train = np.zeros((0, self.circuit.inputs), dtype=np.uint8)
        self._errors = 0

    def begin(self) -> SpikingState:
        """Return the state of the circuit at rest."""
        circuit = self.circuit.begin()
        train = np.zeros((LONGEST_RUN_MS, self.circuit.inputs), dtype=np.uint8)
        record = SpikeRecord() if self._records_spikes else None
        return SpikingState(circuit, np.zeros_like(circuit.spikes), train, record=record)

    def posture(self, state: SpikingState, visual_input: Array) -> Array:
        """Run 20 ms with the rates of sensory cells for the visual input; return the change of posture (3,) rad."""
        if state.visual_input is not visual_input:
            state.rate_hz = np.minimum(INPUT_PEAK_HZ * self.cells.activity(visual_input), FASTEST_HZ)
            if state.visual_input is None:
                self._set_phases(state, visual_input[2:])
            state.visual_input = visual_input
        first = int(state.circuit.clock[0]) % LONGEST_RUN_MS
        train = state.train[first : first + CONTROL_STEP_MS]
        if state.record is None:
            self.circuit.run(state.circuit, state.rate_hz, CONTROL_STEP_MS, train)
        else:
            state.record.run(self.circuit, state.circuit, state.rate_hz, CONTROL_STEP_MS, train)
        self._count_operations(state, 1)
        return self.readout.command(self.circuit.rate_hz(state.circuit, "output"))

    def _set_phases(self, state: SpikingState, lamps: Array) -> None:
        """Set the initial phases of cells that encode the lamps in spike times."""
        if isinstance(self.cells, TimedCells):
            state.circuit.phase[len(self.cells.centres) :] = self.cells.first_phases(lamps)

    @property
    def is_compiled(self) -> bool:
        """Return whether the sensory cells are place cells and no spikes are recorded for the display."""
        return isinstance(self.cells, PlaceCells) and not self._records_spikes

    def compiled(self, state: SpikingState, lamps: Array) -> tuple[Any, Any, Any]:
        """Return `place_cells` and `circuit` of `run_reach`; there are no `layers`."""
        assert isinstance(self.cells, PlaceCells)
        self._set_phases(state, lamps)
        state.rate_hz = np.zeros(self.cells.size)
        circuit = self.circuit
        simulated = circuit.cells, circuit.synapses, circuit.rules, state.circuit
        sources = state.train, state.rate_hz, INPUT_PEAK_HZ, FASTEST_HZ
        read_out = circuit.rate_hz(state.circuit, "output"), self.readout.weight
        return self.cells.compiled(lamps), None, (*simulated, *sources, *read_out)

    def end_play(self, state: SpikingState, steps: int) -> None:
        """Count the operations of a reach in compiled code."""
        self._count_operations(state, steps)

    def eligibility(self, state: SpikingState) -> SpikingEligible:
        """Return the data of the reach so far from which a weight change is computed.

        Raises:
            ValueError: the reach is longer than `LONGEST_RUN_MS`.
        """
        circuit, now, steps = self.circuit, state.circuit, int(state.circuit.clock[0])
        if steps > LONGEST_RUN_MS:
            raise ValueError(f"reach: expected up to {LONGEST_RUN_MS} ms, got {steps}")
        if self._rule.needs_run:
            # One per synapse and time step, for a forward trace or for the backward pass of a gradient.
            self._count(learning_macs=self._connections * steps)
        # A copy, because a long reach overwrites its first spikes.
        train = state.train[:steps].copy()
        return SpikingEligible(
            self._rule.eligible(circuit, now, train, list(self.feedback)),
            {name: circuit.mean_rate_hz(now, circuit.projections[name].before) for name in self.feedback},
            train,
        )

    def change(self, eligible: SpikingEligible, error: Array, rate: float) -> None:
        """Change weights by a normalised step of the rule.

        The modulators of each plastic projection are scaled to the root mean square of the error, and the projections
        share the rate. The step of output cells is divided by the change of posture that it would cause, so that `rate`
        is the share of the error that is corrected. The step of hidden cells is divided by the change of drive that it
        would cause, as for rate cells.
        """
        changes = self._rule.weight_changes(self.circuit, eligible.spikes, self.feedback, error)
        self._last_error = error, {name: self._matched(change, error) for name, change in changes.items()}
        self._last_train = eligible.train
        self._errors += 1
        shares = 1 if self.plastic == "hidden" else 2
        for name in self._learning():
            change, modulator = self._last_error[1][name]
            # Change of the drives along the modulators, for a modulator of 1.
            drives = (eligible.before_hz[name] @ np.abs(change)) * SYNAPSE_MS / 1000.0
            power = float(np.square(modulator).sum())
            drive = float(drives @ np.abs(modulator)) / power if power > 0.0 else 0.0
            if drive > SMALLEST_DRIVE:
                share = rate / (shares * drive * EFFECT_OF_DRIVE[name])
                self.circuit.change(name, change, np.ones(len(modulator)), share)
                synapses = float(np.count_nonzero(self.circuit.connected(name)))
                self._count(weight_updates=synapses, learning_macs=synapses + self._feedback_macs(name))
        if self._structured and np.any(error):
            self.circuit.maintain(self.circuit.begin(), 1000.0 * TRIAL_S)
            self._fan_out, self._pairs = self._fans()

    def _learning(self) -> list[str]:
        """Return the names of the projections that learn."""
        from_hidden = [] if self.plastic == "hidden" else [TO_OUTPUT]
        return [*([TO_HIDDEN] if "hidden" in self._rule.modifies else []), *from_hidden]

    def _feedback_macs(self, projection: str) -> int:
        """Return the multiply-accumulates of B e; 0 if the rule does not compute this product."""
        if self._rule.error == "none" or (self._rule.route == "backward" and projection == TO_HIDDEN):
            return 0
        return int(np.count_nonzero(self.feedback[projection]))

    def _matched(self, weight_change: WeightChange, error: Array) -> WeightChange:
        """Scale a weight change so that its modulators have the rms of the error, if the rule takes an error."""
        if self._rule.error == "none":
            return weight_change
        scale = scale_to_error(weight_change.modulator, error)
        return WeightChange(weight_change.change * scale, weight_change.modulator * scale)

    def _fans(self) -> tuple[Array, Array]:
        """Return, for each unit (units,), how many synapses its spike reaches and how many eligibilities it changes."""
        units = {"input": slice(0, self.circuit.inputs)}
        first = self.circuit.inputs
        for name, cells in self.circuit.populations.items():
            units[name] = slice(first, first + cells.size)
            first += cells.size
        fan_out, pairs = np.zeros((2, first))
        for name, projection in self.circuit.projections.items():
            synapses = self.circuit.connected(name)
            fan_out[units[projection.before]] += synapses.sum(axis=1)
            if projection.plasticity is not None and self._rule.sums_pairs:
                pairs[units[projection.before]] += synapses.sum(axis=1)
                pairs[units[projection.after]] += synapses.sum(axis=0)
        return fan_out, pairs

    def _count_operations(self, state: SpikingState, control_steps: int) -> None:
        """Count the operations caused by the spikes since the last call, `control_steps` control steps ago."""
        spikes = state.circuit.spikes - state.counted
        state.counted += spikes
        self._count(
            effective_acs=float(self._fan_out @ spikes),
            eligibility_updates=float(self._pairs @ spikes),
            dense_operations=self._connections * CONTROL_STEP_MS * control_steps,
        )

    def alignment(self) -> dict[str, float]:
        """Return the angle in degrees between the last step and the surrogate gradient, by layer.

        Both are computed again for the spikes of the last reach that had an error, with the present weights.
        """
        if self._last_error is None:
            return {}
        state = self.circuit.begin()
        self.circuit.replay(state, self._last_train)
        gradient: SpikingRule = rule_for("bp", "spiking")
        changes = []
        for rule in (self._rule, gradient):
            spikes = rule.eligible(self.circuit, state, self._last_train, list(self.feedback))
            changes.append(rule.weight_changes(self.circuit, spikes, self.feedback, self._last_error[0]))
        own, exact = changes
        angles = {LAYERS[name]: degrees_between(own[name].change, exact[name].change) for name in self._learning()}
        return {name: angle for name, angle in angles.items() if angle is not None}

    def weights(self) -> dict[str, NDArray[Any]]:
        """Return views of the weights of the plastic synapses, by name of layer."""
        return {layer: self.circuit.weight(projection) for projection, layer in LAYERS.items()}

    def clip_synapses(self) -> None:
        """Clip weights to the largest magnitude and to the sign of their cell (Dale's law)."""
        for projection in LAYERS:
            self.circuit.clip_weights(projection)

    def snapshot(self, state: SpikingState) -> Snapshot:
        """Return the spikes of the last second by population, and the last error with its eligibilities.

        Spikes are recorded from the first reach that begins after the first call.
        """
        self._records_spikes = True
        inputs = self.cells.size
        inhibitory, output = inputs + HIDDEN_CELLS - INHIBITORY_CELLS, inputs + HIDDEN_CELLS
        parts = {"senses": (0, inputs), "hidden": (inputs, inhibitory), "inhibitory": (inhibitory, output)}
        parts |= muscle_parts(output, CELLS_PER_MUSCLE)
        populations = populations_of(state.record, self.circuit, state.circuit, parts)
        return Snapshot(populations=populations, error_path=self._error_path())

    def _error_path(self) -> ErrorPath | None:
        if self._last_error is None or self._rule.error == "none":
            return None
        error, steps = self._last_error
        signals = []
        for name, projection in (("hidden", TO_HIDDEN), ("output", TO_OUTPUT)):
            change, modulator = steps[projection]
            sizes = np.maximum(np.abs(modulator), np.finfo(np.float64).tiny)
            signals.append(LayerSignal(name, modulator, np.abs(change).sum(axis=0).astype(np.float64) / sizes))
        return ErrorPath(self._rule.route, error, tuple(signals), self._errors)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return views of the arrays of cells, synapses and feedback, by name; they can be filled in place."""
        return self.circuit.arrays() | {f"feedback.{name}": value for name, value in self.feedback.items()}

    def limits(self) -> dict[str, tuple[float, float]]:
        """Return the lowest and highest value of each bounded array, by name."""
        return self.circuit.limits()


def snn(rng: np.random.Generator, lamps: int = 0) -> tuple[SensoryCells, dict[str, Any]]:
    """Return place cells, and the settings of a circuit with all sensory synapses."""
    return PlaceCells(lamps), {}


def timed(rng: np.random.Generator, lamps: int = 0) -> tuple[SensoryCells, dict[str, Any]]:
    """Return cells that encode the lamps in spike times at equal rates, and the settings of the circuit of `snn`.

    A rule that depends on rates only makes the same change to the synapses from all lamp cells to a hidden cell.
    """
    return TimedCells(lamps), {}


def sparse(rng: np.random.Generator, lamps: int = 0) -> tuple[SensoryCells, dict[str, Any]]:
    """Return place cells, and the settings of a circuit with half of the sensory synapses."""
    return PlaceCells(lamps), {"density": SPARSE_DENSITY}


def structural(rng: np.random.Generator, lamps: int = 0) -> tuple[SensoryCells, dict[str, Any]]:
    """Return place cells, and the settings of a sparse circuit with structural plasticity."""
    return PlaceCells(lamps), {"density": SPARSE_DENSITY, "structure": TURNOVER}


def brain(rng: np.random.Generator) -> tuple[SensoryCells, dict[str, Any]]:
    """Return V1 complex cells, and the settings of a circuit with constant synapses among hidden cells."""
    return ComplexCells(), {"recurrence": RECURRENCE}
