"""The two tasks, reaching and grabbing: when a trial is won and what each step earns, compiled.

Reaching is judged as in the laboratory, where the cursor must come to rest in the target: by where the eye sees hand
and cup by now, one visual delay late. Grabbing is physical: the fingers must hold the true cup.

The reward is computed from what is *seen* (after the visual map, one visual delay ago, without noise), never from the
true hand, so that under a visual perturbation it tells a learner no more than its eyes do.

Dense reward is a sum of named terms. `progress` and `grasp` are differences of bounded potentials (Ng, Harada and
Russell 1999), so going to and fro earns nothing. Tipping the cup sets both to zero and costs 1 more, so ending early
never pays: with P0 the weighted potential at the start, a tipped trial earns at most -P0 - 1, and an honest one,
however bad, at least -P0 - 0.24 (the most that unsteady commands can cost).
"""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from reach.sim import state as s
from reach.sim.compiled import inlined, kernel, parallel_kernel
from reach.sim.elementary import exponential, hyperbolic_tangent, larger, smaller
from reach.sim.noise import trial_key
from reach.sim.step import advance, begin, drawn_cup

L = s.LANES
HOLD_S = 0.2
REACH_RADIUS_M = 0.02
REACH_STILL_S = 0.1

REWARD_TERMS = ("progress", "grasp", "effort", "tipping", "success", "step")
PROGRESS_WEIGHT = 4.0
PROGRESS_SCALE_M = 0.15
APERTURE_WEIGHT = 3.0
GRASP_WEIGHT = 8.0
# A hand within about this of the cup is around it; closing then counts half of a grasp, holding the other half.
AROUND_M = 0.02
EFFORT_WEIGHT = 0.0001
TIPPING_PENALTY = 1.0
SUCCESS_BONUS = 10.0

# A task's columns of a row: potentials of progress and grasp, the command before this one, reward terms, their sum,
# and success.
PROGRESS, GRASP = s.TASK, s.TASK + 1
PREVIOUS = s.TASK + 2
TERMS = PREVIOUS + s.ACTIONS
REWARD = TERMS + len(REWARD_TERMS)
SUCCESS = REWARD + 1
# Whether the hand holds the cup for as long as is asked, or rests and is open: what a place alone does not tell.
READY = SUCCESS + 1
assert READY + 1 - s.TASK == s.TASK_SIZE


@inlined
def _potentials(t, i, progress_before, grasp_before):  # type: ignore[no-untyped-def]
    """How far lane `i`'s reach and grasp have come, each in 0..1, by what is seen and felt; zero for a tipped cup.

    Progress is 1 with the seen hand, open as wide as the cup, at the seen cup: what the felt aperture lacks counts as
    distance, because a closed hand at the cup is as far from holding it as an open one beside it. Grasp is half the
    closing of the fingers around the cup and half the time of the hold. The values before are kept while hand or cup
    is not seen.
    """
    dx = t[s.LATE_HAND_X * L + i] - t[s.LATE_CUP_X * L + i]
    dy = t[s.LATE_HAND_Y * L + i] - t[s.LATE_CUP_Y * L + i]
    squared = dx * dx + dy * dy
    width = 2.0 * t[s.CUP_RADIUS * L + i]
    room = t[s.LATE_APERTURE * L + i] - width
    lacking = APERTURE_WEIGHT * larger(-room, 0.0)
    progress = 1.0 - hyperbolic_tangent(math.sqrt(squared + lacking * lacking) / PROGRESS_SCALE_M)
    closed = 1.0 - smaller(abs(room) / (t[s.LARGEST_APERTURE * L + i] - width), 1.0)
    around = exponential(-squared / (2.0 * AROUND_M * AROUND_M))
    grasp = 0.5 * around * closed + 0.5 * smaller(t[s.HELD_S * L + i] / HOLD_S, 1.0)
    gone = (t[s.LATE_CUP_X * L + i] == 0.0) & (t[s.LATE_CUP_Y * L + i] == 0.0)
    unseen = (t[s.LATE_VISIBLE * L + i] == 0.0) | gone
    progress = progress_before if unseen else progress
    grasp = grasp_before if unseen else grasp
    standing = t[s.TIPPED * L + i] == 0.0
    return progress if standing else 0.0, grasp if standing else 0.0


