"""The loop of the simulation, compiled: one control step, the start of a trial, and both for many worlds.

`advance` calls the parts of a control step in order; `advance_and_judge` runs it on a single world, `play` on many
tiles.
"""

from __future__ import annotations

import math

import numpy as np

from reach.jit import kernel
from reach.sim import layout as s
from reach.sim import muscles
from reach.sim.actuators import (
    activate_muscles,
    decode_commands,
    excite_muscles,
    filter_commands,
    unforced_step,
    write_torques,
)
from reach.sim.dynamics import (
    apply_forces,
    begin_step,
    clear_forces,
    end_step,
    find_overshoot,
    first_onset,
    hold_in_channel,
    read_three,
    stage,
    turn_joints,
)
from reach.sim.elementary import (
    CUP_COUNTER,
    clip,
    double_from_key,
    key_after,
    key_from_double,
    logarithm,
    sine_and_cosine,
    square_root,
    trial_key,
    uniform,
)
from reach.sim.grasp import move_hands_and_cups, place_hands, smallest_clearance
from reach.sim.senses import apply_visual_map, delayed_samples_due, observe, observe_start, record_history, record_start
from reach.sim.tasks import begin_judging, judge, read_moment, read_moments

L = s.LANES
INNER_STEP_BITS = np.uint64(s.INNER_STEPS.bit_length() - 1)
# Onset columns of external forces and of force channels; tiles without them skip their computation.
FORCES = (s.FIELD_ONSET, s.POSITION_FIELD_ONSET, s.FORCE_ONSET, s.NUDGE_ONSET, s.CHANNEL_ONSET)
CHANNELS = (s.CHANNEL_ONSET,)
EVENTS = (s.JUMP_ONSET, s.REMOVED_ONSET)


