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

from agents.networks.compiled import SMALLEST, inlined, kernel
from agents.networks.lif import Cells, CellState, advance, cross, reset, resting_cells
from agents.networks.projections import Axons, Synapses, drive_targets, send, silent_axons
from agents.rules.pair_stdp import (
    ELIGIBLE,
    FIXED,
    LARGEST_GROWTH,
    UNGATED,
    change_weights,
    depress_row,
    depress_row_at_once,
    potentiate_columns,
    potentiate_columns_at_once,
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
    for t in range(train.shape[0]):
        state.clock[0] += 1
        step = state.clock[0]
        _act_of_modulators(synapses, rules, state, step)
        _decay_traces(synapses, rules, state, step)
        advance(cells, state.cells)
        _fire(cells, synapses, state, train[t])
        send(synapses, state.axons, state.fired, state.number, step)
        _arrive(synapses, rules, state, step)
        _answer(synapses, rules, state)
        inputs = synapses.unit_start[1]
        for q in range(1, state.number.shape[0]):
            first = synapses.unit_start[q]
            reset(cells, state.cells, first - inputs, state.fired[first:], state.number[q])


@inlined
def _act_of_modulators(synapses, rules, state, step):  # type: ignore[no-untyped-def]
    """Change weights by the concentrations of decaying third factors, over the time since the step before."""
    for p in range(rules.kind.shape[0]):
        if rules.kind[p] == ELIGIBLE and rules.modulator_decay[p] > 0:
            modulator = state.modulator[synapses.target_start[p] : synapses.target_start[p + 1]]
            if largest_magnitude(modulator) > 0:
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
                for j in range(modulator.shape[0]):
                    left = modulator[j] * rules.modulator_decay[p]
                    modulator[j] = left if abs(left) > SMALLEST else 0


@kernel
def largest_magnitude(values):  # type: ignore[no-untyped-def]
    """Largest |value| of values (n,)."""
    found = 0.0
    for j in range(values.shape[0]):
        found = max(found, abs(values[j]))
    return found


@inlined
def _decay_traces(synapses, rules, state, step):  # type: ignore[no-untyped-def]
    """Decay the traces of plastic projections, and set what a pair of this step is worth in stored eligibility."""
    for p in range(rules.kind.shape[0]):
        if rules.kind[p] == FIXED:
            continue
        pre = state.pre_trace[synapses.axon_start[p] : synapses.axon_start[p + 1]]
        post = state.post_trace[synapses.target_start[p] : synapses.target_start[p + 1]]
        for i in range(pre.shape[0]):
            left = pre[i] * rules.pre_decay[p]
            pre[i] = left if left > SMALLEST else 0
        for j in range(post.shape[0]):
            left = post[j] * rules.post_decay[p]
            post[j] = left if left > SMALLEST else 0
        if rules.kind[p] == ELIGIBLE:
            age = (step - state.origin[p]) * rules.decay_per_step[p]
            if age > LARGEST_GROWTH:
                terms = state.terms[synapses.weight_start[p] : synapses.weight_start[p + 1]]
                for s in range(terms.shape[0]):
                    left = terms[s] * math.exp(-age)
                    terms[s] = left if abs(left) > SMALLEST else 0
                state.origin[p] = step
                age = 0.0
            state.gain[p] = math.exp(age)


@inlined
def _fire(cells, synapses, state, sources):  # type: ignore[no-untyped-def]
    """Note the sources (inputs,) that fire and the cells that reach their thresholds."""
    count = 0
    inputs = sources.shape[0]
    for i in range(inputs):
        if sources[i]:
            state.fired[count] = i
            count += 1
    state.number[0] = count
    for q in range(1, state.number.shape[0]):
        first, last = synapses.unit_start[q], synapses.unit_start[q + 1]
        state.number[q] = cross(cells, state.cells, first - inputs, last - inputs, state.fired[first:last])
    for q in range(state.number.shape[0]):
        first = synapses.unit_start[q]
        for n in range(state.number[q]):
            state.spikes[first + state.fired[first + n]] += 1


@inlined
def _arrive(synapses, rules, state, step):  # type: ignore[no-untyped-def]
    """The presynaptic part of the spikes that arrive in this step."""
    slot = step % state.axons.number.shape[0]
    inputs = synapses.unit_start[1]
    for p in range(rules.kind.shape[0]):
        count = state.axons.number[slot, p]
        state.axons.number[slot, p] = 0
        axon, target = synapses.axon_start[p], synapses.target_start[p]
        targets = synapses.target_start[p + 1] - target
        cell = synapses.unit_start[synapses.after[p]] - inputs
        drive = state.cells.drive[cell : cell + targets]
        trace = state.post_trace[target : target + targets]
        for n in range(count):
            i = state.axons.arriving[slot, axon + n]
            first = synapses.weight_start[p] + i * targets
            weight = synapses.weight[first : first + targets]
            drive_targets(drive, weight)
            if rules.kind[p] == FIXED:
                continue
            if rules.kind[p] == UNGATED:
                depress_row_at_once(
                    weight,
                    synapses.connected[first : first + targets],
                    trace,
                    rules.rate[p] * rules.depression[p],
                    synapses.lowest[axon + i],
                    synapses.highest[axon + i],
                    rules.soft[p],
                )
            elif rules.depression[p] > 0:
                depress_row(state.terms[first : first + targets], trace, rules.depression[p] * state.gain[p])
            state.pre_trace[axon + i] = rules.keep[p] * state.pre_trace[axon + i] + 1


@inlined
def _answer(synapses, rules, state):  # type: ignore[no-untyped-def]
    """The postsynaptic part of the spikes of this step."""
    for p in range(rules.kind.shape[0]):
        count = state.number[synapses.after[p]]
        if rules.kind[p] == FIXED or count == 0:
            continue
        fired = state.fired[synapses.unit_start[synapses.after[p]] :][:count]
        axon, axon_end = synapses.axon_start[p], synapses.axon_start[p + 1]
        target, target_end = synapses.target_start[p], synapses.target_start[p + 1]
        first, last = synapses.weight_start[p], synapses.weight_start[p + 1]
        shape = (axon_end - axon, target_end - target)
        trace = state.pre_trace[axon:axon_end]
        if rules.kind[p] == UNGATED:
            potentiate_columns_at_once(
                synapses.weight[first:last].reshape(shape),
                synapses.connected[first:last].reshape(shape),
                trace,
                fired,
                rules.rate[p] * rules.potentiation[p],
                synapses.lowest[axon:axon_end],
                synapses.highest[axon:axon_end],
                rules.soft[p],
            )
        else:
            terms = state.terms[first:last].reshape(shape)
            potentiate_columns(terms, trace, fired, rules.potentiation[p] * state.gain[p])
        for n in range(count):
            j = target + fired[n]
            state.post_trace[j] = rules.keep[p] * state.post_trace[j] + 1
