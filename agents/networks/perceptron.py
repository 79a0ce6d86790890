"""The compiled forward pass of place cells and a perceptron, because calling torch takes longer than the arithmetic.

Loops run over inputs outside and over cells inside, so that they vectorise without reordering a sum.
"""

from __future__ import annotations

import math

from reach.jit import kernel
from reach.kernels import exponential, fma, hyperbolic_tangent


@kernel
def write_place_activity(centres, width_m, x, y, activity):  # type: ignore[no-untyped-def]
    """Write the activity of n place cells with centres (n, 2) m, for a position (x, y) m, to `activity[:n]`."""
    scale = -0.5 / (width_m * width_m)
    for k in range(len(centres)):
        right, forward = centres[k, 0] - x, centres[k, 1] - y
        activity[k] = exponential(scale * (right * right + forward * forward))


@kernel
def respond(layers, activity):  # type: ignore[no-untyped-def]
    """Compute the outputs of all layers, with tanh after each but the last.

    Args:
        layers: for each layer, weights (inputs, cells), biases (cells,) and outputs (cells,), which are overwritten.
        activity: (inputs,) inputs of the first layer.
    """
    values = activity
    for k in range(len(layers)):
        weight, bias, cells = layers[k]
        respond_with_layer(weight, bias, values, cells, k == len(layers) - 1)
        values = cells


@kernel
def respond_with_layer(weight, bias, values, drives, is_last):  # type: ignore[no-untyped-def]
    """Write values @ weight + bias, or its tanh, to `drives`.

    Args:
        weight: (inputs, cells).
        bias: (cells,).
        values: (inputs,).
        drives: (cells,), overwritten.
        is_last: whether to leave out the tanh.
    """
    cells, inputs = drives.size, values.size
    for i in range(cells):
        drives[i] = bias[i]
    # Four inputs at a time: each drive is loaded and stored a quarter as often.
    whole = inputs // 4 * 4
    for k in range(0, whole, 4):
        first, second, third, fourth = values[k], values[k + 1], values[k + 2], values[k + 3]
        for i in range(cells):
            drive = fma(first, weight[k, i], drives[i])
            drive = fma(second, weight[k + 1, i], drive)
            drive = fma(third, weight[k + 2, i], drive)
            drives[i] = fma(fourth, weight[k + 3, i], drive)
    for k in range(whole, inputs):
        for i in range(cells):
            drives[i] = fma(values[k], weight[k, i], drives[i])
    if not is_last:
        for i in range(cells):
            drives[i] = math.copysign(hyperbolic_tangent(abs(drives[i])), drives[i])
