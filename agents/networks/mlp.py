"""Multi-layer perceptrons of rate cells: tanh hidden layers and a linear output."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from agents.networks.registry import JOINTS
from agents.networks.sensory_cells import PlaceCells, V1Bank

HIDDEN_CELLS = (128, 128)


def mlp(inputs: int, hidden: tuple[int, ...], outputs: int, rng: np.random.Generator) -> nn.Sequential:
    """Draw the weights: SD 1/sqrt(fan in) in hidden layers, zero at the output, so that an untrained arm rests.

    Args:
        inputs, outputs: numbers in and out.
        hidden: cells in each hidden layer, at least two layers.
        rng: source of the weights, the lower layers first.

    Returns:
        Layers and activations in turn, in double precision; biases are zero.

    Raises:
        ValueError: fewer than two hidden layers or a layer without cells.
    """
    if len(hidden) < 2 or min(hidden) < 1:
        raise ValueError(f"expected two or more hidden layers of one or more cells, got {hidden}")
    modules: list[nn.Module] = []
    for fan_in, cells in zip((inputs, *hidden), (*hidden, outputs), strict=True):
        layer = nn.Linear(fan_in, cells, device="cpu", dtype=torch.float64)
        weight = rng.normal(0.0, 1.0 / math.sqrt(fan_in), (cells, fan_in))
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weight))
            layer.bias.zero_()
        modules += [layer, nn.Tanh()]
    network = nn.Sequential(*modules[:-1])
    nn.init.zeros_(network[-1].weight)  # type: ignore[arg-type]
    return network


def place_mlp(rng: np.random.Generator) -> tuple[PlaceCells, nn.Sequential]:
    """Return place cells of the cup, and a perceptron that gives a posture."""
    cells = PlaceCells()
    return cells, mlp(cells.size, HIDDEN_CELLS, JOINTS, rng)


def v1_mlp(rng: np.random.Generator) -> tuple[V1Bank, nn.Sequential]:
    """Return V1 cells of a picture, and a perceptron that gives a posture."""
    cells = V1Bank()
    return cells, mlp(cells.size, HIDDEN_CELLS, JOINTS, rng)
