"""The angle between what a rule does to a layer's weights and the true gradient.

Below 90 degrees a small step by the rule makes the error smaller (Lillicrap et al. 2016, Nature Communications
7:13276).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch

from agents.rules.wiring import RuledNetwork


def alignment_degrees(networks: Iterable[RuledNetwork]) -> dict[str, float]:
    """Angles at the input and the output errors of the latest backward pass, by name of layer.

    Args:
        networks: as `assign_rule` gave them.

    Returns:
        Degrees, 0..180, for every hidden layer whose weights the rule changed; empty before a backward pass. Heads,
        which take the error itself under every rule, are left out.
    """
    found: dict[str, float] = {}
    for network in networks:
        hidden = {name: layer.weight for name, layer in network.layers.items() if layer.wiring.head is None}
        hidden = {name: weight for name, weight in hidden.items() if weight.requires_grad}
        if network.last_input is None or not hidden:
            continue
        kept = network.last_input.detach(), dict(network.last_error)
        by_rule, true = (_steps(network, *kept, list(hidden.values()), exact) for exact in (False, True))
        for name, step, gradient in zip(hidden, by_rule, true, strict=True):
            if step is None or gradient is None:
                continue
            length = float(step.norm() * gradient.norm())
            if length > 0.0:
                cosine = float((step * gradient).sum()) / length
                found[name] = math.degrees(math.acos(max(-1.0, min(1.0, cosine))))
    return found


def _steps(
    network: RuledNetwork,
    value: torch.Tensor,
    errors: dict[str, torch.Tensor],
    weights: list[torch.Tensor],
    exact: bool,
) -> tuple[torch.Tensor | None, ...]:
    with torch.enable_grad(), network.errors_travel_exactly(exact):
        objective = torch.zeros(())
        for head, error in errors.items():
            answer = value
            chain, layers = network.chains[head], network.layers_of(head)
            # What was kept is the first layer's own input.
            for module in chain[chain.index(layers[0]) : chain.index(layers[-1]) + 1]:
                answer = module(answer)
            objective = objective + (answer * error).sum()
        return torch.autograd.grad(objective, weights, allow_unused=True)
