"""Measure a spiking circuit that learns, and a training step by direct feedback: `benchmark.py learners`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from benchmarks.spiking_peer import (
    BIAS,
    CALL_MS,
    CALLS,
    DEPRESSION,
    HIDDEN,
    INPUT_HZ,
    INPUTS,
    OUTPUTS,
    PEERS,
    RATE,
    Watch,
    rewards,
    weights,
)
from benchmarks.timing import Measurement, Row, measured
from numpy.typing import NDArray
from rich.console import Console
from torch import nn

from agents.rules.assign import assign_rule
from agents.spiking.circuit import SpikingCircuit
from agents.spiking.lif import LIFCells
from agents.spiking.projections import Projection
from agents.spiking.stdp import PairSTDP
from reach.study import usable_cores

PEER_SCRIPT = Path(__file__).with_name("spiking_peer.py")
PEER_ROUNDS = 1
TO_HIDDEN, TO_OUTPUT = "input-hidden", "hidden-output"
# Seconds of our circuit that are measured together, and seeds that share the cores.
OWN_SECONDS = 20
SEEDS = 40
# Input, hidden layers and output of the step that is timed, its batch, and further networks.
STEP = (64, (256, 256), 8)
BATCH = 256
OTHER_STEPS = tuple((64, (cells,) * layers, 8) for cells in (256, 1024) for layers in (2, 4, 6))
STEPS_A_ROUND = 20


def circuit_of(dtype: Any, seed: int = 0) -> SpikingCircuit:
    """Return the circuit that is timed, with the initial weights of its peers."""
    rule = PairSTDP(rate=RATE, depression=DEPRESSION)
    circuit = SpikingCircuit(
        INPUTS,
        {"hidden": LIFCells(HIDDEN, bias=BIAS), "output": LIFCells(OUTPUTS, bias=BIAS)},
        [Projection("input", "hidden", plasticity=rule), Projection("hidden", "output", plasticity=rule)],
        np.random.default_rng(seed),
        coding="poisson",
        dtype=dtype,
    )
    for name, weight in zip((TO_HIDDEN, TO_OUTPUT), weights(), strict=True):
        circuit.weight(name)[:] = weight
    return circuit


def live(circuit: SpikingCircuit) -> Any:
    """Run a circuit in closed loop for a second and return its state."""
    state = circuit.begin()
    rates_hz: NDArray[np.float64] = np.full(INPUTS, INPUT_HZ)
    for reward in rewards():
        circuit.run(state, rates_hz, CALL_MS)
        circuit.teach(state, {TO_HIDDEN: reward, TO_OUTPUT: reward})
    return state


def own_second(dtype: Any) -> dict[str, Any]:
    """Measure a second of our circuit; return what a peer returns."""
    # Repeated, because one second of ours is short next to the time slices of a busy machine, which a peer's is not.
    wall_ms, processor_ms = 0.0, 0.0
    for _ in range(OWN_SECONDS):
        circuit = circuit_of(dtype)
        watch = Watch()
        state = live(circuit)
        wall, processor = watch.read()
        wall_ms += wall / OWN_SECONDS
        processor_ms += processor / OWN_SECONDS
    return {
        "wall_ms": wall_ms,
        "processor_ms": processor_ms,
        "hidden_hz": float(circuit.mean_rate_hz(state, "hidden").mean()),
        "output_hz": float(circuit.mean_rate_hz(state, "output").mean()),
        "finite": bool(np.isfinite(circuit.synapses.weight).all()),
    }


def own_population(dtype: Any) -> float:
    """Return the milliseconds for a second of one seed when several share the cores."""
    circuits = [circuit_of(dtype, seed) for seed in range(SEEDS)]
    start = perf_counter()
    with ThreadPoolExecutor(usable_cores()) as threads:
        list(threads.map(live, circuits))
    return 1000.0 * (perf_counter() - start) / SEEDS


def peer_second(python: Path, name: str) -> dict[str, Any]:
    """Measure a second of a peer's circuit in its own Python."""
    command = [str(python), str(PEER_SCRIPT), name, str(PEER_ROUNDS)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    second: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return second


def step(rule: str | None, sizes: tuple[int, tuple[int, ...], int]) -> Callable[[], float]:
    """Return a measurement, ms, of a training step under a rule, or of torch's own layers without one; one thread."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    inputs, hidden, outputs = sizes
    modules: list[nn.Module] = []
    for before, after in zip((inputs, *hidden), (*hidden, outputs), strict=True):
        modules += [nn.Linear(before, after), nn.Tanh()]
    network = nn.Sequential(*modules[:-1])
    if rule is not None:
        assign_rule(network, rule, {"output": [network]})
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-3)
    inputs_given, target = torch.randn(BATCH, inputs), torch.randn(BATCH, outputs)

    def take() -> float:
        start = perf_counter()
        for _ in range(STEPS_A_ROUND):
            optimiser.zero_grad()
            nn.functional.mse_loss(network(inputs_given), target).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        return 1000.0 * (perf_counter() - start) / STEPS_A_ROUND

    take()
    return take


def named(sizes: tuple[int, tuple[int, ...], int]) -> str:
    """Return the sizes of the layers as a name."""
    inputs, hidden, outputs = sizes
    return f"{inputs}, {len(hidden)} x {hidden[0]}, {outputs}"


def spiking_acts(peers: Path | None, details: dict[str, dict[str, Any]]) -> dict[str, Measurement]:
    """Return measurements of a second of each circuit, wall and processor time; rates are put into `details`."""
    acts: dict[str, Measurement] = {}

    def add(name: str, second: Callable[[], dict[str, Any]], compared: bool) -> None:
        def wall() -> float:
            details[name] = second()
            return float(np.median(details[name]["wall_ms"]))

        def processor() -> float:
            return float(np.median(details[name]["processor_ms"]))

        acts[name] = Measurement("ms", wall, tuple(PEERS) if compared else ())
        # The processor time of the second that was measured just before.
        acts[processor_time(name)] = Measurement(
            "ms", processor, tuple(processor_time(peer) for peer in PEERS) if compared else ()
        )

    if peers is not None:
        for name in PEERS:
            add(name, partial(peer_second, peers, name), False)
    for dtype in (np.float64, np.float32):
        live(circuit_of(dtype))
        add(f"spiking circuit, {np.dtype(dtype).name}", partial(own_second, dtype), True)
    for dtype in (np.float64, np.float32):
        name = f"one of {SEEDS} spiking circuits on all cores, {np.dtype(dtype).name}"
        acts[name] = Measurement("ms", partial(own_population, dtype), tuple(PEERS))
    return acts


def processor_time(name: str) -> str:
    """Return the name of the row with the processor time."""
    return f"{name}, processor"


def learners(rounds: int, peers: Path | None) -> list[Row]:
    """Measure all in turn."""
    details: dict[str, dict[str, Any]] = {}
    acts = spiking_acts(peers, details)
    for sizes in dict.fromkeys((STEP, *OTHER_STEPS)):
        torch_name = f"back-propagation by torch, {named(sizes)}"
        acts[torch_name] = Measurement("ms", step(None, sizes))
        for rule in ("dfa", "bp"):
            acts[f"{rule}, {named(sizes)}"] = Measurement("ms", step(rule, sizes), (torch_name,))
    rows = measured(acts, rounds)
    for name, second in details.items():
        finite = "finite" if second["finite"] else "not finite"
        rates = f"hidden cells at {second['hidden_hz']:.1f} Hz, output cells at {second['output_hz']:.1f} Hz"
        Console().print(f"{name}: {rates}, weights {finite}")
    Console().print(
        f"A second is {CALLS} calls of {CALL_MS} ms, the reward given after each; ratios are how much faster."
    )
    return rows
