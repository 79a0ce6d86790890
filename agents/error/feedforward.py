"""The interface of networks that learn from the seen error: step by step, and in a compiled loop of a reach.

The change of a synapse is rate x modulator x eligibility: the network supplies the eligibility, the rule the modulator,
and the teacher the error.

A network counts its operations, under the names of NeuroBench (Yik et al. 2025, Nature Communications 16:1545) where
NeuroBench has a name. The counts are what the network and its rule require, independent of the implementation. For
example, a step of a rate network repeats the forward pass, and this repetition is not counted. Products of vectors,
such as those that normalise a step, are few and are not counted either.

| name | counts |
|---|---|
| `effective_macs` | multiply-accumulates of rate cells whose input is not 0 |
| `effective_acs` | accumulates caused by spikes |
| `dense_operations` | all connections in every pass or step, including those whose input is 0 |
| `learning_macs` | multiply-accumulates that propagate the error and compute the step |
| `eligibility_updates` | spike-pair terms added to eligibilities |
| `weight_updates` | weights, biases and feedback weights that a step changes |

In compiled code, `run_reach` runs controller, world and network in each control step. It computes what `ErrorLearner`
computes step by step, with the same kernels, so the results are bit-identical. Three arguments hold the network. Pass
None for parts that the network lacks; their code is left out at compilation.

- `place_cells`: centres (n, 2) m, width in m, and activity (n,), which is overwritten; None without a network.
- `layers`: layers of a perceptron, see `forward_pass`; None for other networks.
- `circuit`: spiking circuit, None for other networks: the arguments of `kernels.simulate`; a spike train (steps, n)
  that is overwritten control step by control step, as a ring; rates (n,) of the sources in Hz, overwritten; the largest
  rates of a place cell and of a source in Hz; rates (cells,) in Hz and weights (cells, 3) of the read-out.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from agents.networks.registry import JOINTS, Sees
from agents.networks.sensory_cells import write_place_activity
from agents.reaching.controller import CONTROL_STEP_MS, Controller, act, sense
from agents.reaching.senses import COMMAND
from agents.registry import Plastic
from agents.spiking.kernels import simulate, write_regular
from agents.spiking.lif import read_out
from reach import ACTION_SIZE
from reach.jit import kernel
from reach.play import advance_and_judge, fma, hyperbolic_tangent, is_over, write_action
from reach.snapshot import Snapshot

Array = NDArray[np.float64]


def rms(values: Array) -> float:
    """Return the root mean square of values (n,)."""
    return float(np.sqrt(np.mean(values * values)))


def scale_to_error(modulator: Array, error: Array) -> float:
    """Return the factor that scales a modulator (cells,) to the rms of an error (n,); 1 if the modulator is 0."""
    size = rms(modulator)
    return rms(error) / size if size > 0.0 else 1.0


class SensoryCells(Protocol):
    """Fixed cells that turn the visual input into activity."""

    @property
    def size(self) -> int:
        """Return the number of cells."""

    def activity(self, visual_input: Array) -> Array:
        """Return the activity (size,), 0 or more."""


class FeedForward:
    """Base class of networks that learn which change of the resting posture brings the hand to the seen cup.

    Attributes:
        plastic: the synapses that `change` changes: "all", or "hidden" for a fixed read-out.
        sees: the visual input of `posture`: "cup", its position (2,) m and the lamps, or "picture", that of the retina.
        waits_for_launch: True if the network is called only from the launch of the arm on, with the mean of the
            pictures seen during the preparation. Networks with dynamics are called at every control step.
    """

    plastic: Plastic = "all"
    sees: Sees = "cup"
    waits_for_launch = False

    def __init__(self) -> None:
        """Start with all counts at zero."""
        self._counts: dict[str, float] = {}

    def begin(self) -> Any:
        """Return the network's state at the start of a reach."""

    @property
    def is_compiled(self) -> bool:
        """Return whether `compiled` may be called."""
        return False

    def compiled(self, state: Any, lamps: Array) -> tuple[Any, Any, Any]:
        """Return `place_cells`, `layers` and `circuit` of `run_reach` for a reach with these lamps (lamps,)."""
        raise NotImplementedError(f"{type(self).__name__} is not compiled")

    def end_play(self, state: Any, steps: int) -> None:
        """Count the operations of the `steps` for which compiled code has called the network."""

    def posture(self, state: Any, visual_input: Array) -> Array:
        """Advance the network by one control step; return the change of posture (3,) rad for the visual input."""
        return np.zeros(JOINTS)

    def eligibility(self, state: Any) -> Any:
        """Return the data from which `change` can change synapses later, as of the present step."""

    def change(self, eligible: Any, error: Array, rate: float) -> None:
        """Change the synapses to correct the share `rate` of a motor error (3,) rad."""

    def end_baseline(self, body: Controller, practice_rate: float) -> None:
        """End unperturbed training; a network that practises does so now, with this body and step size."""

    @property
    def practised_rate(self) -> float:
        """Return the rate that the network has chosen in its practice; 0 to use the learner's rate."""
        return 0.0

    def alignment(self) -> dict[str, float]:
        """Return the angle in degrees between the last step and the gradient, by layer; empty without a gradient."""
        return {}

    def weights(self) -> dict[str, NDArray[Any]]:
        """Return views of the weights that a rule may change, by name of layer."""
        return {}

    def synapses(self) -> dict[str, NDArray[Any]]:
        """Return views of everything that `change` changes, except feedback, by name; in place, they change it too."""
        return self.weights()

    def clip_synapses(self) -> None:
        """Clip weights to their bounds, if they have any, after they were changed in place."""

    def cost(self) -> dict[str, float]:
        """Return the operation counts since the network was made; this module's docstring defines their names."""
        return dict(self._counts)

    def _count(self, **counts: float) -> None:
        """Add to the operation counts."""
        for name, count in counts.items():
            self._counts[name] = self._counts.get(name, 0.0) + float(count)

    def snapshot(self, state: Any) -> Snapshot:
        """Return a snapshot of the network for the display, without changing its results."""
        return Snapshot()

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return views of every array that a checkpoint must hold, by name; they can be filled in place."""
        return {}

    def limits(self) -> dict[str, tuple[float, float]]:
        """Return the lowest and highest value of each bounded array, by name."""
        return {}


class NoNetwork(FeedForward):
    """No network: the learner `none` uses feedback control only."""

    @property
    def is_compiled(self) -> bool:
        """Return True: compiled code can run a reach without a network."""
        return True

    def compiled(self, state: Any, lamps: Array) -> tuple[None, None, None]:
        """Return None for each part of a network."""
        return None, None, None


# The forward pass of a perceptron is compiled, because calling torch takes longer than the arithmetic. The outer loop
# runs over inputs, the inner over cells, so that the loops vectorise without reordering a sum.
@kernel
def forward_pass(layers, activity):  # type: ignore[no-untyped-def]
    """Compute the outputs of all layers, with tanh after each but the last.

    Args:
        layers: for each layer, weights (inputs, cells), biases (cells,) and outputs (cells,), which are overwritten.
        activity: (inputs,) inputs of the first layer.
    """
    values = activity
    for k in range(len(layers)):
        weight, bias, cells = layers[k]
        layer_forward_pass(weight, bias, values, cells, k == len(layers) - 1)
        values = cells


@kernel
def layer_forward_pass(weight, bias, values, drives, is_last):  # type: ignore[no-untyped-def]
    """Write values @ weight + bias, or its tanh, to `drives`.

    Args:
        weight: (inputs, cells).
        bias: (cells,).
        values: (inputs,).
        drives: (cells,), overwritten.
        is_last: whether to leave out the tanh.
    """
    cells, inputs = drives.size, values.size
    for i in range(cells):
        drives[i] = bias[i]
    # Four inputs at a time: each drive is loaded and stored a quarter as often.
    unrolled_inputs = inputs // 4 * 4
    for k in range(0, unrolled_inputs, 4):
        first, second, third, fourth = values[k], values[k + 1], values[k + 2], values[k + 3]
        for i in range(cells):
            drive = fma(first, weight[k, i], drives[i])
            drive = fma(second, weight[k + 1, i], drive)
            drive = fma(third, weight[k + 2, i], drive)
            drives[i] = fma(fourth, weight[k + 3, i], drive)
    for k in range(unrolled_inputs, inputs):
        for i in range(cells):
            drives[i] = fma(values[k], weight[k, i], drives[i])
    if not is_last:
        for i in range(cells):
            drives[i] = math.copysign(hyperbolic_tangent(abs(drives[i])), drives[i])


# Index of the observations in the last arguments of `advance_and_judge`.
OBSERVATIONS = -1


@kernel
def respond_to_cup(reaches, feedforward, place_cells, layers, circuit):  # type: ignore[no-untyped-def]
    """Write the network's change of posture for the seen cup of a reach to `feedforward` (3,) rad."""
    if place_cells is not None:
        cup = reaches[0].cup
        centres, width_m, activity = place_cells
        write_place_activity(centres, width_m, cup[0], cup[1], activity)
        if layers is not None:
            forward_pass(layers, activity)
            for joint in range(feedforward.size):
                feedforward[joint] = layers[-1][2][joint]
        if circuit is not None:
            cells, synapses, rules, state, train, rate_hz, peak_hz, fastest_hz, output_hz, weight = circuit
            for k in range(activity.size):
                rate_hz[k] = min(peak_hz * activity[k], fastest_hz)
            first = state.clock[0] % train.shape[0]
            now = train[first : first + CONTROL_STEP_MS]
            write_regular(rate_hz, state.phase, now)
            simulate(cells, synapses, rules, state, now)
            read_out(output_hz, weight, feedforward)


