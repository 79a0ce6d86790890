"""Compute gradients of spiking cells in snnTorch, as references for the tests of `agents`.

    python references/make_snntorch_references.py FILE          compare with a stored file; fail where they differ
    python references/make_snntorch_references.py --write FILE  replace the file

It runs in an environment of its own (`make references`). The file holds the weights, settings and input of two layers
of cells, and snnTorch's spikes and gradients (Eshraghian et al. 2023, Proc. IEEE 111:1016), so that the tests do not
need snnTorch. Its `Synaptic` cell fires and is reset to 0 a step later, which is a refractory period of two steps. Its
current acts on the voltage in the same step, so spikes reach it one step later here.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import snntorch as snn
import torch
from numpy.typing import NDArray
from snntorch.surrogate import fast_sigmoid

Arrays = dict[str, NDArray[Any]]

STEPS, SOURCES, HIDDEN, OUTPUTS = 200, 10, 12, 4
RATE_HZ = 50.0
SETTINGS = {"bias": {"hidden": 0.85, "output": 1.1}, "readout_ms": 100.0, "steepness": 10.0}
TOLERANCE = 1e-9


def delayed(spikes: torch.Tensor, delays: NDArray[Any]) -> torch.Tensor:
    """Return spikes (steps, axons) as they arrive, each axon's one step and its delay later."""
    columns = []
    for axon, delay in enumerate(delays.tolist()):
        late = torch.zeros(1 + delay, dtype=spikes.dtype)
        columns.append(torch.cat([late, spikes[:, axon]])[: len(spikes)])
    return torch.stack(columns, dim=1)


def layer(cells: Arrays, bias: float, arriving: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return the spikes (steps, cells) of a layer for the spikes that arrive at it."""
    alpha, beta, coupling, threshold = (
        torch.tensor(cells[n]) for n in ("drive_decay", "leak", "coupling", "threshold")
    )
    cell = snn.Synaptic(alpha, beta, threshold=threshold, reset_mechanism="zero", spike_grad=fast_sigmoid(10.0))
    # A constant current of bias (1 - beta) moves the voltage towards the bias.
    constant = bias * (1.0 - beta)
    current, voltage, spikes = constant.clone(), torch.zeros_like(beta), []
    for arrives in arriving @ weight * coupling:
        fired, current, voltage = cell(arrives + constant * (1.0 - alpha), current, voltage)
        spikes.append(fired.double())
    return torch.stack(spikes)


def references() -> Arrays:
    """Return the inputs, and snnTorch's spikes and gradients."""
    torch.set_default_dtype(torch.float64)
    rng = np.random.default_rng(3)
    made: Arrays = {
        "train": (rng.random((STEPS, SOURCES)) < RATE_HZ / 1000.0).astype(np.uint8),
        "input-hidden": rng.normal(0.0, 0.9, (SOURCES, HIDDEN)),
        "hidden-output": rng.normal(0.0, 0.3, (HIDDEN, OUTPUTS)),
        "input_delay": rng.integers(0, 5, SOURCES),
        "hidden_delay": rng.integers(0, 5, HIDDEN),
        "signals": rng.normal(0.0, 1.0, OUTPUTS),
        "settings": np.array(json.dumps(SETTINGS)),
    }
    cells: dict[str, Arrays] = {}
    for name, size in (("hidden", HIDDEN), ("output", OUTPUTS)):
        membrane, synapse = rng.uniform(10.0, 30.0, size), rng.uniform(3.0, 8.0, size)
        leak, decay = np.exp(-1.0 / membrane), np.exp(-1.0 / synapse)
        # Voltage after a step of a drive that starts at 1 and decays (Rotter and Diesmann 1999).
        coupling = synapse / (membrane - synapse) * (leak - decay)
        cells[name] = {"leak": leak, "drive_decay": decay, "coupling": coupling}
        cells[name]["threshold"] = rng.uniform(0.9, 1.1, size)
        made |= {f"{name}.{key}": value for key, value in cells[name].items()}
    weights = [torch.tensor(made[name], requires_grad=True) for name in ("input-hidden", "hidden-output")]
    sources = torch.tensor(made["train"], dtype=torch.float64)
    bias: Any = SETTINGS["bias"]
    hidden = layer(cells["hidden"], bias["hidden"], delayed(sources, made["input_delay"]), weights[0])
    output = layer(cells["output"], bias["output"], delayed(hidden, made["hidden_delay"]), weights[1])
    readout_ms: Any = SETTINGS["readout_ms"]
    memory = torch.exp(-torch.arange(STEPS - 1, -1, -1) / readout_ms) * (1000.0 / readout_ms)
    rates_hz = memory @ output
    gradients = torch.autograd.grad((rates_hz * torch.tensor(made["signals"])).sum(), weights)
    made["hidden_spikes"], made["output_spikes"] = (
        spikes.detach().numpy().astype(np.uint8) for spikes in (hidden, output)
    )
    made["input-hidden gradient"], made["hidden-output gradient"] = (gradient.numpy() for gradient in gradients)
    return made


def main(arguments: list[str]) -> None:
    """Compare with the stored file, or write it."""
    path = arguments[-1]
    made = references()
    if "--write" in arguments:
        np.savez_compressed(path, **made)  # type: ignore[arg-type]
        print(f"{path}: {len(made)} arrays written")
        return
    with np.load(path, allow_pickle=False) as stored:
        if sorted(stored.files) != sorted(made):
            raise SystemExit(f"expected arrays {sorted(made)} in {path}, got {sorted(stored.files)}")
        for name, array in made.items():
            if array.dtype.kind == "U":
                if str(stored[name]) != str(array):
                    raise SystemExit(f"{path}: expected {name} {array}, got {stored[name]}")
            elif not np.allclose(stored[name], array, rtol=TOLERANCE, atol=TOLERANCE):
                raise SystemExit(f"{path}: {name} differs by more than {TOLERANCE:g}")
    print(f"{path}: {len(made)} arrays agree")


if __name__ == "__main__":
    main(sys.argv[1:])
