"""The angle between what a rule does to a layer's weights and the true gradient.

Below 90 degrees a small step by the rule makes the error smaller (Lillicrap et al. 2016, Nature Communications
7:13276).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch

from agents.rules.layer_pass import passes_before
from agents.rules.links import computed_again, random_states_kept
from agents.rules.wiring import Beginning, RuledNetwork, with_links


def alignment_degrees(networks: Iterable[RuledNetwork]) -> dict[str, float]:
    """Angles at the input and the output errors of the latest backward pass, by name of layer.

    One forward pass is computed again, with the weights as they are now and the random numbers and modes of then, and
    serves both directions. Gradients, buffers and generators stay as they are.

    Args:
        networks: as `assign_rule` gave them.

    Returns:
        Degrees, 0..180, for every hidden layer whose weights the rule changed; empty before a backward pass. Heads,
        which take the error itself under every rule, are left out.

    Raises:
        ValueError: a layer took its input from other layers than the one before it in its chain.
    """
    found: dict[str, float] = {}
    for network in networks:
        hidden = {name: layer.weight for name, layer in network.layers.items() if layer.wiring.head is None}
        hidden = {name: weight for name, weight in hidden.items() if weight.requires_grad}
        for name, taken in network.off_chain.items():
            raise ValueError(
                f"layer {name} took its input from layers {taken}; for alignment_degrees, which computes a chain "
                "again, it must take it from the layer before it in its chain alone"
            )
        beginnings = network.beginnings
        for beginning in beginnings if hidden else ():
            by_rule, true = _steps(network, beginning, list(hidden.values()))
            for name, step, gradient in zip(hidden, by_rule, true, strict=True):
                if step is None or gradient is None:
                    continue
                length = float(step.norm() * gradient.norm())
                if length > 0.0:
                    cosine = float((step * gradient).sum()) / length
                    found[name] = math.degrees(math.acos(max(-1.0, min(1.0, cosine))))
        network.beginnings = beginnings
    return found


def _steps(
    network: RuledNetwork, beginning: Beginning, weights: list[torch.Tensor]
) -> list[tuple[torch.Tensor | None, ...]]:
    """Return the gradients of weights by the rule, then the true ones."""
    device = beginning.value.device
    autocast = torch.autocast(device.type, beginning.autocast, enabled=beginning.autocast is not None)
    with torch.enable_grad(), network.errors_travel_exactly(False), random_states_kept(device), autocast:
        answers = [_answer(network, beginning, head) for head in beginning.heads]
    errors = [error for error, _ in beginning.heads.values()]
    found: list[tuple[torch.Tensor | None, ...]] = []
    for exact in (False, True):
        for answer in answers:
            for last in passes_before(answer, network):
                for one in last.upstream():
                    one.exact = exact
        found.append(torch.autograd.grad(answers, weights, errors, retain_graph=True, allow_unused=True))
    return found


def _answer(network: RuledNetwork, beginning: Beginning, head: str) -> torch.Tensor:
    """Return what a head gives."""
    value = beginning.value
    _, conditions = beginning.heads[head]
    has_begun = False
    for layer, link in with_links(network.chains[head]):
        if has_begun:
            for module in link:
                value = computed_again(module, value, conditions.get((layer, module)))
        has_begun = has_begun or layer is beginning.layer
        if has_begun:
            value = layer(value)
    return value
