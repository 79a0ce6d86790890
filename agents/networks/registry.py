"""The registry of networks: what each sees, which kind of cells it has, and how it is made. It imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import signature
from pkgutil import resolve_name
from typing import Any, Literal, get_args

import numpy as np

# Kinds of cells: layers of torch, LSTM cells, leaky integrate-and-fire cells.
Cells = Literal["layers", "recurrent", "spiking"]
# What the sensory cells of a network are given: the seen place of the cup, or the picture on the retina.
Sees = Literal["cup", "picture"]
# Angles that a posture has: shoulder, elbow and wrist.
JOINTS = 3
# From a source of random numbers, the sensory cells and the network.
Make = Callable[..., tuple[Any, Any]]
# Options of a network that are settings of its learners.
SIZE_OPTIONS = ("depth", "width")
COLOURED_RETINA = {"observation": "retina", "retina_colour": True}


@dataclass(frozen=True)
class Network:
    """A network that learns from the seen error.

    Attributes:
        name: in the name of a learner, such as "mlp".
        cells: kind of cells; every rule for this kind can train it.
        make: draws it from a source of random numbers; or "module:function", imported when it is first made. Returns
            the sensory cells (an `agents.error.feedforward.SensoryCells`), and what gives the posture for their
            activity: for "layers" an `nn.Sequential` in double precision whose last layer is the read-out, for
            "recurrent" an `LSTMCells`, for "spiking" the keyword arguments of `SpikingFeedForward`. Keyword arguments
            that it takes are options of the network: "lamps", the number of lamps that the sensory cells see; "depth"
            and "width", hidden layers and cells in each.
        rules: the only rules that can train it; None for all rules of its kind of cells.
        env_options: what its environment must be made with.
        practises: what learns from imagined perturbations once unperturbed training has ended. "memory": LSTM cells
            beside the network. "rate": its step size. None: nothing.
        note: end of the descriptions of its learners, which says what is special about it; "" for none.
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
            rng: source of the weights.
            options: of the network.

        Raises:
            ValueError: an option that the network does not have.
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
        ValueError: its kind of cells is unknown, its name cannot be part of a learner's name, or is taken.
    """
    if network.cells not in get_args(Cells):
        raise ValueError(f"expected cells of network {network.name!r} in {get_args(Cells)}, got {network.cells!r}")
    if not network.name.isidentifier():
        raise ValueError(f"expected a network name of letters, digits and underscores, got {network.name!r}")
    if network.name in NETWORKS:
        raise ValueError(f"expected a new network, got {network.name!r}, which is registered")
    NETWORKS[network.name] = network
    return network


_V1 = "it sees pixels through fixed cells of V1"
_CNN = "it sees pixels through a convolutional network"
_SPARSE = "half of the sensory synapses exist"
_STRUCTURAL = "sensory synapses that stay near zero vanish, and as many form elsewhere"
_PACED = "its step size after the training is the best one in the practice of `error-memory`"
_TIMED = "it is told of lamps by the times of spikes, not by their number"
_BRAIN = "it sees pixels through colour cells of V1 and a recurrent layer"
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
