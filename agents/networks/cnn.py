"""A small convolutional network of rate cells: two convolutions, a dense layer, and a linear output.

Strides take the place of pooling (Springenberg, Dosovitskiy, Brox and Riedmiller 2015, arXiv:1412.6806); kernel sizes
are those of a network that learned to play from pixels (Mnih et al. 2015, Nature 518:529).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from agents.networks.registry import JOINTS
from agents.networks.sensory_cells import Receptors

# Channels, side of the kernel, stride and padding of each convolution.
CONVOLUTIONS = ((16, 8, 4, 2), (16, 4, 2, 1))
DENSE_CELLS = 128


def cnn(retina_px: int, outputs: int, rng: np.random.Generator) -> nn.Sequential:
    """Draw the weights: SD 1/sqrt(fan in) in hidden layers, zero at the output, so that an untrained arm rests.

    Args:
        retina_px: side of the pictures, a multiple of 8.
        outputs: numbers out.
        rng: source of the weights, the lower layers first.

    Returns:
        Layers and activations in turn, in double precision, from (..., 3 x retina_px x retina_px), colours first, to
        (..., outputs); biases are zero.

    Raises:
        ValueError: `retina_px` is no multiple of 8.
    """
    if retina_px < 8 or retina_px % 8:
        raise ValueError(f"expected retina_px to be a multiple of 8, got {retina_px}")
    modules: list[nn.Module] = [nn.Unflatten(-1, (3, retina_px, retina_px))]
    channels, side = 3, retina_px
    for cells, kernel, stride, padding in CONVOLUTIONS:
        modules += [nn.Conv2d(channels, cells, kernel, stride, padding, device="cpu", dtype=torch.float64), nn.Tanh()]
        channels, side = cells, side // stride
    modules += [
        nn.Flatten(-3),
        nn.Linear(channels * side * side, DENSE_CELLS, device="cpu", dtype=torch.float64),
        nn.Tanh(),
    ]
    modules += [nn.Linear(DENSE_CELLS, outputs, device="cpu", dtype=torch.float64)]
    for layer in modules:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            weight = rng.normal(0.0, 1.0 / math.sqrt(layer.weight[0].numel()), tuple(layer.weight.shape))
            with torch.no_grad():
                layer.weight.copy_(torch.from_numpy(weight))
                assert layer.bias is not None
                layer.bias.zero_()
    nn.init.zeros_(modules[-1].weight)  # type: ignore[arg-type]
    return nn.Sequential(*modules)


def receptor_cnn(rng: np.random.Generator) -> tuple[Receptors, nn.Sequential]:
    """Return colour receptors of a picture, and a convolutional network that gives a posture."""
    cells = Receptors()
    return cells, cnn(cells.retina_px, JOINTS, rng)
