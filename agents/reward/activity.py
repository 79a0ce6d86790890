"""Activities of the layers of an actor, and the modulators of its last update, for the display."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

if TYPE_CHECKING:
    from reach.snapshot import Route, Snapshot

COMMANDS = "commands"


class ActorInside:
    """Record the activities of an actor's layers in its latest step.

    It uses forward hooks and the gradients that the last update left, and changes no number.
    """

    def __init__(self, actors: Sequence[Sequence[nn.Module]], way: Route, input_name: str = "senses") -> None:
        """Register the hooks.

        Args:
            actors: linear and activation modules in forward order, of one actor or of several with the same layers;
                the first actor is the one that learns.
            way: the path of the error to the layers.
            input_name: name of the input of the first layer.
        """
        self._layers = [module for module in actors[0] if isinstance(module, nn.Linear)]
        self._way = way
        self._names = [input_name, *(f"hidden {k + 1}" for k in range(len(self._layers) - 1)), COMMANDS]
        self._activities: list[NDArray[np.float64]] = []
        for actor in actors:
            for place, module in enumerate(actor):
                first = place == 0
                module.register_forward_hook(
                    lambda module, inputs, output, first=first: self._record(module, inputs[0], output, first)
                )

    def _record(self, module: nn.Module, inputs: torch.Tensor, output: torch.Tensor, first: bool) -> None:
        if torch.is_grad_enabled():
            return  # a training batch
        if first:
            self._activities = [_row(inputs)]
        if isinstance(module, nn.Linear):
            self._activities.append(_row(output))
        else:
            self._activities[-1] = _row(output)

    def look(self, updates: int) -> Snapshot:
        """Return the activities of the latest step and the modulators of update number `updates`."""
        from reach.snapshot import ErrorPath, Layer, LayerSignal, Snapshot

        layers = tuple(Layer(name, activity) for name, activity in zip(self._names, self._activities, strict=False))
        gradients = [layer.bias.grad for layer in self._layers]
        if gradients[-1] is None or updates == 0:
            return Snapshot(layers=layers)
        # A modulator is the negative gradient of the loss.
        signals = [
            LayerSignal(name, np.zeros(len(layer.weight)) if grad is None else -_row(grad[None]))
            for name, layer, grad in zip(self._names[1:], self._layers, gradients, strict=True)
        ]
        return Snapshot(
            layers=layers,
            error_path=ErrorPath(self._way, signals[-1].modulator, tuple(signals), updates, label="policy gradient"),
        )


def _row(values: torch.Tensor) -> NDArray[np.float64]:
    """Return the first row of a batch."""
    row: NDArray[np.float64] = values.detach()[0].numpy(force=True).astype(np.float64)
    return row


def chain_of(*modules: Any) -> list[nn.Module]:
    """Return modules in forward order, with sequences unpacked."""
    return [layer for module in modules for layer in (module if isinstance(module, nn.Sequential) else (module,))]
