"""A multi-layer perceptron of rate cells: tanh hidden layers, linear output, place cells as input.

The eligibility of a synapse is local: presynaptic activity times the slope of the postsynaptic cell. What modulates
it is the rule's affair.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.networks.place_cells import PlaceCells

Array = NDArray[np.float64]

OUTPUTS = 3


@dataclass(frozen=True)
class Activity:
    """One forward pass.

    Attributes:
        before: input of each layer, with a constant 1 appended for the bias, (fan_in + 1,).
        slope: derivative of each layer's cells by their drive, (fan_out,).
        output: (3,) rad.
    """

    before: tuple[Array, ...]
    slope: tuple[Array, ...]
    output: Array


class MLP:
    """Place cells, hidden tanh layers, and a change of posture (3,) rad as output."""

    def __init__(self, hidden: tuple[int, ...], rng: np.random.Generator) -> None:
        """Draw the weights: SD 1/sqrt(fan in) in hidden layers, zero at the output, so that an untrained arm rests.

        Args:
            hidden: cells in each hidden layer, at least two layers.
            rng: source of the initial weights.

        Raises:
            ValueError: fewer than two hidden layers or a layer without cells.
        """
        if len(hidden) < 2 or min(hidden) < 1:
            raise ValueError(f"hidden is {hidden}; two or more layers of one or more cells are allowed")
        self.cells = PlaceCells()
        sizes = (self.cells.size, *hidden, OUTPUTS)
        self.weights = [
            rng.normal(0.0, 1.0 / np.sqrt(sizes[k]), (sizes[k + 1], sizes[k] + 1)) for k in range(len(sizes) - 1)
        ]
        for weight in self.weights:
            weight[:, -1] = 0.0
        self.weights[-1][:] = 0.0

    def forward(self, cup: Array) -> Activity:
        """Activity for a seen cup (2,) m."""
        signal = self.cells.activity(cup)
        before, slope = [], []
        last = len(self.weights) - 1
        for k, weight in enumerate(self.weights):
            # The constant 1 for the bias stands at the end.
            with_bias = np.ones(len(signal) + 1)
            with_bias[:-1] = signal
            before.append(with_bias)
            drive = weight @ with_bias
            signal = drive if k == last else np.tanh(drive)
            slope.append(np.ones_like(drive) if k == last else 1.0 - signal * signal)
        return Activity(tuple(before), tuple(slope), signal)

    def change(self, activity: Activity, modulators: list[Array], rate: float) -> None:
        """Change every weight by rate x modulator_j x eligibility_ij, each layer normalised by its input power.

        Normalised steps (Nagumo and Noda 1967) let a rate mean the same share of the error corrected whatever the
        size of a layer; the layers share the step.

        Args:
            activity: the pass to which the change is credited.
            modulators: one (fan_out,) vector a layer, from a rule.
            rate: share of the error to correct in one step.
        """
        share = rate / len(self.weights)
        for weight, before, slope, modulator in zip(
            self.weights, activity.before, activity.slope, modulators, strict=True
        ):
            eligible = modulator * slope
            weight += (share / float(before @ before)) * np.outer(eligible, before)
