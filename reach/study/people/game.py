"""The game in which a person runs a protocol in place of a learner, for example with a mouse.

Trials, cups, perturbations and measures are those of a learner. The simulated arm follows the position at which the
person points as closely as its strength allows. The picture shows the cup, the seen hand and the start, but no arm, as
in experiments. Between trials the hand is hidden while it returns to the start. Only a ring shows its distance from the
start, because its direction would reveal the perturbation.
"""

from __future__ import annotations

import math
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reach.arguments import picture_size
from reach.measures.reach import movement_onset
from reach.protocols import Protocol, ProtocolWrapper
from reach.render import palette
from reach.render.bodies import draw_standing_cup
from reach.render.canvas import Canvas, Frame, Pixel
from reach.render.labels import fit_text, render_text
from reach.render.palette import learner_colour
from reach.render.table import START_RADIUS_M, draw_lamps, draw_room
from reach.render.window import Window
from reach.sim.actuators import joint_command
from reach.sim.arm import Arm
from reach.sim.layout import CONTROL_STEP_S, START_HAND_M
from reach.study.engine.formats import COLUMNS, frame_of, table_from
from reach.study.measures import adaptation_index, per_seed
from reach.study.people import human_data
from reach.study.run import LAUNCH_ERROR_WITHOUT_LEARNING

Place = tuple[float, float]

HAND_RADIUS_M = 0.009


@dataclass(frozen=True)
class PersonView:
    """A person's view at one moment.

    Attributes:
        start: (x, y) m, start of the hand.
        cup: (x, y) m, seen position of the cup; None between trials.
        cup_radius: radius of the cup, m.
        hand: (x, y) m, seen position of the hand; None if it is hidden.
        ring_m: distance of the hand from the start, m, shown as a ring around the start; None for no ring.
        message: instruction or outcome.
        won: True if the message reports a success, False for a failure, None otherwise.
        score: text at the upper right.
        time_s: time since the trial began, s; 0 between trials.
        trial: number of the trial, from 1.
        probe: whether the trial is a probe, such as one without sight of the hand.
        lamps: cue lamps, 1 for on and 0 for off; all off between trials.
    """

    start: Place
    cup: Place | None
    cup_radius: float
    hand: Place | None
    ring_m: float | None = None
    message: str = ""
    won: bool | None = None
    score: str = ""
    time_s: float = 0.0
    trial: int = 0
    probe: bool = False
    lamps: tuple[int, ...] = ()


def draw_view(view: PersonView, width: int, height: int) -> Frame:
    """Return the picture of a view, (height, width, 3) uint8, a new array.

    Raises:
        ValueError: width or height is outside 16 to 4096 pixels.
    """
    width, height = picture_size(width, height)
    canvas = Canvas(draw_room(width, height).copy())
    start = canvas.pixel(view.start)
    canvas.disc(start, max(3.0, START_RADIUS_M * canvas.scale), palette.TABLE, palette.INK)
    if view.cup is not None:
        draw_standing_cup(canvas, canvas.pixel(view.cup), view.cup_radius * canvas.scale, held=view.won is True)
    if view.ring_m is not None:
        canvas.ring(start, max(3.0, view.ring_m * canvas.scale), palette.SEEN)
    if view.hand is not None:
        canvas.disc(canvas.pixel(view.hand), HAND_RADIUS_M * canvas.scale, palette.SEEN, palette.WHITE)
    if view.lamps:
        draw_lamps(canvas, view.lamps)
    canvas.flush()
    margin = 0.025 * canvas.side
    colour = {None: palette.INK, True: palette.SUCCESS, False: palette.FAILURE}[view.won]
    score = render_text(view.score, canvas.text_px, palette.INK)
    available_px = int(width - 4 * margin - score.get_width())
    message = fit_text(view.message, canvas.text_px, available_px)
    canvas.write(render_text(message, canvas.text_px, colour), margin, margin)
    canvas.write(score, width - margin - score.get_width(), margin)
    return canvas.frame


