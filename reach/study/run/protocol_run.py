"""Run a learner through a protocol, trial by trial.

The learner is known by Stable-Baselines3's model interface alone (`predict`, `learn` with a callback, `set_env`).
Trials with learning on are run by the learner's own `learn`; the others (probes) by `predict`, also while `learn` waits
for its next trial.

A reach with an onset within it is compared with its twin: the same trial, noise and learner without what sets in. What
acts from the start (a rotation, a hidden hand) stays in the twin. The learner acts in the twin by `predict` before the
reach itself, so it is in the same state in both and learns nothing from the twin. A learner that explores while it
learns also differs from its twin by that, so protocols that measure within the reach keep learning off.
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
from reach.protocols import Cup, ProtocolWrapper, Recording, ScheduledTrial, schedule_of
from reach.protocols import Protocol as ReachProtocol
from reach.study.run.observed import Camera, Intervener, ObservedRun, Observer, filmed_trials

# More steps than any protocol has: a callback ends `learn`.
UNTIL_STOPPED = 1_000_000_000
# Column of a row: the launch error, degrees, in the same trial of the same learner with learning off.
LAUNCH_ERROR_WITHOUT_LEARNING = "unlearned_launch_error_deg"
# Entries of a learner's `cost` that are sizes and no counts.
SIZES = ("parameters",)


class Model(Protocol):
    """What the study asks of a learner: the part of SB3's interface that it calls.

    A learner may also have `env_options`, the settings of the environment it needs; `cost()`, what it has counted since
    it was made; and `alignment()`, the angle between its last step and the true gradient for each layer.
    """

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
    """What a run returns; all of it is empty for a training.

    Attributes:
        rows: a row for each trial.
        films: phase -> bytes of an MP4 film.
        traces: a row for each block and moment: block, time_s from onset, remaining (mean r(t) over the block's
            reaches) and trials, their number. Empty if nothing sets in within a reach.
        cost: counts of what the learner computed and changed in this protocol, and the angle between its last step and
            the true gradient by layer; empty for a learner that has neither.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    films: dict[str, bytes] = field(default_factory=dict)
    traces: list[dict[str, Any]] = field(default_factory=list)
    cost: dict[str, float] = field(default_factory=dict)


