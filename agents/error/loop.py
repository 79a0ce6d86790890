"""The loop of a reach in compiled code: controller, world and network in each control step.

It computes what `ErrorLearner` computes step by step, with the same kernels, so the results are bit-identical.

Three arguments hold the network. Code for an argument that is None is not compiled.

- `places`: place cells: centres (n, 2) m, width in m, and activity (n,), which is overwritten. None without a network.
- `layers`: layers of a perceptron, see `perceptron.respond`; None for other networks.
- `circuit`: spiking circuit, None for other networks: the arguments of `kernels.simulate`; a spike train (steps, n)
  that is overwritten control step by control step, as a ring; rates (n,) of the sources in Hz, overwritten; the largest
  rates of a place cell and of a source in Hz; rates (cells,) in Hz and weights (cells, 3) of the read-out.
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

# Index of the observations in the arguments of the world.
OBSERVATIONS = -1


@kernel
def respond_to_cup(reaches, feedforward, places, layers, circuit):  # type: ignore[no-untyped-def]
    """Write the network's change of posture for the seen cup of a reach to `feedforward` (3,) rad."""
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
    """Act, advance the world and sense, until step `until` of the reach or the end of the trial.

    Args:
        world: the last arguments of `advance_and_judge`.
        actions, moments: (steps, 4) and (steps, columns), filled from row `step` on.
        step: number of steps done before.
        until: step of the reach at which to stop.
        reaches, bodies: (1,) arrays of `REACH` and of `BODY`, see `agents.reaching.controller`.
        commands: fields of `CommandMap`: keep, offset (4,) and scale (4,).
        row: (19,) the latest observation, already sensed; overwritten.
        command: (4,) float32, overwritten.
        feedforward: (3,) rad, the network's change of posture for that observation; overwritten. Before the first step
            the network is called to compute it.
        places, layers, circuit: the network, see above.

    Returns:
        The number of steps; the index of the world with an invalid action, -1 for none; whether the trial goes on.
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
            # Round the action to single precision, the precision of the actions that `predict` returns.
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
