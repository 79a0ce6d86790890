"""One job done in this process: a learner is made by its factory and put through a protocol, trial by trial.

The learner is known by Stable-Baselines3's model interface alone (`predict`, `learn` with a callback,
`set_env`). Trials in which learning is on are run by the learner's own `learn`; the others (probes) by
`predict`, if need be while `learn` waits for its next trial.

Where a perturbation sets in within a reach, the reach is compared with its twin: the same trial, noise and learner
without it. The learner acts in the twin by `predict`, before the reach itself, so that it is in the very state in which
it meets the perturbation and learns nothing from the twin. What was there before the reach (a standing rotation, a
hidden hand) stays in the twin. A learner that explores while it learns differs from its twin by that too: protocols
that measure within the reach keep learning off.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from reach.measures.correction import WINDOW, WINDOW_S, WITHIN_REACH, Correction, Trajectory, measure_correction
from reach.measures.reach import LAUNCH_WINDOW_S, launch_error_deg, movement_onset
from reach.perturbations import Perturbation
from reach.protocols import Protocol as ReachProtocol
from reach.protocols import ProtocolWrapper, ScheduledTrial, schedule_of
from reach.protocols.blocks import Cup
from reach.protocols.wrapper import Recording
from reach.render.film import film_bytes
from reach.study.filming import FILM_EVERY, Camera, filmed_trials
from reach.study.watched import Companion, Onlooker, Watched

# More steps than any protocol has: `learn` is ended by its callback.
UNTIL_STOPPED = 1_000_000_000
# The launch error, degrees, of the same trial by the same learner with learning off.
LAUNCH_ERROR_WITHOUT_LEARNING = "unlearned_launch_error_deg"
# Of what a learner may tell in its `cost`, that which does not grow as it goes.
SIZES = ("parameters",)


class Model(Protocol):
    """What the study asks of a learner: the part of SB3's interface it calls."""

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]: ...

    def learn(self, total_timesteps: int, callback: Any = None, *, reset_num_timesteps: bool = True) -> Any: ...

    def set_env(self, env: Any) -> None: ...