# --- pointing -------------------------------------------------------------------------------------------------

# Speed at which the arrow keys move the pointer.
KEYS_M_S = 0.5
DIRECTIONS = {"left": (-1.0, 0.0), "right": (1.0, 0.0), "up": (0.0, 1.0), "down": (0.0, -1.0)}


class WindowPointer:
    """A pointer that is moved by the mouse or arrow keys in a window; the system's mouse pointer is hidden."""

    def __init__(self, window: Window, width: int, height: int, at: Place) -> None:
        """Begin at a position (x, y) m, in a window whose pictures have this width and height, pixels."""
        self._window = window
        self._canvas = Canvas(np.zeros((height, width, 3), dtype=np.uint8))
        window.capture_pointer(self._canvas.pixel(at))
        self._last: Pixel | None = None
        self._place = at

    def place(self) -> Place:
        """Return the position (x, y) m on the table; call this once per control step."""
        pixel = self._window.pointer
        if self._last is not None and pixel != self._last:
            self._place = self._canvas.place(pixel)
        self._last = pixel
        for name in self._window.held_arrows():
            right, forward = DIRECTIONS[name]
            step = KEYS_M_S * CONTROL_STEP_S
            self._place = self._place[0] + step * right, self._place[1] + step * forward
        return self._place


# --- going through a protocol ---------------------------------------------------------------------------------

Array = NDArray[np.float64]

PERSON = "person"
# Name of the file of trials in a person's folder.
TRIALS = "trials.parquet"
# Natural frequency and damping ratio with which the arm follows the pointer.
FOLLOWING_RAD_S, FOLLOWING_DAMPING = 18.0, 1.0
OPEN_GRIP = 0.818
# The hand counts as back at the start after this time within this distance of the start.
BACK_M, BACK_S = 0.012, 0.3
# Duration of the message about the outcome of a trial.
OUTCOME_S = 0.6
POINTS_PER_SUCCESS = 10
# Candidate directions of the hand; the one with the wrist nearest to its rest angle is used.
AXES_RAD = np.linspace(0.2, 3.0, 57)
# Shares of the distance to a position, tried in order until one is in reach.
SHARES = np.linspace(1.0, 0.0, 11)


class PersonLeft(Exception):
    """The person ended the game before the end of the protocol."""


class Pointer(typing.Protocol):
    """The interface of a pointing device, which gives the wanted position of the hand."""

    def place(self) -> Place:
        """Return the present position (x, y) m on the table."""


@dataclass
class ArmFollower:
    """Move the arm to a position by critically damped joint accelerations and inverse dynamics."""

    arm: Arm
    control: str
    rest: Array
    _postures: dict[Place, Array] = field(default_factory=dict)

    def command(self, truth: Any, place: Place) -> Array:
        """Return the command (4,) for this control step; the hand stays open."""
        angle, velocity = np.asarray(truth["joint_angles"]), np.asarray(truth["joint_velocities"])
        stiffness = FOLLOWING_RAD_S**2 * (self._posture(place) - angle)
        acceleration = stiffness - 2.0 * FOLLOWING_DAMPING * FOLLOWING_RAD_S * velocity
        torque = self.arm.inverse_dynamics(angle, velocity, acceleration)
        joints = joint_command(self.arm, self.control, torque, angle, velocity)
        return np.array([*joints, OPEN_GRIP])

    def _posture(self, place: Place) -> Array:
        """Return the posture (3,) rad with the hand at a position and the wrist as near to its rest angle as possible.

        A position out of reach is replaced by the farthest position in reach on the line from the start.
        """
        if place not in self._postures:
            start, away = np.array(START_HAND_M), np.array(place) - START_HAND_M
            # (shares, directions, 3) rad
            postures = self.arm.inverse_kinematics(start + SHARES[:, None, None] * away, AXES_RAD)
            allowed = np.all((postures >= self.arm.lower) & (postures <= self.arm.upper), axis=-1)
            share = int(np.argmax(np.any(allowed, axis=-1)))
            bend = np.where(allowed[share], np.abs(postures[share, :, 2] - self.rest[2]), np.inf)
            self._postures = {place: postures[share, int(np.argmin(bend))]}
        return self._postures[place]


