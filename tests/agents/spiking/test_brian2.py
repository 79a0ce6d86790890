"""Spiking circuits agree with Brian2: same input spikes, same voltages, spikes and weights (`make references`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.spiking.circuit import SpikingCircuit
from agents.spiking.kernels import CircuitState
from agents.spiking.lif import LIFCells, draw_cells
from agents.spiking.projections import Projection
from agents.spiking.stdp import PairSTDP

STORED = Path(__file__).with_name("brian2.npz")
STEPS = 1000
TOLERANCE = 1e-12


def case(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arrays and settings of one case."""
    with np.load(STORED, allow_pickle=False) as stored:
        arrays = {key.partition(".")[2]: stored[key] for key in stored.files if key.startswith(f"{name}.")}
    arrays["train"] = np.unpackbits(arrays["train"], axis=0)[:STEPS]
    return arrays, json.loads(str(arrays.pop("settings")))


def spikes_of_step(circuit: SpikingCircuit, state: CircuitState, train: NDArray[np.uint8]) -> list[int]:
    """Run one step with `train` (1, inputs); return the cells that fire in it."""
    before = state.spikes.copy()
    circuit.replay(state, train)
    cells: list[int] = np.flatnonzero((state.spikes - before)[circuit.inputs :]).tolist()
    return cells


def test_cells_with_refractoriness_and_delays_agree_with_brian2() -> None:
    given, settings = case("membrane")
    refractory_steps = settings["refractory_steps"]
    circuit = SpikingCircuit(
        12,
        {"cells": LIFCells(6, refractory_steps=refractory_steps)},
        [Projection("input", "cells", delay_steps=settings["forward_delay"]), Projection("cells", "cells")],
        np.random.default_rng(0),
    )
    circuit.weight("input-cells")[:] = given["forward"]
    circuit.weight("cells-cells")[:] = given["recurrent"]
    circuit.delay_steps("cells-cells")[:] = given["recurrent_delay"]
    # A population draws its cells; here each cell's settings are given.
    names = {"membrane_ms": "membrane", "synapse_ms": "synapse"} | {n: n for n in ("bias", "threshold", "reset")}
    populations = [
        LIFCells(
            1,
            refractory_steps=refractory_steps,
            **{setting: float(given[stored][c]) for setting, stored in names.items()},
        )
        for c in range(6)
    ]
    exact = draw_cells(populations, np.random.default_rng(0), np.float64)
    for own, values in zip(circuit.cells, exact, strict=True):
        own[:] = values
    state = circuit.begin()
    voltages, spikes = [], []
    for step in range(STEPS):
        spikes += [(step, c) for c in spikes_of_step(circuit, state, given["train"][step : step + 1])]
        if (step + 1) % settings["voltage_step"] == 0:
            voltages.append(state.cells.voltage.copy())
    assert len(spikes) > 50
    np.testing.assert_array_equal(np.array(spikes).T, given["spikes"])
    np.testing.assert_allclose(np.array(voltages), given["voltage"], rtol=0.0, atol=TOLERANCE)


def test_plasticity_agrees_with_brian2() -> None:
    given, settings = case("learning")
    rule_settings = ("rate", "potentiation", "depression", "pre_trace_ms", "post_trace_ms", "eligibility_ms")
    rule = PairSTDP(**{name: settings[name] for name in rule_settings})
    circuit = SpikingCircuit(
        14,
        {"cells": LIFCells(3, bias=settings["bias"])},
        [
            Projection("input", "cells", "learning", largest_weight=settings["largest_weight"], plasticity=rule),
            Projection("input", "cells", "driving"),
        ],
        np.random.default_rng(0),
    )
    circuit.weight("learning")[:8] = given["weight"]
    circuit.connected("learning")[8:] = 0
    circuit.delay_steps("learning")[:8] = given["delay"]
    circuit.weight("driving")[8:] = given["drive"]
    state = circuit.begin()
    spikes, weights = [], []
    for step in range(STEPS):
        spikes += [(step, c) for c in spikes_of_step(circuit, state, given["train"][step : step + 1])]
        if (step + 1) % settings["impulse_step"] == 0:
            circuit.teach(state, {"learning": given["modulators"][step // settings["impulse_step"]]})
        if (step + 1) % settings["weight_step"] == 0:
            weights.append(circuit.weight("learning")[:8].copy())
    assert len(spikes) > 50
    np.testing.assert_array_equal(np.array(spikes).T, given["spikes"])
    np.testing.assert_allclose(np.array(weights), given["weights"], rtol=0.0, atol=TOLERANCE)
    # The weights have moved, and not only to their bounds.
    assert np.mean(np.abs(weights[-1]) < settings["largest_weight"]) > 0.5
    assert np.std(weights[-1] - given["weight"]) > 0.01
    eligibility = circuit.eligibility(state, "learning")[:8]
    np.testing.assert_allclose(eligibility, given["eligibility"], rtol=0.0, atol=TOLERANCE)
