"""The loop of the simulation, compiled: one control step, the start of a trial, and whole steps of many worlds."""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from reach.sim import layout as s
from reach.sim import muscles
from reach.sim.actuators import follow_goals, pull, set_goals, swing
from reach.sim.dynamics import begin_step, end_step, find_blocked, stage, turn_joints
from reach.sim.forces import apply_forces, clear_forces, first_onset, hold_in_channel
from reach.sim.grasp import move_hands_and_cups, place_hand, smallest_clearance
from reach.sim.jit import kernel, parallel_kernel
from reach.sim.noise import CUP_COUNTER, draw, draw_first, kept_key, trial_key, uniform
from reach.sim.senses import asked, look, notice, notice_start, observe, observe_start
from reach.sim.tasks import begin_judging, judge

L = s.LANES
# What tiles without may skip.
FORCES = (s.FIELD_ONSET, s.FORCE_ONSET, s.NUDGE_ONSET, s.CHANNEL_ONSET)
CHANNELS = (s.CHANNEL_ONSET,)
EVENTS = (s.JUMP_ONSET, s.GONE_ONSET)


@kernel
def move_arms(t, lanes, control, forced, channelled, step):  # type: ignore[no-untyped-def]
    """Move the arms of a tile for `step` seconds: classical Runge-Kutta of fourth order, then channel and joint stops.

    Args:
        t, lanes: as for `advance`; GAIN_ columns scale the active torques (1 without motor noise).
        control: POSTURE, TORQUE or MUSCLE.
        forced, channelled: whether any lane has a force, or a force channel, set.
        step: s.
    """
    if forced or channelled or control == s.MUSCLE:
        begin_step(t, lanes)
        for k in range(4):
            pull(t, lanes, control)
            if forced:
                apply_forces(t, lanes)
            stage(t, lanes, k, step if k == 2 else 0.5 * step)
        end_step(t, lanes, step)
        if channelled:
            for i in range(len(lanes)):
                hold_in_channel(t, i, step)
        find_blocked(t, lanes, step)
    else:
        swing(t, lanes, control, step)
    turn_joints(t, lanes, step)


@kernel
def _let_happen(w):  # type: ignore[no-untyped-def]
    """Let the cup of row `w` jump or vanish when its time has come; a cup in the grip does not jump."""
    now = w[s.CLOCK] + 1.0
    if now >= w[s.GONE_ONSET]:
        w[s.CUP_PRESENT] = 0.0
    if w[s.JUMPED] == 0.0 and now >= w[s.JUMP_ONSET] and w[s.GRIP_FORCE] == 0.0:
        x = w[s.CUP_X] + w[s.JUMP_X]
        y = w[s.CUP_Y] + w[s.JUMP_Y]
        if smallest_clearance(w, x, y) > 0.0:
            w[s.CUP_X] = x
            w[s.CUP_Y] = y
            w[s.JUMPED] = 1.0


@kernel
def _pass_time(t, lanes, step):  # type: ignore[no-untyped-def]
    for i in range(len(lanes)):
        vx = t[s.HAND_VELOCITY_X * L + i]
        vy = t[s.HAND_VELOCITY_Y * L + i]
        still = vx * vx + vy * vy < s.STILL_SPEED_M_S * s.STILL_SPEED_M_S
        t[s.STILL_S * L + i] = t[s.STILL_S * L + i] + step if still else 0.0
        t[s.CLOCK * L + i] += 1.0


@kernel
def advance(t, lanes, history, tick, control, out):  # type: ignore[no-untyped-def]
    """Advance a tile by one control step of 20 ms and write its observations.

    Args:
        t: (TILE_SIZE,) tile; its ACTION columns hold the commands, in [-1, 1].
        lanes: `state.ALL_LANES`, or `state.FIRST_LANE` where the tile holds one world alone.
        history: (HISTORY_ROWS, HISTORY_SIZE * LANES) of this tile.
        tick: of this step, from which its row of `history` follows.
        control: POSTURE, TORQUE or MUSCLE.
        out: (LANES, OBSERVATION_SIZE) float32, overwritten.
    """
    step = s.INNER_STEP_S
    draw(t, lanes)
    set_goals(t, lanes, control)
    clear_forces(t, lanes)
    forced = first_onset(t, lanes, FORCES) < s.NEVER
    channelled = first_onset(t, lanes, CHANNELS) < s.NEVER
    eventful = first_onset(t, lanes, EVENTS) < s.NEVER
    seen = asked(t, lanes, s.VISION_ROWS)
    felt = asked(t, lanes, s.TOUCH_ROWS)
    for inner in range(1, s.INNER_STEPS + 1):
        follow_goals(t, lanes, control, step)
        move_arms(t, lanes, control, forced, channelled, step)
        move_hands_and_cups(t, lanes, step)
        if eventful:
            for i in range(len(lanes)):
                _let_happen(t[i::L])
        _pass_time(t, lanes, step)
        if inner == s.INNER_STEPS:
            look(t, lanes)
        notice(t, lanes, history, tick, inner, seen, felt)
    observe(t, lanes, history, tick, out)


