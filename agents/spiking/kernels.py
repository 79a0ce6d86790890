"""Simulation of a spiking circuit: its state, its time step, and the spike trains of the sources.

Order within a step: leak and decay (exact exponentials), thresholds, synapses (the presynaptic part of all projections,
then the postsynaptic part), resets. A spike affects the thresholds of the next step. Kernels allocate nothing, and the
result does not depend on how the steps are divided into calls.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.spiking.lif import SMALLEST, STEP_MS, Cells, CellState
from agents.spiking.projections import SpikesUnderWay, Synapses, excite, send_spikes
from agents.spiking.stdp import (
    GROUP,
    MOST_PENDING,
    SMALLEST_SCALE,
    PendingPotentiation,
    Traces,
    add_pending,
    postsynaptic_spikes,
    presynaptic_spikes,
    rescale,
)
from reach.jit import inlined, kernel

# Bit masks to find the nonzero bytes of a 64-bit word. Multiplication by PLACES moves the index of the lowest nonzero
# byte to the top byte.
LOW_BITS, HIGH_BITS = np.uint64(0x7F7F7F7F7F7F7F7F), np.uint64(0x8080808080808080)
PLACES, TOP_BYTE, SEVEN, ONE = np.uint64(0x0001020304050607), np.uint64(56), np.uint64(7), np.uint64(1)
# Increment and multipliers of SplitMix64, and the factor from 53 random bits to a number in [0, 1).
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST_MULTIPLIER = np.uint64(0xBF58476D1CE4E5B9)
SECOND_MULTIPLIER = np.uint64(0x94D049BB133111EB)
SHIFT_30, SHIFT_27, SHIFT_31, SHIFT_11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
UNIT_53 = 2.0**-53
STEP_S = STEP_MS * 0.001


class CircuitState(NamedTuple):
    """The state of a circuit during a run, without its weights.

    Attributes:
        cells: voltages, drives and filtered rates.
        under_way: spikes that have not arrived yet.
        traces: traces and eligibilities.
        pending: potentiation that is not yet added to the eligibilities.
        gain: (targets,) scratch array.
        phase: (inputs,) phases of regular spike trains.
        clock: (1,) number of steps so far.
        spikes: (units,) number of spikes so far, of the sources and then of the cells.
        fires: (cells,) 1 where a cell reached its threshold in the latest step.
        fired: (units,), fired_count: (populations,) indices and number of the units that fired in the latest step, by
            population.
    """

    cells: CellState
    under_way: SpikesUnderWay
    traces: Traces
    pending: PendingPotentiation
    gain: NDArray[Any]
    phase: NDArray[np.float64]
    clock: NDArray[np.int64]
    spikes: NDArray[np.int64]
    fires: NDArray[np.uint8]
    fired: NDArray[np.int32]
    fired_count: NDArray[np.int64]


def first_state(cells: Cells, synapses: Synapses, phase: NDArray[np.float64]) -> CircuitState:
    """Return the state of a circuit at rest, with the phases (inputs,) of regular sources."""
    dtype = synapses.weight.dtype
    units, count = int(synapses.unit_start[-1]), len(cells.bias)
    projections, axons, targets = len(synapses.before), len(synapses.delay_steps), int(synapses.target_start[-1])
    ring = int(synapses.delay_steps.max(initial=0)) + 1
    # Room for at least one spike of every cell of the largest population.
    pending = max(MOST_PENDING, int(np.diff(synapses.unit_start).max()))
    values = (np.zeros(size, dtype) for size in (axons, targets, len(synapses.weight)))
    return CircuitState(
        cells=CellState(
            voltage=cells.first_voltage.copy(),
            drive=np.zeros(count, dtype),
            rate_hz=np.zeros(count, dtype),
            refractory_left=np.zeros(count, dtype=np.int32),
        ),
        under_way=SpikesUnderWay(
            axon=np.zeros((ring, axons), dtype=np.int32),
            number=np.zeros((ring, projections), dtype=np.int64),
            delay_steps=synapses.delay_steps.copy(),
        ),
        traces=Traces(*values, *np.ones((3, projections))),
        pending=PendingPotentiation(
            target=np.zeros((projections, pending), dtype=np.uint32),
            amount=np.zeros((projections, pending), dtype),
            number=np.zeros(projections, dtype=np.int64),
            added=np.zeros(axons, dtype=np.int64),
            sums=np.zeros((pending // GROUP + 2, targets), dtype),
        ),
        gain=np.zeros(targets, dtype),
        phase=phase.copy(),
        clock=np.zeros(1, dtype=np.int64),
        spikes=np.zeros(units, dtype=np.int64),
        fires=np.zeros(count, dtype=np.uint8),
        fired=np.zeros(units, dtype=np.int32),
        fired_count=np.zeros(len(synapses.unit_start) - 1, dtype=np.int64),
    )


@kernel
def simulate(cells, synapses, rules, state, train):  # type: ignore[no-untyped-def]
    """Run one step per row of `train`; change `state` only.

    Args:
        cells: `Cells`.
        synapses: `Synapses`.
        rules: `Plasticity`.
        state: `CircuitState`, changed in place.
        train: (steps, inputs), not 0 where a source fires.
    """
    # Arrays are passed one by one: passing a tuple of arrays takes as long as the work of some functions called here.
    unit_start, before, after = synapses.unit_start, synapses.before, synapses.after
    axon_start, target_start, weight_start = synapses.axon_start, synapses.target_start, synapses.weight_start
    weights = synapses.weight
    plastic, potentiation, depression = rules.plastic, rules.potentiation, rules.depression
    voltage, drive, rate_hz, refractory_left = state.cells
    arriving, arrivals, delay_steps = state.under_way
    fires, fired, fired_count, spikes = state.fires, state.fired, state.fired_count, state.spikes
    pre, post, eligibilities, pre_scale, post_scale, eligibility_scale = state.traces
    pending_target, pending_amount, pending_count, added, sums = state.pending
    inputs, projections, populations = train.shape[1], plastic.shape[0], fired_count.shape[0]
    ring = arrivals.shape[0]
    real = weights.dtype.type
    for t in range(train.shape[0]):
        state.clock[0] += 1
        step = state.clock[0]

        # Leak and decay.
        for p in range(projections):
            if plastic[p]:
                pre_scale[p] *= rules.pre_decay[p]
                post_scale[p] *= rules.post_decay[p]
                eligibility_scale[p] *= rules.eligibility_decay[p]
                if min(pre_scale[p], post_scale[p], eligibility_scale[p]) < SMALLEST_SCALE:
                    rescale(synapses, state, p)
        integrate(voltage, drive, refractory_left, cells.bias, cells.leak, cells.coupling, cells.reset)
        decay(drive, cells.drive_decay)
        decay(rate_hz, cells.readout_decay)

        # Thresholds.
        compare_with_threshold(voltage, cells.threshold, fires)
        fired_count[0] = find_spikes(train[t], fired)
        for q in range(1, populations):
            fired_count[q] = find_spikes(
                fires[unit_start[q] - inputs : unit_start[q + 1] - inputs], fired[unit_start[q] :]
            )
        for p in range(projections):
            first = unit_start[before[p]]
            send_spikes(
                fired[first : first + fired_count[before[p]]],
                delay_steps[axon_start[p] : axon_start[p + 1]],
                arriving[:, axon_start[p] : axon_start[p + 1]],
                arrivals[:, p],
                step,
            )

        # Synapses, presynaptic part.
        slot = step % ring
        for p in range(projections):
            count = arrivals[slot, p]
            if count == 0:
                continue
            arrivals[slot, p] = 0
            axons, targets = slice(axon_start[p], axon_start[p + 1]), slice(target_start[p], target_start[p + 1])
            block = slice(weight_start[p], weight_start[p + 1])
            shape = axons.stop - axons.start, targets.stop - targets.start
            cell = unit_start[after[p]] - inputs
            spiking_axons = arriving[slot, axons][:count]
            weight, target_drive = weights[block].reshape(shape), drive[cell : cell + shape[1]]
            if not plastic[p]:
                excite(target_drive, weight, spiking_axons)
                continue
            presynaptic_spikes(
                target_drive,
                weight,
                eligibilities[block].reshape(shape),
                pre[axons],
                post[targets],
                spiking_axons,
                added[axons],
                pending_target[p, : pending_count[p]],
                pending_amount[p, : pending_count[p]],
                sums,
                targets,
                depression[p] * real(post_scale[p] / eligibility_scale[p]),
                real(1.0 / pre_scale[p]),
            )

        # Synapses, postsynaptic part.
        for p in range(projections):
            first, count = unit_start[after[p]], fired_count[after[p]]
            if count == 0 or not plastic[p]:
                continue
            if pending_count[p] + count > pending_target.shape[1]:
                add_pending(synapses, state, p)
            targets = slice(target_start[p], target_start[p + 1])
            postsynaptic_spikes(
                post[targets],
                fired[first : first + count],
                pending_target[p],
                pending_amount[p],
                sums,
                targets,
                pending_count[p],
                potentiation[p] * real(pre_scale[p] / eligibility_scale[p]),
                real(1.0 / post_scale[p]),
            )
            pending_count[p] += count

        # Resets.
        for q in range(populations):
            first, count = unit_start[q], fired_count[q]
            for n in range(first, first + count):
                spikes[first + fired[n]] += 1
            if q > 0:
                for n in range(first, first + count):
                    c = first - inputs + fired[n]
                    voltage[c] = cells.reset[c]
                    rate_hz[c] += cells.readout_step[c]
                    refractory_left[c] = cells.refractory_steps[c] - 1


@inlined
def integrate(voltage, drive, refractory_left, bias, leak, coupling, reset):  # type: ignore[no-untyped-def]
    """Advance the voltages by one step without spikes; all arrays are (cells,)."""
    smallest, zero = voltage.dtype.type(SMALLEST), voltage.dtype.type(0)
    # Each loop writes to one array, so that the compiler can exclude overlap and vectorise the loop.
    for c in range(voltage.shape[0]):
        integrated = bias[c] + (voltage[c] - bias[c]) * leak[c] + drive[c] * coupling[c]
        integrated = zero if abs(integrated) <= smallest else integrated
        # A refractory cell is at `reset`. Writing that is twice as fast as leaving `voltage[c]` unchanged by a mask.
        voltage[c] = integrated if refractory_left[c] == 0 else reset[c]
    for c in range(refractory_left.shape[0]):
        refractory_left[c] = max(refractory_left[c] - 1, 0)


@inlined
def decay(values, factor):  # type: ignore[no-untyped-def]
    """Multiply values (n,) by factors (n,)."""
    smallest, zero = values.dtype.type(SMALLEST), values.dtype.type(0)
    for c in range(values.shape[0]):
        decayed = values[c] * factor[c]
        values[c] = zero if abs(decayed) <= smallest else decayed


@inlined
def compare_with_threshold(voltage, threshold, fires):  # type: ignore[no-untyped-def]
    """Write to `fires` whether each cell reaches its threshold; all arrays are (cells,)."""
    for c in range(voltage.shape[0]):
        fires[c] = voltage[c] >= threshold[c]


@inlined
def find_spikes(fires, fired):  # type: ignore[no-untyped-def]
    """Write the indices of nonzero entries of `fires` (units,) to `fired` in ascending order; return their number."""
    count = 0
    # Most units are silent in most steps, so eight units are tested at a time. The indices of firing units are computed
    # without branches, which the processor could not predict.
    words = fires[: fires.shape[0] // 8 * 8].view(np.uint64)
    for w in range(words.shape[0]):
        word = words[w]
        if word:
            nonzero = (((word & LOW_BITS) + LOW_BITS) | word) & HIGH_BITS
            while nonzero:
                lowest = nonzero & (~nonzero + ONE)
                fired[count] = 8 * w + np.int64(((lowest >> SEVEN) * PLACES) >> TOP_BYTE)
                count += 1
                nonzero ^= lowest
    for i in range(8 * words.shape[0], fires.shape[0]):
        if fires[i]:
            fired[count] = i
            count += 1
    return count


@kernel
def write_regular(rate_hz, phase, train):  # type: ignore[no-untyped-def]
    """Fill `train` with regular spikes: the phase of a source grows by rate x step, and the source fires at phase 1.

    Args:
        rate_hz: (inputs,) Hz.
        phase: (inputs,) in [0, 1), updated.
        train: (steps, inputs) 0 or 1, overwritten.
    """
    steps, inputs = train.shape
    for t in range(steps):
        for i in range(inputs):
            phase[i] += rate_hz[i] * STEP_S
            fires = phase[i] >= 1.0
            phase[i] -= 1.0 if fires else 0.0
            train[t, i] = fires


@kernel
def write_poisson(rate_hz, seed, first_step, train):  # type: ignore[no-untyped-def]
    """Fill `train` with Poisson spikes: a source fires with probability rate x step, at most once per step.

    The random number is a hash of seed, step and source (SplitMix64; Steele, Lea and Flood 2014, OOPSLA). A train
    therefore does not depend on how the steps are divided into calls, and the only state is the index of the step.

    Args:
        rate_hz: (inputs,) Hz.
        seed: 64-bit integer.
        first_step: index of the first step.
        train: (steps, inputs) 0 or 1, overwritten.
    """
    steps, inputs = train.shape
    key = _hash(np.uint64(seed) + GOLDEN)
    for t in range(steps):
        place = np.uint64(first_step + t) * np.uint64(inputs)
        for i in range(inputs):
            bits = _hash(key + (place + np.uint64(i)) * GOLDEN)
            train[t, i] = float(bits >> SHIFT_11) * UNIT_53 < rate_hz[i] * STEP_S


@inlined
def _hash(x):  # type: ignore[no-untyped-def]
    """Return the finalising hash of SplitMix64 for a 64-bit integer."""
    x = (x ^ (x >> SHIFT_30)) * FIRST_MULTIPLIER
    x = (x ^ (x >> SHIFT_27)) * SECOND_MULTIPLIER
    return x ^ (x >> SHIFT_31)


@kernel
def all_within(values, low, high):  # type: ignore[no-untyped-def]
    """Return whether all values (n,) lie in [low, high]; False if one is NaN."""
    within = True
    for i in range(values.shape[0]):
        within &= low <= values[i] <= high
    return within
