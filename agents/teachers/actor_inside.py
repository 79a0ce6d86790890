"""A look into the actor of Stable-Baselines3's policies: its layers as they act, and what the last update told them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

if TYPE_CHECKING:
    from reach.snapshot import Inside, Way

COMMANDS = "commands"


class ActorInside:
    """Keeps what the layers of an actor gave in its latest step, from the first look on.

    Looking changes no number: it listens, and reads the gradients that the last update has left.
    """

    def __init__(self, actors: Sequence[Sequence[nn.Module]], way: Way, heard: str = "senses") -> None:
        """Listen.

        Args:
            actors: modules in the order in which they act, linear ones and activations; of one actor or of several of
                the same layers, of which the first is the one that learns.
            way: on which an error comes to the layers.
            heard: name of what the first layer hears.
        """
        self._layers = [module for module in actors[0] if isinstance(module, nn.Linear)]
        self._way = way
        self._names = [heard, *(f"hidden {k + 1}" for k in range(len(self._layers) - 1)), COMMANDS]
        self._given: list[NDArray[np.float64]] = []
        for actor in actors:
            for place, module in enumerate(actor):
                first = place == 0
                module.register_forward_hook(
                    lambda module, inputs, output, first=first: self._listen(module, inputs[0], output, first)
                )

    def _listen(self, module: nn.Module, given: torch.Tensor, output: torch.Tensor, first: bool) -> None:
        if torch.is_grad_enabled():
            return  # a batch to learn from
        if first:
            self._given = [_row(given)]
        if isinstance(module, nn.Linear):
            self._given.append(_row(output))
        else:
            self._given[-1] = _row(output)

    def look(self, updates: int) -> Inside:
        """What the layers gave in the latest step, and what they were told in the last of so many updates."""
        from reach.snapshot import Arrival, Inside, Layer, Travel

        layers = tuple(Layer(name, given) for name, given in zip(self._names, self._given, strict=False))
        told = [layer.bias.grad for layer in self._layers]
        if told[-1] is None or updates == 0:
            return Inside(layers=layers)
        # Against the gradient of a loss.
        arrivals = [
            Arrival(name, np.zeros(len(layer.weight)) if grad is None else -_row(grad[None]))
            for name, layer, grad in zip(self._names[1:], self._layers, told, strict=True)
        ]
        return Inside(
            layers=layers,
            travel=Travel(self._way, arrivals[-1].told, tuple(arrivals), updates, what="policy gradient"),
        )


def _row(values: torch.Tensor) -> NDArray[np.float64]:
    """The first of a batch."""
    row: NDArray[np.float64] = values.detach()[0].numpy(force=True).astype(np.float64)
    return row


def chain_of(*modules: Any) -> list[nn.Module]:
    """Modules in the order in which they act, those of sequences one by one."""
    return [one for module in modules for one in (module if isinstance(module, nn.Sequential) else (module,))]
