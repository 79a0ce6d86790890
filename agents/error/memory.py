"""Networks that practise on imagined perturbations: `error-memory` adapts by activity, `error-paced` is its control.

In unperturbed training, synapses change as in `agents.error.rate`. At its end, the LSTM cells of `MemoryFeedForward`
practise on imagined, that is simulated, perturbations: by back-propagation through time they learn to predict from
earlier reaches which change of posture the next reach will lack. Afterwards all synapses are fixed, and the cells
correct the posture by their activity, whose dynamics act as the learning rule (Hochreiter, Younger and Conwell 2001,
ICANN; Wang et al. 2018, Nature Neuroscience 21:860).

The control, `PacedFeedForward`, has no such cells. It practises on the same sequences to choose a step size: the one
that leaves the smallest error. Its synapses continue to learn with this step size.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from agents.error.feedforward import Array, FeedForward
from agents.error.rate import ForwardCache, RateFeedForward
from agents.networks.lstm import LSTMCells, LSTMState
from agents.networks.registry import JOINTS
from agents.networks.sensory_cells import PlaceCells
from agents.registry import Plastic
from reach import START_HAND_M, Arm
from reach.snapshot import ErrorPath, Layer, LayerSignal, Snapshot

if TYPE_CHECKING:
    from agents.reaching.controller import Controller

CELLS = 48
# Scaling of the cells' inputs: (cup - CENTRE_M) / SPREAD_M and the missing change of posture / UNIT_RAD.
CENTRE_M = np.array([0.12, 0.55])
SPREAD_M = 0.1
UNIT_RAD = 0.15
INPUTS = 2 + JOINTS
# Practice of the LSTM cells: sequences per update, reaches per sequence, and number of updates.
SEQUENCES, REACHES, UPDATES = 64, 50, 600
LARGEST_GRADIENT = 1.0
# Practice of the control: step sizes to compare, and sequences for each of them.
STEP_SIZES = (0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.2, 1.6)
PACED_SEQUENCES = 16

# From joint angles (3,) rad, displacement (right, forward) of the hand in m and its turn in rad to a change of posture
# (3,) rad.
MotorError = Callable[[Array, tuple[float, float], float], Array]
# Imagined cups: ranges of distance and direction from the start of the hand.
CUP_DISTANCE_M = (0.14, 0.26)
CUP_BEARING_DEGREES = (50.0, 150.0)
CUPS = 400
# Imagined perturbations stretch the displacement of the hand along two orthogonal axes, by 1/1.6 to 1.6 each.
LARGEST_STRETCH = 1.6
# Probability that a drawn perturbation stretches at all.
STRETCHED_SHARE = 0.8
# Range of the probability that the perturbation changes between two reaches, drawn log-uniformly for each sequence.
CHANGE_PROBABILITY = (0.01, 0.5)
# Probability that a change leads to another perturbation; otherwise the perturbation ends.
OTHER_SHARE = 0.6
# SD, in each joint, of the noise of the seen error.
NOISE_RAD = 0.03


@dataclass
class MemoryState:
    """The state of one reach.

    Attributes:
        cache: forward cache of the network below.
        cells: state of the LSTM cells.
        added: (3,) rad, the change of posture that the LSTM cells add.
    """

    cache: ForwardCache
    cells: LSTMState
    added: Array


@dataclass(frozen=True)
class MemoryTrace:
    """Data of a reach from which `MemoryFeedForward.change` learns.

    Attributes:
        below: eligibility of the network below.
        hidden, memory: (cells,), output and memory of the LSTM cells.
        added: (3,) rad, the change of posture that the LSTM cells added.
    """

    below: Any
    hidden: Array
    memory: Array
    added: Array


class MemoryFeedForward(FeedForward):
    """A network that learns to reach, and LSTM cells that then correct its posture from memory of earlier reaches.

    Attributes:
        below: the network that learns to reach.
        cells: the LSTM cells. Under the rule "shallow" they keep their initial weights and only the read-out practises.
        readout, readout_bias: (3, cells) and (3,), in units of 0.15 rad.
        plastic, sees: those of the network below.
    """

    def __init__(self, rule: str, below: RateFeedForward, rng: np.random.Generator) -> None:
        """Add LSTM cells that have not practised to a network.

        Args:
            rule: "bp" or "shallow".
            below: the network, under the same rule.
            rng: generator of the weights and of the practice.
        """
        super().__init__()
        self.below = below
        self.sees = below.sees
        self.waits_for_launch = below.waits_for_launch
        self._practises_cells = rule == "bp"
        self.cells = LSTMCells(INPUTS, CELLS, rng)
        self.readout = np.zeros((JOINTS, CELLS))
        self.readout_bias = np.zeros(JOINTS)
        self._rng = rng
        # Output and memory of the cells after the last reach, and the whole correction (3,) rad that it needed.
        self._hidden, self._memory = np.zeros((2, CELLS))
        self._needed = np.zeros(JOINTS)
        self._has_practised = np.zeros(1)
        # For the display: the last change of the cells' output by an error, and the number of errors so far.
        self._signal: tuple[Array, int] | None = None

    @property
    def plastic(self) -> Plastic:
        """Return which synapses learn before the practice: "all" or "hidden"."""
        return self.below.plastic

    @plastic.setter
    def plastic(self, plastic: Plastic) -> None:
        self.below.plastic = plastic

    def begin(self) -> MemoryState:
        """Return the state at the start of a reach; the LSTM cells continue from the last reach."""
        return MemoryState(self.below.begin(), self._remembered(), np.zeros(JOINTS))

    def _remembered(self) -> LSTMState:
        cells = self.cells.begin()
        cells.hidden[:], cells.memory[:] = self._hidden, self._memory
        return cells

    def posture(self, state: MemoryState, visual_input: Array) -> Array:
        """Return the posture (3,) rad of the network below plus the correction predicted by the LSTM cells."""
        below = self.below.posture(state.cache, visual_input)
        if self._has_practised[0]:
            state.cells = self._remembered()
            hidden = self.cells.advance(state.cells, cell_inputs(visual_input[:2], self._needed))
            state.added = UNIT_RAD * (self.readout @ hidden + self.readout_bias)
            macs = self.cells.weights.size + self.readout.size
            self._count(dense_operations=macs, effective_macs=macs)
        posture: Array = below + state.added
        return posture

    def eligibility(self, state: MemoryState) -> MemoryTrace:
        """Return copies of the data from which `change` learns."""
        cells = state.cells
        return MemoryTrace(
            self.below.eligibility(state.cache), cells.hidden.copy(), cells.memory.copy(), state.added.copy()
        )

    def change(self, eligible: MemoryTrace, error: Array, rate: float) -> None:
        """Store the activity and the whole correction of the reach; before the practice, change the synapses below."""
        if not self._has_practised[0]:
            self.below.change(eligible.below, error, rate)
            return
        self._signal = eligible.hidden - self._hidden, 1 if self._signal is None else self._signal[1] + 1
        self._hidden[:], self._memory[:] = eligible.hidden, eligible.memory
        self._needed[:] = error + eligible.added

    def end_baseline(self, body: Controller, practice_rate: float) -> None:
        """Practise with `practice_rate` as Adam's initial step size; do nothing at a second call."""
        if self._has_practised[0]:
            return
        with torch.device("cpu"):
            self._practise(ImaginedPerturbations(body.arm, body.motor_error, self._rng), practice_rate)
        self._has_practised[0] = 1.0

    def _practise(self, perturbations: ImaginedPerturbations, rate: float) -> None:
        """Train the cells to predict each reach's correction from its cup and the corrections of earlier reaches."""
        lstm, last = nn.LSTM(INPUTS, CELLS, batch_first=True), nn.Linear(CELLS, JOINTS)
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
            cups, corrections = perturbations.sequences(SEQUENCES, REACHES)
            before = np.concatenate([np.zeros((SEQUENCES, 1, JOINTS)), corrections[:, :-1]], axis=1)
            predicted = last(lstm(torch.tensor(cell_inputs(cups, before), dtype=torch.float32))[0])
            loss = (predicted - torch.tensor(corrections / UNIT_RAD, dtype=torch.float32)).square().mean()
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

    def weights(self) -> dict[str, Array]:
        """Return views of the weights of the network below, the LSTM cells and the read-out, by name."""
        return {**self.below.weights(), "memory": self.cells.weights, "correction": self.readout}

    def alignment(self) -> dict[str, float]:
        """Return the angles in degrees of the network below."""
        return self.below.alignment()

    def cost(self) -> dict[str, float]:
        """Return the operation counts, including those of the network below but not the practice."""
        below, cells = self.below.cost(), self._counts
        return {name: below.get(name, 0.0) + cells.get(name, 0.0) for name in {**below, **cells}}

    def snapshot(self, state: MemoryState) -> Snapshot:
        """Return the snapshot of the network below; after the practice add the LSTM cells and their last error."""
        below = self.below.snapshot(state.cache)
        if not self._has_practised[0]:
            return below
        cells = Layer("memory", state.cells.memory.copy()), Layer("added", state.added.copy())
        path = None
        if self._signal is not None:
            path = ErrorPath(
                "activity", self._needed.copy(), (LayerSignal("memory", self._signal[0]),), self._signal[1]
            )
        return Snapshot(layers=(*below.layers, *cells), error_path=path)

    def arrays(self) -> dict[str, Array]:
        """Return views of the weights and of the memory across reaches."""
        return {
            **{f"below.{name}": value for name, value in self.below.arrays().items()},
            "memory.weight_ih": self.cells.weight_ih,
            "memory.weight_hh": self.cells.weight_hh,
            "memory.bias": self.cells.bias,
            "memory.readout": self.readout,
            "memory.readout_bias": self.readout_bias,
            "memory.hidden": self._hidden,
            "memory.held": self._memory,
            "memory.lacked": self._needed,
            "memory.has_practised": self._has_practised,
        }

    def limits(self) -> dict[str, tuple[float, float]]:
        """Return the limits of the flag `has_practised`."""
        return {"memory.has_practised": (0.0, 1.0)}


