"""The loop of a reach in compiled code: controller, world and network, one control step after the other.

It does what `ErrorLearner` does step by step, with the same kernels, so results agree to the bit.

A network is three values; code for those that are None is not compiled.

- `places`: centres (n, 2) m, width, m, and activity (n,) of place cells, overwritten; None without a network.
- `layers`: of a perceptron, see `perceptron.respond`; None for another network.
- `circuit`: arguments of `kernels.simulate`, with a spike train (steps, n) that is overwritten, one control step after
  the other and then from the first row; rates (n,) Hz of the sources, overwritten; largest rates of a place cell and of
  a source, Hz; rates (cells,) Hz and weights (cells, 3) of the read-out. None for another network.
"""

from __future__ import annotations

from agents.networks.perceptron import respond, write_place_activity
from agents.reaching.controller import CONTROL_STEP_MS, act, sense
from agents.reaching.senses import COMMAND
from agents.spiking.kernels import simulate, write_regular
from agents.spiking.readouts import read_out
from reach import ACTION_SIZE
from reach.jit import kernel
from reach.kernels import advance_and_judge, is_over, write_action

# Places of the observations in the arguments of the world.
OBSERVATIONS = -1


@kernel
def respond_to_cup(reaches, feedforward, places, layers, circuit):  # type: ignore[no-untyped-def]
    """Write to `feedforward` (3,) rad the change of posture of a network for the seen cup of a reach."""
    if places is not None:
        cup = reaches[0].cup
        centres, width_m, activity = places
        write_place_activity(centres, width_m, cup[0], cup[1], activity)
        if layers is not None:
            respond(layers, activity)
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
def run(  # type: ignore[no-untyped-def]
    world, actions, moments, step, until, reaches, bodies, commands, row, command, feedforward, places, layers, circuit
):
    """Act, advance the world and sense, until the reach has `until` steps, or the trial is over.

    Args:
        world: the last arguments of `advance_and_judge`.
        actions, moments: (steps, 4) and (steps, columns), filled from row `step` on.
        step: number of steps before.
        until: step of the reach at which to stop.
        reaches, bodies: (1,) of `REACH` and of `BODY`, see `agents.reaching.controller`.
        commands: what `CommandMap` holds: keep, offset (4,) and scale (4,).
        row: (19,) the latest observation, which has been sensed; overwritten.
        command: (4,) float32, overwritten.
        feedforward: (3,) rad, the network's change of posture for that observation; overwritten. Before the first step,
            the network is called.
        places, layers, circuit: the network.

    Returns:
        The number of steps; the world whose action is wrong, -1 for none; and whether the trial goes on.
    """
    keep, offset, scale = commands
    reach = reaches[0]
    if step == 0:
        respond_to_cup(reaches, feedforward, places, layers, circuit)
    while reach.step < until:
        act(reaches, bodies, row, feedforward, command)
        action = actions[step]
        write_action(keep, offset, scale, command, row[COMMAND:], action)
        for c in range(ACTION_SIZE):
            # Actions are of single precision.
            command[c] = action[c]
            action[c] = command[c]
        wrong = advance_and_judge(actions[step : step + 1], moments[step], *world)
        if wrong >= 0:
            return step, wrong, False
        observation = world[OBSERVATIONS][0, 0]
        for k in range(row.size):
            row[k] = observation[k]
        sense(reaches, bodies, row)
        step += 1
        if step == len(actions) or is_over(moments[step - 1]):
            return step, -1, False
        respond_to_cup(reaches, feedforward, places, layers, circuit)
    return step, -1, True
