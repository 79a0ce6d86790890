"""Spikes that wait for their axons leave what they would have left at once, whenever axons take them in."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from agents.spiking.circuit import SpikingCircuit
from agents.spiking.lif import LIFCells
from agents.spiking.projections import Projection
from agents.spiking.stdp import BACKLOG, LARGEST_GROWTH, PairSTDP

# More cells than spikes may wait; the last axon is silent, and the first falls silent.
INPUTS, CELLS, STEPS = 4, BACKLOG + 90, 400
SETTINGS: dict[str, Any] = {"depression": 0.4, "pre_trace_ms": 9.0, "post_trace_ms": 12.0}


def circuit(largest: float = 1e6, **rule: Any) -> SpikingCircuit:
    """Cells that fire without input, some together and some not."""
    return SpikingCircuit(
        INPUTS,
        {"cells": LIFCells(CELLS, bias=(1.05, 1.3), membrane_ms=(5.0, 20.0))},
        [Projection("input", "cells", largest_weight=largest, plasticity=PairSTDP(**SETTINGS | rule))],
        np.random.default_rng(2),
    )


def source_spikes() -> NDArray[np.uint8]:
    train = (np.random.default_rng(3).random((STEPS, INPUTS)) < 0.05).astype(np.uint8)
    train[100:, 0] = 0
    train[:, -1] = 0
    return train


@pytest.mark.parametrize("eligibility_ms", [None, 10.0, 500.0])
def test_what_waited_is_what_columns_would_have_added(eligibility_ms: float | None) -> None:
    # A rate far below the bound and the threshold, so that weights change nothing else.
    rate = 1e-12
    net = circuit(eligibility_ms=eligibility_ms, rate=rate)
    state, train = net.begin(), source_spikes()
    assert LARGEST_GROWTH * SETTINGS["post_trace_ms"] < STEPS
    pre, post, expected = np.zeros((INPUTS, 1)), np.zeros(CELLS), np.zeros((INPUTS, CELLS))
    remains = 1.0 if eligibility_ms is None else math.exp(-1.0 / eligibility_ms)
    most = 0
    for t in range(STEPS):
        net.replay(state, train[t : t + 1])
        arrives, fires = train[t][:, None] != 0, state.above != 0
        pre *= math.exp(-1.0 / SETTINGS["pre_trace_ms"])
        post *= math.exp(-1.0 / SETTINGS["post_trace_ms"])
        expected *= remains
        expected -= SETTINGS["depression"] * post * arrives
        pre += arrives
        expected += pre * fires
        post += fires
        most = max(most, int(fires.sum()))
    found = net.weight("input-cells") / rate if eligibility_ms is None else net.eligibility(state, "input-cells")
    assert state.spikes[INPUTS:].sum() > 10 * BACKLOG
    assert most > 50
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)
    assert np.all(found[-1] == 0.0)
    assert np.all(np.any(found[:-1] != 0.0, axis=1))


def test_a_look_at_eligibilities_changes_no_bit() -> None:
    left_alone, looked_at = circuit(), circuit()
    first, second, train = left_alone.begin(), looked_at.begin(), source_spikes()
    left_alone.replay(first, train)
    for t in range(0, STEPS, 7):
        looked_at.replay(second, train[t : t + 7])
        looked_at.eligibility(second, "input-cells")
    np.testing.assert_array_equal(
        left_alone.eligibility(first, "input-cells"), looked_at.eligibility(second, "input-cells")
    )


def test_a_population_that_fires_as_one_finds_room_to_wait() -> None:
    net = circuit()
    for name, value in (("bias", 2.0), ("leak", math.exp(-0.1)), ("first_voltage", 0.0)):
        getattr(net.cells, name)[:] = value
    state = net.begin()
    net.replay(state, source_spikes())
    assert state.spikes[INPUTS:].min() == state.spikes[INPUTS:].max() > 20
    found = net.eligibility(state, "input-cells")
    np.testing.assert_array_equal(found, np.broadcast_to(found[:, :1], found.shape))
    assert np.any(found != 0.0)
