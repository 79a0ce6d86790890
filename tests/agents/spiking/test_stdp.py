"""Pair STDP leaves what its closed forms say, in the weight or in an eligibility that waits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.spiking.circuit import SpikingCircuit
from agents.spiking.kernels import CircuitState
from agents.spiking.lif import LIFCells
from agents.spiking.projections import Projection
from agents.spiking.stdp import PairSTDP, bounded

# A driving spike makes the cell fire in the next step.
DRIVE = 100.0


def pair(rule: PairSTDP, delay: int = 0, largest: float = 50.0) -> SpikingCircuit:
    """One learning source, and one that makes the cell fire at once."""
    circuit = SpikingCircuit(
        2,
        {"cells": LIFCells(1, synapse_ms=0.05, refractory_steps=1)},
        [
            Projection("input", "cells", "learning", largest_weight=largest, delay_steps=delay, plasticity=rule),
            Projection("input", "cells", "driving", largest_weight=DRIVE * 1000),
        ],
        np.random.default_rng(0),
    )
    circuit.connected("learning")[1] = 0
    circuit.weight("driving")[1] = DRIVE * 1000
    return circuit


def played(circuit: SpikingCircuit, pre: list[int], post: list[int], steps: int) -> CircuitState:
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
        PairSTDP(potentiation=0.8, depression=0.5, pre_trace_ms=17.0, post_trace_ms=34.0, eligibility_ms=None)
    )
    played(circuit, [60], [60 + apart], 130)
    # A coincidence counts as pre before post.
    expected = 0.8 * math.exp(-apart / 17.0) if apart >= 0 else -0.4 * math.exp(apart / 34.0)
    assert circuit.weight("learning")[0, 0] == pytest.approx(expected, rel=1e-12)


def test_a_delay_moves_the_presynaptic_spike() -> None:
    circuit = pair(PairSTDP(eligibility_ms=None), delay=9)
    played(circuit, [20], [40], 60)
    assert circuit.weight("learning")[0, 0] == pytest.approx(math.exp(-11.0 / 20.0), rel=1e-12)


@pytest.mark.parametrize("pairs", ["all", "nearest"])
def test_all_pairs_count_or_the_nearest_alone(pairs: Any) -> None:
    pre, post = [10, 14], [20, 26]
    circuit = pair(PairSTDP(pairs=pairs, eligibility_ms=None))
    played(circuit, pre, post, 50)
    counted = [(p, q) for p in pre for q in post] if pairs == "all" else [(14, q) for q in post]
    expected = sum(math.exp(-(q - p) / 20.0) for p, q in counted)
    assert circuit.weight("learning")[0, 0] == pytest.approx(expected, rel=1e-12)


def test_eligibility_waits_and_decays_until_the_third_factor_comes() -> None:
    circuit = pair(PairSTDP(rate=0.3, eligibility_ms=400.0))
    state = played(circuit, [5], [15], 100)
    eligible = math.exp(-10.0 / 20.0) * math.exp(-(99 - 15) / 400.0)
    assert circuit.weight("learning")[0, 0] == 0.0
    assert circuit.eligibility(state, "learning")[0, 0] == pytest.approx(eligible, rel=1e-12)
    circuit.teach(state, {"learning": np.array([-2.0])})
    assert circuit.weight("learning")[0, 0] == pytest.approx(-0.6 * eligible, rel=1e-12)
    # Eligibility is not used up.
    assert circuit.eligibility(state, "learning")[0, 0] == pytest.approx(eligible, rel=1e-12)


@pytest.mark.parametrize("chunk", [1, 7, 4000])
def test_one_pair_and_one_pulse_give_the_closed_form(chunk: int) -> None:
    # dw = A+ exp(-D / tau+) d0 exp(-L / tau_c) / (1 / tau_c + 1 / tau_d), after long enough.
    between, lag, pulse = 10, 150, 0.4
    circuit = pair(PairSTDP(potentiation=1.3, eligibility_ms=300.0, modulator_ms=120.0))
    state = played(circuit, [5], [5 + between], 5 + between + 1 + lag)
    circuit.teach(state, {"learning": np.array([pulse])})
    for _ in range(0, 4000, chunk):
        circuit.replay(state, np.zeros((chunk, 2), dtype=np.uint8))
    expected = 1.3 * math.exp(-between / 20.0) * pulse * math.exp(-lag / 300.0) / (1.0 / 300.0 + 1.0 / 120.0)
    assert circuit.weight("learning")[0, 0] == pytest.approx(expected, rel=1e-10)


def test_a_change_is_rate_times_modulator_times_eligibility() -> None:
    rng = np.random.default_rng(1)
    circuit = SpikingCircuit(
        7, {"cells": LIFCells(5)}, [Projection("input", "cells", plasticity=PairSTDP(rate=0.2))], rng
    )
    eligible, modulator = rng.normal(size=(7, 5)), rng.normal(size=5)
    circuit.change("input-cells", eligible, modulator)
    np.testing.assert_allclose(circuit.weight("input-cells"), 0.2 * eligible * modulator, rtol=1e-12)
    circuit.change("input-cells", eligible, modulator, rate=-0.2)
    np.testing.assert_allclose(circuit.weight("input-cells"), 0.0, atol=1e-15)


@given(
    weight=st.floats(0.0, 1.0),
    change=st.floats(-3.0, 3.0),
    soft=st.booleans(),
)
def test_bounds_hold_and_soft_ones_are_approached_ever_more_slowly(weight: float, change: float, soft: bool) -> None:
    moved = bounded(weight, change, 0.0, 1.0, soft)
    assert 0.0 <= moved <= 1.0
    assert (moved - weight) * change >= 0.0
    if soft:
        assert abs(moved - weight) <= abs(change) * (1.0 - weight if change > 0 else weight) + 1e-15


@pytest.mark.parametrize(
    ("setting", "allowed"),
    [
        ({"rate": -1.0}, "0 or more"),
        ({"depression": math.inf}, "0 or more"),
        ({"pre_trace_ms": 0.0}, "0.001 or more"),
        ({"pairs": "some"}, "'all' or 'nearest'"),
        ({"bounds": "none"}, "'hard' or 'soft'"),
        ({"eligibility_ms": None, "modulator_ms": 10.0}, "only None is allowed"),
    ],
)
def test_what_no_rule_can_have_is_refused(setting: dict[str, Any], allowed: str) -> None:
    with pytest.raises(ValueError, match=allowed) as refusal:
        PairSTDP(**setting)
    assert list(setting)[-1] in str(refusal.value)