@inlined
def _has_reached(t, i, ready):  # type: ignore[no-untyped-def]
    """Whether a `ready` hand, as the eye sees it by now, is around the seen cup; an unseen hand is not judged."""
    dx = t[s.LATE_HAND_X * L + i] - t[s.LATE_CUP_X * L + i]
    dy = t[s.LATE_HAND_Y * L + i] - t[s.LATE_CUP_Y * L + i]
    near = dx * dx + dy * dy < REACH_RADIUS_M * REACH_RADIUS_M
    return near & ready & (t[s.LATE_VISIBLE * L + i] > 0.0)


@kernel
def begin_judging(t, i):  # type: ignore[no-untyped-def]
    """Set lane `i`'s task columns at the start of its trial."""
    w = t[i::L]
    w[s.TASK : s.SCRATCH] = 0.0
    w[PROGRESS], w[GRASP] = _potentials(t, i, 0.0, 0.0)
    for k in range(s.ACTIONS):
        w[PREVIOUS + k] = w[s.ACTION_1 + k]


@kernel
def judge(t, lanes, grab, dense):  # type: ignore[no-untyped-def]
    """Write reward terms, reward and success of a tile's trials after one control step.

    Conditions are joined by & and |, which evaluate both sides, and stores stand behind all loads: branches, and loads
    that might wait for a store, would keep the loop from becoming vectors.
    """
    for i in range(len(lanes)):
        tipped = t[s.TIPPED * L + i] > 0.0
        held = t[s.HELD_S * L + i] >= HOLD_S - 1e-9
        still = t[s.STILL_S * L + i] >= REACH_STILL_S - 1e-9
        wide = t[s.APERTURE * L + i] > 2.0 * t[s.CUP_RADIUS * L + i]
        ready = (held if grab else still & wide) & (not tipped)
        won = ready if grab else _has_reached(t, i, ready)
        action1 = t[s.ACTION_1 * L + i]
        action2 = t[s.ACTION_2 * L + i]
        action3 = t[s.ACTION_3 * L + i]
        action4 = t[s.ACTION_4 * L + i]
        change1 = action1 - t[PREVIOUS * L + i]
        change2 = action2 - t[(PREVIOUS + 1) * L + i]
        change3 = action3 - t[(PREVIOUS + 2) * L + i]
        change4 = action4 - t[(PREVIOUS + 3) * L + i]
        effort = change1 * change1 + change2 * change2 + change3 * change3 + change4 * change4
        progress_before = t[PROGRESS * L + i]
        grasp_before = t[GRASP * L + i]
        left = s.TRIAL_STEPS - t[s.CLOCK * L + i] * (1.0 / s.INNER_STEPS)
        progress, grasp = _potentials(t, i, progress_before, grasp_before)
        toll = 0.0 if dense | won else -1.0
        fine = TIPPING_PENALTY if dense else TIPPING_PENALTY + larger(left, 0.0)
        of_progress = PROGRESS_WEIGHT * (progress - progress_before) if dense else 0.0
        of_grasp = GRASP_WEIGHT * (grasp - grasp_before) if dense & grab else 0.0
        of_effort = -EFFORT_WEIGHT * effort if dense else 0.0
        of_tipping = -fine if tipped else 0.0
        of_success = SUCCESS_BONUS if dense & won else 0.0
        t[READY * L + i] = 1.0 if ready else 0.0
        t[PREVIOUS * L + i] = action1
        t[(PREVIOUS + 1) * L + i] = action2
        t[(PREVIOUS + 2) * L + i] = action3
        t[(PREVIOUS + 3) * L + i] = action4
        t[TERMS * L + i] = of_progress
        t[(TERMS + 1) * L + i] = of_grasp
        t[(TERMS + 2) * L + i] = of_effort
        t[(TERMS + 3) * L + i] = of_tipping
        t[(TERMS + 4) * L + i] = of_success
        t[(TERMS + 5) * L + i] = toll
        t[REWARD * L + i] = of_progress + of_grasp + of_effort + of_tipping + of_success + toll
        t[SUCCESS * L + i] = 1.0 if won else 0.0
        t[PROGRESS * L + i] = progress
        t[GRASP * L + i] = grasp


@kernel
def begin_trial(t, history, key, tick, i, control, cup_x, cup_y, out):  # type: ignore[no-untyped-def]
    """`step.begin`, then `begin_judging`: a trial begins in lane `i`."""
    begin(t, history, key, tick, i, control, cup_x, cup_y, out)
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
            terms[c, first + i] = t[(TERMS + c) * L + i]
    latest = float(longest * s.INNER_STEPS) if longest > 0 else np.inf
    for i in range(count):
        success = t[SUCCESS * L + i] > 0.0
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
            for c in range(s.ACTIONS):
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
