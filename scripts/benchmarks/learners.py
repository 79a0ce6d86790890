"""Measure a spiking circuit that learns, and a training step by direct feedback: `benchmark.py learners`."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from benchmarks import peers
from benchmarks.timing import Measurement, Options, Row, measured, run_peer
from rich.console import Console
from torch import nn

from agents.rules.assign import assign_rule
from agents.spiking.circuit import SpikingCircuit
from agents.spiking.lif import LIFCells
from agents.spiking.projections import Projection
from agents.spiking.stdp import PairSTDP
from reach.study import usable_cores

PEER_ROUNDS = 1
TO_HIDDEN, TO_OUTPUT = "input-hidden", "hidden-output"
# Seconds of our circuit that are measured together, and seeds that share the cores.
OWN_SECONDS = 20
SEEDS = 40
# Cells of each layer of the networks that are timed.
NETWORKS = tuple((64, *(cells,) * layers, 8) for cells in (256, 1024) for layers in (2, 4, 6))
BATCH = 256
STEPS_A_ROUND = 20


def circuit_of(dtype: Any, seed: int = 0) -> SpikingCircuit:
    """Return the circuit that is timed, with the initial weights of its peers."""
    rule = PairSTDP(rate=peers.RATE, depression=peers.DEPRESSION)
    cells = {"hidden": peers.HIDDEN, "output": peers.OUTPUTS}
    circuit = SpikingCircuit(
        peers.INPUTS,
        {name: LIFCells(number, bias=peers.BIAS) for name, number in cells.items()},
        [Projection("input", "hidden", plasticity=rule), Projection("hidden", "output", plasticity=rule)],
        np.random.default_rng(seed),
        coding="poisson",
        dtype=dtype,
    )
    for name, weight in zip((TO_HIDDEN, TO_OUTPUT), peers.weights(), strict=True):
        circuit.weight(name)[:] = weight
    return circuit


def live(circuit: SpikingCircuit) -> Any:
    """Run a circuit in closed loop for a second and return its state."""
    state = circuit.begin()
    rates_hz = np.full(peers.INPUTS, peers.INPUT_HZ)
    for reward in peers.rewards():
        circuit.run(state, rates_hz, peers.CALL_MS)
        circuit.teach(state, {TO_HIDDEN: reward, TO_OUTPUT: reward})
    return state


def own_second(dtype: Any) -> dict[str, Any]:
    """Measure a second of our circuit; return what a peer returns."""
    # Repeated, because one second of ours is short next to the time slices of a busy machine, which a peer's is not.
    times = []
    for _ in range(OWN_SECONDS):
        circuit = circuit_of(dtype)
        watch = peers.Watch()
        state = live(circuit)
        times.append(watch.read())
    wall_ms, processor_ms = np.mean(times, axis=0).tolist()
    rates = {f"{layer}_hz": float(circuit.mean_rate_hz(state, layer).mean()) for layer in ("hidden", "output")}
    finite = bool(np.isfinite(circuit.synapses.weight).all())
    return {"wall_ms": wall_ms, "processor_ms": processor_ms, **rates, "finite": finite}


def own_population(dtype: Any) -> float:
    """Return the milliseconds for a second of one seed when several share the cores."""
    circuits = [circuit_of(dtype, seed) for seed in range(SEEDS)]
    start = perf_counter()
    with ThreadPoolExecutor(usable_cores()) as threads:
        list(threads.map(live, circuits))
    return 1000.0 * (perf_counter() - start) / SEEDS


def step(rule: str | None, sizes: tuple[int, ...]) -> Callable[[], float]:
    """Return a measurement, ms, of a training step under a rule, or of torch's own layers without one; one thread."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    modules: list[nn.Module] = []
    for before, after in pairwise(sizes):
        modules += [nn.Linear(before, after), nn.Tanh()]
    network = nn.Sequential(*modules[:-1])
    if rule is not None:
        assign_rule(network, rule, {"output": [network]})
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-3)
    inputs, target = torch.randn(BATCH, sizes[0]), torch.randn(BATCH, sizes[-1])

    def take() -> float:
        start = perf_counter()
        for _ in range(STEPS_A_ROUND):
            optimiser.zero_grad()
            nn.functional.mse_loss(network(inputs), target).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        return 1000.0 * (perf_counter() - start) / STEPS_A_ROUND

    take()
    return take


def spiking_acts(python: Path | None, details: dict[str, dict[str, Any]]) -> dict[str, Measurement]:
    """Return measurements of a second of each circuit, wall and processor time; rates are put into `details`."""
    acts: dict[str, Measurement] = {}

    def add(name: str, second: Callable[[], dict[str, Any]], compared: bool) -> None:
        def wall() -> float:
            details[name] = second()
            return float(np.median(details[name]["wall_ms"]))

        def processor() -> float:
            """Return the processor time of the second that was measured just before."""
            return float(np.median(details[name]["processor_ms"]))

        others = tuple(peers.PEERS) if compared else ()
        acts[name] = Measurement("ms", wall, others)
        acts[f"{name}, processor"] = Measurement("ms", processor, tuple(f"{peer}, processor" for peer in others))

    if python is not None:
        for name in peers.PEERS:
            add(name, partial(run_peer, python, name, PEER_ROUNDS), False)
    for dtype in (np.float64, np.float32):
        live(circuit_of(dtype))
        add(f"spiking circuit, {np.dtype(dtype).name}", partial(own_second, dtype), True)
    for dtype in (np.float64, np.float32):
        name = f"one of {SEEDS} spiking circuits on all cores, {np.dtype(dtype).name}"
        acts[name] = Measurement("ms", partial(own_population, dtype), tuple(peers.PEERS))
    return acts


def measure(options: Options) -> list[Row]:
    """Measure all in turn."""
    details: dict[str, dict[str, Any]] = {}
    acts = spiking_acts(options.peers, details)
    for sizes in NETWORKS:
        name = f"{sizes[0]}, {len(sizes) - 2} x {sizes[1]}, {sizes[-1]}"
        torch_name = f"back-propagation by torch, {name}"
        acts[torch_name] = Measurement("ms", step(None, sizes))
        for rule in ("dfa", "bp"):
            acts[f"{rule}, {name}"] = Measurement("ms", step(rule, sizes), (torch_name,))
    rows = measured(acts, options.rounds)
    for name, second in details.items():
        finite = "finite" if second["finite"] else "not finite"
        rates = f"hidden cells at {second['hidden_hz']:.1f} Hz, output cells at {second['output_hz']:.1f} Hz"
        Console().print(f"{name}: {rates}, weights {finite}")
    Console().print(
        f"A second is {peers.CALLS} calls of {peers.CALL_MS} ms, the reward given after each; ratios are how much "
        "faster."
    )
    return rows
