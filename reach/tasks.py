"""The two tasks, reaching and grabbing: when a trial is won and what each step earns, compiled.

Reaching is judged as in the laboratory, where the cursor must come to rest in the target: by where hand and cup are
seen at this moment. Grabbing is physical: the fingers must hold the true cup.

The reward is computed from what is *seen* (after the visual map, one visual delay ago, without noise), never from the
true hand, so that under a visual perturbation it tells a learner no more than its eyes do.

Dense reward is a sum of named terms. `progress` and `grasp` are differences of bounded potentials (Ng, Harada and
Russell 1999), so going to and fro earns nothing. Tipping the cup sets both to zero and costs 1 more, so ending early
never pays: with P0 the weighted potential at the start, a tipped trial earns at most -P0 - 1, and an honest one,
however bad, at least -P0 - 0.24 (the most that unsteady commands can cost).
"""

from __future__ import annotations

import math

from numba import njit

from reach.sim import state as s
from reach.sim.step import advance

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

# Columns of a task's memory: potentials of progress and grasp, and the command before this one.
PROGRESS, GRASP, COMMAND, MEMORY_SIZE = 0, 1, 2, 6


@njit(cache=True)
def _potentials(b, p, history, progress_before, grasp_before):  # type: ignore[no-untyped-def]
    """How far the reach and the grasp have come, each in 0..1, by what is seen and felt; zero for a tipped cup.

    Progress is 1 with the seen hand, open as wide as the cup, at the seen cup: what the felt aperture lacks counts as
    distance, because a closed hand at the cup is as far from holding it as an open one beside it. Grasp is half the
    closing of the fingers around the cup and half the time of the hold. The values before are kept while the hand is
    not seen.
    """
    if b[s.TIPPED] > 0.0:
        return 0.0, 0.0
    seen = history[(int(b[s.CLOCK]) - int(p[s.VISION_ROWS])) % s.HISTORY_ROWS]
    if seen[s.SEEN_VISIBLE] == 0.0:
        return progress_before, grasp_before
    felt = history[(int(b[s.CLOCK]) - int(p[s.TOUCH_ROWS])) % s.HISTORY_ROWS]
    dx = seen[s.SEEN_HAND_X] - seen[s.SEEN_CUP_X]
    dy = seen[s.SEEN_HAND_Y] - seen[s.SEEN_CUP_Y]
    distance = math.sqrt(dx * dx + dy * dy)
    room = felt[s.FELT_APERTURE] - 2.0 * p[s.CUP_RADIUS]
    lacking = APERTURE_WEIGHT * max(0.0, -room)
    progress = 1.0 - math.tanh(math.sqrt(distance * distance + lacking * lacking) / PROGRESS_SCALE_M)
    closed = 1.0 - min(1.0, abs(room) / (p[s.LARGEST_APERTURE] - 2.0 * p[s.CUP_RADIUS]))
    around = math.exp(-(distance * distance) / (2.0 * AROUND_M * AROUND_M))
    return progress, 0.5 * around * closed + 0.5 * min(1.0, b[s.HELD_S] / HOLD_S)


@njit(cache=True)
def has_reached(b, p):  # type: ignore[no-untyped-def]
    """Whether the open hand, as it is seen, rests around the seen cup."""
    dx = b[s.EYE_HAND_X] - b[s.EYE_CUP_X]
    dy = b[s.EYE_HAND_Y] - b[s.EYE_CUP_Y]
    near = dx * dx + dy * dy < REACH_RADIUS_M * REACH_RADIUS_M
    return near and b[s.STILL_S] >= REACH_STILL_S - 1e-9 and b[s.APERTURE] > 2.0 * p[s.CUP_RADIUS]


@njit(cache=True)
def prepare(body, history, setting, action, memory):  # type: ignore[no-untyped-def]
    """Set the task's memory at the start of every trial."""
    for i in range(body.shape[0]):
        memory[i, PROGRESS], memory[i, GRASP] = _potentials(body[i], setting[i], history[i], 0.0, 0.0)
        for k in range(4):
            memory[i, COMMAND + k] = action[i, k]


@njit(cache=True)
def judge(body, history, setting, action, memory, grab, dense, terms, success):  # type: ignore[no-untyped-def]
    """Write each trial's reward terms (num_envs, 6) and success (num_envs,) after one control step."""
    for i in range(body.shape[0]):
        b = body[i]
        p = setting[i]
        tipped = b[s.TIPPED] > 0.0
        won = b[s.HELD_S] >= HOLD_S - 1e-9 if grab else has_reached(b, p)
        won = won and not tipped
        success[i] = won
        effort = 0.0
        for k in range(4):
            change = action[i, k] - memory[i, COMMAND + k]
            effort += change * change
            memory[i, COMMAND + k] = action[i, k]
        progress, grasp = _potentials(b, p, history[i], memory[i, PROGRESS], memory[i, GRASP])
        for k in range(len(REWARD_TERMS)):
            terms[i, k] = 0.0
        if dense:
            terms[i, 0] = PROGRESS_WEIGHT * (progress - memory[i, PROGRESS])
            terms[i, 1] = GRASP_WEIGHT * (grasp - memory[i, GRASP]) if grab else 0.0
            terms[i, 2] = -EFFORT_WEIGHT * effort
            terms[i, 3] = -TIPPING_PENALTY if tipped else 0.0
            terms[i, 4] = SUCCESS_BONUS if won else 0.0
        elif not won:
            left = s.TRIAL_STEPS - b[s.CLOCK] / s.INNER_STEPS
            terms[i, 5] = -1.0
            terms[i, 3] = -max(0.0, left) - TIPPING_PENALTY if tipped else 0.0
        memory[i, PROGRESS] = progress
        memory[i, GRASP] = grasp


@njit(cache=True)
def advance_and_judge(  # type: ignore[no-untyped-def]
    body, history, key, noise, setting, disturbance, action, observation, memory, grab, dense, terms, success
):
    """`step.advance`, then `judge`: one control step of a batch of trials in one compiled call."""
    advance(body, history, key, noise, setting, disturbance, action, observation)
    judge(body, history, setting, action, memory, grab, dense, terms, success)