def act_through_trial(
    model: Model, env: gym.Env[Any, Any], options: dict[str, Any] | None = None, seed: int | None = None
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Run one trial by `predict` and yield (action, info) of each step, first (None, info) of the reset."""
    observation, info = env.reset(seed=seed, options=options)
    yield None, info
    state, start, over = None, np.ones(1, dtype=bool), False
    while not over:
        action, state = model.predict(observation, state=state, episode_start=start, deterministic=True)
        observation, _, terminated, truncated, info = env.step(action)
        start, over = np.zeros(1, dtype=bool), bool(terminated or truncated)
        yield action, info


class ExtraTrials:
    """Trials beside the protocol, in an environment of their own, by the learner as it is and without learning.

    Attributes:
        cost: what the learner counted in them, which is no cost of the protocol.
    """

    def __init__(self, model: Model, protocol: ReachProtocol) -> None:
        """Keep the learner and the protocol; the environment is made when it is first needed."""
        self.model = model
        self.cost: dict[str, float] = {}
        self._protocol = protocol
        self._made: gym.Env[Any, Any] | None = None

    @property
    def _env(self) -> gym.Env[Any, Any]:
        self._made = self._made or env_of(self.model, self._protocol)
        return self._made

    def twin_and_open_loop(self, trial: ScheduledTrial) -> tuple[Trajectory, Trajectory]:
        """Return the trial without what sets in within it, and the whole trial under the commands of that twin."""
        before = cost_of(self.model)
        twin, commands = Recording(), []
        for command, info in act_through_trial(self.model, self._env, _options(trial, trial.from_start), trial.seed):
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
        self._count(before)
        return twin.trajectory(), open_loop.trajectory()

    def first_launch_errors(self, schedule: Sequence[ScheduledTrial], index: int) -> dict[int, float]:
        """Return the launch error, degrees, of the first reach to each cup in the block that begins at `index`.

        Returns:
            Index in the schedule -> launch error.
        """
        before = cost_of(self.model)
        first: dict[Cup, int] = {}
        for place, trial in enumerate(schedule[index:], start=index):
            if trial.block_number == schedule[index].block_number and not trial.probe:
                first.setdefault(trial.cup, place)
        errors = {place: _launch_error(self.model, self._env, schedule[place]) for place in first.values()}
        self._count(before)
        return errors

    def _count(self, before: dict[str, float]) -> None:
        spent = difference(cost_of(self.model), before)
        self.cost = {name: self.cost.get(name, 0.0) + spent.get(name, 0.0) for name in {**self.cost, **spent}}

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
    observer: Observer | None = None,
    intervener: Intervener | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> Result:
    """Run a learner through all trials of a protocol.

    Args:
        model: the learner.
        protocol: what it goes through.
        seed: the same seed gives the same cups and the same noise.
        learning: False: the learner acts as it is throughout.
        film: whether to film a few reaches.
        observer: is called after each step; then there is no film.
        intervener: an observer that may also change the world, instead of `observer`.
        on_progress: is called with the share of trials done, 0..1.

    Raises:
        RuntimeError: the learner's `learn` took no step.
    """
    mode = "rgb_array" if film or observer is not None or intervener is not None else None
    world = env_of(model, protocol, mode)
    recorder = ProtocolWrapper(world if intervener is None else intervener.wrap_world(world), protocol, seed=seed)
    camera = Camera(filmed_trials(recorder.schedule)) if film else None
    env = ObservedRun(recorder, intervener or observer or camera, on_progress)
    if intervener is not None:
        intervener.attach(env)
    extra = ExtraTrials(model, protocol)

    def act_alone() -> None:
        for _ in act_through_trial(model, env):
            pass

    def launch_at_each_cup() -> None:
        recorder.washout_onset_launch_errors = extra.first_launch_errors(recorder.schedule, env.index)

    env.on_washout = launch_at_each_cup
    corrections: dict[int, Correction] = {}
    before = cost_of(model)
    first = True
    try:
        while not env.finished:
            index, steps = env.index, env.total_steps
            onset_s = env.upcoming.onset_s
            compared = None if onset_s is None else extra.twin_and_open_loop(env.upcoming)
            if learning and env.learning:
                model.set_env(env)  # each time, because probes have moved the environment on
                env.act_alone = act_alone
                model.learn(UNTIL_STOPPED, callback=env.keep_learning, reset_num_timesteps=first)
                env.act_alone = None
                first = False
            else:
                act_alone()
            if env.total_steps == steps:
                raise RuntimeError(f"{type(model).__name__}.learn took no step of trial {env.index}")
            if compared is not None and onset_s is not None:
                correction = measure_correction(recorder.trajectories[index], *compared, onset_s)
                if correction is not None:
                    corrections[index] = correction
        rows = [dict(row) for row in recorder.rows]
    finally:
        env.close()
        extra.close()
    for index, correction in corrections.items():
        rows[index] |= {name: getattr(correction, name) for name in WITHIN_REACH}
    films = {} if camera is None else camera.films(env.metadata.get("render_fps", 50))
    cost = difference(difference(cost_of(model), before), extra.cost) | alignment_of(model)
    return Result(rows, films, traces_of(rows, corrections), cost)


def env_of(model: Model, protocol: ReachProtocol, mode: str | None = None) -> gym.Env[Any, Any]:
    """Return the environment of a protocol, with the settings that the learner needs (control, observation)."""
    options: dict[str, Any] = getattr(model, "env_options", {})
    return gym.make(protocol.env_id, render_mode=mode, disable_env_checker=True, **options)


def cost_of(model: Model) -> dict[str, float]:
    """Return what a learner has counted since it was made (operations, changes of weights); {} if it does not count."""
    count = getattr(model, "cost", None)
    return {} if count is None else {str(name): float(value) for name, value in count().items()}


def alignment_of(model: Model) -> dict[str, float]:
    """Return the angle between a learner's last step and the true gradient by layer; {} if the learner has none."""
    angles = getattr(model, "alignment", None)
    return {f"alignment_{layer}_degrees": float(angle) for layer, angle in angles().items()} if callable(angles) else {}


def difference(now: dict[str, float], before: dict[str, float]) -> dict[str, float]:
    """Return what was counted in between; sizes of the learner stay as they are."""
    return {name: value if name in SIZES else value - before.get(name, 0.0) for name, value in now.items()}


def traces_of(rows: list[dict[str, Any]], corrections: dict[int, Correction]) -> list[dict[str, Any]]:
    """Return the mean remaining error of each block, every 20 ms."""
    blocks: dict[str, list[NDArray[np.float64]]] = {}
    for index, correction in corrections.items():
        blocks.setdefault(rows[index]["block"], []).append(correction.remaining)
    return [
        {"block": block, "time_s": round(time, 3), "remaining": mean, "trials": len(remaining)}
        for block, remaining in blocks.items()
        for time, mean in zip(WINDOW.tolist(), np.mean(remaining, axis=0).tolist(), strict=True)
    ]


def run_measured(
    model: Model,
    protocol: ReachProtocol,
    seed: int,
    *,
    film: bool = False,
    on_progress: Callable[[float], None] | None = None,
) -> Result:
    """Run a protocol as `run_protocol` does, and add to each row the launch error without learning."""
    learns = any(block.learning for block in protocol.blocks)
    without_learning = launch_errors_without_learning(model, protocol, seed) if learns else None
    result = run_protocol(model, protocol, seed, film=film, on_progress=on_progress)
    for index, row in enumerate(result.rows):
        error = row["launch_error_deg"] if without_learning is None else without_learning[index]
        row[LAUNCH_ERROR_WITHOUT_LEARNING] = error
    return result


def launch_errors_without_learning(model: Model, protocol: ReachProtocol, seed: int) -> list[float]:
    """Return the launch error, degrees, of a learner as it is in each trial of a schedule; NaN for probes.

    Each trial ends when its launch has been read.
    """
    env = env_of(model, protocol)
    try:
        return [math.nan if trial.probe else _launch_error(model, env, trial) for trial in schedule_of(protocol, seed)]
    finally:
        env.close()


def _launch_error(model: Model, env: gym.Env[Any, Any], trial: ScheduledTrial) -> float:
    recording = Recording()
    speeds: list[float] = []
    until_s = math.inf
    for _, info in act_through_trial(model, env, _options(trial, trial.perturbation), trial.seed):
        truth = info["truth"]
        recording.moments.append(truth)
        speeds.append(math.hypot(*truth["hand_velocity"]))
        if until_s == math.inf and movement_onset(np.array(speeds[-2:])) is not None:
            until_s = recording.moments[-2]["time_s"] + LAUNCH_WINDOW_S
        if truth["time_s"] > until_s - 1e-9:
            break
    return launch_error_deg(recording.reach(success=False, clamped=trial.is_clamped))