@kernel
def drawn_cup(key):  # type: ignore[no-untyped-def]
    """The place (x, y) m of a trial's cup: drawn from its key in a fan about the start of the hand."""
    near, far = s.CUP_DISTANCE_M
    right, left = s.CUP_BEARING_DEGREES
    distance = near + (far - near) * uniform(key, CUP_COUNTER)
    bearing = math.radians(right + (left - right) * uniform(key, CUP_COUNTER + np.uint64(1)))
    x, y = s.START_HAND_M
    return x + distance * math.cos(bearing), y + distance * math.sin(bearing)


@kernel
def begin_trial(t, history, key, tick, i, control, cup_x, cup_y, out):  # type: ignore[no-untyped-def]
    """Begin a trial in lane `i`: the arm at rest as its settings say, the cup at (cup_x, cup_y) m.

    Args:
        t, history, tick, control: as for `advance`.
        key: uint64, of the trial.
        i: lane.
        cup_x, cup_y: m.
        out: (OBSERVATION_SIZE,) float32, overwritten with the first observation.
    """
    w = t[i::L]
    w[: s.SETTING] = 0.0
    for j in range(3):
        w[s.ANGLE_1 + j] = w[s.START_ANGLE_1 + j]
        w[s.COMMAND_1 + j] = w[s.START_ANGLE_1 + j] if control == s.POSTURE else 0.0
    if control == s.MUSCLE:
        (
            w[s.ACTIVATION_1], w[s.ACTIVATION_2], w[s.ACTIVATION_3], w[s.ACTIVATION_4],
            w[s.ACTIVATION_5], w[s.ACTIVATION_6], w[s.ACTIVATION_7], w[s.ACTIVATION_8],
        ) = muscles.excitation(w[s.REST_1], w[s.REST_2], w[s.REST_3])  # fmt: skip
    for k in range(s.ACTION_SIZE):
        w[s.ACTION_1 + k] = w[s.REST_1 + k]
    w[s.APERTURE] = s.START_APERTURE_M if w[s.WRIST_FREE] > 0.0 else s.LOCKED_START_APERTURE_M
    w[s.CUP_X] = cup_x
    w[s.CUP_Y] = cup_y
    w[s.CUP_PRESENT] = 0.0 if w[s.GONE_ONSET] <= 0.0 else 1.0
    away_x = cup_x - w[s.START_X]
    away_y = cup_y - w[s.START_Y]
    away = max(1e-9, math.sqrt(away_x * away_x + away_y * away_y))
    w[s.TARGET_X] = away_x / away
    w[s.TARGET_Y] = away_y / away
    place_hand(t, i)
    notice_start(t, history, tick, i)
    w[s.KEY] = kept_key(key)
    draw_first(w)
    observe_start(t, history, tick, i, out)
    begin_judging(t, i)


@kernel
def _begin_drawn(n, tiles, history, streams, episodes, tick, control, observations):  # type: ignore[no-untyped-def]
    """Begin the next trial of world `n`, with a cup drawn from its key."""
    k = n // L
    i = n % L
    key = trial_key(streams[k, i], episodes[k, i])
    episodes[k, i] += np.uint64(1)
    cup_x, cup_y = drawn_cup(key)
    begin_trial(tiles[k], history[k], key, tick, i, control, cup_x, cup_y, observations[k, i])


@kernel
def begin_drawn_trials(mask, tiles, history, streams, episodes, tick, control, observations):  # type: ignore[no-untyped-def]
    """Begin the next trial, with a cup drawn from its key, in every world of `mask` (num_envs,).

    Args:
        mask: which worlds.
        tiles, history, streams, episodes: the arrays of `state.World`.
        tick, control: as for `step.begin`.
        observations: (num_tiles, LANES, OBSERVATION_SIZE) float32; those of the begun trials are overwritten.
    """
    for n in range(mask.size):
        if mask[n]:
            _begin_drawn(n, tiles, history, streams, episodes, tick, control, observations)