@kernel
def run_reach(  # type: ignore[no-untyped-def]
    world, actions, moments, step, until, reaches, bodies, commands, observation, command, feedforward, place_cells,
    layers, circuit,
):  # fmt: skip
    """Act, advance the world and sense, until step `until` of the reach or the end of the trial.

    Args:
        world: the last arguments of `advance_and_judge`.
        actions, moments: (steps, 4) and (steps, columns), filled from row `step` on.
        step: number of steps done before.
        until: step of the reach at which to stop.
        reaches, bodies: (1,) arrays of `REACH` and of `BODY`, see `agents.reaching.controller`.
        commands: fields of `CommandMap`: keep, offset (4,) and scale (4,).
        observation: (19,) the latest observation, already sensed; overwritten.
        command: (4,) float32, overwritten.
        feedforward: (3,) rad, the network's change of posture for that observation; overwritten. Before the first step
            the network is called to compute it.
        place_cells, layers, circuit: the network, see the docstring of this module.

    Returns:
        The number of steps; the index of the world with an invalid action, -1 for none; whether the trial goes on.
    """
    keep, offset, scale = commands
    reach = reaches[0]
    if step == 0:
        respond_to_cup(reaches, feedforward, place_cells, layers, circuit)
    while reach.step < until:
        act(reaches, bodies, observation, feedforward, command)
        action = actions[step]
        write_action(keep, offset, scale, command, observation[COMMAND:], action)
        for c in range(ACTION_SIZE):
            # Round the action to single precision, the precision of the actions that `predict` returns.
            command[c] = action[c]
            action[c] = command[c]
        wrong = advance_and_judge(actions[step : step + 1], moments[step], *world)
        if wrong >= 0:
            return step, wrong, False
        latest = world[OBSERVATIONS][0, 0]
        for k in range(observation.size):
            observation[k] = latest[k]
        sense(reaches, bodies, observation)
        step += 1
        if step == len(actions) or is_over(moments[step - 1]):
            return step, -1, False
        respond_to_cup(reaches, feedforward, place_cells, layers, circuit)
    return step, -1, True
