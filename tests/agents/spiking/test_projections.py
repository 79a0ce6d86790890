"""Delays select an interval between spikes; Dale's law holds during learning."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.spiking.circuit import SpikingCircuit
from agents.spiking.lif import LIFCells
from agents.spiking.projections import Projection, StructuralPlasticity
from agents.spiking.stdp import PairSTDP


def test_a_delay_of_d_steps_is_d_steps() -> None:
    arrivals = []
    for delay in (0, 1, 7):
        circuit = SpikingCircuit(
            1,
            {"cells": LIFCells(1)},
            [Projection("input", "cells", weight_mean=0.5, delay_steps=delay)],
            np.random.default_rng(0),
        )
        state = circuit.begin()
        train = np.zeros((20, 1), dtype=np.uint8)
        train[3] = 1
        step = 0
        while state.cells.drive[0] == 0.0:
            circuit.replay(state, train[step : step + 1])
            step += 1
        arrivals.append(step - 1)
    assert arrivals == [3, 4, 10]


def test_cells_with_delays_respond_to_the_interval_between_two_spikes() -> None:
    # Each cell has its own delay for the first source; the two spikes coincide at the cell with that interval.
    intervals = (4, 8, 12, 16)
    names = [f"interval_{d}" for d in intervals]
    circuit = SpikingCircuit(
        2,
        {name: LIFCells(1, membrane_ms=2.0, synapse_ms=0.5) for name in names},
        [Projection("input", name, delay_steps=(0, d)) for name, d in zip(names, intervals, strict=True)],
        np.random.default_rng(0),
    )
    for name, d in zip(names, intervals, strict=True):
        circuit.weight(f"input-{name}")[:] = 3.4
        circuit.delay_steps(f"input-{name}")[:] = (d, 0)
    for apart in range(21):
        state = circuit.begin()
        train = np.zeros((60, 2), dtype=np.uint8)
        train[5, 0] = train[5 + apart, 1] = 1
        circuit.replay(state, train)
        responding = {d for d, count in zip(intervals, state.spikes[2:], strict=True) if count > 0}
        assert responding == {apart} & set(intervals)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), modulation=st.floats(-50.0, 50.0))
def test_dale_s_law_holds_during_learning(seed: int, modulation: float) -> None:
    rng = np.random.default_rng(seed)
    rule = PairSTDP(rate=0.5, depression=1.0, eligibility_ms=200.0)
    circuit = SpikingCircuit(
        5,
        {"hidden": LIFCells(10, inhibitory=4, bias=1.1, first_voltage=(0.0, 1.0))},
        [
            Projection("input", "hidden", weight_sd=1.0, plasticity=rule),
            Projection(
                "hidden",
                "hidden",
                weight_sd=0.5,
                probability=0.7,
                delay_steps=(0, 3),
                plasticity=rule,
                structure=StructuralPlasticity(near_zero=0.2, patience_s=0.0, turnover_per_s=5.0),
            ),
        ],
        rng,
    )
    state = circuit.begin()
    recurrent = circuit.weight("hidden-hidden")
    number = np.count_nonzero(circuit.connected("hidden-hidden"))
    for _ in range(10):
        circuit.run(state, np.full(5, 200.0), 20)
        circuit.teach(state, {name: modulation * rng.normal(size=10) for name in circuit.projections})
        circuit.maintain(state, 20.0)
        assert np.all(recurrent[:6] >= 0.0)
        assert np.all(recurrent[6:] <= 0.0)
        assert np.all(np.abs(circuit.synapses.weight) <= 4.0)
        assert np.all(recurrent[circuit.connected("hidden-hidden") == 0] == 0.0)
        assert np.count_nonzero(circuit.connected("hidden-hidden")) == number


def test_a_projection_has_its_probability_of_synapses() -> None:
    projection = Projection("input", "cells", weight_mean=1.0, probability=0.2)
    circuit = SpikingCircuit(100, {"cells": LIFCells(100)}, [projection], np.random.default_rng(0))
    assert np.mean(circuit.connected("input-cells")) == pytest.approx(0.2, abs=0.02)
    np.testing.assert_array_equal(circuit.weight("input-cells"), circuit.connected("input-cells"))


def test_settings_outside_their_range_are_refused() -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"probability": 1.5}, "0 to 1"),
        ({"delay_steps": -1}, "0 or more"),
        ({"delay_steps": (3, 1)}, "range"),
        ({"largest_weight": 0.0}, "or more"),
        ({"structure": StructuralPlasticity()}, "below 1"),
        ({"before": "nowhere"}, "got 'nowhere' to 'cells'"),
    ]

    def make(settings_: dict[str, Any]) -> None:
        projection = Projection(**({"before": "input", "after": "cells"} | settings_))
        SpikingCircuit(1, {"cells": LIFCells(1)}, [projection], np.random.default_rng(0))

    for settings_, expected in cases:
        with pytest.raises(ValueError, match=expected):
            make(settings_)
