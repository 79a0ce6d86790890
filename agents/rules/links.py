"""The modules between two layers: propagate a change through them, and recompute their output.

Modules are computed again with the random numbers and in the mode of the forward pass, hence with its dropout masks and
batch statistics, without changing their buffers. Autograd's graph tells from which layers a value came.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn
from torch.func import functional_call

Tensor = torch.Tensor
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


class _WithoutHooks(nn.Module):
    """A module whose hooks are not called."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, value: Tensor) -> Tensor:
        return cast(Tensor, self.module.forward(value))


def recompute(module: nn.Module, value: Tensor, conditions: Conditions | None) -> Tensor:
    """Return the output of a module under the conditions of an earlier call, without changing its buffers or mode."""
    modules = list(module.modules())
    modes = [inner.training for inner in modules]
    module = _WithoutHooks(module)
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


def change_through(
    link: Sequence[nn.Module], conditions: Sequence[Conditions | None], value: Tensor, change: Tensor
) -> Tensor:
    """Return the change of the output of the modules of a link for a change of their input.

    Args:
        link: the modules, in order.
        conditions: conditions of each module in the forward pass; None for a module that needs none.
        value, change: input of the first module, and its change.
    """

    def output(value: Tensor) -> Tensor:
        # A copy, because the first module may work in place.
        value = value.clone()
        for module, condition in zip(link, conditions, strict=True):
            value = recompute(module, value, condition)
        return value

    with keep_random_states(value.device):
        _, moved = torch.autograd.functional.jvp(output, value, change.to(value.dtype))  # type: ignore[no-untyped-call]
    return cast(Tensor, moved)


def passes_before(value: Tensor, network: object) -> tuple[Any, ...]:
    """Return the passes (`LayerPass`) of the nearest layers of a network from which a tensor was computed."""
    passes: list[Any] = []
    known: set[Any] = set()
    waiting: list[Any] = [value.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in known:
            continue
        known.add(node)
        layer_pass = getattr(node, "layer_pass", None)
        if layer_pass is None:
            waiting.extend(following for following, _ in node.next_functions)
        elif layer_pass.layer.place.network is network:
            passes.append(layer_pass)
    return tuple(passes)


def autocast_dtype(value: Tensor) -> torch.dtype | None:
    """Return the dtype of autocast on a tensor's device; None if autocast is off."""
    kind = value.device.type
    if not torch.amp.is_autocast_available(kind) or not torch.is_autocast_enabled(kind):
        return None
    return torch.get_autocast_dtype(kind)


def lowered(value: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a tensor in the dtype of autocast; tensors of double precision or integers stay unchanged."""
    return value.to(dtype) if value.is_floating_point() and value.dtype != torch.float64 else value
