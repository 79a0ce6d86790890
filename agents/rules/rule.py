"""Base classes of learning rules: the declarations of every rule, and the methods of a rule for layers.

A synapse changes by rate x modulator x eligibility. The network computes the eligibility and the teacher the error; a
rule turns the error into one modulator for each cell. Rules are registered in `agents.rules.registry`. This module does
not import torch, so that the declarations of a rule can be read without it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from agents.networks.registry import Cells

Error = Literal["output", "none"]
Modifies = Literal["hidden", "read-out", "feedback"]
Route = Literal["backward", "broadcast", "forward", "gate"]
Feedback = Literal["none", "layers", "heads", "second"]


class Rule(ABC):
    """Base class of learning rules: declares what a rule modifies, which error it takes and what can be observed.

    A rule has no state: state belongs to the network. Its parameters are the fields of a frozen dataclass. `register`
    validates the declarations.

    Attributes:
        name: its part of a learner's name, such as "dfa".
        cells: kind of cells that it can change; `agents.networks.registry` lists the cells of each network.
        error: the error that it takes: "output", the error at the network's output, or "none".
        modifies: what it changes: the weights of "hidden" cells, the weights of the "read-out", the "feedback".
        route: how the error reaches hidden cells: "backward" from layer to layer, by "broadcast" to all layers,
            "forward" from the first layer on, or as a "gate" that turns eligibility into a weight change.
        aliases: other names of the rule for the same kind of cells.
        refused: where it cannot work, with the reason: by name of a network, such as "cnn", or "reward".
    """

    name: ClassVar[str]
    cells: ClassVar[Cells]
    error: ClassVar[Error] = "output"
    modifies: ClassVar[tuple[Modifies, ...]] = ("hidden", "read-out")
    route: ClassVar[Route]
    aliases: ClassVar[tuple[str, ...]] = ()
    refused: ClassVar[Mapping[str, str]] = {}


class LayerRule(Rule):
    """Base class of rules for the layers of a torch network.

    The eligibility is the same under every rule: the layer's input times the slope of its cells. Let e be the error at
    the network's output, d the modulator of a layer's cells times their slope, W the layer's weights and B fixed random
    weights:

    | rule | modulator of the cells that feed a layer |
    |---|---|
    | `bp` | d W |
    | `fa` | d B |
    | `dfa` | e B |
    | `ifa` | e B for the first layer; for layers above, the change that this causes there through W |
    | `sign` | d (abs(B) sign(W)) |
    | `kp` | d B, where B changes as W does, and both decay |
    | `weight-mirror` | d B, where B learns W from noise |
    | `node` | noise times the reduction of the error that it causes |
    | `rls` | d W; the eligibility is P x in place of the input x |
    | `shallow` | none: hidden layers keep their initial weights |

    B is drawn once from a normal distribution of SD 1/sqrt(n), where a cell receives n numbers through B. The modulator
    then has the root mean square of the error from which it is computed.

    Attributes:
        feedback: which layers hold random feedback matrices, as buffers: "none"; "layers", every layer above the first,
            one in the shape of its weights; "heads", every layer above the first, one for each head that it feeds;
            "second", like "heads", but only in layers directly above a first layer.
    """

    cells = "layers"
    feedback: ClassVar[Feedback] = "none"

    def send_error(self, head: Any, error: Any) -> None:
        """Send the error at the network's output to the layers below. Not called if `route` is "backward".

        Args:
            head: the `agents.rules.layers.LayerPass` of the output layer.
            error: e, in the shape of the output.
        """

    @abstractmethod
    def backward_signal(self, layer_pass: Any, error: Any) -> Any:
        """Return the modulator of the cells that feed a layer, in the shape of its input; None if there is none.

        Args:
            layer_pass: the `agents.rules.layers.LayerPass` of the layer.
            error: d, in the shape of the layer's output.
        """

    def prepare(self, layer: Any) -> None:
        """Register what the rule keeps in a layer, an `agents.rules.layers.RuledLayer`, as buffers. Called once."""

    def normalised_input(self, layer: Any, value: Any) -> tuple[Any, float]:
        """Return k (inputs,) and b for the input x (inputs,) of a linear layer.

        Learners by seen error change the weights by d k^T and the biases by b d. The drive changes by d if k is
        x / (1 + |x|^2) and b is 1 / (1 + |x|^2).

        Args:
            layer: an `agents.rules.layers.RuledLinear`, under `torch.no_grad`.
            value: x.
        """
        power = 1.0 + float(value.dot(value))
        return value / power, 1.0 / power

    def added_cost(self, layer: Any) -> dict[str, int]:
        """Return what the rule adds to the cost of each step of a layer; empty for nothing.

        The cost of every step, which is not included, is that of carrying the error and of the product d x^T.

        Args:
            layer: an `agents.rules.layers.RuledLayer`.

        Returns:
            `learning_macs`, multiply-accumulates, and `weight_updates`, weights, as `agents.error.feedforward` counts
            them.
        """
        return {}

    def update_feedback(self, layer: Any, change: Any) -> None:
        """Update a layer's feedback after a weight change. Called if `modifies` has "feedback".

        It is called for every layer whose weights changed. The first layer, whose `layer.place.below` is None, has no
        feedback. `layer.feedback_matrix()` and `layer.weight` may be changed in place.

        Args:
            layer: an `agents.rules.layers.RuledLayer`, under `torch.no_grad`.
            change: of its weights, in their shape.
        """
