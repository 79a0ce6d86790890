"""Simulate spiking cells and their plasticity in Brian2, as references for the tests of `agents`.

    python references/make_brian2_references.py FILE          compare with a stored file; fail where they differ
    python references/make_brian2_references.py --write FILE  replace the file

It runs in an environment of its own (`make references`). The file holds the inputs and settings of each case and the
results of Brian2 (Stimberg, Brette and Goodman 2019, eLife 8:e47314), so that the tests do not need Brian2. Brian2's
order within a step is groups, thresholds, synapses (presynaptic part first), resets; state is updated exactly.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import brian2 as b2
import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]

STEPS = 1000
TOLERANCE = 1e-12
MS = b2.ms
# Steps from one stored voltage to the next, from one stored weight to the next, and from one third factor to the next.
VOLTAGE_STEP = 20
WEIGHT_STEP = 200
IMPULSE_STEP = 20

CELL_EQUATIONS = """
dv/dt = (bias + g - v) / membrane : 1 (unless refractory)
dg/dt = -g / synapse : 1
membrane : second (constant)
synapse : second (constant)
bias : 1 (constant)
threshold : 1 (constant)
reset : 1 (constant)
"""
RULE_EQUATIONS = """
w : 1
dx/dt = -x / pre_tau : 1 (clock-driven)
dy/dt = -y / post_tau : 1 (clock-driven)
dc/dt = -c / eligibility : 1 (clock-driven)
"""


def sources(rng: np.random.Generator, number: int, rate_hz: float) -> NDArray[np.uint8]:
    """Return random spikes (steps, number), 0 or 1."""
    return (rng.random((STEPS, number)) < rate_hz / 1000.0).astype(np.uint8)


def generator(train: NDArray[np.uint8]) -> Any:
    """Return sources that fire as `train` says."""
    steps, cells = np.nonzero(train)
    return b2.SpikeGeneratorGroup(train.shape[1], cells, steps * MS)


def cells(number: int, refractory_steps: int, **settings: Any) -> Any:
    """Return LIF cells with the given settings, time constants in ms."""
    group = b2.NeuronGroup(
        number,
        CELL_EQUATIONS,
        threshold="v >= threshold",
        reset="v = reset",
        refractory=refractory_steps * MS,
        method="exact",
    )
    for name, value in settings.items():
        setattr(group, name, value * MS if name in ("membrane", "synapse") else value)
    return group


def spike_table(monitor: Any) -> NDArray[np.int16]:
    """Return step and cell of each spike in order, (2, spikes)."""
    steps = np.rint(np.asarray(monitor.t / MS)).astype(np.int16)
    table = np.stack([steps, np.asarray(monitor.i, dtype=np.int16)])
    return table[:, np.lexsort((table[1], table[0]))]


def membrane_case(rng: np.random.Generator) -> Arrays:
    """Return six different LIF cells with recurrence and delays: inputs, voltages and spikes."""
    given: Arrays = {
        "train": sources(rng, 12, 40.0),
        "membrane": rng.uniform(10.0, 30.0, 6),
        "synapse": rng.uniform(3.0, 8.0, 6),
        "bias": rng.uniform(0.3, 0.9, 6),
        "threshold": rng.uniform(0.9, 1.2, 6),
        "reset": rng.uniform(-0.2, 0.2, 6),
        "forward": rng.normal(0.35, 0.4, (12, 6)),
        "recurrent": rng.normal(0.0, 0.3, (6, 6)),
        "recurrent_delay": rng.integers(0, 8, 6),
    }
    names = ("membrane", "synapse", "bias", "threshold", "reset")
    settings = {"refractory_steps": 5, "forward_delay": 3, "voltage_step": VOLTAGE_STEP}
    group = cells(6, settings["refractory_steps"], **{name: given[name] for name in names})
    source = generator(given["train"])
    forward = b2.Synapses(source, group, "w : 1", on_pre="g_post += w")
    forward.connect()
    forward.w = given["forward"].ravel()
    forward.delay = settings["forward_delay"] * MS
    recurrent = b2.Synapses(group, group, "w : 1", on_pre="g_post += w")
    recurrent.connect()
    recurrent.w = given["recurrent"].ravel()
    recurrent.delay = np.repeat(given["recurrent_delay"], 6) * MS
    spikes = b2.SpikeMonitor(group)
    states = b2.StateMonitor(group, ["v"], record=True, when="end")
    b2.Network(group, source, forward, recurrent, spikes, states).run(STEPS * MS)
    given["settings"] = np.array(json.dumps(settings))
    return given | {"voltage": np.asarray(states.v).T[VOLTAGE_STEP - 1 :: VOLTAGE_STEP], "spikes": spike_table(spikes)}


def learning_case(rng: np.random.Generator) -> Arrays:
    """Return eight sources that learn their weights to three cells, which six other sources also drive."""
    given: Arrays = {
        "train": sources(rng, 14, 30.0),
        "drive": rng.normal(0.8, 0.3, (6, 3)),
        "weight": rng.uniform(0.1, 0.5, (8, 3)),
        "delay": rng.integers(0, 6, 8),
        "modulators": rng.normal(0.0, 0.5, (STEPS // IMPULSE_STEP, 3)),
    }
    settings = {
        "rate": 0.02,
        "largest_weight": 0.6,
        "potentiation": 1.0,
        "depression": 0.4,
        "pre_trace_ms": 17.0,
        "post_trace_ms": 34.0,
        "eligibility_ms": 300.0,
        "bias": 0.5,
        "weight_step": WEIGHT_STEP,
        "impulse_step": IMPULSE_STEP,
    }
    given["settings"] = np.array(json.dumps(settings))
    rate, high, up = settings["rate"], settings["largest_weight"], settings["potentiation"]
    group = cells(3, 2, membrane=20.0, synapse=5.0, bias=settings["bias"], threshold=1.0)
    driving, learning = generator(given["train"][:, 8:]), generator(given["train"][:, :8])
    drive = b2.Synapses(driving, group, "w : 1", on_pre="g_post += w")
    drive.connect()
    drive.w = given["drive"].ravel()
    synapses = b2.Synapses(
        learning,
        group,
        RULE_EQUATIONS,
        on_pre="g_post += w; c -= down * y; x += 1",
        on_post="c += up * x; y += 1",
        method="exact",
        namespace={
            "up": up,
            "down": up * settings["depression"],
            "pre_tau": settings["pre_trace_ms"] * MS,
            "post_tau": settings["post_trace_ms"] * MS,
            "eligibility": settings["eligibility_ms"] * MS,
        },
    )
    synapses.connect()
    synapses.w = given["weight"].ravel()
    synapses.pre.delay = np.repeat(given["delay"], 3) * MS
    spikes = b2.SpikeMonitor(group)
    network = b2.Network(group, driving, learning, drive, synapses, spikes)
    weights = []
    for step in range(IMPULSE_STEP, STEPS + 1, IMPULSE_STEP):
        network.run(IMPULSE_STEP * MS)
        change = rate * np.asarray(synapses.c).reshape(8, 3) * given["modulators"][step // IMPULSE_STEP - 1]
        synapses.w = np.clip(np.asarray(synapses.w).reshape(8, 3) + change, -high, high).ravel()
        if step % WEIGHT_STEP == 0:
            weights.append(np.asarray(synapses.w).reshape(8, 3).copy())
    return given | {
        "weights": np.stack(weights),
        "eligibility": np.asarray(synapses.c).reshape(8, 3),
        "spikes": spike_table(spikes),
    }


def references() -> Arrays:
    """Return all cases as arrays named case.array."""
    b2.prefs.codegen.target = "numpy"
    b2.defaultclock.dt = 1 * MS
    arrays = {f"membrane.{k}": v for k, v in membrane_case(np.random.default_rng(1)).items()}
    arrays |= {f"learning.{k}": v for k, v in learning_case(np.random.default_rng(4)).items()}
    return {k: np.packbits(v, axis=0) if k.endswith("train") else v for k, v in arrays.items()}


def main(arguments: list[str]) -> None:
    """Compare with the stored file, or write it."""
    path = arguments[-1]
    made = references()
    if "--write" in arguments:
        np.savez_compressed(path, **made)
        print(f"{path}: {len(made)} arrays written")
        return
    with np.load(path, allow_pickle=False) as stored:
        if sorted(stored.files) != sorted(made):
            raise SystemExit(f"expected arrays {sorted(made)} in {path}, got {sorted(stored.files)}")
        largest = 0.0
        for name, array in made.items():
            if stored[name].shape != array.shape:
                raise SystemExit(f"{path}: expected {name} of shape {array.shape}, got {stored[name].shape}")
            if array.dtype.kind == "U":
                if str(stored[name]) != str(array):
                    raise SystemExit(f"{path}: expected {name} {array}, got {stored[name]}")
                continue
            difference = np.abs(stored[name].astype(float) - array.astype(float))
            if not np.all(difference <= TOLERANCE):
                raise SystemExit(f"{path}: {name} differs by {np.max(difference):.3g}, more than {TOLERANCE:g}")
            largest = max(largest, float(np.max(difference, initial=0.0)))
    print(f"{path}: {len(made)} arrays agree to {largest:.3g}")


if __name__ == "__main__":
    main(sys.argv[1:])
