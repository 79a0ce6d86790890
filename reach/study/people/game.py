"""A person goes through a protocol instead of a learner, with a mouse for instance.

Trials, cups, perturbations and measures are those that a learner gets. The arm of the world follows the place that the
person points at as closely as its strength allows. The picture shows the cup, the seen hand and the start, but no arm,
as in the laboratory. Between trials the hand returns to the start unseen: only a ring shows its distance, because its
direction would tell of the perturbation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reach.arguments import picture_size
from reach.measures.reach import movement_onset
from reach.protocols import Protocol as ReachProtocol
from reach.protocols import ProtocolWrapper
from reach.render import palette
from reach.render.bodies import draw_standing
from reach.render.canvas import Canvas, Frame, Pixel
from reach.render.labels import fitted, text
from reach.render.table import START_RADIUS_M, room
from reach.render.window import Window
from reach.sim.actuators import joint_action
from reach.sim.arm import Arm
from reach.sim.layout import CONTROL_STEP_S, START_HAND_M
from reach.study.engine.formats import COLUMNS, frame_from
from reach.study.run import UNLEARNED_LAUNCH_ERROR

Place = tuple[float, float]

HAND_RADIUS_M = 0.009


@dataclass(frozen=True)
class View:
    """One moment as a person sees it.

    Attributes:
        start: (x, y) m, where the hand starts.
        cup: (x, y) m, where the cup is seen; None between trials.
        cup_radius: m.
        hand: (x, y) m, where the hand is seen; None where it is hidden.
        ring_m: distance of the hand from the start, shown as a ring around it; None for none.
        words: what there is to do, or how it went.
        won: whether `words` tell of a success, of a failure (False), or of neither (None).
        score: in the upper right.
        time_s: since the trial began; 0 between trials.
        trial: its number, from 1.
        probe: whether it is one without sight of the hand or the like.
    """

    start: Place
    cup: Place | None
    cup_radius: float
    hand: Place | None
    ring_m: float | None = None
    words: str = ""
    won: bool | None = None
    score: str = ""
    time_s: float = 0.0
    trial: int = 0
    probe: bool = False


def draw_seen(view: View, width: int, height: int) -> Frame:
    """The picture of a view, (height, width, 3) uint8, an array of its own.

    Raises:
        ValueError: a width or height outside 16 to 4096 pixels.
    """
    width, height = picture_size(width, height)
    canvas = Canvas(room(width, height).copy())
    start = canvas.at(view.start)
    canvas.disc(start, max(3.0, START_RADIUS_M * canvas.scale), palette.TABLE, palette.INK)
    if view.cup is not None:
        draw_standing(canvas, canvas.at(view.cup), view.cup_radius * canvas.scale, held=view.won is True)
    if view.ring_m is not None:
        canvas.ring(start, max(3.0, view.ring_m * canvas.scale), palette.SEEN)
    if view.hand is not None:
        canvas.disc(canvas.at(view.hand), HAND_RADIUS_M * canvas.scale, palette.SEEN, palette.WHITE)
    canvas.lay()
    margin = 0.025 * canvas.side
    colour = {None: palette.INK, True: palette.SUCCESS, False: palette.FAILURE}[view.won]
    score = text(view.score, canvas.text_px, palette.INK)
    room_px = int(width - 4 * margin - score.get_width())
    canvas.write(text(fitted(view.words, canvas.text_px, room_px), canvas.text_px, colour), margin, margin)
    canvas.write(score, width - margin - score.get_width(), margin)
    return canvas.frame


# --- pointing -------------------------------------------------------------------------------------------------

# How fast the arrow keys move what is pointed at.
KEYS_M_S = 0.5
DIRECTIONS = {"left": (-1.0, 0.0), "right": (1.0, 0.0), "up": (0.0, 1.0), "down": (0.0, -1.0)}


class WindowPointer:
    """Follows the pointer of a window, which is hidden there; arrow keys move on from where it was."""

    def __init__(self, window: Window, width: int, height: int, at: Place) -> None:
        """Begin at a place (x, y) m, in a window whose pictures have this width and height."""
        self._window = window
        self._canvas = Canvas(np.zeros((height, width, 3), dtype=np.uint8))
        window.take_pointer(self._canvas.at(at))
        self._last: Pixel | None = None
        self._place = at

    def place(self) -> Place:
        """(x, y) m on the table; asked for once a control step."""
        pixel = self._window.pointer
        if self._last is not None and pixel != self._last:
            self._place = self._canvas.place(pixel)
        self._last = pixel
        for name in self._window.pressed():
            right, forward = DIRECTIONS[name]
            step = KEYS_M_S * CONTROL_STEP_S
            self._place = self._place[0] + step * right, self._place[1] + step * forward
        return self._place


# --- going through a protocol ---------------------------------------------------------------------------------

Array = NDArray[np.float64]

PERSON = "person"
# The file in a person's folder.
TRIALS = "trials.parquet"
# How stiffly, rad/s, and with how much damping the arm follows.
FOLLOWING_RAD_S = 18.0
FOLLOWING_DAMPING = 1.0
OPEN_GRIP = 0.818
# The hand is back when it has been this near to the start for this long.
BACK_M, BACK_S = 0.012, 0.3
# How long it is told how a trial went.
TOLD_S = 0.6
POINTS = 10
# Directions of the hand from which the one with the straightest wrist is taken.
AXES_RAD = np.linspace(0.2, 3.0, 57)
# Shares of the way to a place that are tried until one is in reach.
SHARES = np.linspace(1.0, 0.0, 11)


class Stopped(Exception):
    """The person has left before the end."""


class Pointer(Protocol):
    """With what a person says where the hand should be."""

    def place(self) -> Place:
        """(x, y) m on the table, now."""


@dataclass
class OwnArm:
    """Moves the arm to where it is wanted: a stiff, damped pull on each joint, through the arm's own dynamics."""

    arm: Arm
    control: str
    rest: Array
    _wanted: dict[Place, Array] = field(default_factory=dict)

    def action(self, truth: Any, place: Place) -> NDArray[np.float32]:
        """The action (4,) of this control step; the hand stays open."""
        angle, velocity = np.asarray(truth["joint_angles"]), np.asarray(truth["joint_velocities"])
        pull = FOLLOWING_RAD_S**2 * (self._posture(place) - angle)
        acceleration = pull - 2.0 * FOLLOWING_DAMPING * FOLLOWING_RAD_S * velocity
        torque = self.arm.inverse_dynamics(angle, velocity, acceleration)
        joints = joint_action(self.arm, self.control, torque, angle, velocity)
        return np.array([*joints, OPEN_GRIP], dtype=np.float32)

    def _posture(self, place: Place) -> Array:
        """The posture (3,) rad with the hand at a place, its wrist bent as at rest as nearly as can be; a place out of
        reach is taken for the nearest one on the way from the start.
        """
        if place not in self._wanted:
            start, away = np.array(START_HAND_M), np.array(place) - START_HAND_M
            # (shares, directions, 3) rad, of places ever nearer to the start.
            postures = self.arm.inverse_kinematics(start + SHARES[:, None, None] * away, AXES_RAD)
            allowed = np.all((postures >= self.arm.lower) & (postures <= self.arm.upper), axis=-1)
            share = int(np.argmax(np.any(allowed, axis=-1)))
            bent = np.where(allowed[share], np.abs(postures[share, :, 2] - self.rest[2]), np.inf)
            self._wanted = {place: postures[share, int(np.argmin(bent))]}
        return self._wanted[place]


