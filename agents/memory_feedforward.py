"""A feed-forward part that adapts by activity: LSTM cells keep from reach to reach what was seen to be missing.

While unperturbed cups are learned, synapses change as in `agents.rate_feedforward`. Then the cells practise on
imagined perturbations, by back-propagation through time, to tell from the reaches so far what the next one will lack.
From there on no synapse changes: what a perturbation asks for is in the cells' activity, whose dynamics are the
learning rule (Hochreiter, Younger and Conwell 2001, ICANN; Wang et al. 2018, Nature Neuroscience 21:860).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from agents.costs import Costs
from agents.feedforward import JOINTS, Array, Plastic, Sees
from agents.imagined_perturbations import ImaginedPerturbations
from agents.networks.lstm import LSTMCells, LSTMState
from agents.rate_feedforward import Glimpse, RateFeedForward

if TYPE_CHECKING:
    from agents.reaching.controller import Controller
    from reach.render.inside import Inside

RULES = ("bp", "shallow")
CELLS = 48
# A cup less this place, in units of this spread, is what the cells hear; postures are heard and told in this unit.
CENTRE_M = np.array([0.12, 0.55])
SPREAD_M = 0.1
UNIT_RAD = 0.15
HEARD = 2 + JOINTS
# Of the practice.
SEQUENCES, REACHES, UPDATES = 64, 50, 600
LARGEST_GRADIENT = 1.0


@dataclass
class Recalling:
    """One reach: what the network below has seen, the cells in it, and what they add to the posture, (3,) rad."""

    glimpse: Glimpse
    cells: LSTMState
    added: Array
    seen: Array | None = None


@dataclass(frozen=True)
class Recalled:
    """What a reach leaves: what is eligible below, the cells' output and memory, and what they added."""

    below: Any
    hidden: Array
    memory: Array
    added: Array


