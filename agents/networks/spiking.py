"""A network of leaky integrate-and-fire cells: place-coded input, one hidden layer, antagonist output populations.

Every synapse carries a spike-pair STDP trace: a presynaptic spike before a postsynaptic one adds to its eligibility,
the other order takes from it (Bi and Poo 1998; Song, Miller and Abbott 2000), and the eligibility decays within a
second (Izhikevich 2007). A third factor turns eligibility into weight; it is the rule's affair.

Order within a millisecond: leak and decay (exact exponentials), thresholds, synapses (presynaptic part before the
postsynaptic, so that a coincidence counts as pre before post), resets. A spike acts on the thresholds of the next step.
All pairs of spikes count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from numba import njit
from numpy.typing import NDArray

from agents.networks.place_cells import PlaceCells

Array = NDArray[np.float64]

STEP_MS = 1
MEMBRANE_MS = 20.0
SYNAPSE_MS = 5.0
REFRACTORY_STEPS = 2
PAIR_TRACE_MS = 20.0
ELIGIBILITY_MS = 500.0
READOUT_MS = 100.0
INPUT_PEAK_HZ = 100.0
# Drive without input, in units of the threshold: hidden cells rest just below it, output cells fire at about 25 Hz, so
# that each can be turned up or down.
HIDDEN_DRIVE = 0.85
OUTPUT_DRIVE = 1.2
INPUT_WEIGHT_SD = 0.9
JOINTS = 3
# Posture change per difference of antagonist rates, rad/Hz, and the slope of a cell's rate by its drive at rest, Hz.
READOUT_RAD_PER_HZ = 0.02
RATE_SLOPE_HZ = 60.0
LARGEST_WEIGHT = 4.0

LEAK = math.exp(-STEP_MS / MEMBRANE_MS)
SYNAPSE_DECAY = math.exp(-STEP_MS / SYNAPSE_MS)
TRACE_DECAY = math.exp(-STEP_MS / PAIR_TRACE_MS)
READOUT_DECAY = math.exp(-STEP_MS / READOUT_MS)


@dataclass
class SpikingState:
    """Everything that changes in the network within one reach; arrays by cell or (pre, post).

    `clock` (1,) counts milliseconds. Eligibilities are stored as e exp(t / tau), so that their decay costs nothing.
    """

    phase: Array
    input_trace: Array
    hidden_drive: Array
    hidden_voltage: Array
    hidden_rest: NDArray[np.int64]
    hidden_trace: Array
    hidden_count: Array
    output_drive: Array
    output_voltage: Array
    output_rest: NDArray[np.int64]
    output_trace: Array
    output_rate: Array
    input_count: Array
    hidden_eligibility: Array
    output_eligibility: Array
    clock: NDArray[np.int64]


@dataclass(frozen=True)
class SpikingEligibility:
    """What may change after a reach.

    Attributes:
        hidden: (inputs, hidden), output: (hidden, outputs); summed and decayed pair terms.
        input_hz, hidden_hz: mean firing rates of the presynaptic cells.
    """

    hidden: Array
    output: Array
    input_hz: Array
    hidden_hz: Array


@njit(cache=True)
def _fire(voltage, drive, rest, bias, spikes):  # type: ignore[no-untyped-def]
    """Leak, integrate and threshold one population; writes the indices that fire to `spikes`, returns their number."""
    count = 0
    for j in range(voltage.shape[0]):
        if rest[j] > 0:
            rest[j] -= 1
        else:
            target = bias + drive[j]
            voltage[j] = target + (voltage[j] - target) * LEAK
            if voltage[j] >= 1.0:
                spikes[count] = j
                count += 1
        drive[j] *= SYNAPSE_DECAY
    return count


@njit(cache=True)
def simulate(  # type: ignore[no-untyped-def]
    rate_hz, steps, depression, input_weight, output_weight, phase, input_trace, hidden_drive, hidden_voltage,
    hidden_rest, hidden_trace, hidden_count, output_drive, output_voltage, output_rest, output_trace, output_rate,
    input_count, hidden_eligibility, output_eligibility, clock,
):  # fmt: skip
    """Run the network for `steps` milliseconds with inputs firing regularly at `rate_hz`; updates the state arrays.

    Args:
        rate_hz: (inputs,) Hz.
        steps: milliseconds.
        depression: A- / A+, what a post-before-pre pair takes against what a pre-before-post pair gives.
        input_weight, output_weight: (pre, post), in units of the threshold.
    """
    inputs = rate_hz.shape[0]
    hidden = hidden_voltage.shape[0]
    outputs = output_voltage.shape[0]
    input_spikes = np.empty(inputs, np.int64)
    hidden_spikes = np.empty(hidden, np.int64)
    output_spikes = np.empty(outputs, np.int64)
    for _ in range(steps):
        clock[0] += STEP_MS
        stored = math.exp(clock[0] / ELIGIBILITY_MS)
        for i in range(inputs):
            input_trace[i] *= TRACE_DECAY
        for j in range(hidden):
            hidden_trace[j] *= TRACE_DECAY
        for k in range(outputs):
            output_trace[k] *= TRACE_DECAY
            output_rate[k] *= READOUT_DECAY
        fired_in = 0
        for i in range(inputs):
            phase[i] += rate_hz[i] * (0.001 * STEP_MS)
            if phase[i] >= 1.0:
                phase[i] -= 1.0
                input_spikes[fired_in] = i
                fired_in += 1
        fired_hidden = _fire(hidden_voltage, hidden_drive, hidden_rest, HIDDEN_DRIVE, hidden_spikes)
        fired_out = _fire(output_voltage, output_drive, output_rest, OUTPUT_DRIVE, output_spikes)

        for n in range(fired_in):
            i = input_spikes[n]
            input_count[i] += 1.0
            for j in range(hidden):
                hidden_drive[j] += input_weight[i, j]
                hidden_eligibility[i, j] -= depression * stored * hidden_trace[j]
            input_trace[i] += 1.0
        for n in range(fired_hidden):
            j = hidden_spikes[n]
            hidden_count[j] += 1.0
            for k in range(outputs):
                output_drive[k] += output_weight[j, k]
                output_eligibility[j, k] -= depression * stored * output_trace[k]
            for i in range(inputs):
                hidden_eligibility[i, j] += stored * input_trace[i]
            hidden_trace[j] += 1.0
            hidden_voltage[j] = 0.0
            hidden_rest[j] = REFRACTORY_STEPS - 1
        for n in range(fired_out):
            k = output_spikes[n]
            for j in range(hidden):
                output_eligibility[j, k] += stored * hidden_trace[j]
            output_trace[k] += 1.0
            output_rate[k] += 1000.0 / READOUT_MS
            output_voltage[k] = 0.0
            output_rest[k] = REFRACTORY_STEPS - 1


class SpikingNetwork:
    """Place cells, hidden LIF cells and, for each joint, a flexor and an extensor population of LIF cells."""

    def __init__(self, hidden: int, cells_per_muscle: int, depression: float, rng: np.random.Generator) -> None:
        """Draw the weights; those to the output start at zero, so that an untrained arm rests.

        Args:
            hidden: hidden cells, 1 or more.
            cells_per_muscle: output cells of each of the six populations, 1 or more.
            depression: A- / A+ of the STDP window, 0..1. Error-modulated STDP needs potentiation to dominate: with the
                textbook's slight excess of depression the mean eligibility of uncorrelated cells is negative and a
                signed error pushes the wrong way.
            rng: source of the initial weights and input phases.

        Raises:
            ValueError: an argument outside these.
        """
        if hidden < 1 or cells_per_muscle < 1:
            raise ValueError(f"hidden is {hidden} and cells_per_muscle {cells_per_muscle}; 1 or more are allowed")
        if not 0.0 <= depression <= 1.0:
            raise ValueError(f"depression is {depression}; 0 to 1 is allowed")
        self.cells = PlaceCells()
        self.depression = depression
        self.cells_per_muscle = cells_per_muscle
        self.input_weight = rng.normal(0.0, INPUT_WEIGHT_SD, (self.cells.size, hidden))
        self.output_weight = np.zeros((hidden, 2 * JOINTS * cells_per_muscle))
        self.first_phase = rng.uniform(0.0, 1.0, self.cells.size)
        self.first_voltage = rng.uniform(0.0, 1.0, self.output_weight.shape[1])

    @property
    def outputs(self) -> int:
        """Number of output cells."""
        return self.output_weight.shape[1]

    def begin(self) -> SpikingState:
        """The network at rest, at the start of a reach."""
        inputs, hidden = self.input_weight.shape
        return SpikingState(
            phase=self.first_phase.copy(),
            input_trace=np.zeros(inputs),
            hidden_drive=np.zeros(hidden),
            hidden_voltage=np.zeros(hidden),
            hidden_rest=np.zeros(hidden, dtype=np.int64),
            hidden_trace=np.zeros(hidden),
            hidden_count=np.zeros(hidden),
            output_drive=np.zeros(self.outputs),
            output_voltage=self.first_voltage.copy(),
            output_rest=np.zeros(self.outputs, dtype=np.int64),
            output_trace=np.zeros(self.outputs),
            output_rate=np.zeros(self.outputs),
            input_count=np.zeros(inputs),
            hidden_eligibility=np.zeros((inputs, hidden)),
            output_eligibility=np.zeros((hidden, self.outputs)),
            clock=np.zeros(1, dtype=np.int64),
        )

    def run(self, state: SpikingState, cup: Array, milliseconds: int) -> Array:
        """Run with a seen cup (2,) m and give the posture change (3,) rad that the output populations ask for."""
        rate_hz = INPUT_PEAK_HZ * self.cells.activity(cup)
        arrays = (getattr(state, f.name) for f in fields(state))
        simulate(rate_hz, milliseconds, self.depression, self.input_weight, self.output_weight, *arrays)
        muscle = state.output_rate.reshape(JOINTS, 2, self.cells_per_muscle).mean(axis=2)
        posture: Array = READOUT_RAD_PER_HZ * (muscle[:, 0] - muscle[:, 1])
        return posture

    def eligibility(self, state: SpikingState) -> SpikingEligibility:
        """The eligibilities at this moment, decayed, and the mean rates so far."""
        clock = int(state.clock[0])
        decayed = math.exp(-clock / ELIGIBILITY_MS)
        per_second = 1000.0 / max(clock, 1)
        return SpikingEligibility(
            hidden=state.hidden_eligibility * decayed,
            output=state.output_eligibility * decayed,
            input_hz=state.input_count * per_second,
            hidden_hz=state.hidden_count * per_second,
        )

    def change(self, eligible: SpikingEligibility, hidden: Array, output: Array, rate: float) -> None:
        """Change every weight by rate x modulator_j x eligibility_ij, each layer normalised by its eligible drive.

        Args:
            eligible: what may change.
            hidden: (hidden,) modulators of the hidden cells.
            output: (outputs,) modulators of the output cells, in rad of posture.
            rate: share of the error to correct in one step.
        """
        slope = 2.0 * READOUT_RAD_PER_HZ * RATE_SLOPE_HZ
        for weight, trace, before_hz, modulator in (
            (self.input_weight, eligible.hidden, eligible.input_hz, hidden),
            (self.output_weight, eligible.output, eligible.hidden_hz, output),
        ):
            drive = float(np.mean(before_hz @ np.abs(trace))) * SYNAPSE_MS / 1000.0
            if drive > 1e-9:
                weight += (0.5 * rate / (drive * slope)) * trace * modulator
                np.clip(weight, -LARGEST_WEIGHT, LARGEST_WEIGHT, out=weight)