def play(
    protocol: ReachProtocol,
    seed: int,
    pointer: Pointer,
    show: Callable[[View], bool],
    *,
    returning: bool = True,
    on_trial: Callable[[list[dict[str, Any]]], None] | None = None,
) -> list[dict[str, Any]]:
    """Go through a protocol, and measure it as a learner's reaches are.

    Args:
        protocol: the schedule.
        seed: of its cups and noise.
        pointer: where the person wants the hand.
        show: shows a view for a control step, and answers whether the person is still there.
        returning: whether the person brings the hand back to the start; without it, each trial begins at once.
        on_trial: given the rows so far after each trial.

    Returns:
        A row a trial; `reaction_time_s` is the time after which the hand set out, NaN where it did not.

    Raises:
        Stopped: the person has left.
    """
    env = ProtocolWrapper(gym.make(protocol.env_id, disable_env_checker=True), protocol, seed=seed)
    score = 0

    def shown(**now: Any) -> None:
        trial = 1 + len({(row["trial"]) for row in env.rows if not row["probe"]}) if env.rows else 1
        told = f"trial {min(trial, protocol.reaches)} of {protocol.reaches}, {score} points"
        view = {"start": START_HAND_M, "cup": None, "cup_radius": 0.035, "hand": None, "score": told, "trial": trial}
        if not show(View(**{**view, **now})):
            raise Stopped

    try:
        while not env.finished:
            probe = env.schedule[len(env.rows)].probe
            if returning:
                _return(pointer, shown)
            won = _trial(env, pointer, shown, probe)
            score += POINTS if won else 0
            if on_trial is not None:
                on_trial([dict(row) for row in env.rows])
            if returning:
                words = "Got it" if won else "Reach over" if probe else "Missed: too far off, or too late"
                for _ in range(round(TOLD_S / CONTROL_STEP_S)):
                    shown(words=words, won=won if won or not probe else None, probe=probe)
        return [dict(row) for row in env.rows]
    finally:
        env.close()


def _return(pointer: Pointer, shown: Callable[..., None]) -> None:
    """Wait until the hand is back at the start."""
    back_s = 0.0
    while back_s < BACK_S:
        away = math.dist(pointer.place(), START_HAND_M)
        back_s = back_s + CONTROL_STEP_S if away < BACK_M else 0.0
        shown(words="Bring the hand back: make the ring small", ring_m=away)


