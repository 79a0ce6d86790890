"""Time a spiking circuit in closed loop: `python scripts/spiking_speed.py`.

A hundred Poisson sources at 20 Hz, 500 LIF cells and 40 output cells, plastic synapses in both layers whose third
factor arrives with each of 50 calls of 20 ms.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import Literal

import numpy as np
import tyro

from agents.networks.lif import LIFCells
from agents.networks.projections import Projection
from agents.networks.spiking_circuit import SpikingCircuit
from agents.rules.pair_stdp import PairSTDP
from agents.rules.third_factor import RewardPredictionError

CALLS, CALL_MS = 50, 20
INPUTS, HIDDEN, OUTPUTS, INPUT_HZ = 100, 500, 40, 20.0


@dataclass
class Timing:
    """Milliseconds of computing for a second of a spiking circuit that learns."""

    precision: Literal["float32", "float64"] = "float64"
    """Numbers of the circuit."""
    rounds: int = 20
    """Measurements; the median counts."""

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise SystemExit(f"--rounds {self.rounds}: 1 or more is allowed")


def circuit_of(precision: str) -> SpikingCircuit:
    """The circuit that is timed."""
    rule = PairSTDP(rate=1e-4, depression=0.3)
    return SpikingCircuit(
        INPUTS,
        {"hidden": LIFCells(HIDDEN, bias=0.85), "output": LIFCells(OUTPUTS, bias=0.85)},
        [
            Projection("input", "hidden", weight_sd=0.4, plasticity=rule),
            Projection("hidden", "output", weight_sd=0.1, plasticity=rule),
        ],
        np.random.default_rng(0),
        coding="poisson",
        dtype=np.dtype(precision),
    )


def main(timing: Timing) -> None:
    """Run, and print the median time with the rates of the cells."""
    rates_hz = np.full(INPUTS, INPUT_HZ)
    milliseconds = []
    # The first round compiles.
    for _ in range(timing.rounds + 1):
        rng = np.random.default_rng(1)
        circuit = circuit_of(timing.precision)
        teacher = RewardPredictionError({"input-hidden": HIDDEN, "hidden-output": OUTPUTS})
        state = circuit.begin()
        start = perf_counter()
        for _ in range(CALLS):
            circuit.run(state, rates_hz, CALL_MS)
            circuit.teach(state, teacher.modulators(float(rng.normal())))
        milliseconds.append(1000.0 * (perf_counter() - start))
    hidden, output = (float(circuit.mean_rate_hz(state, name).mean()) for name in ("hidden", "output"))
    print(
        f"{CALLS * CALL_MS} ms in {CALLS} calls, {timing.precision}: {np.median(milliseconds[1:]):.2f} ms "
        f"(hidden cells at {hidden:.1f} Hz, output cells at {output:.1f} Hz, "
        f"weights {'finite' if np.isfinite(circuit.synapses.weight).all() else 'not finite'})"
    )


if __name__ == "__main__":
    main(tyro.cli(Timing))
