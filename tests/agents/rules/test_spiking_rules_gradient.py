"""Gradients of rates by weights agree with autograd, with snnTorch (`make references`) and with e-prop's traces."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents.rules.spiking import STEEPNESS, RunGradient
from agents.spiking.circuit import SpikingCircuit
from agents.spiking.lif import LIFCells
from agents.spiking.projections import Projection
from agents.spiking.stdp import PairSTDP

STEPS, INPUTS, HIDDEN, OUTPUTS = 120, 6, 8, 4
SPREAD: dict[str, Any] = {"membrane_ms": (10.0, 30.0), "threshold": (0.9, 1.1), "synapse_ms": (3.0, 8.0)}


def circuit(*, delay: int | tuple[int, int] = (0, 4), is_recurrent: bool = True) -> SpikingCircuit:
    """A small circuit in which cells fire, with delays, missing synapses, recurrence and Dale's law."""
    plasticity = PairSTDP()
    among = [Projection("hidden", "hidden", weight_sd=0.3, delay_steps=(1, 5))] if is_recurrent else []
    return SpikingCircuit(
        INPUTS,
        {
            "hidden": LIFCells(HIDDEN, 2, bias=0.85, refractory_steps=3, readout_ms=30.0, **SPREAD),
            "output": LIFCells(OUTPUTS, bias=1.1, readout_ms=50.0, first_voltage=(0.0, 1.0), **SPREAD),
        },
        [
            Projection("input", "hidden", weight_sd=0.9, plasticity=plasticity, delay_steps=delay, probability=0.8),
            *among,
            Projection("hidden", "output", weight_sd=0.4, plasticity=plasticity, delay_steps=delay),
        ],
        np.random.default_rng(1),
    )


def spikes() -> np.ndarray:
    return (np.random.default_rng(2).random((STEPS, INPUTS)) < 0.06).astype(np.uint8)