def play(
    protocol: Protocol,
    seed: int,
    pointer: Pointer,
    show: Callable[[PersonView], bool],
    *,
    returning: bool = True,
    on_trial: Callable[[list[dict[str, Any]]], None] | None = None,
) -> list[dict[str, Any]]:
    """Run a protocol with a person, and measure the reaches as for a learner.

    Args:
        protocol: the protocol.
        seed: seed of cups and noise.
        pointer: pointing device, which gives the wanted position of the hand.
        show: shows a view for a control step, and returns whether the person continues.
        returning: whether the person moves the hand back to the start; otherwise each trial begins at once.
        on_trial: called with the rows so far after each trial.

    Returns:
        One row per trial; `reaction_time_s` is the time of movement onset, NaN without a movement.

    Raises:
        PersonLeft: `show` returned False.
    """
    world = gym.make(protocol.env_id, command="absolute", context=protocol.context, disable_env_checker=True)
    env = ProtocolWrapper(world, protocol, seed=seed)
    score = 0

    def show_view(**changes: Any) -> None:
        trial = 1 + len({row["trial"] for row in env.rows if not row["probe"]})
        line = f"trial {min(trial, protocol.reaches)} of {protocol.reaches}, {score} points"
        view: dict[str, Any] = {
            "start": START_HAND_M, "cup": None, "cup_radius": 0.035, "hand": None, "score": line, "trial": trial,
            "lamps": (0,) * protocol.context,
        }  # fmt: skip
        if not show(PersonView(**{**view, **changes})):
            raise PersonLeft

    try:
        while not env.finished:
            probe = env.schedule[len(env.rows)].probe
            if returning:
                _return_to_start(pointer, show_view)
            won = _trial(env, pointer, show_view, probe)
            score += POINTS_PER_SUCCESS if won else 0
            if on_trial is not None:
                on_trial([dict(row) for row in env.rows])
            if returning:
                message = "Got it" if won else "Reach over" if probe else "Missed: too far off, or too late"
                for _ in range(round(OUTCOME_S / CONTROL_STEP_S)):
                    show_view(message=message, won=won if won or not probe else None, probe=probe)
        return [dict(row) for row in env.rows]
    finally:
        env.close()


def _return_to_start(pointer: Pointer, show_view: Callable[..., None]) -> None:
    """Wait until the hand is back at the start."""
    back_s = 0.0
    while back_s < BACK_S:
        distance_m = math.dist(pointer.place(), START_HAND_M)
        back_s = back_s + CONTROL_STEP_S if distance_m < BACK_M else 0.0
        show_view(message="Bring the hand back: make the ring small", ring_m=distance_m)


def _trial(env: ProtocolWrapper, pointer: Pointer, show_view: Callable[..., None], probe: bool) -> bool:
    """Run one trial; return whether it was a success."""
    _, info = env.reset()
    cup_env: Any = env.unwrapped
    lamps = env.schedule[len(env.rows)].context
    truth = info["truth"]
    follower = ArmFollower(cup_env.arm, cup_env.control, np.array(truth["joint_angles"]))
    message = "Reach as if you saw your hand" if probe else "Reach for the cup and stop on it"
    over = False
    while not over:
        cup, hand = (tuple(np.asarray(truth[name]).tolist()) for name in ("seen_cup", "seen_hand"))
        time_s = float(truth["time_s"]) + CONTROL_STEP_S
        seen_hand = hand if truth["hand_visible"] else None
        show_view(cup=cup, hand=seen_hand, message=message, time_s=time_s, probe=probe, lamps=lamps)
        _, _, terminated, truncated, info = env.step(cup_env.action_for(follower.command(truth, pointer.place())))
        truth = info["truth"]
        over = bool(terminated or truncated)
    onset = movement_onset(np.hypot(*env.recording.column("hand_velocity").T))
    env.rows[-1]["reaction_time_s"] = math.nan if onset is None else CONTROL_STEP_S * onset
    return bool(info["is_success"])


