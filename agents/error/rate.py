"""Feed-forward networks of rate cells: sensory cells, then torch layers whose synapses change by a `LayerRule`.

A learner that takes a step after each reach computes small products, for which autograd's overhead exceeds the
arithmetic. `chain_steps` therefore computes the steps of a chain of linear layers with tanh between them without
autograd. The rules are called as in a backward pass, with `ChainPass` objects that compute the slope of the cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from agents.error.feedforward import Array, FeedForward, SensoryCells, forward_pass, rms
from agents.networks.registry import JOINTS, Sees
from agents.networks.sensory_cells import PlaceCells
from agents.registry import Plastic
from agents.rules.assign import alignment_degrees, assign_rule
from agents.rules.layers import LayerPass, RuledLayer, RuledLinear, layers_of
from agents.rules.rule import LayerRule
from reach.snapshot import ErrorPath, Layer, LayerSignal, Snapshot

# Name of the read-out.
HEAD = "posture"


class StepArguments(NamedTuple):
    """The arguments of `RuledLayer.take_step`, except the share, and the layer."""

    layer: RuledLayer
    value: torch.Tensor
    weight_step: torch.Tensor | None
    bias_step: torch.Tensor


@dataclass(eq=False, slots=True)
class ChainPass(LayerPass):
    """Pass of one layer of a chain.

    Attributes:
        value: (1, inputs), the layer's input, that is, the tanh outputs of the cells below.
    """

    value: torch.Tensor = field(default_factory=lambda: torch.zeros(0))

    def input_change(self, below: LayerPass, change: torch.Tensor) -> torch.Tensor:
        """Return the change of this layer's input for a change of the drive of the cells below."""
        return cast(torch.Tensor, torch.ops.aten.tanh_backward(change, self.value))


def is_chain(network: nn.Sequential) -> bool:
    """Return whether a network consists of linear layers with tanh between them."""
    kinds = [nn.Linear if place % 2 == 0 else nn.Tanh for place in range(len(network))]
    return len(network) % 2 == 1 and all(map(isinstance, network, kinds))


@torch.no_grad()
def chain_steps(network: nn.Sequential, value: torch.Tensor, error: torch.Tensor) -> list[StepArguments]:
    """Return the step of each layer that receives an error, from the head down.

    Args:
        network: a chain (see `is_chain`) under a rule.
        value: (1, inputs), input of the network.
        error: (1, outputs), error at the network's output.
    """
    passes: list[ChainPass] = []
    for layer in layers_of(tuple(network)):
        drive = layer.output(value, layer.weight, cast(RuledLinear, layer).bias)
        layer_pass = ChainPass(layer, tuple(passes[-1:]), exact=False, weight=layer.weight.detach(), value=value)
        layer_pass.input_shape, layer_pass.output_shape = value.shape, drive.shape
        passes.append(layer_pass)
        value = torch.tanh(drive)
    steps = []
    for layer_pass in reversed(passes):
        steps.append(StepArguments(layer_pass.layer, layer_pass.value, None, error[0]))
        modulator = layer_pass.receive_error(error, layer_pass.value, signal_wanted=bool(layer_pass.before))
        if modulator is None:
            break
        error = layer_pass.input_change(layer_pass, modulator)
    return steps


@dataclass
class ForwardCache:
    """The latest visual input with the resulting activity of the sensory cells and posture (3,) rad.

    With pictures, the visual input stays the same array from the launch on, so a reach needs one forward pass only.
    """

    visual_input: Array | None = None
    activity: Array = field(default_factory=lambda: np.zeros(0))
    posture: Array = field(default_factory=lambda: np.zeros(JOINTS))