@dataclass(frozen=True)
class Result:
    """What a job gives back; all of it is empty for a training.

    Attributes:
        rows: a row a trial.
        films: by phase, MP4 bytes.
        traces: a row a block and moment: block, time_s from onset, remaining (mean r(t) over the block's reaches) and
            trials, how many those are. Empty where nothing sets in within a reach.
        cost: counts of what the learner computed and changed in this protocol, by name, and the angle between its last
            step and the true gradient, by layer; empty for one that tells of neither.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    films: dict[str, bytes] = field(default_factory=dict)
    traces: list[dict[str, Any]] = field(default_factory=list)
    cost: dict[str, float] = field(default_factory=dict)


def act_through_trial(
    model: Model, env: gym.Env[Any, Any], options: dict[str, Any] | None = None, seed: int | None = None
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """One trial by `predict` alone: (action, info) of each step, the first (None, info) of its beginning."""
    observation, info = env.reset(seed=seed, options=options)
    yield None, info
    state, start, over = None, np.ones(1, dtype=bool), False
    while not over:
        action, state = model.predict(observation, state=state, episode_start=start, deterministic=True)
        observation, _, terminated, truncated, info = env.step(action)
        start, over = np.zeros(1, dtype=bool), bool(terminated or truncated)
        yield action, info


class Comparison:
    """Runs further trials in an environment of its own, by the learner as it is, without learning.

    These are the twin of a reach, the perturbation under the twin's commands, and launches at the onset of a washout.
    """

    def __init__(self, make: Callable[[], gym.Env[Any, Any]]) -> None:
        """Keep how to make the environment, which is done when it is first needed."""
        self._make = make
        self._made: gym.Env[Any, Any] | None = None

    @property
    def _env(self) -> gym.Env[Any, Any]:
        self._made = self._made or self._make()
        return self._made

    def prepare(self, model: Model, trial: ScheduledTrial) -> tuple[Trajectory, Trajectory]:
        """Twin and open loop of a trial, by the learner as it is now."""
        twin, commands = Recording(), []
        for command, info in act_through_trial(model, self._env, _options(trial, trial.standing), trial.seed):
            twin.moments.append(info["truth"])
            commands.append(command)
        open_loop = Recording()
        _, info = self._env.reset(seed=trial.seed, options=_options(trial, trial.perturbation))
        over, step, last = False, 1, (trial.onset_s or 0.0) + WINDOW_S
        open_loop.moments.append(info["truth"])
        while not over and info["truth"]["time_s"] < last:
            _, _, over, _, info = self._env.step(commands[min(step, len(commands) - 1)])
            open_loop.moments.append(info["truth"])
            step += 1
        return twin.course(), open_loop.course()

    def first_launch_errors(self, model: Model, schedule: Sequence[ScheduledTrial], index: int) -> dict[int, float]:
        """Place in the schedule -> launch error, degrees, of the first reach to each cup of the block that begins.

        Args:
            model: the learner.
            schedule: every trial of the protocol.
            index: of the first trial of the block.
        """
        first: dict[Cup, int] = {}
        for place, trial in enumerate(schedule[index:], start=index):
            if trial.block_number == schedule[index].block_number and not trial.probe:
                first.setdefault(trial.cup, place)
        return {place: _launch_error(model, self._env, schedule[place]) for place in first.values()}

    def close(self) -> None:
        if self._made is not None:
            self._made.close()


def _options(trial: ScheduledTrial, perturbation: tuple[Perturbation, ...]) -> dict[str, Any]:
    return {"cup": trial.cup, "perturbation": perturbation}


def run_protocol(
    model: Model,
    protocol: ReachProtocol,
    seed: int,
    *,
    learning: bool = True,
    film: bool = False,
    onlooker: Onlooker | None = None,
    companion: Companion | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> Result:
    """Put `model` through every trial of `protocol`; the same seed gives the same cups and the same noise.

    Without `learning` it acts throughout as it is. With `film` a few reaches are filmed; an `onlooker` may look at
    every step instead, and a `companion` have a hand in it.
    """
    mode = "rgb_array" if film or onlooker is not None or companion is not None else None
    world = env_of(model, protocol, mode)
    recorder = ProtocolWrapper(world if companion is None else companion.take(world), protocol, seed=seed)
    camera = Camera(filmed_trials(recorder.schedule)) if film else None
    env = Watched(recorder, companion or onlooker or camera, on_progress)
    if companion is not None:
        companion.meet(env)
    comparison = Comparison(lambda: env_of(model, protocol))

    def act_alone() -> None:
        for _ in act_through_trial(model, env):
            pass

    extra = dict[str, float]()  # computed for measures alone, and no cost of the protocol

    def launch_at_each_cup() -> None:
        nonlocal extra
        spent = cost_of(model)
        recorder.washout_onset_launch_errors = comparison.first_launch_errors(model, recorder.schedule, env.index)
        extra = sum_of(extra, difference(cost_of(model), spent))

    env.on_washout = launch_at_each_cup
    corrections: dict[int, Correction] = {}
    before = cost_of(model)
    first = True
    try:
        while not env.finished:
            index, steps = env.index, env.total_steps
            onset_s = env.upcoming.onset_s
            beside = None
            if onset_s is not None:
                spent = cost_of(model)
                beside = comparison.prepare(model, env.upcoming)
                extra = sum_of(extra, difference(cost_of(model), spent))
            if learning and env.learning:
                model.set_env(env)  # anew each time: probes have moved the environment on
                env.act_alone = act_alone
                model.learn(UNTIL_STOPPED, callback=env.keep_learning, reset_num_timesteps=first)
                env.act_alone = None
                first = False
            else:
                act_alone()
            if env.total_steps == steps:
                raise RuntimeError(f"{type(model).__name__}.learn took no step of trial {env.index}")
            if beside is not None and onset_s is not None:
                reach = recorder.courses[index]
                found = measure_correction(reach, *beside, onset_s)
                if found is not None:
                    corrections[index] = found
        rows = [dict(row) for row in recorder.rows]
    finally:
        env.close()
        comparison.close()
    for index, found in corrections.items():
        rows[index] |= {name: getattr(found, name) for name in WITHIN_REACH}
    films = {}
    if camera is not None:
        fps = round(env.metadata.get("render_fps", 50) / FILM_EVERY)
        films = {phase: film_bytes(frames, fps) for phase, frames in camera.frames.items() if frames}
    cost = difference(difference(cost_of(model), before), extra) | alignment_of(model)
    return Result(rows, films, traces_of(rows, corrections), cost)


def env_of(model: Model, protocol: ReachProtocol, mode: str | None = None) -> gym.Env[Any, Any]:
    """The environment of a protocol. A learner may say what its world must be like: its control, its observations."""
    options: dict[str, Any] = getattr(model, "env_options", {})
    return gym.make(protocol.env_id, render_mode=mode, disable_env_checker=True, **options)


def cost_of(model: Model) -> dict[str, float]:
    """What a learner has counted since it was made: operations, changes of weights; {} if it does not count."""
    count = getattr(model, "cost", None)
    return {} if count is None else {str(name): float(value) for name, value in count().items()}


def alignment_of(model: Model) -> dict[str, float]:
    """The angle between a learner's last step and the true gradient, by layer; {} for one that does not tell."""
    angles = getattr(model, "alignment", None)
    return {f"alignment_{layer}_degrees": float(angle) for layer, angle in angles().items()} if callable(angles) else {}


