"""Base classes of learning rules: the declarations of every rule, and the methods of a rule for layers.

A synapse changes by rate x modulator x eligibility. The network computes the eligibility, the teacher the error, and
the rule computes one modulator for each cell from the error. `agents.rules.registry` registers rules. This module does
not import torch, so that the declarations of a rule can be read without torch.
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
    """Base class of learning rules: declares which weights a rule modifies, which error it takes and by which route.

    A rule has no state; the network holds all state. The parameters of a rule are the fields of a frozen dataclass.
    `register` validates the declarations.

    Attributes:
        name: part of a learner's name, such as "dfa".
        cells: kind of cells that the rule can change; `agents.networks.registry` lists the cells of each network.
        error: the error that the rule takes: "output" for the error at the network's output, or "none".
        modifies: the weights that the rule changes: those of "hidden" cells, of the "read-out", of the "feedback".
        route: how the error reaches hidden cells: "backward" from layer to layer, by "broadcast" to all layers,
            "forward" from the first layer on, or as a "gate" that multiplies eligibilities.
        aliases: other names of the rule for the same kind of cells.
        refused: reasons why the rule cannot be used, by name of a network, such as "cnn", or "reward".
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
    | `ifa` | e B for the first layer; for layers above, the resulting change, carried forward through W |
    | `sign` | d (abs(B) sign(W)) |
    | `kp` | d B, where B and W receive the same changes and both decay |
    | `weight-mirror` | d B, where B learns W from noise |
    | `node` | noise times the reduction of the error that the noise causes |
    | `rls` | d W; the eligibility is P x in place of the input x |
    | `shallow` | none: hidden layers keep their initial weights |

    B is drawn once from a normal distribution of SD 1/sqrt(n), where n is the number of values that a cell receives
    through B. The modulator then has the root mean square of the error from which it is computed.

    Attributes:
        feedback: random feedback matrices that layers hold as buffers. "none": no matrices. "layers": one in the shape
            of the weights, in every layer above the first. "heads": one for each head that the layer feeds, in every
            layer above the first. "second": as "heads", but only in layers directly above a first layer.
    """

    cells = "layers"
    feedback: ClassVar[Feedback] = "none"

    def send_error(self, head: Any, error: Any) -> None:
        """Send the error at the network's output to the layers below; not called if `route` is "backward".

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
        """Register the rule's buffers in a layer, an `agents.rules.layers.RuledLayer`; called once per layer."""

    def normalised_input(self, layer: Any, value: Any) -> tuple[Any, float]:
        """Return k (inputs,) and b for the input x (inputs,) of a linear layer.

        Error learners change the weights by d k^T and the biases by b d. The drive changes by d if k is
        x / (1 + |x|^2) and b is 1 / (1 + |x|^2).

        Args:
            layer: an `agents.rules.layers.RuledLinear`, under `torch.no_grad`.
            value: x.
        """
        power = 1.0 + float(value.dot(value))
        return value / power, 1.0 / power

    def weight_direction(self, layer: Any, weight_step: Any, bias_step: Any) -> Any:
        """Return the direction in which error learners change a layer's weights, for `alignment_degrees`.

        Args:
            layer: an `agents.rules.layers.RuledLayer`.
            weight_step, bias_step: gradients by the rule, in the shapes of weights and biases.
        """
        return weight_step

    def added_cost(self, layer: Any) -> dict[str, int]:
        """Return the additional cost of each step of a layer under this rule; empty for none.

        The cost that all rules share, of propagating the error and of the product d x^T, is not included.

        Args:
            layer: an `agents.rules.layers.RuledLayer`.

        Returns:
            `learning_macs` and `weight_updates`, counted as in `agents.error.feedforward`.
        """
        return {}

    def update_feedback(self, layer: Any, change: Any) -> None:
        """Update a layer's feedback after a weight change; called only if `modifies` has "feedback".

        It is called for every layer whose weights changed, including the first layer (`layer.place.below` is None),
        which has no feedback. It may change `layer.feedback_matrix()` and `layer.weight` in place.

        Args:
            layer: an `agents.rules.layers.RuledLayer`, under `torch.no_grad`.
            change: change of the weights, in their shape.
        """