class RateFeedForward(FeedForward):
    """Sensory cells, then layers of rate cells under a rule.

    Attributes:
        network: the layers, in order.
    """

    def __init__(
        self,
        rule: str | LayerRule,
        cells: SensoryCells,
        network: nn.Sequential,
        rng: np.random.Generator,
        *,
        sees: Sees = "cup",
    ) -> None:
        """Put a network under a rule.

        Args:
            rule: a rule for layers, or its name.
            cells: the sensory cells.
            network: maps activities (..., cells.size) to changes of posture (..., 3) rad, in double precision; the last
                layer is the read-out.
            rng: generator of the feedback matrices.
            sees: the visual input of the sensory cells, "cup" or "picture".

        Raises:
            ValueError: the rule is unknown or does not cover the network.
        """
        super().__init__()
        self.cells = cells
        self.sees = sees
        self.waits_for_launch = sees == "picture"
        self.network = network
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        example = torch.zeros((1, cells.size), device="cpu", dtype=torch.float64)
        (self._ruled,) = assign_rule(
            network, rule, {HEAD: [network]}, generator=generator, example=example, updates_feedback=True
        )
        self._is_chain = is_chain(network)
        if self._is_chain:
            # Store the transpose contiguously: compiled code reads it, and its loops over cells vectorise.
            for layer in self._ruled_layers().values():
                layer.weight.data = layer.weight.data.t().contiguous().t()
        self._steps_macs: dict[Plastic, int] = {}
        with torch.no_grad(), FlopCounterMode(display=False) as counted:
            network(example)
        # torch counts a multiply-accumulate as two operations.
        self._pass_macs = counted.get_total_flops() // 2
        first = self._plastic_layers()[0]
        # Multiply-accumulates saved by a silent input: in a linear first layer every input feeds every cell.
        self._silent_share = first.out_features if isinstance(first, RuledLinear) else 0
        # For snapshots: the last error, modulator times slope of each layer that received it, and the number of errors.
        self._modulators: tuple[Array, dict[RuledLayer, Array]] | None = None
        self._errors = 0

    def begin(self) -> ForwardCache:
        """Return an empty cache."""
        return ForwardCache()

    @property
    def is_compiled(self) -> bool:
        """Return whether the network has place cells and linear layers with tanh between them."""
        return self._is_chain and isinstance(self.cells, PlaceCells)

    def compiled(self, state: ForwardCache, lamps: Array) -> tuple[Any, Any, Any]:
        """Return the arguments of compiled code; its place cells write to the cache's activity."""
        assert isinstance(self.cells, PlaceCells)
        place_cells = self.cells.compiled(lamps)
        state.activity = place_cells[-1]
        return place_cells, self._compiled_layers(), None

    def end_play(self, state: ForwardCache, steps: int) -> None:
        """Count the forward passes of a reach in compiled code."""
        state.visual_input = state.activity
        self._count_passes(state.activity, steps)

    def posture(self, state: ForwardCache, visual_input: Array) -> Array:
        """Return the posture (3,) rad by a forward pass; return the cached one if `visual_input` is the same array."""
        if state.visual_input is not visual_input:
            state.visual_input, state.activity = visual_input, self.cells.activity(visual_input)
            state.posture = self._forward(state.activity)
            self._count_passes(state.activity, 1)
        return state.posture

    def _count_passes(self, activity: Array, passes: int) -> None:
        """Count the operations of forward passes with as many silent inputs as `activity` has."""
        silent = self._silent_share * (activity.size - np.count_nonzero(activity))
        self._count(dense_operations=passes * self._pass_macs, effective_macs=passes * (self._pass_macs - silent))

    def eligibility(self, state: ForwardCache) -> Array:
        """Return a copy of the present activity (size,) of the sensory cells, from which `change` repeats the pass."""
        return state.activity.copy()

    def change(self, eligible: Array, error: Array, rate: float) -> None:
        """Take one normalised step by the rule.

        The modulators of every layer are scaled to the root mean square of the error, so that no rule learns faster
        because its signals are larger. Normalised steps (Nagumo and Noda 1967, IEEE Trans. Automatic Control 12:282)
        give a rate the same meaning for layers of any size (`RuledLayer.take_step`). The layers share the rate.

        Args:
            eligible: (cells.size,), the activity of the sensory cells.
            error: (3,) rad, desired minus actual posture; the step goes along the error, not against it.
            rate: share of the error to correct.
        """
        if not np.any(error):
            return
        activity, lacking = _as_tensor(eligible)[None], _as_tensor(error)[None]
        self._ruled.modulator_rms = rms(error)
        steps = chain_steps(self.network, activity, lacking) if self._is_chain else self._steps(activity, lacking)
        plastic = self._plastic_layers()
        steps = [step for step in steps if step.layer in plastic and bool(torch.any(step.bias_step))]
        self._errors += 1
        # The step of a bias is modulator times slope of its cell.
        self._modulators = error, {step.layer: step.bias_step.numpy().copy() for step in steps}
        with torch.no_grad(), self._ruled.updating_feedback():
            for step in steps:
                step.layer.take_step(step.value, step.weight_step, step.bias_step, rate / len(plastic))
        changed = sum(parameter.numel() for step in steps for parameter in step.layer.parameters())
        self._count(weight_updates=changed, learning_macs=self._step_macs(activity))
        for step in steps:
            self._count(**self._ruled.rule.added_cost(step.layer))

    def _steps(self, value: torch.Tensor, error: torch.Tensor) -> Iterator[StepArguments]:
        """Yield the step, computed by autograd, of each plastic layer that the error (1, outputs) reaches."""
        inputs: dict[RuledLayer, torch.Tensor] = {}
        for module in self.network:
            if isinstance(module, RuledLayer):
                inputs[module] = value.detach()
            value = module(value)
        plastic = self._plastic_layers()
        parameters = [parameter for layer in plastic for parameter in layer.parameters()]
        gradients = torch.autograd.grad(value, parameters, error, allow_unused=True)
        for layer, weight, bias in zip(plastic, gradients[::2], gradients[1::2], strict=True):
            if weight is not None:
                yield StepArguments(layer, inputs[layer], weight, bias)

    def alignment(self) -> dict[str, float]:
        """Return the angle in degrees between the last step and the gradient, by hidden layer."""
        names = {layer.place.name: name for name, layer in self._ruled_layers().items()}
        return {names[layer]: degrees for layer, degrees in alignment_degrees([self._ruled]).items()}

    def weights(self) -> dict[str, Array]:
        """Return views of the weights of each layer, by name."""
        return {name: layer.weight.detach().numpy() for name, layer in self._ruled_layers().items()}

    def synapses(self) -> dict[str, Array]:
        """Return views of weights and biases, by name."""
        return {name: value.detach().numpy() for name, value in self.network.named_parameters()}

    def snapshot(self, state: ForwardCache) -> Snapshot:
        """Return the activities of all layers for the latest visual input, and the path of the last error."""
        # The sensory cells are silent before the first visual input of a reach.
        activity = np.zeros(self.cells.size) if state.visual_input is None else state.activity
        activities = [activity]
        with torch.no_grad():
            value = _as_tensor(activity)
            for module in self.network:
                if isinstance(module, RuledLayer):
                    activities.append(activity)
                value = module(value)
                # Modules before the first layer only reshape the input.
                activities[-1] = value.flatten().numpy() if len(activities) > 1 else activity
        names = ["senses", *self._ruled_layers()]
        layers = tuple(Layer(name, values) for name, values in zip(names, activities, strict=True))
        return Snapshot(layers=layers, error_path=self._error_path())

    def _error_path(self) -> ErrorPath | None:
        if self._modulators is None:
            return None
        error, modulators = self._modulators
        signals = [
            LayerSignal(name, modulators[layer] if layer in modulators else np.zeros(len(layer.weight)))
            for name, layer in self._ruled_layers().items()
        ]
        return ErrorPath(self._ruled.rule.route, error, tuple(signals), self._errors)

    def _ruled_layers(self) -> dict[str, RuledLayer]:
        """Return the layers by name in forward order: "hidden 1", "hidden 2" ... and HEAD."""
        layers = [layer for layer in self.network if isinstance(layer, RuledLayer)]
        names = [f"hidden {k}" for k in range(1, len(layers))] + [HEAD]
        return dict(zip(names, layers, strict=True))

    def arrays(self) -> dict[str, Array]:
        """Return views of weights and feedback matrices, by name."""
        return {name: value.numpy() for name, value in self.network.state_dict().items()}

    def _forward(self, activity: Array) -> Array:
        """Return the network's output (3,) rad; compiled code computes a chain of linear layers."""
        if not self._is_chain:
            with torch.no_grad():
                output: Array = self.network(_as_tensor(activity)).numpy()
            return output
        layers = self._compiled_layers()
        forward_pass(layers, activity)
        return layers[-1][-1]

    def _compiled_layers(self) -> tuple[tuple[Array, Array, Array], ...]:
        """Return `layers` of `forward_pass`: views of transposed weights and biases, and arrays for outputs."""
        layers = cast("list[RuledLinear]", list(self._ruled_layers().values()))
        arrays = [(layer.weight.detach().numpy().T, layer.bias.detach().numpy()) for layer in layers]
        return tuple((weight, bias, np.empty_like(bias)) for weight, bias in arrays)

    def _step_macs(self, activity: torch.Tensor) -> int:
        """Return the multiply-accumulates of a step, without the forward pass and `LayerRule.added_cost`.

        The number is computed once for each value of `plastic` and cached.
        """
        if self.plastic not in self._steps_macs:
            values = [value for layer in self._plastic_layers() for value in layer.parameters()]
            read_out = self._ruled_layers()[HEAD]
            # Autograd would also compute, and count, the gradient of a fixed read-out.
            read_out.requires_grad_(self.plastic == "all")
            with torch.enable_grad(), FlopCounterMode(display=False) as counted:
                posture = self.network(activity)
                torch.autograd.grad(posture, values, torch.ones_like(posture), allow_unused=True)
            read_out.requires_grad_()
            self._steps_macs[self.plastic] = counted.get_total_flops() // 2 - self._pass_macs
        return self._steps_macs[self.plastic]

    def _plastic_layers(self) -> list[RuledLayer]:
        layers = list(self._ruled_layers().values())
        return layers[:-1] if self.plastic == "hidden" else layers


def _as_tensor(values: Array) -> torch.Tensor:
    """Return a copy in torch's memory, because rounding of a product may depend on the alignment of the array."""
    return torch.tensor(values, device="cpu")