class StraightReacher:
    """A simulated person who moves the hand straight to the seen cup, or at an angle to it.

    Attributes:
        view: the current view.
    """

    REACTION_S, MOVEMENT_S = 0.2, 0.5

    def __init__(self, aside_degrees: Callable[[PersonView], float] = lambda view: 0.0) -> None:
        """Set `aside_degrees`, which returns the counter-clockwise angle from the seen cup to the aim of a reach."""
        self.view: PersonView | None = None
        self._aside_degrees = aside_degrees
        self._aim_rad = 0.0

    def observe(self, view: PersonView) -> bool:
        """Store the view; return True, because this person always continues."""
        before = self.view
        if view.cup is not None and (before is None or before.cup is None or view.time_s < before.time_s):
            self._aim_rad = math.radians(self._aside_degrees(view))
        self.view = view
        return True

    def place(self) -> Place:
        """Return the hand's position (x, y) m on a minimum-jerk trajectory (Flash and Hogan 1985) to the aim."""
        if self.view is None or self.view.cup is None:
            return START_HAND_M[0], START_HAND_M[1]
        start = np.array(START_HAND_M)
        along, across = np.array(self.view.cup) - start
        cosine, sine = math.cos(self._aim_rad), math.sin(self._aim_rad)
        s = min(1.0, max(0.0, (self.view.time_s - self.REACTION_S) / self.MOVEMENT_S))
        covered = s**3 * (10.0 - 15.0 * s + 6.0 * s**2)
        x, y = start + covered * np.array([cosine * along - sine * across, sine * along + cosine * across])
        return float(x), float(y)


def errors_without_correction(protocol: Protocol, seed: int) -> list[float]:
    """Return the launch errors, degrees, of a simulated person who always reaches straight to the seen cup."""
    straight = StraightReacher()
    rows = play(protocol, seed, straight, straight.observe, returning=False)
    return [row["launch_error_deg"] for row in rows]