@kernel
def _read_judgements(t, k, longest, terms, won, ended, late):  # type: ignore[no-untyped-def]
    """Write how the last step of tile `k`'s worlds is judged."""
    first = k * L
    count = min(L, won.size - first)
    for c in range(terms.shape[0]):
        for i in range(count):
            terms[c, first + i] = t[(s.TERM_PROGRESS + c) * L + i]
    latest = float(longest * s.INNER_STEPS) if longest > 0 else np.inf
    for i in range(count):
        success = t[s.SUCCESS * L + i] > 0.0
        won[first + i] = success
        ended[first + i] = success | (t[s.TIPPED * L + i] > 0.0)
        late[first + i] = t[s.CLOCK * L + i] >= latest


@kernel
def read_judgements(tiles, longest, terms, won, ended, late):  # type: ignore[no-untyped-def]
    """Write how the last step of all worlds is judged; see `Simulation.judgements`."""
    for k in range(tiles.shape[0]):
        _read_judgements(tiles[k], k, longest, terms, won, ended, late)


@kernel
def _play_tile(  # type: ignore[no-untyped-def]
    k, tiles, history, streams, episodes, tick, control, grab, dense, observations, begin, longest,
    terms, won, ended, late,
):  # fmt: skip
    t = tiles[k]
    advance(t, s.ALL_LANES, history[k], tick, control, observations[k])
    judge(t, s.ALL_LANES, grab, dense)
    for i in range(min(L, won.size - k * L)):
        n = k * L + i
        if begin[n]:
            _begin_drawn(n, tiles, history, streams, episodes, tick, control, observations)
    _read_judgements(t, k, longest, terms, won, ended, late)


@kernel
def play(  # type: ignore[no-untyped-def]
    tiles, history, streams, episodes, tick, control, grab, dense, observations, begin, longest, terms, won, ended, late
):
    """The step of `advance_and_judge` once actions are taken, then `begin_drawn_trials` and `read_judgements`, in one.

    `begin` (num_envs,) says in which worlds the next trial begins.
    """
    for k in range(tiles.shape[0]):
        _play_tile(
            k, tiles, history, streams, episodes, tick, control, grab, dense, observations, begin, longest,
            terms, won, ended, late,
        )  # fmt: skip


@parallel_kernel
def play_together(  # type: ignore[no-untyped-def]
    tiles, history, streams, episodes, tick, control, grab, dense, observations, begin, longest, terms, won, ended, late
):
    """`play`, its tiles shared among threads."""
    for k in prange(tiles.shape[0]):
        _play_tile(
            k, tiles, history, streams, episodes, tick, control, grab, dense, observations, begin, longest,
            terms, won, ended, late,
        )  # fmt: skip


@kernel
def take_actions(actions, tiles):  # type: ignore[no-untyped-def]
    """Put `actions` (num_envs, 4) into `tiles`.

    Returns:
        The first world whose action is not finite or leaves [-1, 1], or -1. Then nothing is to be advanced.
    """
    wrong = -1
    for k in range(tiles.shape[0]):
        t = tiles[k]
        for i in range(min(L, actions.shape[0] - k * L)):
            for c in range(s.ACTION_SIZE):
                action = float(actions[k * L + i, c])
                # Written so that NaN, of which every comparison is false, is refused as well.
                if not -1.0 <= action <= 1.0 and wrong < 0:
                    wrong = k * L + i
                t[(s.ACTION_1 + c) * L + i] = action
    return wrong


@kernel
def advance_and_judge(actions, tiles, lanes, history, tick, control, grab, dense, observations):  # type: ignore[no-untyped-def]
    """One control step, judged, of all worlds, for `actions` (num_envs, 4).

    Args:
        actions: in [-1, 1].
        tiles, history: the arrays of `state.World`.
        lanes: as for `step.advance`, in every tile.
        tick: (1,), counted on.
        control, grab, dense: as for `step.advance` and `judge`.
        observations: (num_tiles, LANES, OBSERVATION_SIZE) float32, overwritten.

    Returns:
        As `take_actions`.
    """
    wrong = take_actions(actions, tiles)
    if wrong < 0:
        tick[0] += 1
        for k in range(tiles.shape[0]):
            advance(tiles[k], lanes, history[k], tick[0], control, observations[k])
            judge(tiles[k], lanes, grab, dense)
    return wrong