class Spike(torch.autograd.Function):
    """A step function forward, the surrogate backward."""

    @staticmethod
    def forward(ctx: Any, distance: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(distance)
        return (distance >= 0.0).to(distance.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        (distance,) = ctx.saved_tensors
        return gradient / (1.0 + STEEPNESS * distance.abs()) ** 2


def by_autograd(net: SpikingCircuit, train: np.ndarray, signals: np.ndarray) -> dict[str, np.ndarray]:
    """Return the gradients by the weights of the plastic projections, from the equations of the cells."""
    cells = {name: torch.tensor(value) for name, value in net.cells._asdict().items()}
    weights = {name: torch.tensor(net.weight(name), requires_grad=True) for name in net.projections}
    parts, first = {"input": slice(0, INPUTS)}, INPUTS
    for name, population in net.populations.items():
        parts[name] = slice(first, first + population.size)
        first += population.size
    voltage, drive, rate_hz, left = cells["first_voltage"], *torch.zeros(3, first - INPUTS, dtype=torch.float64)
    history: list[torch.Tensor] = []
    for t in range(STEPS):
        voltage = cells["bias"] + (voltage - cells["bias"]) * cells["leak"] + drive * cells["coupling"]
        voltage = torch.where(left > 0, cells["reset"], voltage)
        drive, rate_hz = drive * cells["drive_decay"], rate_hz * cells["readout_decay"]
        fired: Any = Spike.apply(voltage - cells["threshold"])  # type: ignore[no-untyped-call]
        history.append(torch.cat([torch.tensor(train[t], dtype=torch.float64), fired]))
        total = torch.zeros(first, dtype=torch.float64)
        for name, projection in net.projections.items():
            sent = [
                history[t - d][parts[projection.before]][i] if t >= d else torch.zeros((), dtype=torch.float64)
                for i, d in enumerate(net.delay_steps(name).tolist())
            ]
            padded = torch.zeros(first, dtype=torch.float64).index_add(
                0, torch.arange(first)[parts[projection.after]], torch.stack(sent) @ weights[name]
            )
            total = total + padded
        drive = drive + total[INPUTS:]
        rate_hz = rate_hz + cells["readout_step"] * fired
        spiked = fired.detach() > 0.0
        voltage = torch.where(spiked, cells["reset"], voltage)
        left = torch.where(spiked, cells["refractory_steps"] - 1.0, (left - 1.0).clamp(min=0.0))
    plastic = [name for name, projection in net.projections.items() if projection.plasticity is not None]
    found = torch.autograd.grad((rate_hz * torch.tensor(signals)).sum(), [weights[name] for name in plastic])
    return {name: value.numpy() * net.connected(name) for name, value in zip(plastic, found, strict=True)}


def signals_of(net: SpikingCircuit, **of: Any) -> np.ndarray:
    """Return signals (cells,), 0 but for the populations that are named."""
    signals = np.zeros(len(net.cells.bias))
    for name, values in of.items():
        net.part(signals, name)[:] = values
    return signals


@pytest.mark.parametrize("is_recurrent", [False, True])
def test_back_propagation_through_time_is_the_gradient_of_autograd(is_recurrent: bool) -> None:
    net, train = circuit(is_recurrent=is_recurrent), spikes()
    signals = signals_of(net, output=[1.0, -0.5, 0.3, 2.0])
    found, _ = RunGradient(net, train).of_rates(signals, through_cells=True)
    for name, expected in by_autograd(net, train, signals).items():
        assert np.linalg.norm(expected) > 1e-3
        np.testing.assert_allclose(found[name], expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())
    stopped, _ = RunGradient(net, train).of_rates(signals, through_cells=False)
    assert not np.any(stopped["input-hidden"])
    np.testing.assert_allclose(stopped["hidden-output"], found["hidden-output"])


def test_the_run_that_is_repeated_is_the_run() -> None:
    net, train = circuit(), spikes()
    state = net.begin()
    net.replay(state, train)
    fired = RunGradient(net, train).voltage >= net.cells.threshold
    np.testing.assert_array_equal(fired.sum(axis=0), state.spikes[INPUTS:])
    assert np.all(fired.sum(axis=0)[-OUTPUTS:] > 0)


def test_without_passing_on_the_gradient_is_the_eligibility_trace_of_e_prop() -> None:
    net, train = circuit(), spikes()
    run = RunGradient(net, train)
    found, _ = run.of_rates(np.ones(len(net.cells.bias)), through_cells=False)
    cells, fired = net.cells, (run.voltage >= net.cells.threshold).astype(float)
    sent = {"input": train.astype(float), "hidden": fired[:, :HIDDEN]}
    for name, eligibility in found.items():
        projection = net.projections[name]
        of = {field: net.part(values, projection.after) for field, values in cells._asdict().items()}
        voltage, spiked = (net.part(values.T, projection.after).T for values in (run.voltage, fired))
        before, delays = sent[projection.before], net.delay_steps(name)
        by_drive, by_voltage, expected = np.zeros((3, *eligibility.shape))
        left = np.zeros(eligibility.shape[1])
        for t in range(STEPS):
            by_voltage = np.where(left > 0, 0.0, by_voltage * of["leak"] + by_drive * of["coupling"])
            slope = 1.0 / (1.0 + STEEPNESS * np.abs(voltage[t] - of["threshold"])) ** 2
            expected = expected * of["readout_decay"] + of["readout_step"] * slope * by_voltage
            arrives = np.array([before[t - d, i] if t >= d else 0.0 for i, d in enumerate(delays)])
            by_drive = by_drive * of["drive_decay"] + arrives[:, None]
            by_voltage = by_voltage * (1.0 - spiked[t])
            left = np.where(spiked[t] > 0, of["refractory_steps"] - 1, np.maximum(left - 1, 0))
        np.testing.assert_allclose(eligibility, expected * net.connected(name), rtol=1e-9, atol=1e-12)
        assert np.any(eligibility)


def test_in_one_layer_e_prop_is_the_gradient() -> None:
    net = SpikingCircuit(
        INPUTS,
        {"output": LIFCells(OUTPUTS, bias=0.95, **SPREAD)},
        [Projection("input", "output", weight_sd=0.9, plasticity=PairSTDP())],
        np.random.default_rng(1),
    )
    signals = np.array([1.0, -0.5, 0.3, 2.0])
    run = RunGradient(net, spikes())
    eligibility = run.of_rates(np.ones(OUTPUTS), through_cells=False)[0]["input-output"]
    expected = by_autograd(net, spikes(), signals)["input-output"]
    np.testing.assert_allclose(eligibility * signals, expected, rtol=1e-6, atol=1e-9)


def test_gradients_through_two_layers_with_delays_agree_with_snntorch() -> None:
    with np.load(Path(__file__).with_name("snntorch.npz"), allow_pickle=False) as stored:
        given = dict(stored)
    settings = json.loads(str(given["settings"]))
    assert settings["steepness"] == STEEPNESS
    sources, sizes = given["train"].shape[1], {name: len(given[f"{name}.leak"]) for name in ("hidden", "output")}
    net = SpikingCircuit(
        sources,
        {
            name: LIFCells(size, bias=settings["bias"][name], readout_ms=settings["readout_ms"])
            for name, size in sizes.items()
        },
        [Projection(*ends, delay_steps=(0, 4), plasticity=PairSTDP()) for ends in pairwise(("input", *sizes))],
        np.random.default_rng(0),
    )
    for name in sizes:
        for field in ("leak", "drive_decay", "coupling", "threshold"):
            net.part(getattr(net.cells, field), name)[:] = given[f"{name}.{field}"]
    for name in net.projections:
        net.weight(name)[:] = given[name]
        net.delay_steps(name)[:] = given[f"{name.partition('-')[0]}_delay"]
    run = RunGradient(net, given["train"])
    fired = run.voltage >= net.cells.threshold
    np.testing.assert_array_equal(fired, np.hstack([given[f"{name}_spikes"] for name in sizes]))
    gradients, _ = run.of_rates(signals_of(net, output=given["signals"]), through_cells=True)
    for name, gradient in gradients.items():
        expected = given[f"{name} gradient"]
        np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())
