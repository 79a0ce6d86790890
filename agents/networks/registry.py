"""The registry of networks: input, kind of cells and constructor of each. It does not import torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import signature
from pkgutil import resolve_name
from typing import Any, Literal, get_args

import numpy as np

# Kinds of cells: torch layers, LSTM cells, leaky integrate-and-fire cells.
Cells = Literal["layers", "recurrent", "spiking"]
# Visual input of the sensory cells: the seen position of the cup, or the picture on the retina.
Sees = Literal["cup", "picture"]
# Number of joint angles of a posture: shoulder, elbow and wrist.
JOINTS = 3
# Function from a random generator to the sensory cells and the network.
Make = Callable[..., tuple[Any, Any]]
# Options of a network that are also settings of its learners.
SIZE_OPTIONS = ("depth", "width")
COLOURED_RETINA = {"observation": "retina", "retina_colour": True}


@dataclass(frozen=True)
class Network:
    """A network that learns from the seen error.

    Attributes:
        name: its part of a learner's name, such as "mlp".
        cells: kind of cells; every rule for this kind can train the network.
        make: function from a random generator to the sensory cells and the network, or its "module:function", which is
            imported at the first use. The sensory cells are an `agents.error.feedforward.SensoryCells`. The network is,
            for "layers", an `nn.Sequential` in double precision whose last layer is the read-out; for "recurrent", an
            `LSTMCells`; for "spiking", the keyword arguments of `SpikingFeedForward`. The function's own keyword
            arguments are options of the network: "lamps", the number of lamps that the sensory cells see; "depth" and
            "width", the number of hidden layers and of cells in each.
        rules: the only rules that can train the network; None for all rules for its kind of cells.
        env_options: arguments of `gym.make` that the network needs.
        practises: part that is trained on imagined perturbations at the end of unperturbed training: "memory", LSTM
            cells beside the network; "rate", the step size; None for no part.
        note: special feature of the network, appended to the descriptions of its learners; "" for none.
    """

    name: str
    cells: Cells
    make: str | Make
    rules: tuple[str, ...] | None = None
    env_options: Mapping[str, Any] = field(default_factory=dict)
    practises: Literal["memory", "rate"] | None = None
    note: str = ""

    @property
    def sees(self) -> Sees:
        """Return the input of the sensory cells: "cup" or "picture"."""
        return "picture" if self.env_options.get("observation") == "retina" else "cup"

    @property
    def options(self) -> list[str]:
        """Return the names of the options of the network."""
        return list(signature(self._maker).parameters)[1:]

    @property
    def _maker(self) -> Make:
        return resolve_name(self.make) if isinstance(self.make, str) else self.make

    def build(self, rng: np.random.Generator, **options: int) -> tuple[Any, Any]:
        """Return the sensory cells and the network, untrained.

        Args:
            rng: generator of the weights.
            options: options of the network.

        Raises:
            ValueError: the network does not have an option.
        """
        known = self.options
        for option, value in options.items():
            if option not in known:
                settings = [name for name in known if name != "lamps"]
                raise ValueError(
                    f"{option}: network {self.name!r} expected settings in {settings}, got {option}={value}"
                )
        made: tuple[Any, Any] = self._maker(rng, **options)
        return made


NETWORKS: dict[str, Network] = {}


def register(network: Network) -> Network:
    """Add a network: every rule for its kind of cells can then train it, as `error-<network>-<rule>`.

    Raises:
        ValueError: the kind of cells is unknown, or the name is taken or cannot be part of a learner's name.
    """
    if network.cells not in get_args(Cells):
        raise ValueError(f"expected cells of network {network.name!r} in {get_args(Cells)}, got {network.cells!r}")
    if not network.name.isidentifier():
        raise ValueError(f"expected a network name of letters, digits and underscores, got {network.name!r}")
    if network.name in NETWORKS:
        raise ValueError(f"expected a new network, got {network.name!r}, which is registered")
    NETWORKS[network.name] = network
    return network


_V1 = "input: pixels, through fixed V1 cells"
_CNN = "input: pixels, through a convolutional network"
_SPARSE = "half of the sensory synapses exist"
_STRUCTURAL = "sensory synapses that stay near zero are removed, and as many new ones form"
_PACED = "after training, the step size is the best one in the practice of `error-memory`"
_TIMED = "spike times, not rates, encode the lamps"
_BRAIN = "input: pixels, through V1 colour cells and a recurrent layer"
for _network in (
    Network("mlp", "layers", "agents.networks.layers:place_mlp"),
    Network("retina", "layers", "agents.networks.layers:v1_mlp", env_options=COLOURED_RETINA, note=_V1),
    Network("cnn", "layers", "agents.networks.layers:receptor_cnn", env_options=COLOURED_RETINA, note=_CNN),
    Network("lstm", "recurrent", "agents.networks.lstm:place_lstm"),
    Network("memory", "layers", "agents.networks.layers:place_mlp", rules=("bp", "shallow"), practises="memory"),
    Network("paced", "layers", "agents.networks.layers:place_mlp", ("bp", "shallow"), practises="rate", note=_PACED),
    Network("snn", "spiking", "agents.error.spiking:snn"),
    Network("sparse", "spiking", "agents.error.spiking:sparse", note=_SPARSE),
    Network("structural", "spiking", "agents.error.spiking:structural", note=_STRUCTURAL),
    Network("timed", "spiking", "agents.error.spiking:timed", note=_TIMED),
    Network("brain", "spiking", "agents.error.spiking:brain", env_options=COLOURED_RETINA, note=_BRAIN),
):
    register(_network)
