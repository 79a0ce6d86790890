"""The clock of a spiking circuit: what happens within a step, and the state it happens to.

Order within a step: decaying modulators, then leak and decay (exact exponentials), thresholds, synapses (the
presynaptic part of all projections, then the postsynaptic), resets. A spike acts on the thresholds of the next step.
Nothing is allocated, and nothing depends on how many steps a call covers.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.networks.compiled import kernel
from agents.networks.lif import Cells, CellState, cross, decay, fade, integrate, resting_cells
from agents.networks.projections import Axons, Synapses, deliver, send, silent_axons
from agents.rules.pair_stdp import (
    ELIGIBLE,
    FIXED,
    LARGEST_GROWTH,
    UNGATED,
    change_weights,
    depress,
    depress_at_once,
    mark,
    potentiate,
    potentiate_at_once,
)


class CircuitState(NamedTuple):
    """Everything that changes in a circuit while it runs, apart from its weights.

    Attributes:
        cells: voltages, drives, adaptations, filtered rates.
        axons: spikes under way.
        pre_trace: (axons,), post_trace: (targets,) traces of pair STDP.
        terms: (weights,) eligibilities, stored as e exp(+(clock - origin) step / eligibility_ms).
        origin: (projections,) step at which the stored eligibilities were true.
        gain: (projections,) what a pair of the present step is multiplied by.
        modulator: (targets,) concentrations of decaying third factors.
        pull: (targets,) a place to work in.
        phase: (inputs,) of regular spike trains.
        clock: (1,) steps so far.
        spikes: (units,) spikes so far, of the sources and then of the cells.
        fired: (units,), number: (populations,) places of the units that fired in the latest step.
    """

    cells: CellState
    axons: Axons
    pre_trace: NDArray[Any]
    post_trace: NDArray[Any]
    terms: NDArray[Any]
    origin: NDArray[np.int64]
    gain: NDArray[Any]
    modulator: NDArray[Any]
    pull: NDArray[Any]
    phase: NDArray[np.float64]
    clock: NDArray[np.int64]
    spikes: NDArray[np.int64]
    fired: NDArray[np.int32]
    number: NDArray[np.int64]


def first_state(cells: Cells, synapses: Synapses, phase: NDArray[np.float64]) -> CircuitState:
    """A circuit at rest, its regular sources at `phase` (inputs,)."""
    dtype = synapses.weight.dtype
    units = int(synapses.unit_start[-1])
    targets = int(synapses.target_start[-1])
    return CircuitState(
        cells=resting_cells(cells),
        axons=silent_axons(synapses),
        pre_trace=np.zeros(len(synapses.delay_steps), dtype),
        post_trace=np.zeros(targets, dtype),
        terms=np.zeros_like(synapses.weight),
        origin=np.zeros(len(synapses.before), dtype=np.int64),
        gain=np.ones(len(synapses.before), dtype),
        modulator=np.zeros(targets, dtype),
        pull=np.zeros(targets, dtype),
        phase=phase.copy(),
        clock=np.zeros(1, dtype=np.int64),
        spikes=np.zeros(units, dtype=np.int64),
        fired=np.zeros(units, dtype=np.int32),
        number=np.zeros(len(synapses.unit_start) - 1, dtype=np.int64),
    )


@kernel
def simulate(cells, synapses, rules, state, train):  # type: ignore[no-untyped-def]
    """Run as many steps as `train` (steps, inputs) has rows; changes `state`, and the weights of ungated rules.

    Args:
        cells: `Cells`.
        synapses: `Synapses`.
        rules: `Plasticity`.
        state: `CircuitState`.
        train: (steps, inputs), other than 0 where a source fires.
    """
    # Handing a tuple of arrays to a function costs as much as the work of some functions here, so arrays go one by one.
    unit_start, after, axon_start = synapses.unit_start, synapses.after, synapses.axon_start
    target_start, weight_start = synapses.target_start, synapses.weight_start
    weights, connected, lowest, highest = synapses.weight, synapses.connected, synapses.lowest, synapses.highest
    kind, rate, keep, soft, gain = rules.kind, rules.rate, rules.keep, rules.soft, state.gain
    voltage, drive, adaptation, rate_hz, rest = state.cells
    arriving, arrivals = state.axons.arriving, state.axons.number
    fired, number, spikes, terms = state.fired, state.number, state.spikes, state.terms
    pre_trace, post_trace = state.pre_trace, state.post_trace
    inputs, projections, populations, ring = train.shape[1], kind.shape[0], number.shape[0], arrivals.shape[0]
    decaying = _largest(rules.modulator_decay) > 0
    for t in range(train.shape[0]):
        state.clock[0] += 1
        step = state.clock[0]
        if decaying:
            _act_of_modulators(synapses, rules, state, step)

        # Leak and decay.
        for p in range(projections):
            if kind[p] != FIXED:
                fade(pre_trace[axon_start[p] : axon_start[p + 1]], rules.pre_decay[p])
                fade(post_trace[target_start[p] : target_start[p + 1]], rules.post_decay[p])
                age = (step - state.origin[p]) * rules.decay_per_step[p]
                if age > LARGEST_GROWTH:
                    fade(terms[weight_start[p] : weight_start[p + 1]], math.exp(-age))
                    state.origin[p] = step
                    age = 0.0
                gain[p] = math.exp(age)
        integrate(voltage, drive, adaptation, rest, cells.bias, cells.leak, cells.coupling, cells.brake)
        decay(drive, cells.drive_decay)
        decay(adaptation, cells.adaptation_decay)
        decay(rate_hz, cells.readout_decay)

        # Thresholds.
        number[0] = note(train[t], fired)
        for q in range(1, populations):
            here = slice(unit_start[q] - inputs, unit_start[q + 1] - inputs)
            number[q] = cross(
                voltage[here],
                adaptation[here],
                cells.threshold[here],
                cells.threshold_adaptation[here],
                fired[unit_start[q] :],
            )
        for p in range(projections):
            first = unit_start[synapses.before[p]]
            send(
                fired[first : first + number[synapses.before[p]]],
                synapses.delay_steps[axon_start[p] : axon_start[p + 1]],
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
            places = arriving[slot, axons][:count]
            weight = weights[block].reshape(shape)
            deliver(drive[cell : cell + shape[1]], weight, places)
            if kind[p] == FIXED:
                continue
            if kind[p] == UNGATED:
                depress_at_once(
                    weight,
                    connected[block].reshape(shape),
                    lowest[axons],
                    highest[axons],
                    post_trace[targets],
                    places,
                    rate[p] * rules.depression[p],
                    soft[p],
                )
            elif rules.depression[p] > 0:
                depress(terms[block].reshape(shape), post_trace[targets], places, rules.depression[p] * gain[p])
            mark(pre_trace[axons], places, keep[p])

        # Synapses, postsynaptic part.
        for p in range(projections):
            count = number[after[p]]
            if count == 0 or kind[p] == FIXED:
                continue
            axons, targets = slice(axon_start[p], axon_start[p + 1]), slice(target_start[p], target_start[p + 1])
            block = slice(weight_start[p], weight_start[p + 1])
            shape = axons.stop - axons.start, targets.stop - targets.start
            first = unit_start[after[p]]
            places = fired[first : first + count]
            if kind[p] == UNGATED:
                potentiate_at_once(
                    weights[block].reshape(shape),
                    connected[block].reshape(shape),
                    lowest[axons],
                    highest[axons],
                    pre_trace[axons],
                    places,
                    rate[p] * rules.potentiation[p],
                    soft[p],
                )
            else:
                potentiate(terms[block].reshape(shape), pre_trace[axons], places, rules.potentiation[p] * gain[p])
            mark(post_trace[targets], places, keep[p])

        # Resets.
        for q in range(populations):
            first, count = unit_start[q], number[q]
            for n in range(first, first + count):
                spikes[first + fired[n]] += 1
            if q > 0:
                for n in range(first, first + count):
                    c = first - inputs + fired[n]
                    voltage[c] = cells.reset[c]
                    adaptation[c] += 1
                    rate_hz[c] += cells.readout_step[c]
                    rest[c] = cells.refractory_steps[c] - 1


@kernel
def note(sources, fired):  # type: ignore[no-untyped-def]
    """Write the places of the sources (inputs,) that are not 0 to `fired`; returns their number."""
    count = 0
    for i in range(sources.shape[0]):
        if sources[i]:
            fired[count] = i
            count += 1
    return count


@kernel
def _act_of_modulators(synapses, rules, state, step):  # type: ignore[no-untyped-def]
    """Change weights by the concentrations of decaying third factors, over the time since the step before."""
    for p in range(rules.kind.shape[0]):
        if rules.kind[p] == ELIGIBLE and rules.modulator_decay[p] > 0:
            modulator = state.modulator[synapses.target_start[p] : synapses.target_start[p + 1]]
            if _largest(modulator) > 0:
                age = (step - 1 - state.origin[p]) * rules.decay_per_step[p]
                factor = rules.rate[p] * rules.modulator_gain[p] * math.exp(-age)
                pull = state.pull[synapses.target_start[p] : synapses.target_start[p + 1]]
                for j in range(pull.shape[0]):
                    pull[j] = factor * modulator[j]
                axon, axon_end = synapses.axon_start[p], synapses.axon_start[p + 1]
                first, last = synapses.weight_start[p], synapses.weight_start[p + 1]
                shape = (axon_end - axon, pull.shape[0])
                change_weights(
                    synapses.weight[first:last].reshape(shape),
                    synapses.connected[first:last].reshape(shape),
                    synapses.lowest[axon:axon_end],
                    synapses.highest[axon:axon_end],
                    state.terms[first:last].reshape(shape),
                    pull,
                    rules.soft[p],
                )
                fade(modulator, rules.modulator_decay[p])


@kernel
def _largest(values):  # type: ignore[no-untyped-def]
    """Largest |value| of values (n,)."""
    found = 0.0
    for j in range(values.shape[0]):
        found = max(found, abs(values[j]))
    return found
