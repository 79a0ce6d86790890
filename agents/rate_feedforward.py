"""A feed-forward part of rate cells, whose synapses change by any rule of `agents.rules.feedback`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.func import functional_call

from agents.costs import Costs, Multiplications
from agents.feedforward import JOINTS, Array, Plastic, Sees, SensoryCells
from agents.rules.alignment import alignment_degrees
from agents.rules.feedback import feedback_rule
from agents.rules.layers import RuledLayer, RuledLinear
from agents.rules.wiring import assign_rule

if TYPE_CHECKING:
    from agents.reaching.controller import Controller
    from reach.render.inside import Inside, Layer, Travel

HEAD = "posture"
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
    """Sensory cells, then layers of rate cells under a rule.

    Attributes:
        network: the layers, in order.
        plastic: "all", or "hidden" where the read-out stays as it is.
    """

    def __init__(
        self,
        rule: str,
        cells: SensoryCells,
        network: nn.Sequential,
        rng: np.random.Generator,
        *,
        aligning: bool = False,
        sees: Sees = "cup",
    ) -> None:
        """Put a network under a rule.

        Args:
            rule: one of `agents.rules.feedback.FEEDBACK_RULES`.
            cells: the sensory cells.
            network: from their activity (..., cells.size) to changes of posture (..., 3) rad, in double precision; its
                last layer is the read-out.
            rng: source of the feedback matrices.
            aligning: let weights decay while all are plastic, so that the read-out aligns with the feedback.
            sees: what the sensory cells are given.

        Raises:
            ValueError: an unknown rule, or a network that it does not cover.
        """
        self.cells = cells
        self.sees: Sees = sees
        self.waits_for_launch = sees == "picture"
        self.network = network
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        example = torch.zeros((1, cells.size), device="cpu", dtype=torch.float64)
        (self._ruled,) = assign_rule(
            network, rule, {HEAD: [network]}, generator=generator, example=example, updates_feedback=True
        )
        self._decay = ALIGNING_DECAY if aligning else 0.0
        self.plastic: Plastic = "all"
        self._plain = _plain_layers(network)
        self._costs = Costs()
        self._steps_macs: dict[Plastic, int] = {}
        with torch.no_grad(), Multiplications() as counted:
            network(example)
        self._pass_macs = counted.count
        first = self._plastic_layers()[0]
        # By how much less one silent input is, where each goes to every cell of the first layer.
        self._silent_share = first.out_features if isinstance(first, RuledLinear) else 0
        self._way = feedback_rule(rule).way
        # What the last error told each layer that hears of it, kept for those who look; and how many there have been.
        self._told: tuple[Array, dict[RuledLayer, Array]] | None = None
        self._errors = 0
        self._is_looked_into = False
        # What was shown of the inside last, and for which sight and error.
        self._layers: tuple[Array | None, int, tuple[Layer, ...]] | None = None

    def begin(self) -> Glimpse:
        """Nothing has been seen yet."""
        return Glimpse()

    def posture(self, state: Glimpse, seen: Array) -> Array:
        """One forward pass, unless the very same was seen in the step before."""
        if state.seen is not seen:
            state.seen, state.activity = seen, self.cells.activity(seen)
            state.posture = self._forward(state.activity)
            silent = self._silent_share * (state.activity.size - np.count_nonzero(state.activity))
            self._costs.add(dense_operations=self._pass_macs, effective_macs=self._pass_macs - silent)
        return state.posture

    def eligibility(self, state: Glimpse) -> Array:
        """The present input: from it and the weights follow input times slope of every layer."""
        return state.activity

    def change(self, eligible: Array, error: Array, rate: float) -> None:
        """One step by the rule, each layer normalised so that the rate is a share of its error; the layers share it.

        Normalised steps (Nagumo and Noda 1967) let a rate mean the same share of the error corrected whatever the size
        of a layer (`step_power`). Hidden synapses move the posture through the read-out; where they learn alone, their
        step is normalised by what it does to the posture, whichever way the rule turns it.
        """
        seen = _own(eligible)[None]
        lacking = _own(error)[None]
        inputs: dict[RuledLayer, torch.Tensor] = {}
        posture = seen
        for module in self.network:
            if isinstance(module, RuledLayer):
                inputs[module] = posture.detach()
            posture = module(posture)
        plastic = self._plastic_layers()
        values = [value for layer in plastic for value in layer.parameters()]
        # The error is what the posture lacked: the step goes along it, where a gradient would go against a loss.
        steps = torch.autograd.grad(posture, values, lacking, allow_unused=True)
        self._errors += 1
        if self._is_looked_into:
            told = zip(plastic, steps[1::2], strict=True)
            self._told = error, {layer: step.numpy().copy() for layer, step in told if step is not None}
        with torch.no_grad():
            changes: list[Change] = []
            for layer, weight_step, bias_step in zip(plastic, steps[::2], steps[1::2], strict=True):
                if weight_step is None or not bool(torch.any(bias_step)):
                    continue
                power = len(plastic) * step_power(layer, inputs[layer], weight_step, bias_step)
                for value, step in zip(layer.parameters(), (weight_step, bias_step), strict=True):
                    changes.append((value, step, power))
            if self.plastic == "hidden" and changes:
                _make(changes, PROBE)
                moved = float((self.network(seen) - posture).norm()) / PROBE
                _make(changes, -PROBE)
                rate *= min(float(lacking.norm()) / max(moved, 1e-12), LARGEST_GAIN)
            with self._ruled.updating_feedback():
                _make(changes, rate)
                if self.plastic == "all" and self._decay > 0.0:
                    for weight, _, _ in changes[::2]:
                        weight.mul_(1.0 - self._decay)
            self._costs.add(
                weight_updates=sum(value.numel() for value, _, _ in changes), learning_macs=self._step_macs(seen)
            )

    def settle(self, body: Controller, practice_rate: float) -> None:
        """Learning goes on as before."""

    def alignment(self) -> dict[str, float]:
        """Angle, degrees, between the last step and the true gradient, by hidden layer."""
        return alignment_degrees([self._ruled])

    def inside(self, state: Glimpse) -> Inside:
        """Activities of all layers for what was seen last, and how the last error since the first look came to them."""
        from reach.snapshot import Inside

        self._is_looked_into = True
        if self._layers is None or self._layers[0] is not state.seen or self._layers[1] != self._errors:
            self._layers = state.seen, self._errors, self._activities(state)
        return Inside(layers=self._layers[2], travel=self._travel())

    def _activities(self, state: Glimpse) -> tuple[Layer, ...]:
        from reach.snapshot import Layer

        # Until something has been seen in a reach, the senses are silent.
        activity = np.zeros(self.cells.size) if state.seen is None else state.activity
        found = [activity]
        with torch.no_grad():
            value = _own(activity)
            for module in self.network:
                if isinstance(module, RuledLayer):
                    found.append(activity)
                value = module(value)
                found[-1] = value.flatten().numpy() if len(found) > 1 else found[-1]
        return tuple(Layer(name, values) for name, values in zip(["senses", *self._names()], found, strict=True))

    def _travel(self) -> Travel | None:
        from reach.snapshot import Arrival, Travel

        if self._told is None:
            return None
        error, told = self._told
        layers = [layer for layer in self.network if isinstance(layer, RuledLayer)]
        arrivals = [
            Arrival(name, told[layer] if layer in told else np.zeros(len(layer.weight)))
            for name, layer in zip(self._names(), layers, strict=True)
        ]
        return Travel(self._way, error, tuple(arrivals), self._errors)

    def _names(self) -> list[str]:
        hidden = sum(isinstance(layer, RuledLayer) for layer in self.network) - 1
        return [f"hidden {k}" for k in range(1, hidden + 1)] + ["posture"]

    def arrays(self) -> dict[str, Array]:
        """Weights and feedback matrices, views."""
        return {name: value.numpy() for name, value in self.network.state_dict().items()}

    def limits(self) -> dict[str, tuple[float, float]]:
        """Any finite number is valid."""
        return {}

    def _forward(self, activity: Array) -> Array:
        """What the network gives; of plain layers without torch, whose calls take longer than so few products."""
        if self._plain is None:
            with torch.no_grad():
                found: Array = self.network(_own(activity)).numpy()
            return found
        value = activity
        for weight, bias in self._plain[:-1]:
            value = np.tanh(weight @ value + bias)
        weight, bias = self._plain[-1]
        posture: Array = weight @ value + bias
        return posture

    def cost(self) -> dict[str, float]:
        """Counts so far, by the names of `agents.costs`."""
        return dict(self._costs.counts)

    def _step_macs(self, seen: torch.Tensor) -> int:
        """Multiply-accumulates of one step by the rule, beyond the forward pass; counted once for each `plastic`."""
        if self.plastic not in self._steps_macs:
            values = [value for layer in self._plastic_layers() for value in layer.parameters()]
            with torch.enable_grad(), Multiplications() as counted:
                posture = self.network(seen)
                torch.autograd.grad(posture, values, torch.ones_like(posture), allow_unused=True)
            self._steps_macs[self.plastic] = counted.count - self._pass_macs
        return self._steps_macs[self.plastic]

    def _plastic_layers(self) -> list[RuledLayer]:
        layers = [layer for layer in self.network if isinstance(layer, RuledLayer)]
        return layers[:-1] if self.plastic == "hidden" else layers


def _plain_layers(network: nn.Sequential) -> list[tuple[Array, Array]] | None:
    """Weights and biases, views, of linear layers with hyperbolic tangents between them; None for other networks."""
    kinds = [nn.Linear if place % 2 == 0 else nn.Tanh for place in range(len(network))]
    if len(network) % 2 == 0 or not all(isinstance(one, kind) for one, kind in zip(network, kinds, strict=True)):
        return None
    layers = [one for one in network if isinstance(one, nn.Linear)]
    return [(one.weight.detach().numpy(), one.bias.detach().numpy()) for one in layers]


def step_power(layer: RuledLayer, value: torch.Tensor, weight_step: torch.Tensor, bias_step: torch.Tensor) -> float:
    """By what a layer's step is divided, so that it brings its cells' drive as near as it can to what is asked of them.

    With x a kernel's input and d the modulator times slope, at each place where the kernel is laid, the step is
    dW = sum d x^T and db = sum d over the places, and changes the drives by y = dW x + db. |d - y / p|^2 is least for
    p = |y|^2 / <d, y> = |y|^2 / (|dW|^2 + |db|^2). A linear layer has one place: there y = (1 + |x|^2) d, so that
    p = 1 + |x|^2, and nothing of d is left. A kernel that meets like inputs with other modulators elsewhere cannot
    satisfy all, and what they have in common is counted once.

    Args:
        layer: whose step it is.
        value: its input (1, ...).
        weight_step, bias_step: in the shapes of weights and biases, not all 0.
    """
    if isinstance(layer, RuledLinear):
        return 1.0 + float(value.square().sum())
    change = functional_call(layer, {"weight": weight_step, "bias": bias_step}, (value,))
    return float(change.square().sum() / (weight_step.square().sum() + bias_step.square().sum()))


def _own(values: Array) -> torch.Tensor:
    """A copy that lies where torch lays its own: the last bits of a product may differ by where an array lies."""
    return torch.tensor(values, device="cpu")


def _make(changes: list[Change], rate: float) -> None:
    """Add a share of every step to its value."""
    for value, step, power in changes:
        value.add_(step, alpha=rate / power)