def _trial(env: ProtocolWrapper, pointer: Pointer, shown: Callable[..., None], probe: bool) -> bool:
    _, info = env.reset()
    bare: Any = env.unwrapped
    truth = info["truth"]
    own = OwnArm(bare.arm, bare.control, np.array(truth["joint_angles"]))
    words = "Reach as if you saw your hand" if probe else "Reach for the cup and stop on it"
    over = False
    while not over:
        hand = tuple(np.asarray(truth["seen_hand"]).tolist()) if truth["hand_visible"] else None
        shown(
            cup=tuple(np.asarray(truth["seen_cup"]).tolist()),
            hand=hand,
            words=words,
            time_s=float(truth["time_s"]) + CONTROL_STEP_S,
            probe=probe,
        )
        _, _, terminated, truncated, info = env.step(own.action(truth, pointer.place()))
        truth = info["truth"]
        over = bool(terminated or truncated)
    onset = movement_onset(np.hypot(*env.recording.column("hand_velocity").T))
    env.rows[-1]["reaction_time_s"] = math.nan if onset is None else CONTROL_STEP_S * onset
    return bool(info["is_success"])


class StraightReacher:
    """A person as a program: looks at the cup, and moves the hand straight to it, or `aside` of it.

    Attributes:
        view: what is shown now.
    """

    REACTION_S, MOVEMENT_S = 0.2, 0.5

    def __init__(self, aside_degrees: Callable[[View], float] = lambda view: 0.0) -> None:
        """`aside_degrees` says by how much, counter-clockwise, each reach is aimed beside the seen cup."""
        self.view: View | None = None
        self._aside = aside_degrees
        self._aimed = 0.0

    def look(self, view: View) -> bool:
        """Take in what is shown; stays to the end."""
        before = self.view
        if view.cup is not None and (before is None or before.cup is None or view.time_s < before.time_s):
            self._aimed = math.radians(self._aside(view))
        self.view = view
        return True

    def place(self) -> Place:
        """Where the hand should be: a minimum jerk course (Flash and Hogan 1985) to what is aimed at."""
        if self.view is None or self.view.cup is None:
            return START_HAND_M[0], START_HAND_M[1]
        start = np.array(START_HAND_M)
        along, across = np.array(self.view.cup) - start
        cosine, sine = math.cos(self._aimed), math.sin(self._aimed)
        s = min(1.0, max(0.0, (self.view.time_s - self.REACTION_S) / self.MOVEMENT_S))
        way = s**3 * (10.0 - 15.0 * s + 6.0 * s**2)
        x, y = start + way * np.array([cosine * along - sine * across, sine * along + cosine * across])
        return float(x), float(y)


def unheeding(protocol: ReachProtocol, seed: int) -> list[float]:
    """The launch error (degrees) of each trial by one who reaches straight for the seen cup, whatever went wrong."""
    straight = StraightReacher()
    rows = play(protocol, seed, straight, straight.look, returning=False)
    return [row["launch_error_deg"] for row in rows]


def under_their_name(protocol: ReachProtocol, seed: int, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Trials as those of a learner called `person`."""
    return [{**row, "learner": PERSON, "protocol": protocol.name, "seed": seed} for row in rows]


def rows_of_person(protocol: ReachProtocol, seed: int, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A person's trials as those of a learner, with what heeding no error would have given."""
    still = unheeding(protocol, seed)
    named = under_their_name(protocol, seed, rows)
    return [{**row, UNLEARNED_LAUNCH_ERROR: error} for row, error in zip(named, still, strict=True)]


def read_person(folder: Path) -> pd.DataFrame:
    """The trials that a person has played into a folder (`scripts/play.py`).

    Raises:
        FileNotFoundError: there are none.
        ValueError: they are not a person's, or the file is damaged.
    """
    file = folder / TRIALS
    if not file.is_file():
        raise FileNotFoundError(f"{folder} holds no {TRIALS}; a folder that play.py has written is allowed")
    try:
        trials = frame_from(file.read_bytes(), file, must_be_sealed=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} cannot be read ({error}); a file that play.py has written is allowed") from error
    missing = [column for column in (*COLUMNS, UNLEARNED_LAUNCH_ERROR) if column not in trials]
    if missing:
        raise ValueError(f"{file} lacks the columns {missing}; a file that play.py has written is allowed")
    learners = sorted(set(map(str, trials["learner"])))
    if learners != [PERSON]:
        raise ValueError(f"{file} holds trials of learners {learners}; only those of {PERSON!r} are allowed")
    try:
        return trials.astype({**COLUMNS, UNLEARNED_LAUNCH_ERROR: "float64"})
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{file} holds what no trial is ({error}); a file that play.py has written is allowed"
        ) from error


def with_persons(trials: pd.DataFrame, folders: Sequence[Path]) -> pd.DataFrame:
    """The trials, and after them those of persons in the same protocols, numbered by their folders as by seeds."""
    persons = [read_person(folder).assign(seed=number) for number, folder in enumerate(folders)]
    known = set(trials["protocol"])
    return pd.concat([trials, *(one[one["protocol"].isin(known)] for one in persons)], ignore_index=True)