class PacedFeedForward(RateFeedForward):
    """A rate network that chooses its step size at the end of unperturbed training, by practice."""

    def __init__(self, rule: str, cells: PlaceCells, network: nn.Sequential, rng: np.random.Generator) -> None:
        """Put a network under a rule, without practice yet; the arguments are those of `RateFeedForward`."""
        super().__init__(rule, cells, network, rng)
        self._rng = rng
        # (1,) chosen step size; 0 before the practice.
        self._step_size = np.zeros(1)

    @property
    def practised_rate(self) -> float:
        """Return the best step size of the practice; 0 before it."""
        return float(self._step_size[0])

    def end_baseline(self, body: Controller, practice_rate: float) -> None:
        """Choose the best of STEP_SIZES: copies learn the same sequences with each. Do nothing at a second call."""
        if self.practised_rate:
            return
        perturbations = ImaginedPerturbations(body.arm, body.motor_error, self._rng)
        cups, corrections = perturbations.sequences(PACED_SEQUENCES, REACHES)
        left = dict.fromkeys(STEP_SIZES, 0.0)
        for rate, (reached, needed) in product(STEP_SIZES, zip(cups, corrections, strict=True)):
            network = deepcopy(self)
            for cup, need in zip(reached, needed, strict=True):
                activity = self.cells.activity(cup)
                error = need - (network._forward(activity) - self._forward(activity))
                left[rate] += float(error @ error)
                network.change(activity, error, rate)
        self._step_size[0] = min(left, key=left.__getitem__)

    def arrays(self) -> dict[str, Array]:
        """Return views of weights, feedback matrices and the step size."""
        return {**super().arrays(), "step_size": self._step_size}

    def limits(self) -> dict[str, tuple[float, float]]:
        """Return the limits of the step size."""
        return {"step_size": (0.0, max(STEP_SIZES))}


