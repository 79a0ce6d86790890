"""Pair STDP leaves what its closed forms say in an eligibility, and a third factor turns it into weight."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from agents.spiking.circuit import SpikingCircuit
from agents.spiking.kernels import CircuitState
from agents.spiking.lif import LIFCells
from agents.spiking.projections import Projection
from agents.spiking.stdp import MOST_PENDING, SMALLEST_SCALE, PairSTDP

# A driving spike makes the cell fire in the next step.
DRIVE = 100.0


def pair(rule: PairSTDP, delay: int = 0) -> SpikingCircuit:
    """One learning source, and one that makes the cell fire at once."""
    circuit = SpikingCircuit(
        2,
        {"cells": LIFCells(1, synapse_ms=0.05, refractory_steps=1)},
        [
            Projection("input", "cells", "learning", largest_weight=50.0, delay_steps=delay, plasticity=rule),
            Projection("input", "cells", "driving", largest_weight=DRIVE * 1000),
        ],
        np.random.default_rng(0),
    )
    circuit.connected("learning")[1] = 0
    circuit.weight("driving")[1] = DRIVE * 1000
    return circuit


def play(circuit: SpikingCircuit, pre: list[int], post: list[int], steps: int) -> CircuitState:
    """Run with presynaptic spikes in steps `pre` and postsynaptic ones in steps `post` (1 or later)."""
    state = circuit.begin()
    train = np.zeros((steps, 2), dtype=np.uint8)
    train[pre, 0] = 1
    train[np.array(post) - 1, 1] = 1
    circuit.replay(state, train)
    assert state.spikes[2] == len(post)
    return state


@pytest.mark.parametrize("apart", [-40, -7, -1, 0, 1, 13, 50])
def test_the_window_is_two_exponentials(apart: int) -> None:
    circuit = pair(
        PairSTDP(potentiation=0.8, depression=0.5, pre_trace_ms=17.0, post_trace_ms=34.0, eligibility_ms=1e9)
    )
    state = play(circuit, [60], [60 + apart], 130)
    # A coincidence counts as pre before post.
    expected = 0.8 * math.exp(-apart / 17.0) if apart >= 0 else -0.4 * math.exp(apart / 34.0)
    assert circuit.eligibility(state, "learning")[0, 0] == pytest.approx(expected, rel=1e-6)


def test_a_delay_shifts_the_presynaptic_spike() -> None:
    circuit = pair(PairSTDP(eligibility_ms=1e9), delay=9)
    state = play(circuit, [20], [40], 60)
    assert circuit.eligibility(state, "learning")[0, 0] == pytest.approx(math.exp(-11.0 / 20.0), rel=1e-6)


def test_all_pairs_of_spikes_count() -> None:
    pre, post = [10, 14], [20, 26]
    circuit = pair(PairSTDP(eligibility_ms=1e9))
    state = play(circuit, pre, post, 50)
    expected = sum(math.exp(-(q - p) / 20.0) for p in pre for q in post)
    assert circuit.eligibility(state, "learning")[0, 0] == pytest.approx(expected, rel=1e-6)


def test_the_eligibility_decays_until_the_third_factor_arrives() -> None:
    circuit = pair(PairSTDP(rate=0.3, eligibility_ms=400.0))
    state = play(circuit, [5], [15], 100)
    eligibility = math.exp(-10.0 / 20.0) * math.exp(-(99 - 15) / 400.0)
    assert circuit.weight("learning")[0, 0] == 0.0
    assert circuit.eligibility(state, "learning")[0, 0] == pytest.approx(eligibility, rel=1e-12)
    circuit.teach(state, {"learning": np.array([-2.0])})
    assert circuit.weight("learning")[0, 0] == pytest.approx(-0.6 * eligibility, rel=1e-12)
    # The eligibility is not used up.
    assert circuit.eligibility(state, "learning")[0, 0] == pytest.approx(eligibility, rel=1e-12)


def test_a_change_is_rate_times_modulator_times_eligibility_within_bounds() -> None:
    rng = np.random.default_rng(1)
    projection = Projection("input", "cells", largest_weight=0.9, probability=0.8, plasticity=PairSTDP(rate=0.2))
    circuit = SpikingCircuit(7, {"cells": LIFCells(5)}, [projection], rng)
    connected = circuit.connected("input-cells")
    eligibility, modulator = rng.normal(size=(7, 5)), rng.normal(size=5)
    circuit.change("input-cells", eligibility, modulator)
    change = 0.2 * eligibility * modulator * connected
    np.testing.assert_allclose(circuit.weight("input-cells"), change, rtol=1e-12)
    circuit.change("input-cells", eligibility, modulator, rate=-0.2)
    np.testing.assert_allclose(circuit.weight("input-cells"), 0.0, atol=1e-15)
    circuit.change("input-cells", eligibility, modulator, rate=100.0)
    clipped = np.clip(500.0 * change, -0.9, 0.9)
    np.testing.assert_allclose(circuit.weight("input-cells"), clipped, atol=1e-12)
    assert np.any(np.abs(clipped) == 0.9)


def test_settings_outside_their_range_are_refused_by_name() -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"rate": -1.0}, "0 or more"),
        ({"depression": math.inf}, "0 or more"),
        ({"pre_trace_ms": 0.0}, "0.001 or more"),
    ]
    for settings, expected in cases:
        with pytest.raises(ValueError, match=expected) as refusal:
            PairSTDP(**settings)
        assert list(settings)[-1] in str(refusal.value)


# More cells than spikes that may be pending; the last axon is silent, and the first becomes silent.
INPUTS, CELLS, STEPS = 4, MOST_PENDING + 90, 400
RULE: dict[str, Any] = {"depression": 0.4, "pre_trace_ms": 9.0, "post_trace_ms": 12.0}


def population(**rule: Any) -> SpikingCircuit:
    """Cells that fire without input, partly at the same time."""
    return SpikingCircuit(
        INPUTS,
        {"cells": LIFCells(CELLS, bias=(1.05, 1.3), membrane_ms=(5.0, 20.0))},
        [Projection("input", "cells", plasticity=PairSTDP(**RULE | rule))],
        np.random.default_rng(2),
    )


def source_spikes() -> NDArray[np.uint8]:
    train = (np.random.default_rng(3).random((STEPS, INPUTS)) < 0.05).astype(np.uint8)
    train[100:, 0] = 0
    train[:, -1] = 0
    return train


@pytest.mark.parametrize("eligibility_ms", [10.0, 500.0])
def test_pending_potentiation_equals_potentiation_at_once(eligibility_ms: float) -> None:
    net = population(eligibility_ms=eligibility_ms)
    state, train = net.begin(), source_spikes()
    assert math.exp(-STEPS / RULE["post_trace_ms"]) < SMALLEST_SCALE
    x, y, expected = np.zeros((INPUTS, 1)), np.zeros(CELLS), np.zeros((INPUTS, CELLS))
    most = 0
    for t in range(STEPS):
        net.replay(state, train[t : t + 1])
        pre, post = train[t][:, None] != 0, state.fires != 0
        x *= math.exp(-1.0 / RULE["pre_trace_ms"])
        y *= math.exp(-1.0 / RULE["post_trace_ms"])
        expected *= math.exp(-1.0 / eligibility_ms)
        expected -= RULE["depression"] * y * pre
        x += pre
        expected += x * post
        y += post
        most = max(most, int(post.sum()))
    eligibility = net.eligibility(state, "input-cells")
    assert state.spikes[INPUTS:].sum() > 10 * MOST_PENDING
    assert most > 50
    np.testing.assert_allclose(eligibility, expected, rtol=1e-9, atol=1e-11)
    assert np.all(eligibility[-1] == 0.0)
    assert np.all(np.any(eligibility[:-1] != 0.0, axis=1))


def test_to_read_eligibilities_changes_no_bit() -> None:
    unread, read = population(), population()
    first, second, train = unread.begin(), read.begin(), source_spikes()
    unread.replay(first, train)
    for t in range(0, STEPS, 7):
        read.replay(second, train[t : t + 7])
        read.eligibility(second, "input-cells")
    np.testing.assert_array_equal(unread.eligibility(first, "input-cells"), read.eligibility(second, "input-cells"))


def test_a_population_that_fires_in_synchrony_finds_room_for_its_spikes() -> None:
    net = population()
    for name, value in (("bias", 2.0), ("leak", math.exp(-0.1)), ("first_voltage", 0.0)):
        getattr(net.cells, name)[:] = value
    state = net.begin()
    net.replay(state, source_spikes())
    assert state.spikes[INPUTS:].min() == state.spikes[INPUTS:].max() > 20
    eligibility = net.eligibility(state, "input-cells")
    np.testing.assert_array_equal(eligibility, np.broadcast_to(eligibility[:, :1], eligibility.shape))
    assert np.any(eligibility != 0.0)
