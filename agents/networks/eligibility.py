"""What spikes have left in the synapses of a circuit: read, kept true, and made weight by a third factor.

Every function works on one projection of a circuit's state (`circuit_kernel.CircuitState`), or on those that are told.
Nothing here allocates.
"""

from __future__ import annotations

import math

from agents.networks.compiled import SMALLEST, kernel
from agents.networks.lif import fade
from agents.rules.pair_kernel import add_what_waits, take_in_all_at_once, take_in_and_change
from agents.rules.pair_stdp import ELIGIBLE, FAINTEST_TRACE


@kernel
def catch_up(synapses, rules, state, p):  # type: ignore[no-untyped-def]
    """All axons of projection p take in the spikes that wait, so that none waits."""
    axons, targets, block, shape = _place(synapses, p)
    target, amount, waits, seen, total = state.backlog
    who, much = target[p, : waits[p]], amount[p, : waits[p]]
    if rules.kind[p] == ELIGIBLE:
        add_what_waits(
            state.terms[block].reshape(shape), state.pre_trace[axons], seen[axons], who, much, total[targets]
        )
    else:
        take_in_all_at_once(
            synapses.weight[block].reshape(shape),
            synapses.connected[block].reshape(shape),
            synapses.lowest[axons],
            synapses.highest[axons],
            rules.soft[p],
            state.pre_trace[axons],
            seen[axons],
            who,
            much,
        )
    _empty(state.backlog, p, axons, targets)


@kernel
def read_eligibility(synapses, rules, state, p, found):  # type: ignore[no-untyped-def]
    """Write the eligibilities of projection p at this moment to `found` (axons, targets); changes nothing else.

    Were what waits taken in by reading, sums would round otherwise after it.
    """
    axons, targets, block, shape = _place(synapses, p)
    target, amount, waits, seen, total = state.backlog
    left = found.dtype.type(math.exp(-(state.clock[0] - state.origin[p]) * rules.decay_per_step[p]))
    terms = state.terms[block].reshape(shape)
    for i in range(shape[0]):
        for j in range(shape[1]):
            found[i, j] = terms[i, j]
    add_what_waits(
        found, state.pre_trace[axons], seen[axons], target[p, : waits[p]], amount[p, : waits[p]], total[targets]
    )
    for i in range(shape[0]):
        for j in range(shape[1]):
            found[i, j] *= left


@kernel
def change_by_third_factor(synapses, rules, state, p, step, gain, modulator):  # type: ignore[no-untyped-def]
    """Weights of projection p change by gain x rate x modulator (targets,) x the eligibilities of a step."""
    axons, targets, block, shape = _place(synapses, p)
    target, amount, waits, seen, total = state.backlog
    factor = gain * rules.rate[p] * math.exp(-(step - state.origin[p]) * rules.decay_per_step[p])
    pull = state.pull[targets]
    for j in range(pull.shape[0]):
        pull[j] = factor * modulator[j]
    take_in_and_change(
        synapses.weight[block].reshape(shape),
        synapses.connected[block].reshape(shape),
        synapses.lowest[axons],
        synapses.highest[axons],
        rules.soft[p],
        state.terms[block].reshape(shape),
        pull,
        state.pre_trace[axons],
        seen[axons],
        target[p, : waits[p]],
        amount[p, : waits[p]],
        total[targets],
    )
    _empty(state.backlog, p, axons, targets)


@kernel
def _empty(backlog, p, axons, targets):  # type: ignore[no-untyped-def]
    """No spike waits in projection p; zeros, so that circuits which stand at the same point hold the same bits."""
    target, amount, waits, seen, total = backlog
    target[p, : waits[p]] = 0
    amount[p, : waits[p]] = 0
    waits[p] = 0
    seen[axons] = 0
    total[targets] = 0


@kernel
def _place(synapses, p):  # type: ignore[no-untyped-def]
    """Where the axons, targets and weights of projection p are, and the shape of the last."""
    axons = slice(synapses.axon_start[p], synapses.axon_start[p + 1])
    targets = slice(synapses.target_start[p], synapses.target_start[p + 1])
    shape = (axons.stop - axons.start, targets.stop - targets.start)
    return axons, targets, slice(synapses.weight_start[p], synapses.weight_start[p + 1]), shape


@kernel
def teach(synapses, rules, state, told, modulators, largest):  # type: ignore[no-untyped-def]
    """Third factors arrive at the projections that are told of one, and act only if none is too large.

    Args:
        synapses, rules, state: of the circuit.
        told: (projections,) other than 0 where a third factor arrives.
        modulators: (targets,) of all projections, one after another.
        largest: size of a third factor.

    Returns:
        Whether they act.
    """
    for p in range(told.shape[0]):
        if told[p]:
            for j in range(synapses.target_start[p], synapses.target_start[p + 1]):
                if not abs(modulators[j]) <= largest:
                    return False
    for p in range(told.shape[0]):
        if told[p]:
            targets = slice(synapses.target_start[p], synapses.target_start[p + 1])
            if rules.modulator_decay[p] > 0:
                for j in range(targets.start, targets.stop):
                    state.modulator[j] += modulators[j]
            else:
                change_by_third_factor(synapses, rules, state, p, state.clock[0], 1.0, modulators[targets])
    return True


@kernel
def act_of_modulators(synapses, rules, state, step):  # type: ignore[no-untyped-def]
    """Change weights by the concentrations of decaying third factors, over the time since the step before."""
    for p in range(rules.kind.shape[0]):
        if rules.kind[p] == ELIGIBLE and rules.modulator_decay[p] > 0:
            modulator = state.modulator[synapses.target_start[p] : synapses.target_start[p + 1]]
            if largest_of(modulator) > 0:
                change_by_third_factor(synapses, rules, state, p, step - 1, rules.modulator_gain[p], modulator)
                fade(modulator, rules.modulator_decay[p], SMALLEST)


@kernel
def renew_eligibilities(synapses, rules, state, p, step):  # type: ignore[no-untyped-def]
    """Store the eligibilities of projection p as they are true now."""
    catch_up(synapses, rules, state, p)
    age = (step - state.origin[p]) * rules.decay_per_step[p]
    fade(state.terms[synapses.weight_start[p] : synapses.weight_start[p + 1]], math.exp(-age), SMALLEST)
    state.origin[p] = step


@kernel
def renew_traces(synapses, rules, state, p, step):  # type: ignore[no-untyped-def]
    """Store the traces of projection p as they are true now."""
    catch_up(synapses, rules, state, p)
    since = step - state.trace_origin[p]
    pre_trace = state.pre_trace[synapses.axon_start[p] : synapses.axon_start[p + 1]]
    post_trace = state.post_trace[synapses.target_start[p] : synapses.target_start[p + 1]]
    fade(pre_trace, math.exp(-since * rules.pre_per_step[p]), FAINTEST_TRACE)
    fade(post_trace, math.exp(-since * rules.post_per_step[p]), FAINTEST_TRACE)
    state.trace_origin[p] = step


@kernel
def largest_of(values):  # type: ignore[no-untyped-def]
    """Largest |value| of values (n,)."""
    found = 0.0
    for j in range(values.shape[0]):
        found = max(found, abs(values[j]))
    return found