def rows_with_person(protocol: Protocol, seed: int, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return trials with the columns of a learner called `person`."""
    return [{**row, "learner": PERSON, "protocol": protocol.name, "seed": seed} for row in rows]


def finished_trials(protocol: Protocol, seed: int, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a person's trials in the format of a learner's, with the launch errors without correction."""
    errors = errors_without_correction(protocol, seed)
    trials = rows_with_person(protocol, seed, rows)
    return [{**row, LAUNCH_ERROR_WITHOUT_LEARNING: error} for row, error in zip(trials, errors, strict=True)]


def read_person(folder: Path) -> pd.DataFrame:
    """Return the trials of a person from a folder written by `scripts/play.py`.

    Raises:
        FileNotFoundError: there are no trials.
        ValueError: the trials are not a person's, or the file is damaged.
    """
    file = folder / TRIALS
    if not file.is_file():
        raise FileNotFoundError(f"expected a folder written by play.py, got {folder} without {TRIALS}")
    try:
        trials = frame_of(table_from(file.read_bytes(), file, must_be_sealed=False))
    except (OSError, ValueError) as error:
        raise ValueError(f"expected a file written by play.py, got {file}, which cannot be read ({error})") from error
    types = COLUMNS | {LAUNCH_ERROR_WITHOUT_LEARNING: "float64"}
    if missing := [column for column in types if column not in trials]:
        raise ValueError(f"expected a file written by play.py, got {file} without the columns {missing}")
    learners = sorted(set(map(str, trials["learner"])))
    if learners != [PERSON]:
        raise ValueError(f"expected trials of {PERSON!r} only, got trials of {learners} in {file}")
    try:
        return trials.astype(types)
    except (TypeError, ValueError) as error:
        raise ValueError(f"expected a file written by play.py, got {file} with wrong values ({error})") from error


def append_persons(trials: pd.DataFrame, folders: Sequence[Path]) -> pd.DataFrame:
    """Append the trials of persons in the same protocols to `trials`; the seed is the number of the folder."""
    persons = [read_person(folder).assign(seed=number) for number, folder in enumerate(folders)]
    protocols = set(trials["protocol"])
    return pd.concat([trials, *(person[person["protocol"].isin(protocols)] for person in persons)], ignore_index=True)


PERSON_COLOUR = "#a63e7b"


def summary_lines(trials: pd.DataFrame) -> list[str]:
    """Return a person's measures, one line each; measures that the protocol lacks are left out."""
    measured = per_seed(trials).set_index("metric")["value"]
    lines = []

    def share(name: str) -> str | None:
        """Return a measure in percent; None if it was not measured."""
        value = float(measured.get(name, math.nan))
        return f"{100 * value:.0f} %" if math.isfinite(value) else None

    if (remaining := share("L30")) is not None:
        lines.append(f"{remaining} of the error remained on average over your first 30 perturbed reaches (L30).")
    if (corrected := share("A")) is not None:
        tau = float(measured.get("tau", math.nan))
        within = f", 63 % of that within {tau:.0f} reaches (tau)" if math.isfinite(tau) else ""
        lines.append(f"You corrected {corrected} of it in the end{within}.")
    if (after := share("after_effect")) is not None:
        side = "to the other side (after-effect)" if measured["after_effect"] < 0.0 else "to the same side"
        lines.append(f"Without the perturbation you then missed by {after.replace('-', '')} of it {side}.")
    reaction_s = float(trials.loc[~trials["probe"], "reaction_time_s"].median())
    if math.isfinite(reaction_s):
        lines.append(f"Your hand started {1000 * reaction_s:.0f} ms after the cup appeared (median).")
    return lines


def draw_chart(trials: pd.DataFrame, others: pd.DataFrame | None, protocol: Protocol, size: tuple[int, int]) -> Frame:
    """Return a chart of a person's corrections beside those of learners and of people in experiments.

    Args:
        trials: trials of the person.
        others: trials of learners, in any protocols; None for none.
        protocol: protocol of the person.
        size: (width, height), pixels.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size[0] / 100, size[1] / 100), dpi=100, layout="constrained")
    canvas: Any = FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.axhline(0.0, color="#cccccc", lw=1)
    axes.axhline(1.0, color="#cccccc", lw=1)
    if others is not None:
        comparison = adaptation_index(others[others["protocol"] == protocol.name])
        for learner, rows in comparison.groupby("learner", sort=False):
            mean = rows.groupby("trial_in_block")["index"].mean()
            axes.plot(mean.index, mean, color=learner_colour(str(learner)), lw=1.3, label=str(learner))
    if protocol.name.startswith("rotation"):
        for curve, mark in zip(human_data.CURVES[:2], ("s", "D"), strict=True):
            middles = [0.5 * (first + last) for first, last in curve.blocks]
            label = f"{curve.name}, {curve.perturbation} ('t Hart 2024)"
            axes.plot(middles, curve.index, mark, color="black", mfc="white", ms=5, label=label, zorder=4)
    own = adaptation_index(trials)
    axes.plot(own["trial_in_block"], own["index"], "o-", color=PERSON_COLOUR, ms=4, lw=1.8, label="you")
    axes.set(xlabel="reach since the perturbation began", ylabel="corrected, share of the miss", ylim=(-0.5, 1.6))
    axes.set_title("\n".join(summary_lines(trials)), loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower left", ncols=3, frameon=False, fontsize=8)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
