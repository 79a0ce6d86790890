"""Which networks and rules the seen-error teacher knows, and what each pair of them is called.

A learner is named `error-<network>-<rule>`. To add a network, add one entry here. To add a rule, add one entry to the
registry of its kind: `FEEDBACK_RULES` of `agents.rules.feedback`, where `FeedbackRule` says what a rule may need,
`RECURRENT_RULES` of `agents.rules.recurrent`, or `RULES` of `agents.error.spiking`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agents.error.spiking import RULES as SPIKING_RULES
from agents.error.spiking import Recurrence, SpikingFeedForward
from agents.feedforward import JOINTS, FeedForward, NoFeedForward
from agents.lstm_feedforward import LSTMFeedForward
from agents.memory_feedforward import RULES as PRACTISING_RULES
from agents.memory_feedforward import MemoryFeedForward
from agents.networks.cnn import cnn
from agents.networks.complex_cells import ComplexCells
from agents.networks.mlp import mlp
from agents.networks.place_cells import PlaceCells
from agents.networks.receptors import Receptors
from agents.networks.v1_bank import V1Bank
from agents.rate_feedforward import RateFeedForward
from agents.rules.feedback import FEEDBACK_RULES
from agents.rules.recurrent import RECURRENT_RULES
from agents.spiking.structural_plasticity import StructuralPlasticity

NONE = "none"
# Ends the name of a learner that learns in all synapses at baseline and then keeps its read-out as it is.
HIDDEN = "-hidden"
HIDDEN_CELLS = (128, 128)
# Of the synapses from sensory to hidden cells, where some may vanish and form, and how.
SPARSE_DENSITY = 0.5
TURNOVER = StructuralPlasticity(near_zero=0.1, patience_s=9.0, turnover_per_s=0.001, new_weight=0.3)
COLOURED_RETINA = {"observation": "retina", "retina_colour": True}


@dataclass(frozen=True)
class Network:
    """A kind of network.

    Attributes:
        rules: that can change it.
        make: from a rule, a source of random numbers, and whether its read-out is to align with its feedback.
        env_options: what its environment must be made with.
        hidden_rate: of a learner `-hidden` that has not been tuned. Above 1 where a step is not normalised by what it
            does to the posture.
        practises: whether its cells practise once unperturbed training has ended.
    """

    rules: tuple[str, ...]
    make: Callable[[str, np.random.Generator, bool], FeedForward]
    env_options: Mapping[str, Any] = field(default_factory=dict)
    hidden_rate: float = 0.7
    practises: bool = False


def _mlp(rule: str, rng: np.random.Generator, aligning: bool) -> RateFeedForward:
    cells = PlaceCells()
    return RateFeedForward(rule, cells, mlp(cells.size, HIDDEN_CELLS, JOINTS, rng), rng, aligning=aligning)


def _retina(rule: str, rng: np.random.Generator, aligning: bool) -> FeedForward:
    cells = V1Bank()
    network = mlp(cells.size, HIDDEN_CELLS, JOINTS, rng)
    return RateFeedForward(rule, cells, network, rng, aligning=aligning, sees="picture")


def _cnn(rule: str, rng: np.random.Generator, aligning: bool) -> FeedForward:
    cells = Receptors()
    network = cnn(cells.retina_px, JOINTS, rng)
    return RateFeedForward(rule, cells, network, rng, aligning=aligning, sees="picture")


def _lstm(rule: str, rng: np.random.Generator, aligning: bool) -> FeedForward:
    return LSTMFeedForward(rule, rng, aligning=aligning)


def _memory(rule: str, rng: np.random.Generator, aligning: bool) -> FeedForward:
    return MemoryFeedForward(rule, _mlp(rule, rng, aligning), rng)


def _snn(rule: str, rng: np.random.Generator, aligning: bool) -> FeedForward:
    return SpikingFeedForward(rule, rng)


def _sparse(rule: str, rng: np.random.Generator, aligning: bool) -> FeedForward:
    return SpikingFeedForward(rule, rng, density=SPARSE_DENSITY)


def _structural(rule: str, rng: np.random.Generator, aligning: bool) -> FeedForward:
    return SpikingFeedForward(rule, rng, density=SPARSE_DENSITY, structure=TURNOVER)


def _brain(rule: str, rng: np.random.Generator, aligning: bool) -> FeedForward:
    return SpikingFeedForward(rule, rng, cells=ComplexCells(), sees="picture", recurrence=Recurrence())


NETWORKS = {
    "mlp": Network(tuple(FEEDBACK_RULES), _mlp),
    "retina": Network(tuple(FEEDBACK_RULES), _retina, COLOURED_RETINA),
    "cnn": Network(tuple(FEEDBACK_RULES), _cnn, COLOURED_RETINA),
    "lstm": Network(tuple(RECURRENT_RULES), _lstm, hidden_rate=4.0),
    "memory": Network(PRACTISING_RULES, _memory, practises=True),
    "snn": Network(SPIKING_RULES, _snn, hidden_rate=4.0),
    "sparse": Network(SPIKING_RULES, _sparse, hidden_rate=4.0),
    "structural": Network(SPIKING_RULES, _structural, hidden_rate=4.0),
    "brain": Network(SPIKING_RULES, _brain, COLOURED_RETINA, hidden_rate=4.0),
}
ERROR_LEARNERS = (NONE, *(f"error-{network}-{rule}" for network, kind in NETWORKS.items() for rule in kind.rules))
ALIASES = {f"error-{rule}": f"error-mlp-{rule}" for rule in FEEDBACK_RULES} | {"error-stdp": "error-snn-stdp"}


def full_name(name: str) -> str:
    """`error-<network>-<rule>` for a name in short; any other name as it is."""
    short = name.removesuffix(HIDDEN)
    return ALIASES.get(short, short) + name[len(short) :]


def is_error_learner(name: str) -> bool:
    """Whether `name` is that of a learner taught by its seen error, in full or in short."""
    return full_name(name).removesuffix(HIDDEN) in ERROR_LEARNERS and name != NONE + HIDDEN


def rule_of(name: str) -> str:
    """The rule in an error learner's name, in full or in short; NONE for one without a network."""
    return full_name(name).removesuffix(HIDDEN).rpartition("-")[2]


def network_of(name: str) -> Network | None:
    """The network of an error learner's name; None for any other name and for one without a network."""
    return NETWORKS[full_name(name).split("-")[1]] if is_error_learner(name) and name != NONE else None


def is_spiking(name: str) -> bool:
    """Whether an error learner's rule is one of spiking cells."""
    return rule_of(name) in SPIKING_RULES


def practises(name: str) -> bool:
    """Whether cells of an error learner practise once its unperturbed training has ended."""
    network = network_of(name)
    return network is not None and network.practises


def make_feedforward(name: str, rng: np.random.Generator) -> FeedForward:
    """Network and rule of a learner's name, untrained.

    Raises:
        ValueError: an unknown name.
    """
    if not is_error_learner(name):
        raise ValueError(f"learner is {name!r}; {[*ERROR_LEARNERS, *ALIASES]} are allowed")
    network = network_of(name)
    return NoFeedForward() if network is None else network.make(rule_of(name), rng, name.endswith(HIDDEN))