@kernel
def draw_noise(t, lanes, ahead):  # type: ignore[no-untyped-def]
    """Write the standard normal variates of a control step to tile `t`, by the method of Box and Muller (1958).

    Args:
        t, lanes: as for `advance`.
        ahead: 1 for the control step that begins now, 0 for the present observation.
    """
    for i in range(len(lanes)):
        control_step = (np.uint64(t[s.CLOCK * L + i]) >> INNER_STEP_BITS) + np.uint64(ahead)
        key = key_after(key_from_double(t[s.KEY * L + i]), control_step * np.uint64(s.NOISE_SIZE))
        t[s.NOISE_KEY * L + i] = double_from_key(key)
    for pair in range(s.NOISE_SIZE // 2):
        column = (s.NOISE + 2 * pair) * L
        for i in range(len(lanes)):
            key = key_from_double(t[s.NOISE_KEY * L + i])
            radius = square_root(-2.0 * logarithm(uniform(key, np.uint64(2 * pair))))
            sine, cosine = sine_and_cosine(2.0 * math.pi * uniform(key, np.uint64(2 * pair + 1)))
            t[column + i] = radius * cosine
            t[column + L + i] = radius * sine


@kernel
def is_forced(t, lanes):  # type: ignore[no-untyped-def]
    """Return whether any lane of tile `t` has an external force."""
    return first_onset(t, lanes, FORCES) < s.NEVER


@kernel
def move_arms(t, lanes, control, rare, forced, channelled, step):  # type: ignore[no-untyped-def]
    """Move the arms of a tile for `step` seconds: command filter, Runge-Kutta step, then channel and joint stops.

    Args:
        t, lanes, control, rare: as for `advance`.
        forced, channelled: whether any lane has an external force, or a force channel.
        step: duration, s.
    """
    if rare is None:
        unforced_step(t, lanes, control, step)
    elif forced or channelled or control == s.MUSCLE:
        if control != s.MUSCLE:
            filter_commands(t, lanes)
        begin_step(t, lanes)
        for k in range(4):
            write_torques(t, lanes, control, k)
            if forced:
                apply_forces(t, lanes)
            stage(t, lanes, k, step if k == 2 else 0.5 * step)
        end_step(t, lanes, step)
        if channelled:
            for i in range(len(lanes)):
                hold_in_channel(t, i, step)
        find_overshoot(t, lanes, step)
    else:
        unforced_step(t, lanes, control, step)
    turn_joints(t, lanes, step)


@kernel
def apply_cup_events(w):  # type: ignore[no-untyped-def]
    """Move or remove the cup of row `w` at its onset; a gripped cup does not jump."""
    now = w[s.CLOCK] + 1.0
    if now >= w[s.REMOVED_ONSET]:
        w[s.CUP_PRESENT] = 0.0
    if w[s.JUMPED] == 0.0 and now >= w[s.JUMP_ONSET] and w[s.GRIP_FORCE] == 0.0:
        x = w[s.CUP_X] + w[s.JUMP_X]
        y = w[s.CUP_Y] + w[s.JUMP_Y]
        if smallest_clearance(w, x, y) > 0.0:
            w[s.CUP_X] = x
            w[s.CUP_Y] = y
            w[s.JUMPED] = 1.0


@kernel
def _count_time(t, lanes, step):  # type: ignore[no-untyped-def]
    """Advance the clock of every lane, and the time for which its hand has been still."""
    for i in range(len(lanes)):
        vx = t[s.HAND_VELOCITY_X * L + i]
        vy = t[s.HAND_VELOCITY_Y * L + i]
        still = vx * vx + vy * vy < s.STILL_SPEED_M_S * s.STILL_SPEED_M_S
        t[s.STILL_S * L + i] = t[s.STILL_S * L + i] + step if still else 0.0
        t[s.CLOCK * L + i] += 1.0


@kernel
def advance(t, lanes, history, tick, control, rare, out):  # type: ignore[no-untyped-def]
    """Advance a tile by one control step of 20 ms and write its observations.

    Args:
        t: (TILE_SIZE,) tile; its COMMANDED columns hold the commands, in [-1, 1].
        lanes: `ALL_LANES`, or `FIRST_LANE` if the tile holds one world.
        history: (HISTORY_ROWS, HISTORY_SIZE * LANES) of this tile.
        tick: number of this step, which selects its row of `history`.
        control: POSTURE, TORQUE or MUSCLE.
        rare: True, or None if control is not MUSCLE and no lane `is_forced`. For the type of None, a kernel without
            muscles and forces is compiled.
        out: (LANES, OBSERVATION_SIZE) float32, overwritten.
    """
    step = s.INNER_STEP_S
    draw_noise(t, lanes, 1)
    decode_commands(t, lanes, control)
    if rare is not None and control == s.MUSCLE:
        excite_muscles(t, lanes)
    clear_forces(t, lanes)
    forced = rare is not None and is_forced(t, lanes)
    channelled = rare is not None and first_onset(t, lanes, CHANNELS) < s.NEVER
    eventful = first_onset(t, lanes, EVENTS) < s.NEVER
    vision_due = delayed_samples_due(t, lanes, s.VISION_DELAY)
    proprioception_due = delayed_samples_due(t, lanes, s.PROPRIOCEPTION_DELAY)
    for inner in range(1, s.INNER_STEPS + 1):
        if rare is not None and control == s.MUSCLE:
            activate_muscles(t, lanes, step)
        move_arms(t, lanes, control, rare, forced, channelled, step)
        move_hands_and_cups(t, lanes, step)
        if eventful:
            for i in range(len(lanes)):
                apply_cup_events(t[i::L])
        _count_time(t, lanes, step)
        if inner == s.INNER_STEPS:
            apply_visual_map(t, lanes)
        record_history(t, lanes, history, tick, inner, vision_due, proprioception_due)
    observe(t, lanes, history, tick, out)


@kernel
def drawn_cup(key):  # type: ignore[no-untyped-def]
    """Return the random position (x, y) m of a trial's cup, within the ranges of distance and bearing."""
    near, far = s.CUP_DISTANCE_M
    right, left = s.CUP_BEARING_DEGREES
    distance = near + (far - near) * uniform(key, CUP_COUNTER)
    bearing = math.radians(right + (left - right) * uniform(key, CUP_COUNTER + np.uint64(1)))
    x, y = s.START_HAND_M
    return x + distance * math.cos(bearing), y + distance * math.sin(bearing)


@kernel
def begin_trial(t, history, key, tick, i, control, cup_x, cup_y, out):  # type: ignore[no-untyped-def]
    """Begin a trial in lane `i`, with the arm at rest.

    Args:
        t, history, tick, control: as for `advance`.
        key: key of the trial, uint64.
        i: lane.
        cup_x, cup_y: position of the cup, m.
        out: (OBSERVATION_SIZE,) float32, overwritten with the first observation.
    """
    w = t[i::L]
    w[: s.SETTING] = 0.0
    for j in range(3):
        w[s.ANGLE_1 + j] = w[s.START_ANGLE_1 + j]
        w[s.COMMAND_1 + j] = w[s.START_ANGLE_1 + j] if control == s.POSTURE else 0.0
    if control == s.MUSCLE:
        muscles.write_excitation(t, s.ACTIVATION_1, i, read_three(t, s.REST_1, i))
    for k in range(s.ACTION_SIZE):
        w[s.COMMANDED_1 + k] = w[s.REST_1 + k]
    w[s.APERTURE] = s.START_APERTURE_M if w[s.WRIST_FREE] > 0.0 else s.LOCKED_START_APERTURE_M
    w[s.CUP_X] = cup_x
    w[s.CUP_Y] = cup_y
    w[s.CUP_PRESENT] = 0.0 if w[s.REMOVED_ONSET] <= 0.0 else 1.0
    away_x = cup_x - w[s.START_X]
    away_y = cup_y - w[s.START_Y]
    away = max(1e-9, math.sqrt(away_x * away_x + away_y * away_y))
    w[s.TARGET_X] = away_x / away
    w[s.TARGET_Y] = away_y / away
    place_hands(t[i:], s.FIRST_LANE)
    record_start(t, history, tick, i)
    w[s.KEY] = double_from_key(key)
    draw_noise(t[i:], s.FIRST_LANE, 0)
    observe_start(t, history, tick, i, out)
    begin_judging(t, i)


@kernel
def _begin_drawn(n, tiles, history, streams, episodes, tick, control, observations):  # type: ignore[no-untyped-def]
    """Begin the next trial of world `n`, with a random cup."""
    k = n // L
    i = n % L
    key = trial_key(streams[k, i], episodes[k, i])
    episodes[k, i] += np.uint64(1)
    cup_x, cup_y = drawn_cup(key)
    begin_trial(tiles[k], history[k], key, tick, i, control, cup_x, cup_y, observations[k, i])


@kernel
def begin_drawn_trials(mask, tiles, history, streams, episodes, tick, control, observations):  # type: ignore[no-untyped-def]
    """Begin the next trial, with random cups, in the worlds of `mask`.

    Args:
        mask: (num_envs,) bool.
        tiles, history, streams, episodes: the arrays of `World`.
        tick, control: as for `begin_trial`.
        observations: (num_tiles, LANES, OBSERVATION_SIZE) float32; rows of the new trials are overwritten.
    """
    for n in range(mask.size):
        if mask[n]:
            _begin_drawn(n, tiles, history, streams, episodes, tick, control, observations)


@kernel
def find_wrong_action(actions, largest):  # type: ignore[no-untyped-def]
    """Return the first world with an action in `actions` (num_envs, 4) that is NaN or exceeds `largest`; else -1."""
    for n in range(actions.shape[0]):
        for c in range(s.ACTION_SIZE):
            # This comparison is false for NaN.
            if not abs(actions[n, c]) <= largest:
                return n
    return -1


@kernel
def change_commands(t, k, actions):  # type: ignore[no-untyped-def]
    """Update the commands of tile `k` by `actions` (num_envs, 4), clipped to [-1, 1], see `actuators.CommandMap`."""
    for i in range(min(L, actions.shape[0] - k * L)):
        for c in range(s.ACTION_SIZE):
            kept = t[s.KEEP * L + i] * t[(s.COMMANDED_1 + c) * L + i] + t[(s.OFFSET_1 + c) * L + i]
            command = kept + t[(s.SCALE_1 + c) * L + i] * clip(float(actions[k * L + i, c]), -1.0, 1.0)
            t[(s.COMMANDED_1 + c) * L + i] = clip(command, -1.0, 1.0)


@kernel
def play(  # type: ignore[no-untyped-def]
    first, end, actions, tiles, history, streams, episodes, tick, control, rare, grab, dense, observations, begin,
    numbers, flags,
):  # fmt: skip
    """Advance and judge the worlds of some tiles, then begin trials and read the moments.

    Args:
        first, end: range of tiles.
        actions: (num_envs, 4), checked by `find_wrong_action`.
        rare: as for `advance`.
        tiles, history, streams, episodes, control, observations: as for `begin_drawn_trials`.
        tick: number of this step.
        grab, dense: as for `judge`.
        begin: (num_envs,) bool, worlds in which the next trial begins after this step.
        numbers, flags: as for `read_moments`.
    """
    for k in range(first, end):
        change_commands(tiles[k], k, actions)
        advance(tiles[k], s.ALL_LANES, history[k], tick, control, rare, observations[k])
        judge(tiles[k], s.ALL_LANES, grab, dense)
        for n in range(k * L, min((k + 1) * L, begin.size)):
            if begin[n]:
                _begin_drawn(n, tiles, history, streams, episodes, tick, control, observations)
        read_moments(k, k + 1, tiles, numbers, flags)


@kernel
def advance_and_judge(  # type: ignore[no-untyped-def]
    actions, moment, rare, largest, tiles, history, tick, control, grab, dense, observations
):
    """Advance a single world by one control step, judge it and read its state.

    Args:
        actions: (1, 4), clipped to [-1, 1].
        largest: as for `find_wrong_action`.
        moment: as for `read_moment`.
        rare, control, grab, dense: as for `advance` and `judge`.
        tiles, history: the arrays of `World`.
        tick: (1,), incremented.
        observations: (1, LANES, OBSERVATION_SIZE) float32, overwritten.

    Returns:
        The result of `find_wrong_action`. Unless it is -1, nothing is changed.
    """
    wrong = find_wrong_action(actions, largest)
    if wrong < 0:
        tick[0] += 1
        change_commands(tiles[0], 0, actions)
        advance(tiles[0], s.FIRST_LANE, history[0], tick[0], control, rare, observations[0])
        judge(tiles[0], s.FIRST_LANE, grab, dense)
        read_moment(tiles[0], moment)
    return wrong
