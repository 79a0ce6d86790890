"""How an error reaches the layers of a torch network: `bp`, `fa`, `dfa`, `ifa`, and the control `shallow`.

Every layer's weights change by rate x modulator x eligibility. The eligibility is the same under each rule: the layer's
input times the slope of its cells. A rule is no more than two small functions: what the head, where the network's
output error arises, tells the layers below, and what a layer hands to the cells that feed it, as their modulator. With
e the output error, d the modulator of a layer's cells times their slope, W its weights and B fixed random numbers:

| rule | modulator of the cells that feed a layer | source |
|---|---|---|
| `bp` | d W | Rumelhart, Hinton and Williams 1986, Nature 323:533 |
| `fa` | d B | Lillicrap, Cownden, Tweed and Akerman 2016, Nature Communications 7:13276 |
| `dfa` | e B | Nokland 2016, NeurIPS 29, figure 1c and equation 7 |
| `ifa` | e B for the first layer; its effect, carried forward through W, for the others | Nokland 2016, figure 1d |
| `shallow` | none: hidden layers stay as they were drawn | |

B is drawn once from a normal distribution of SD 1/sqrt(numbers that a cell hears through it), so that the signal has
the root mean square of the error it is made of. Direct feedback is known to do badly through convolutions (Bartunov et
al. 2018, NeurIPS 31; Launay, Poli and Krzakala 2019, arXiv:1906.04554).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from agents.rules.layer_pass import LayerPass

if TYPE_CHECKING:
    from reach.render.inside import Way

Tensor = torch.Tensor


@dataclass(frozen=True)
class FeedbackRule:
    """A rule.

    Attributes:
        name: in the registry.
        matrices: which layers hold fixed feedback: "none"; "layers", each in the shape of its weights; "heads", each
            one matrix for every head it feeds; or "second", only those that a first layer feeds, as for "heads".
        announce: what a head tells the layers below, of its pass and the error at its output.
        hand_down: the modulator, in the shape of the layer's input, from the layer's pass and d at its output; None for
            none.
        keeps_output: whether `announce` asks for what the layers gave.
        way: on which the error comes to the layers, for a picture.
    """

    name: str
    matrices: Literal["none", "layers", "heads", "second"]
    announce: Callable[[LayerPass, Tensor], None]
    hand_down: Callable[[LayerPass, Tensor], Tensor | None]
    keeps_output: bool = False
    way: Way = "backward"


def say_nothing(head: LayerPass, error: Tensor) -> None:
    """The layers below are told nothing but what is handed down."""


def tell_error(head: LayerPass, error: Tensor) -> None:
    """Every layer below, and the head itself, is told the output error."""
    name = head.layer.wiring.head or ""
    for one in head.upstream():
        one.told[id(head)] = (name, error)


def send_forward(head: LayerPass, error: Tensor) -> None:
    """The output error reaches the first layer's cells, and each layer above is told how that would change it.

    Raises:
        ValueError: layers joined by something that is neither element by element nor a flattening.
    """
    name = head.layer.wiring.head or ""
    path = [head]
    while path[-1].before:
        path.extend(path[-1].before[:1])
    first, *others = reversed(path)
    below, change = first, torch.empty(0)
    for k, one in enumerate(others):
        signal = one.layer.heard(name, error, one.input_shape) if k == 0 else below.layer.spread(change)
        if signal.numel() != one.input_shape.numel():
            raise ValueError(
                f"layer {one.layer.wiring.name} takes {tuple(one.input_shape)} from {tuple(signal.shape)} of the "
                "layer below; under rule 'ifa' layers joined by activations or by nn.Flatten are allowed"
            )
        signal = signal.reshape(one.input_shape)
        one.told[id(head)] = (name, signal)
        change = one.layer.through_link(below, signal)
        below = one


def transposed_weights(one: LayerPass, error: Tensor) -> Tensor:
    """bp: d W."""
    return one.layer.through(error, one.layer.weight, one.input_shape)


def random_weights(one: LayerPass, error: Tensor) -> Tensor:
    """fa: d B."""
    return one.layer.through(error, one.layer.feedback_matrix(), one.input_shape)


def broadcast_error(one: LayerPass, error: Tensor) -> Tensor | None:
    """dfa: e B, summed over the heads that have told their error."""
    signals = [one.layer.heard(head, told, one.input_shape) for head, told in one.told.values()]
    return _sum(signals)


def forward_change(one: LayerPass, error: Tensor) -> Tensor | None:
    """ifa: the change that travels forward, summed over heads."""
    return _sum([signal for _, signal in one.told.values()])


def nothing(one: LayerPass, error: Tensor) -> None:
    """shallow: no modulator."""


def _sum(signals: list[Tensor]) -> Tensor | None:
    if not signals:
        return None
    total = signals[0]
    for signal in signals[1:]:
        total = total + signal
    return total


FEEDBACK_RULES: dict[str, FeedbackRule] = {
    rule.name: rule
    for rule in (
        FeedbackRule("bp", "none", say_nothing, transposed_weights),
        FeedbackRule("fa", "layers", say_nothing, random_weights),
        FeedbackRule("dfa", "heads", tell_error, broadcast_error, way="broadcast"),
        FeedbackRule("ifa", "second", send_forward, forward_change, keeps_output=True, way="forward"),
        FeedbackRule("shallow", "none", say_nothing, nothing),
    )
}


def feedback_rule(name: str) -> FeedbackRule:
    """The rule of a name.

    Raises:
        ValueError: an unknown name.
    """
    if name not in FEEDBACK_RULES:
        raise ValueError(f"rule is {name!r}; {list(FEEDBACK_RULES)} are allowed")
    return FEEDBACK_RULES[name]