class MemoryFeedForward:
    """A network that has learned to reach, and cells that remember on top of it.

    Attributes:
        below: the network that learns to reach; its rule is that of the cells' practice too.
        cells: that remember; under "shallow" they stay as they were drawn and only the read-out practises.
        readout: (3, cells), `readout_bias` (3,), in units of 0.15 rad.
        plastic, sees: those of the network below.
    """

    def __init__(self, rule: str, below: RateFeedForward, rng: np.random.Generator) -> None:
        """Put cells that have not practised beside a network.

        Args:
            rule: one of RULES.
            below: under the same rule.
            rng: source of weights and of the practice.
        """
        self.below = below
        self.sees: Sees = below.sees
        self.waits_for_launch = below.waits_for_launch
        self._practises_cells = rule == "bp"
        self.cells = LSTMCells(HEARD, CELLS, rng)
        self.readout = np.zeros((JOINTS, CELLS))
        self.readout_bias = np.zeros(JOINTS)
        self._rng = rng
        # Reaches so far: what the cells gave and held after the last, and what that reach lacked in all.
        self._hidden, self._memory = np.zeros((2, CELLS))
        self._lacked = np.zeros(JOINTS)
        self._has_practised = np.zeros(1)
        self._told: tuple[Array, int] | None = None
        self._costs = Costs()

    @property
    def plastic(self) -> Plastic:
        """Which synapses learn before the cells have practised."""
        return self.below.plastic

    @plastic.setter
    def plastic(self, plastic: Plastic) -> None:
        self.below.plastic = plastic

    def begin(self) -> Recalling:
        """The cells as the last reach left them."""
        return Recalling(self.below.begin(), self._remembering(), np.zeros(JOINTS))

    def _remembering(self) -> LSTMState:
        cells = self.cells.begin()
        cells.hidden[:], cells.memory[:] = self._hidden, self._memory
        return cells

    def posture(self, state: Recalling, seen: Array) -> Array:
        """What the network below asks for, and what the cells add, from all reaches so far and the cup of this one."""
        below = self.below.posture(state.glimpse, seen)
        if self._has_practised[0] and state.seen is not seen:
            state.seen, state.cells = seen, self._remembering()
            hidden = self.cells.advance(state.cells, heard(seen, self._lacked))
            state.added = UNIT_RAD * (self.readout @ hidden + self.readout_bias)
            macs = self.cells.weights.size + self.readout.size
            self._costs.add(dense_operations=macs, effective_macs=macs)
        posture: Array = below + state.added
        return posture

    def eligibility(self, state: Recalling) -> Recalled:
        """What the reach leaves if an error is seen."""
        cells = state.cells
        return Recalled(
            self.below.eligibility(state.glimpse), cells.hidden.copy(), cells.memory.copy(), state.added.copy()
        )

    def change(self, eligible: Recalled, error: Array, rate: float) -> None:
        """Remember the reach and what it lacked, (3,) rad; before the practice, change the synapses below instead."""
        if not self._has_practised[0]:
            self.below.change(eligible.below, error, rate)
            return
        self._told = eligible.hidden - self._hidden, 1 if self._told is None else self._told[1] + 1
        self._hidden[:], self._memory[:] = eligible.hidden, eligible.memory
        self._lacked[:] = error + eligible.added

    def settle(self, body: Controller, practice_rate: float) -> None:
        """Practise, once, with `practice_rate` as Adam's step size."""
        if self._has_practised[0]:
            return
        with torch.device("cpu"):
            self._practise(ImaginedPerturbations(body.arm, body.motor_error, self._rng), practice_rate)
        self._has_practised[0] = 1.0

    def _practise(self, perturbations: ImaginedPerturbations, rate: float) -> None:
        """Learn to tell what each reach will lack, from the cup and what the reaches before it lacked."""
        lstm, last = nn.LSTM(HEARD, CELLS, batch_first=True), nn.Linear(CELLS, JOINTS)
        lstm.load_state_dict(
            {
                "weight_ih_l0": torch.tensor(self.cells.weight_ih),
                "weight_hh_l0": torch.tensor(self.cells.weight_hh),
                "bias_ih_l0": torch.tensor(self.cells.bias),
                "bias_hh_l0": torch.zeros(len(self.cells.bias)),
            }
        )
        last.load_state_dict({"weight": torch.tensor(self.readout), "bias": torch.tensor(self.readout_bias)})
        practised = [*last.parameters(), *(lstm.parameters() if self._practises_cells else ())]
        optimiser = torch.optim.Adam(practised, lr=rate)
        for update in range(UPDATES):
            for group in optimiser.param_groups:
                group["lr"] = rate * (1.0 - update / UPDATES)
            cups, lacked = perturbations.sequences(SEQUENCES, REACHES)
            before = np.concatenate([np.zeros((SEQUENCES, 1, JOINTS)), lacked[:, :-1]], axis=1)
            told = last(lstm(torch.tensor(heard(cups, before), dtype=torch.float32))[0])
            loss = (told - torch.tensor(lacked / UNIT_RAD, dtype=torch.float32)).square().mean()
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(practised, LARGEST_GRADIENT)
            optimiser.step()
        weights = {name: value.numpy() for name, value in lstm.state_dict().items()}
        self.cells.weight_ih[...] = weights["weight_ih_l0"]
        self.cells.weight_hh[...] = weights["weight_hh_l0"]
        self.cells.bias[:] = weights["bias_ih_l0"] + weights["bias_hh_l0"]
        self.readout[...] = last.weight.detach().numpy()
        self.readout_bias[:] = last.bias.detach().numpy()

    def alignment(self) -> dict[str, float]:
        """That of the network below."""
        return self.below.alignment()

    def cost(self) -> dict[str, float]:
        """Counts so far but for the practice, by the names of `agents.costs`."""
        below = self.below.cost()
        own = self._costs.counts
        return {name: below.get(name, 0.0) + own.get(name, 0.0) for name in {**below, **own}}

    def inside(self, state: Recalling) -> Inside:
        """What goes on below and in the cells; after the practice an error reaches the cells alone, as activity."""
        from reach.snapshot import Arrival, Inside, Layer, Travel

        below = self.below.inside(state.glimpse)
        if not self._has_practised[0]:
            return below
        cells = Layer("memory", state.cells.memory.copy()), Layer("added", state.added.copy())
        travel = None
        if self._told is not None:
            travel = Travel("activity", self._lacked.copy(), (Arrival("memory", self._told[0]),), self._told[1])
        return Inside(layers=(*below.layers, *cells), travel=travel)

    def arrays(self) -> dict[str, Array]:
        """Weights, and what is remembered, views."""
        return {
            **{f"below.{name}": value for name, value in self.below.arrays().items()},
            "memory.weight_ih": self.cells.weight_ih,
            "memory.weight_hh": self.cells.weight_hh,
            "memory.bias": self.cells.bias,
            "memory.readout": self.readout,
            "memory.readout_bias": self.readout_bias,
            "memory.hidden": self._hidden,
            "memory.held": self._memory,
            "memory.lacked": self._lacked,
            "memory.has_practised": self._has_practised,
        }

    def limits(self) -> dict[str, tuple[float, float]]:
        """Cells have practised or not."""
        return {"memory.has_practised": (0.0, 1.0)}


def heard(cups: Array, lacked: Array) -> Array:
    """What the cells hear (..., 5) of cups (..., 2) m and what the reaches before lacked (..., 3) rad."""
    return np.concatenate([(cups - CENTRE_M) / SPREAD_M, lacked / UNIT_RAD], axis=-1)