def difference(now: dict[str, float], before: dict[str, float]) -> dict[str, float]:
    """What was counted in between; sizes of a learner, which are no counts, stay as they are."""
    return {name: value if name in SIZES else value - before.get(name, 0.0) for name, value in now.items()}


def sum_of(one: dict[str, float], other: dict[str, float]) -> dict[str, float]:
    """Counts added up."""
    return {name: one.get(name, 0.0) + other.get(name, 0.0) for name in {**one, **other}}


def traces_of(rows: list[dict[str, Any]], corrections: dict[int, Correction]) -> list[dict[str, Any]]:
    """The mean course of the remaining error by block, every 20 ms."""
    blocks: dict[str, list[NDArray[np.float64]]] = {}
    for index, found in corrections.items():
        blocks.setdefault(rows[index]["block"], []).append(found.remaining)
    return [
        {"block": block, "time_s": round(time, 3), "remaining": left, "trials": len(courses)}
        for block, courses in blocks.items()
        for time, left in zip(WINDOW.tolist(), np.mean(courses, axis=0).tolist(), strict=True)
    ]


def launch_errors_without_learning(model: Model, protocol: ReachProtocol, seed: int) -> list[float]:
    """The launch error (degrees) of each trial of a schedule by a learner that acts as it is; NaN for probes.

    A trial is left once its launch has been read.
    """
    env = env_of(model, protocol)
    found = []
    try:
        for trial in schedule_of(protocol, seed):
            found.append(math.nan if trial.probe else _launch_error(model, env, trial))
    finally:
        env.close()
    return found


def _launch_error(model: Model, env: gym.Env[Any, Any], trial: ScheduledTrial) -> float:
    recording = Recording()
    speeds: list[float] = []
    until = math.inf
    for _, info in act_through_trial(model, env, _options(trial, trial.perturbation), trial.seed):
        truth = info["truth"]
        recording.moments.append(truth)
        speeds.append(math.hypot(*truth["hand_velocity"]))
        onset = movement_onset(np.array(speeds[-2:]))
        if onset is not None and until == math.inf:
            until = recording.moments[-2]["time_s"] + LAUNCH_WINDOW_S
        if truth["time_s"] > until - 1e-9:
            break
    return launch_error_deg(recording.record(False, trial.is_clamped))


def run_measured(
    model: Model,
    protocol: ReachProtocol,
    seed: int,
    *,
    film: bool = False,
    on_progress: Callable[[float], None] | None = None,
) -> Result:
    """`run_protocol`, with what the learner does when it does not learn, the measure of what it learns, in each row."""
    learns = any(block.learning for block in protocol.blocks)
    unlearned = launch_errors_without_learning(model, protocol, seed) if learns else None
    result = run_protocol(model, protocol, seed, film=film, on_progress=on_progress)
    for index, row in enumerate(result.rows):
        row[LAUNCH_ERROR_WITHOUT_LEARNING] = row["launch_error_deg"] if unlearned is None else unlearned[index]
    return result
