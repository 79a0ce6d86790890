"""The modules between two layers: propagate a change through them, and recompute their output.

During learning, a change is propagated through the operations that autograd recorded, with the dropout masks and batch
statistics of the forward pass. Only `agents.rules.assign` recomputes modules, with the random numbers and in the mode
of the forward pass, without changing their buffers.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.autograd import Function
from torch.autograd.function import BackwardCFunction
from torch.func import functional_call

Tensor = torch.Tensor
# A node of autograd's graph and the index of one of its outputs.
Edge = tuple[Any, int]
RANDOM_MODULES = nn.modules.dropout._DropoutNd, nn.RReLU


@dataclass(frozen=True)
class Conditions:
    """The conditions, apart from its input, that determine the output of a module.

    Attributes:
        training: training mode of the module and of each module inside it.
        random: states of torch's generators by device, if the module may draw random numbers.
    """

    training: tuple[bool, ...]
    random: dict[torch.device, Tensor]


def needs_conditions(module: nn.Module) -> bool:
    """Return whether a module may draw random numbers, has buffers, or is not torch's own."""
    return any(True for _ in module.buffers()) or any(
        isinstance(inner, RANDOM_MODULES) or not type(inner).__module__.startswith("torch.nn.")
        for inner in module.modules()
    )


def conditions_of(module: nn.Module, value: Tensor) -> Conditions:
    """Return the present conditions of a module that is about to be called with a value."""
    training = tuple(inner.training for inner in module.modules())
    return Conditions(training, random_states(value.device) if any(training) else {})


def random_states(device: torch.device) -> dict[torch.device, Tensor]:
    """Return the states of the generators that operations on a device draw from."""
    states = {torch.device("cpu"): torch.get_rng_state()}
    if device.type not in ("cpu", "meta"):
        states[device] = torch.get_device_module(device).get_rng_state(device)
    return states


def set_random_states(states: dict[torch.device, Tensor]) -> None:
    """Set the states that `random_states` returned."""
    for device, state in states.items():
        if device.type == "cpu":
            torch.set_rng_state(state)
        else:
            torch.get_device_module(device).set_rng_state(state, device)


def keep_random_states(device: torch.device) -> AbstractContextManager[None]:
    """Return a context manager that restores the random generators of a device at its end."""
    if device.type in ("cpu", "meta"):
        return torch.random.fork_rng(devices=[])
    return torch.random.fork_rng([device.index or 0], device_type=device.type)


def recompute(module: nn.Module, value: Tensor, conditions: Conditions | None) -> Tensor:
    """Return the output of a module under the conditions of an earlier call, without changing its buffers or mode."""
    modules = list(module.modules())
    modes = [inner.training for inner in modules]
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    try:
        if conditions is not None:
            set_random_states(conditions.random)
            for inner, training in zip(modules, conditions.training, strict=True):
                inner.training = training
        output: Tensor = functional_call(module, buffers, (value,))
    finally:
        for inner, training in zip(modules, modes, strict=True):
            inner.training = training
    return output


def change_through(source: Edge, below: Any, zeros: Tensor, change: Tensor) -> Tensor:
    """Return the change of a layer's input for a change of the output of the layer below, by the recorded operations.

    The vector-Jacobian product J^T u is linear in u, so its own vector-Jacobian product with the change is J times the
    change. Nodes are called one by one, because autograd's engine would call the hooks of the tensors in between.

    Args:
        source: origin of the layer's input in autograd's graph.
        below: the pass of the layer below.
        zeros: zeros in the shape of the layer's input.
        change: change in the shape of the output of the layer below.
    """
    zeros.requires_grad_()
    with torch.enable_grad():
        product = _vector_jacobian_product(source, below, zeros)
    (moved,) = torch.autograd.grad(product, zeros, change.to(product.dtype))
    return moved


def _vector_jacobian_product(source: Edge, below: Any, vector: Tensor) -> Tensor:
    """Return J^T u at the output of the layer below, for a vector u at the source."""
    top, place = source
    # Depth-first search: `order` lists nodes as they finish, `leads` tells whether a node leads to the layer below.
    leads: dict[Any, bool] = {}
    order: list[Any] = []
    waiting = [(top, False)]
    while waiting:
        node, is_done = waiting.pop()
        layer_pass = getattr(node, "layer_pass", None)
        if is_done:
            leads[node] = any(leads.get(following, False) for following, _ in node.next_functions)
            order.append(node)
        elif layer_pass is not None:
            leads[node] = layer_pass is below
        elif node is not None and node not in leads:
            leads[node] = False
            waiting.append((node, True))
            waiting.extend((following, False) for following, _ in node.next_functions)
    # Signals at the outputs of each node, summed over the nodes that use these outputs.
    signals: dict[Any, list[Tensor | None]] = {top: [None] * (place + 1)}
    signals[top][place] = vector
    for node in reversed(order):
        if not leads[node] or node not in signals:
            continue
        outputs = signals.pop(node)
        outputs += [None] * (len(node._input_metadata) - len(outputs))
        act = node.apply if isinstance(node, BackwardCFunction) else node
        inputs = act(*outputs)
        inputs = inputs if isinstance(inputs, tuple) else (inputs,)
        for (following, number), signal in zip(node.next_functions, inputs, strict=True):
            if signal is None or not leads.get(following, False):
                continue
            sums = signals.setdefault(following, [])
            sums += [None] * (number + 1 - len(sums))
            before = sums[number]
            sums[number] = signal if before is None else before + signal
    ((product,),) = signals.values()
    assert product is not None
    return product


def in_own_backward_pass(act: Callable[[], None], device: torch.device) -> None:
    """Call a function in a separate backward pass on a device, nested in the present one.

    A separate pass is needed because activation checkpointing releases its saved tensors once per backward pass, and
    because within `torch.autograd.grad` nodes compute only the requested gradients.
    """
    with torch.enable_grad():
        anchor = torch.zeros((), requires_grad=True, device=device)
        torch.autograd.backward(_Nested.apply(anchor, act))  # type: ignore[no-untyped-call]


class _Nested(Function):
    @staticmethod
    def forward(ctx: Any, anchor: Tensor, act: Callable[[], None]) -> Tensor:
        ctx.act = act
        return anchor.clone()

    @staticmethod
    def backward(ctx: Any, *errors: Tensor) -> tuple[Tensor, None]:
        ctx.act()
        return errors[0], None