def cell_inputs(cups: Array, corrections: Array) -> Array:
    """Return the cells' inputs (..., 5) for cups (..., 2) m and corrections (..., 3) rad of the preceding reaches."""
    return np.concatenate([(cups - CENTRE_M) / SPREAD_M, corrections / UNIT_RAD], axis=-1)


class ImaginedPerturbations:
    """Simulated sequences of reaches under changing perturbations, and the correction that each reach needs.

    A perturbation stretches the seen displacement of the hand from its start along two orthogonal axes. Movements to
    some cups are turned to one side and to others to the other side, with a mean of zero. No protocol has such a
    perturbation. Between two reaches the perturbation stays, changes to another one or ends, with a probability that
    differs between sequences.

    Attributes:
        cups: (CUPS, 2) m.
    """

    def __init__(self, arm: Arm, motor_error: MotorError, rng: np.random.Generator) -> None:
        """Draw cups, and compute the body map at the posture for each cup.

        Args:
            arm: the learner's own body.
            motor_error: the body map.
            rng: generator of the cups and of every sequence.
        """
        self._rng = rng
        self._start = np.array(START_HAND_M)
        distance = rng.uniform(*CUP_DISTANCE_M, CUPS)
        bearing = np.radians(rng.uniform(*CUP_BEARING_DEGREES, CUPS))
        self._displacement = distance[:, None] * np.stack([np.cos(bearing), np.sin(bearing)], axis=1)
        self.cups = self._start + self._displacement
        angles = np.clip(arm.inverse_kinematics(self.cups, bearing), arm.lower, arm.upper)
        self._map = np.array(
            [np.stack([motor_error(at, (1.0, 0.0), 0.0), motor_error(at, (0.0, 1.0), 0.0)], axis=1) for at in angles]
        )

    def sequences(self, count: int, reaches: int) -> tuple[Array, Array]:
        """Draw sequences of reaches.

        Returns:
            Cups (count, reaches, 2) m, and the corrections of posture (count, reaches, 3) rad that the reaches need.
        """
        rng = self._rng
        cup = rng.integers(CUPS, size=(count, reaches))
        probability = np.exp(rng.uniform(math.log(CHANGE_PROBABILITY[0]), math.log(CHANGE_PROBABILITY[1]), count))
        hand_way = self._perturbations(count)
        corrections = np.empty((count, reaches, 3))
        for k in range(reaches):
            changes = rng.random(count) < probability
            other = rng.random(count) < OTHER_SHARE
            new = np.where(other[:, None, None], self._perturbations(count), np.eye(2))
            hand_way = np.where(changes[:, None, None], new, hand_way)
            cup_at = self._displacement[cup[:, k]]
            wanted = np.einsum("nij,nj->ni", hand_way, cup_at)
            corrections[:, k] = np.einsum("nij,nj->ni", self._map[cup[:, k]], wanted - cup_at)
        corrections += rng.normal(0.0, NOISE_RAD, corrections.shape)
        return self.cups[cup], corrections

    def _perturbations(self, count: int) -> Array:
        """Draw perturbations (count, 2, 2): the maps from the displacement of the cup to that of a hand seen at it."""
        rng = self._rng
        largest = math.log(LARGEST_STRETCH) * (rng.random(count) < STRETCHED_SHARE)
        stretch = np.exp(largest[:, None] * rng.uniform(-1.0, 1.0, (count, 2)))
        angle = rng.uniform(0.0, math.pi, count)
        axes = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        ways: Array = np.einsum("ikn,nk,jkn->nij", axes, stretch, axes)
        return ways
