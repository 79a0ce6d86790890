"""Networks of rate cells: torch layers with tanh between them and a linear output, in double precision.

Weights of hidden layers are drawn with SD 1/sqrt(fan in), lower layers first. Biases and the weights of the output are
zero, so that an untrained arm rests.

The convolutional network uses strides in place of pooling (Springenberg, Dosovitskiy, Brox and Riedmiller 2015,
arXiv:1412.6806). Its kernel sizes are those of DQN (Mnih et al. 2015, Nature 518:529).
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import torch
from torch import nn

from agents.networks.registry import JOINTS
from agents.networks.sensory_cells import PlaceCells, Receptors, V1Bank

# Hidden layers of a perceptron, and cells in each.
DEPTH, WIDTH = 2, 128
# Channels, side of the kernel, stride and padding of each convolution; cells of the dense layer above them.
CONVOLUTIONS = ((16, 8, 4, 2), (16, 4, 2, 1))
DENSE_CELLS = 128

_linear = partial(nn.Linear, device="cpu", dtype=torch.float64)
_convolution = partial(nn.Conv2d, device="cpu", dtype=torch.float64)


def mlp(inputs: int, hidden: tuple[int, ...], outputs: int, rng: np.random.Generator) -> nn.Sequential:
    """Return a multi-layer perceptron, layers and activations in turn.

    Args:
        inputs, outputs: number of inputs and of outputs.
        hidden: number of cells in each hidden layer, two layers or more.
        rng: generator of the weights.

    Raises:
        ValueError: fewer than two hidden layers, or a layer without cells.
    """
    if len(hidden) < 2 or min(hidden) < 1:
        raise ValueError(f"hidden: expected two or more layers of one or more cells, got {hidden}")
    modules: list[nn.Module] = []
    for fan_in, cells in zip((inputs, *hidden), hidden, strict=False):
        modules += [_linear(fan_in, cells), nn.Tanh()]
    return _drawn([*modules, _linear(hidden[-1], outputs)], rng)


def cnn(retina_px: int, outputs: int, rng: np.random.Generator) -> nn.Sequential:
    """Return a convolutional network: two convolutions, a dense layer and the output, with tanh between them.

    Args:
        retina_px: side of the pictures, a multiple of 8 pixels.
        outputs: number of outputs.
        rng: generator of the weights.

    Returns:
        The network from (..., 3 x retina_px x retina_px), colours first, to (..., outputs).

    Raises:
        ValueError: `retina_px` is not a multiple of 8.
    """
    if retina_px < 8 or retina_px % 8:
        raise ValueError(f"retina_px: expected a multiple of 8, got {retina_px}")
    modules: list[nn.Module] = [nn.Unflatten(-1, (3, retina_px, retina_px))]
    channels, side = 3, retina_px
    for cells, kernel, stride, padding in CONVOLUTIONS:
        modules += [_convolution(channels, cells, kernel, stride, padding), nn.Tanh()]
        channels, side = cells, side // stride
    modules += [nn.Flatten(-3), _linear(channels * side * side, DENSE_CELLS), nn.Tanh(), _linear(DENSE_CELLS, outputs)]
    return _drawn(modules, rng)


def _drawn(modules: list[nn.Module], rng: np.random.Generator) -> nn.Sequential:
    """Draw the weights of modules and return them as a network."""
    layers = [module for module in modules if isinstance(module, nn.Conv2d | nn.Linear)]
    with torch.no_grad():
        for layer in layers:
            weight = rng.normal(0.0, 1.0 / math.sqrt(layer.weight[0].numel()), tuple(layer.weight.shape))
            layer.weight.copy_(torch.from_numpy(weight))
            assert layer.bias is not None
            layer.bias.zero_()
        layers[-1].weight.zero_()
    return nn.Sequential(*modules)


def place_mlp(
    rng: np.random.Generator, lamps: int = 0, depth: int = DEPTH, width: int = WIDTH
) -> tuple[PlaceCells, nn.Sequential]:
    """Return place cells for the cup and lamps, and a perceptron with `depth` hidden layers of `width` cells."""
    cells = PlaceCells(lamps)
    return cells, mlp(cells.size, (width,) * depth, JOINTS, rng)


def v1_mlp(rng: np.random.Generator) -> tuple[V1Bank, nn.Sequential]:
    """Return V1 cells for pictures, and a perceptron that computes a posture."""
    cells = V1Bank()
    return cells, mlp(cells.size, (WIDTH,) * DEPTH, JOINTS, rng)


def receptor_cnn(rng: np.random.Generator) -> tuple[Receptors, nn.Sequential]:
    """Return colour receptors for pictures, and a convolutional network that computes a posture."""
    cells = Receptors()
    return cells, cnn(cells.retina_px, JOINTS, rng)
