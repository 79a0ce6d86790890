"""Spiking circuits against Brian2: same spikes in, same voltages, spikes and weights out (`make references`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
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
    """Arrays and settings of one case."""
    with np.load(STORED, allow_pickle=False) as stored:
        arrays = {key.partition(".")[2]: stored[key] for key in stored.files if key.startswith(f"{name}.")}
    arrays["train"] = np.unpackbits(arrays["train"], axis=0)[:STEPS]
    return arrays, json.loads(str(arrays.pop("settings")))


def spikes_of_step(circuit: SpikingCircuit, state: CircuitState, train: NDArray[np.uint8]) -> list[int]:
    """Run one step with `train` (1, inputs); the cells that fire in it."""
    before = state.spikes.copy()
    circuit.replay(state, train)
    found: list[int] = np.flatnonzero((state.spikes - before)[circuit.inputs :]).tolist()
    return found


def test_cells_with_refractoriness_adaptation_and_delays_are_brian2_s() -> None:
    given, settings = case("membrane")
    circuit = SpikingCircuit(
        12,
        {"cells": LIFCells(6, refractory_steps=settings["refractory_steps"])},
        [Projection("input", "cells", delay_steps=settings["forward_delay"]), Projection("cells", "cells")],
        np.random.default_rng(0),
    )
    circuit.weight("input-cells")[:] = given["forward"]
    circuit.weight("cells-cells")[:] = given["recurrent"]
    circuit.delay_steps("cells-cells")[:] = given["recurrent_delay"]
    # A population draws its cells; here each one's settings are given.
    exact = [
        draw_cells(
            [
                LIFCells(
                    1,
                    membrane_ms=float(given["membrane"][c]),
                    synapse_ms=float(given["synapse"][c]),
                    adaptation_ms=float(given["adaptation"][c]),
                    bias=float(given["bias"][c]),
                    threshold=float(given["threshold"][c]),
                    reset=float(given["reset"][c]),
                    threshold_adaptation=float(given["raised"][c]),
                    current_adaptation=float(given["brake"][c]),
                    refractory_steps=settings["refractory_steps"],
                )
            ],
            1.0,
            np.random.default_rng(0),
            np.float64,
        )
        for c in range(6)
    ]
    for own, parts in zip(circuit.cells, zip(*exact, strict=True), strict=True):
        own[:] = np.concatenate(parts)
    state = circuit.begin()
    voltages, spikes = [], []
    for step in range(STEPS):
        spikes += [(step, c) for c in spikes_of_step(circuit, state, given["train"][step : step + 1])]
        if (step + 1) % settings["voltage_step"] == 0:
            voltages.append(state.cells.voltage.copy())
    assert len(spikes) > 50
    np.testing.assert_array_equal(np.array(spikes).T, given["spikes"])
    np.testing.assert_allclose(np.array(voltages), given["voltage"], rtol=0.0, atol=TOLERANCE)


@pytest.mark.parametrize("kind", ["all", "nearest", "impulse", "decaying"])
def test_plasticity_is_brian2_s(kind: str) -> None:
    given, settings = case(kind)
    gated = kind in ("impulse", "decaying")
    rule = PairSTDP(
        rate=settings["rate"],
        potentiation=settings["potentiation"],
        depression=settings["depression"],
        pre_trace_ms=settings["pre_trace_ms"],
        post_trace_ms=settings["post_trace_ms"],
        pairs="nearest" if kind == "nearest" else "all",
        eligibility_ms=settings["eligibility_ms"] if gated else None,
        modulator_ms=settings["modulator_ms"] if kind == "decaying" else None,
        bounds="soft" if kind == "nearest" else "hard",
    )
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
        if gated and (step + 1) % settings["impulse_step"] == 0:
            circuit.teach(state, {"learning": given["modulators"][step // settings["impulse_step"]]})
        if (step + 1) % settings["weight_step"] == 0:
            weights.append(circuit.weight("learning")[:8].copy())
    assert len(spikes) > 50
    np.testing.assert_array_equal(np.array(spikes).T, given["spikes"])
    np.testing.assert_allclose(np.array(weights), given["weights"], rtol=0.0, atol=TOLERANCE)
    # The weights have moved, and not only to their bounds.
    inside = np.abs(weights[-1]) < settings["largest_weight"]
    assert np.mean(inside) > 0.5
    assert np.std(weights[-1] - given["weight"]) > 0.01
    if gated:
        found = circuit.eligibility(state, "learning")[:8]
        np.testing.assert_allclose(found, given["eligibility"], rtol=0.0, atol=TOLERANCE)
