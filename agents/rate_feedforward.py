"""A feed-forward part of rate cells, whose synapses change by any rule of `agents.rules.feedback`."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from agents.feedforward import JOINTS, Array, Plastic, Sees, SensoryCells
from agents.networks.mlp import mlp
from agents.networks.place_cells import PlaceCells
from agents.rules.alignment import alignment_degrees
from agents.rules.layers import RuledLayer
from agents.rules.wiring import assign_rule

HEAD = "posture"
HIDDEN_CELLS = (128, 128)
# Share of each weight that is forgotten with every step of a network that is to align; without it the read-out keeps
# what it learned from random hidden cells, and the feedback has nothing to do with it (Song, Xu and Lafferty 2021,
# NeurIPS 34, "Convergence and alignment of gradient descent with random backpropagation weights").
ALIGNING_DECAY = 5e-4
# Share of a step by which its effect on the posture is probed, and the most that a step without much of it is enlarged.
PROBE = 1e-4
LARGEST_GAIN = 1000.0
# A value, its step by the rule, and what the step is divided by.
Change = tuple[torch.Tensor, torch.Tensor, float]


@dataclass
class Glimpse:
    """What was seen last, what the sensory cells made of it, and the posture (3,) rad that followed."""

    seen: Array | None = None
    activity: Array = field(default_factory=lambda: np.zeros(0))
    posture: Array = field(default_factory=lambda: np.zeros(JOINTS))


class RateFeedForward:
    """Sensory cells, then an MLP under a rule.

    Attributes:
        network: the layers, in order.
        plastic: "all", or "hidden" where the read-out stays as it is.
    """

    def __init__(
        self,
        rule: str,
        rng: np.random.Generator,
        *,
        aligning: bool = False,
        hidden: tuple[int, ...] = HIDDEN_CELLS,
        cells: SensoryCells | None = None,
        sees: Sees = "cup",
    ) -> None:
        """Make the network and put it under its rule.

        Args:
            rule: one of `agents.rules.feedback.FEEDBACK_RULES`.
            rng: source of weights, and then of the feedback matrices.
            aligning: let weights decay while all are plastic, so that the read-out aligns with the feedback.
            hidden: cells in each hidden layer.
            cells: the sensory cells before them; place cells of the cup without a word.
            sees: what those cells are given.

        Raises:
            ValueError: an unknown rule, or hidden layers that are not allowed.
        """
        self.cells = PlaceCells() if cells is None else cells
        self.sees: Sees = sees
        self.network = mlp(self.cells.size, hidden, JOINTS, rng)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        self._ruled = assign_rule(self.network, rule, {HEAD: [self.network]}, generator=generator)
        self._decay = ALIGNING_DECAY if aligning else 0.0
        self.plastic: Plastic = "all"

    def begin(self) -> Glimpse:
        """Nothing has been seen yet."""
        return Glimpse()

    def posture(self, state: Glimpse, seen: Array) -> Array:
        """One forward pass, unless the very same was seen in the step before."""
        if state.seen is not seen:
            state.seen, state.activity = seen, self.cells.activity(seen)
            with torch.no_grad():
                state.posture = self.network(torch.from_numpy(state.activity)).numpy()
        return state.posture

    def eligibility(self, state: Glimpse) -> Array:
        """The present input: from it and the weights follow input times slope of every layer."""
        return state.activity

    def change(self, eligible: Array, error: Array, rate: float) -> None:
        """One step by the rule, each layer normalised by its input power; the layers share it.

        Normalised steps (Nagumo and Noda 1967) let a rate mean the same share of the error corrected whatever the size
        of a layer. For a read-out the input power is what its step does to the posture. Hidden synapses act through
        the read-out; where they learn alone, their step is normalised by what it does to the posture too, whichever
        way the rule turns it.
        """
        seen = torch.from_numpy(eligible)[None]
        lacking = torch.from_numpy(error)[None]
        posture = self.network(seen)
        plastic = self._plastic_layers()
        values = [value for layer in plastic for value in layer.parameters()]
        # The error is what the posture lacked: the step goes along it, where a gradient would go against a loss.
        steps = torch.autograd.grad(posture, values, lacking, allow_unused=True)
        with torch.no_grad():
            changes: list[Change] = []
            for layer, weight_step, bias_step in zip(plastic, steps[::2], steps[1::2], strict=True):
                if weight_step is None or not bool(torch.any(bias_step)):
                    continue
                # With d the modulator times the slope of the cells, these steps are d x^T and d.
                power = 1.0 + float(weight_step.square().sum() / bias_step.square().sum())
                for value, step in zip(layer.parameters(), (weight_step, bias_step), strict=True):
                    changes.append((value, step, len(plastic) * power))
            if self.plastic == "hidden" and changes:
                _make(changes, PROBE)
                moved = float((self.network(seen) - posture).norm()) / PROBE
                _make(changes, -PROBE)
                rate *= min(float(lacking.norm()) / max(moved, 1e-12), LARGEST_GAIN)
            _make(changes, rate)
            if self.plastic == "all":
                for weight, _, _ in changes[::2]:
                    weight.mul_(1.0 - self._decay)

    def alignment(self) -> dict[str, float]:
        """Angle, degrees, between the last step and the true gradient, by hidden layer."""
        return alignment_degrees(self._ruled)

    def arrays(self) -> dict[str, Array]:
        """Weights and feedback matrices, views."""
        return {name: value.numpy() for name, value in self.network.state_dict().items()}

    def _plastic_layers(self) -> list[RuledLayer]:
        layers = [layer for layer in self.network if isinstance(layer, RuledLayer)]
        return layers[:-1] if self.plastic == "hidden" else layers


def _make(changes: list[Change], rate: float) -> None:
    """Add a share of every step to its value."""
    for value, step, power in changes:
        value.add_(step, alpha=rate / power)
