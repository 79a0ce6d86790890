"""The work of pair STDP on synapses, along rows of memory: one row for each axon.

A spike that arrives along an axon changes that axon's row. A spike of a target changes a column, the synapses of all
its axons, which costs a fetch from far memory for each. What it adds is x_i a_n, the trace of the axon times a number
of the spike; traces are stored in a frame that grows as they decay, so x_i is constant from one spike of the axon to
the next. Spikes of targets therefore wait in a backlog, and an axon takes in at once all that it has not seen yet, in
the order in which they fell: when a spike arrives along it, or when its synapses are read. A synapse adds up the same
terms in the same order whenever that is done. Nothing here allocates.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.networks.compiled import inlined, kernel

# Spikes that may wait in a projection, or as many as it has targets: few enough for the nearest cache.
BACKLOG = 512


class Backlog(NamedTuple):
    """Spikes of targets that some axon of their projection has not taken in yet.

    Attributes:
        target: (projections, length) which target fired, in order of time.
        amount: (projections, length) what the trace of an axon is multiplied by.
        number: (projections,) spikes that wait.
        seen: (axons,) how many of them an axon has taken in.
    """

    target: NDArray[np.uint32]
    amount: NDArray[Any]
    number: NDArray[np.int64]
    seen: NDArray[np.int64]


def empty_backlog(projections: int, axons: int, most_targets: int, dtype: Any) -> Backlog:
    """No spike waits; the spikes of one step of `most_targets` cells always find room."""
    length = max(BACKLOG, most_targets)
    return Backlog(
        target=np.zeros((projections, length), dtype=np.uint32),
        amount=np.zeros((projections, length), dtype),
        number=np.zeros(projections, dtype=np.int64),
        seen=np.zeros(axons, dtype=np.int64),
    )


@inlined
def bounded(weight, change, low, high, soft):  # type: ignore[no-untyped-def]
    """The weight after a change, within [low, high]."""
    if soft:
        span = high - low
        left = (high - weight) if change > 0 else (weight - low)
        change = change * left / span if span > 0 else change
    return min(max(weight + change, low), high)


@kernel
def take_in(terms, trace, target, amount):  # type: ignore[no-untyped-def]
    """Add spikes of targets (n,) to the eligibilities (targets,) of an axon with a trace."""
    for n in range(target.shape[0]):
        terms[target[n]] += trace * amount[n]


@kernel
def take_in_at_once(weight, connected, low, high, soft, trace, target, amount):  # type: ignore[no-untyped-def]
    """Change the weights (targets,) of an axon with a trace by spikes of targets (n,)."""
    for n in range(target.shape[0]):
        j = target[n]
        if connected[j]:
            weight[j] = bounded(weight[j], trace * amount[n], low, high, soft)


@kernel
def take_in_all(terms, pre_trace, target, amount, seen):  # type: ignore[no-untyped-def]
    """All axons take in what waits; terms (axons, targets), pre_trace and seen (axons,)."""
    for i in range(terms.shape[0]):
        first = seen[i]
        if first < target.shape[0] and pre_trace[i] > 0:
            take_in(terms[i], pre_trace[i], target[first:], amount[first:])
        seen[i] = 0


@kernel
def take_in_all_at_once(  # type: ignore[no-untyped-def]
    weight, connected, lowest, highest, soft, pre_trace, target, amount, seen
):
    """The same where pairs change weights at once; connected (axons, targets), lowest and highest (axons,)."""
    for i in range(weight.shape[0]):
        first, low, high = seen[i], lowest[i], highest[i]
        if first < target.shape[0] and pre_trace[i] > 0:
            take_in_at_once(weight[i], connected[i], low, high, soft, pre_trace[i], target[first:], amount[first:])
        seen[i] = 0


@kernel
def arrive(  # type: ignore[no-untyped-def]
    drive, weight, terms, pre_trace, post_trace, places, target, amount, seen, lost, mark, keep
):
    """Spikes arrive along axons whose eligibilities wait for a third factor.

    Args:
        drive: (targets,), grows by the weights.
        weight, terms: (axons, targets).
        pre_trace: (axons,), post_trace: (targets,), as stored.
        places: (spikes,) the axons.
        target, amount: (n,) what waits.
        seen: (axons,), as in `Backlog`.
        lost: what the traces of targets are multiplied by and taken away.
        mark: what a spike adds to a trace, as stored.
        keep: 0 where a trace starts anew with each spike, else 1.
    """
    for n in range(places.shape[0]):
        i = places[n]
        arriving, own, first = weight[i], terms[i], seen[i]
        if first < target.shape[0] and pre_trace[i] > 0:
            take_in(own, pre_trace[i], target[first:], amount[first:])
        seen[i] = target.shape[0]
        for j in range(drive.shape[0]):
            drive[j] += arriving[j]
        if lost > 0:
            for j in range(own.shape[0]):
                own[j] -= lost * post_trace[j]
        pre_trace[i] = keep * pre_trace[i] + mark


@kernel
def arrive_at_once(  # type: ignore[no-untyped-def]
    drive,
    weight,
    connected,
    lowest,
    highest,
    soft,
    pre_trace,
    post_trace,
    places,
    target,
    amount,
    seen,
    lost,
    mark,
    keep,
):
    """Spikes arrive along axons whose pairs change weights at once.

    Args:
        drive: (targets,), grows by the weights as they are before the spike.
        weight, connected: (axons, targets).
        lowest, highest: (axons,) bounds.
        soft: 1 for soft bounds, 0 for hard ones.
        pre_trace, post_trace, places, target, amount, seen, lost, mark, keep: as in `arrive`.
    """
    for n in range(places.shape[0]):
        i = places[n]
        own, there, low, high, first = weight[i], connected[i], lowest[i], highest[i], seen[i]
        if first < target.shape[0] and pre_trace[i] > 0:
            take_in_at_once(own, there, low, high, soft, pre_trace[i], target[first:], amount[first:])
        seen[i] = target.shape[0]
        for j in range(drive.shape[0]):
            drive[j] += own[j]
        if lost > 0:
            for j in range(own.shape[0]):
                if there[j]:
                    own[j] = bounded(own[j], -lost * post_trace[j], low, high, soft)
        pre_trace[i] = keep * pre_trace[i] + mark


@kernel
def change_row(weight, connected, low, high, soft, terms, pull):  # type: ignore[no-untyped-def]
    """Third factor: the weights of an axon change by pull_j x terms_j, within [low, high]; arrays (targets,)."""
    # Where there is no synapse, zero is added and zero remains: to choose between two weights, not between two changes,
    # takes four times as long.
    zero = weight.dtype.type(0)
    if soft:
        for j in range(weight.shape[0]):
            change = pull[j] * terms[j] if connected[j] else zero
            weight[j] = bounded(weight[j], change, low, high, 1)
    else:
        # Comparisons leave a NaN as it is, which min and max need not.
        for j in range(weight.shape[0]):
            change = pull[j] * terms[j]
            change = change if connected[j] else zero
            moved = weight[j] + change
            moved = low if moved < low else moved
            weight[j] = high if moved > high else moved


@kernel
def change_weights(weight, connected, lowest, highest, soft, terms, pull):  # type: ignore[no-untyped-def]
    """Third factor: w_ij changes by pull_j x terms_ij, within its axon's bounds.

    Args:
        weight, terms: (axons, targets).
        connected: (axons, targets), 0 where there is no synapse.
        lowest, highest: (axons,) bounds.
        soft: 1 for soft bounds, 0 for hard ones.
        pull: (targets,) rate x modulator, times the decay that stored terms lack.
    """
    for i in range(weight.shape[0]):
        change_row(weight[i], connected[i], lowest[i], highest[i], soft, terms[i], pull)


@kernel
def take_in_and_change(  # type: ignore[no-untyped-def]
    weight, connected, lowest, highest, soft, terms, pull, pre_trace, target, amount, seen
):
    """`take_in_all` and `change_weights`, row by row, so that each row is fetched once."""
    for i in range(weight.shape[0]):
        first, own = seen[i], terms[i]
        if first < target.shape[0] and pre_trace[i] > 0:
            take_in(own, pre_trace[i], target[first:], amount[first:])
        seen[i] = 0
        change_row(weight[i], connected[i], lowest[i], highest[i], soft, own, pull)
