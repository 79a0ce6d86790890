"""Run a learner through a protocol, trial by trial.

The learner is known by Stable-Baselines3's model interface alone (`predict`, `learn` with a callback, `set_env`).
Trials with learning on are run by the learner's own `learn`; the others (probes) by `predict`, also while `learn` waits
for its next trial.

A reach with an onset within it is compared with its twin: the same trial, noise and learner without what sets in. What
acts from the start (a rotation, a hidden hand) stays in the twin. The learner acts in the twin by `predict` before the
reach itself, so it is in the same state in both and learns nothing from the twin. A learner that explores while it
learns also differs from its twin by that, so protocols that measure within the reach keep learning off.

An `Observer` watches a run, an `Intervener` changes it. The wrapper switches learning on and off: trials without
learning pass by `predict`, also in the middle of `learn`. A `Camera` films a few reaches in small pictures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import Any, Protocol, SupportsFloat

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from reach.measures.correction import WINDOW, WINDOW_S, WITHIN_REACH, Correction, Trajectory, measure_correction
from reach.measures.reach import LAUNCH_WINDOW_S, launch_error_deg, movement_onset
from reach.perturbations import Perturbation
from reach.play import UNLIMITED, Loop, Played, act_through_trial, can_play, play, playable_steps, replay
from reach.protocols import (
    BASELINE,
    PERTURBED,
    WASHOUT,
    Cup,
    Parity,
    ProtocolWrapper,
    Recording,
    ScheduledTrial,
    schedule_of,
)
from reach.protocols import Protocol as ReachProtocol
from reach.sim.layout import CONTROL_STEP_S

Frame = NDArray[np.uint8]  # (height, width, 3)
Actions = NDArray[np.float64]  # (steps, 4)

FILM_SIDE_PX = 300  # frames are shrunk by a whole factor to about this side
FILM_EVERY = 2  # every second control step is a frame
FILM_HOLD_FRAMES = 8  # repetitions of the last frame of a reach
# Reaches in a film: the last ones before the perturbation, the first ones with it, and the last ones with it.
FILMED_REACHES = {"before": 3, "during": 4, "after": 3}


class Observer(Protocol):
    """Observes a run."""

    def watches(self, index: int) -> bool:
        """Return whether `on_step` must be called in a trial, by its index in the schedule."""

    def on_step(self, index: int, step: int, over: bool, render: Callable[[], Any]) -> None:
        """Observe a control step that has just ended; `index` is that of the trial in the schedule."""


class Intervener(Observer, Protocol):
    """An observer that may also change the world."""

    def wrap_world(self, env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
        """Return the bare world of the protocol, wrapped or as it is."""

    def attach(self, env: ObservedRun) -> None:
        """Take the environment of the run. Called once, before the first trial."""


class ObservedRun(gym.Wrapper[Any, Any, Any, Any]):
    """The environment of a run: knows whether learning is on, and calls an observer after each step.

    Attributes:
        steps: number of steps in the current trial; 0 between trials.
        total_steps: number of steps so far.
        silenced: True switches learning off, whatever the protocol says; to be changed between trials only.
        act_alone: runs the upcoming trial without learning, in the middle of `learn`.
        on_washout: called once, before the first reach of the first washout after a perturbation.
    """

    def __init__(
        self,
        env: ProtocolWrapper,
        observer: Observer | None = None,
        on_progress: Callable[[float], object] | None = None,
    ) -> None:
        super().__init__(env)
        self.protocol = env
        self.observer = observer
        self.on_progress = on_progress
        self.steps = 0
        self.total_steps = 0
        self.silenced = False
        self.act_alone: Callable[[], None] | None = None
        self.on_washout: Callable[[], None] | None = None

    @property
    def index(self) -> int:
        """Return the index in the schedule of the current trial, or of the next one between trials."""
        return len(self.protocol.rows)

    @property
    def finished(self) -> bool:
        """Return whether all trials are over."""
        return self.protocol.finished

    @property
    def upcoming(self) -> ScheduledTrial:
        """Return the current trial, or the next one between trials."""
        return self.protocol.schedule[self.index]

    @property
    def learning(self) -> bool:
        """Return whether learning is on in the current trial, or in the next one between trials."""
        return not self.finished and self.upcoming.learning and not self.silenced

    def keep_learning(self, *_: Any) -> bool:
        """Return False to end `learn`, whose callback this is; also before a reach whose twin has to run first."""
        return self.learning and (self.steps > 0 or self.upcoming.onset_s is None)

    # `learn` may call it once a trial instead of at each step.
    keep_learning.per_trial = True  # type: ignore[attr-defined]

    @property
    def playable_steps(self) -> int:
        """Return the control steps of the longest trial that can be played, see `reach.play`; 0 if it is watched."""
        is_watched = self.observer is not None and self.observer.watches(self.index)
        return 0 if is_watched else playable_steps(self.env)

    def play(self, loop: Loop, longest: int) -> Played:
        """Play the current trial, see `reach.play.play`."""
        played = play(self.env, loop, longest)
        self._count(len(played.moments), played.is_over)
        return played

    def _count(self, steps: int, over: bool) -> None:
        self.steps = 0 if over else self.steps + steps
        self.total_steps += steps
        if over and self.on_progress is not None:
            self.on_progress(self.index / len(self.protocol.schedule))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin the next trial with learning, after running those before it without learning.

        Stable-Baselines3 begins a trial before it asks whether to go on. If it were stopped there for a probe, it would
        lose the last step of the trial, its reward, and the rollout that it has not learned from yet.
        """
        act_alone, self.act_alone = self.act_alone, None
        if act_alone is not None:
            while not self.finished and not self.upcoming.learning and self.upcoming.onset_s is None:
                act_alone()
        self.act_alone = act_alone
        was_perturbed = any(trial.block == PERTURBED for trial in self.protocol.schedule[: self.index])
        if self.on_washout is not None and was_perturbed and not self.finished and self.upcoming.block == WASHOUT:
            on_washout, self.on_washout = self.on_washout, None
            on_washout()
        self.steps = 0
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Advance by one control step, then call the observer."""
        index = self.index
        observation, reward, terminated, truncated, info = self.env.step(action)
        over = bool(terminated or truncated)
        if self.observer is not None:
            self.observer.on_step(index, self.steps, over, self.env.render)
        self._count(1, over)
        return observation, reward, terminated, truncated, info


class Camera:
    """An observer that films chosen trials; it changes no result.

    Attributes:
        chosen: index in the schedule -> phase.
        frames: phase -> frames.
    """

    def __init__(self, chosen: dict[int, str]) -> None:
        self.chosen = chosen
        self.frames: dict[str, list[Frame]] = {phase: [] for phase in FILMED_REACHES}

    def watches(self, index: int) -> bool:
        """Return whether a trial is filmed."""
        return index in self.chosen

    def on_step(self, index: int, step: int, over: bool, render: Callable[[], Any]) -> None:
        """Store every `FILM_EVERY`-th frame of a chosen trial, and its last one."""
        phase = self.chosen.get(index)
        if phase is None or (step % FILM_EVERY and not over):
            return
        frame = shrink(np.asarray(render(), dtype=np.uint8))
        self.frames[phase].extend([frame] * (FILM_HOLD_FRAMES if over else 1))

    def films(self, render_fps: float) -> dict[str, bytes]:
        """Return phase -> bytes of an MP4 film, for an environment with `render_fps` control steps a second."""
        # A process that films nothing does without pygame.
        from reach.render.film import film_bytes

        fps = round(render_fps / FILM_EVERY)
        return {phase: film_bytes(frames, fps) for phase, frames in self.frames.items() if frames}


def shrink(frame: Frame) -> Frame:
    """Return a frame whose shorter side is about FILM_SIDE_PX, as the mean of whole blocks of pixels."""
    factor = max(1, min(frame.shape[:2]) // FILM_SIDE_PX)
    height, width = frame.shape[0] // factor, frame.shape[1] // factor
    total = np.zeros((height, width, 3), dtype=np.uint32)
    # Much faster than the mean over two axes of blocks.
    for row, column in product(range(factor), repeat=2):
        total += frame[row : height * factor : factor, column : width * factor : factor]
    mean: NDArray[np.float64] = total / factor**2
    return mean.round().astype(np.uint8)


def filmed_trials(schedule: Sequence[ScheduledTrial]) -> dict[int, str]:
    """Return the trials of a schedule to film, without probes: index -> "before", "during" or "after".

    A protocol without a perturbation is filmed at its end.
    """
    blocks = {index: trial.block for index, trial in enumerate(schedule) if not trial.probe}
    before = [index for index, block in blocks.items() if block == BASELINE]
    perturbed = [index for index, block in blocks.items() if block == PERTURBED] or list(blocks)
    return {
        **dict.fromkeys(perturbed[-FILMED_REACHES["after"] :], "after"),
        **dict.fromkeys(perturbed[: FILMED_REACHES["during"]], "during"),
        **dict.fromkeys((before or perturbed)[-FILMED_REACHES["before"] :], "before"),
    }


# More steps than any protocol has: a callback ends `learn`.
UNTIL_STOPPED = 1_000_000_000
# Column of a row: the launch error, degrees, in the same trial of the same learner with learning off.
LAUNCH_ERROR_WITHOUT_LEARNING = "unlearned_launch_error_deg"
# With 100 launches to each of four cups, which scatter by about 5 degrees, the mean miss is known to 0.3 degrees.
PARITY_MISS_REACHES = 400
# A launch is looked for in this number of control steps first, and then in the whole trial.
LATEST_LAUNCH_STEPS = 30
# Entries of a learner's `cost` that are sizes and no counts.
SIZES = ("parameters",)


class Model(Protocol):
    """What the study asks of a learner: the part of SB3's interface that it calls.

    A learner may also have `env_options`, the settings of the environment it needs; `cost()`, what it has counted since
    it was made; `alignment()`, the angle between its last step and the true gradient for each layer; and, where
    `can_play` is true, `play_trial(env, observation, longest)`, which acts in compiled code as `predict` does and
    returns a `reach.play.Played`.
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


def act_and_record(
    model: Model,
    env: gym.Env[Any, Any],
    options: dict[str, Any] | None = None,
    seed: int | None = None,
    longest: int = UNLIMITED,
) -> tuple[Recording, Actions]:
    """Run one trial without learning, in compiled code where model and environment can.

    Args:
        model: the learner.
        env: the environment.
        options, seed: for its `reset`.
        longest: number of control steps after which to stop.

    Returns:
        The recording, and the actions (steps, 4).
    """
    if getattr(model, "can_play", False) and can_play(env):
        observation, info = env.reset(seed=seed, options=options)
        played = model.play_trial(env, observation, longest)  # type: ignore[attr-defined]
        return Recording([info["truth"]], played), played.actions
    recording, actions = Recording(), []
    for step, (action, info) in enumerate(act_through_trial(model, env, options, seed)):
        recording.moments.append(info["truth"])
        if step > 0:
            actions.append(action)
        if step == longest:
            break
    return recording, np.array(actions, dtype=np.float64)


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

    @cached_property
    def _env(self) -> gym.Env[Any, Any]:
        return env_of(self.model, self._protocol)

    def twin_and_open_loop(self, trial: ScheduledTrial) -> tuple[Trajectory, Trajectory]:
        """Return the trial without what sets in within it, and the whole trial under the commands of that twin."""
        before = cost_of(self.model)
        twin, actions = act_and_record(self.model, self._env, _options(trial, trial.from_start), trial.seed)
        world = self._env.unwrapped
        _, info = world.reset(seed=trial.seed, options=_options(trial, trial.perturbation))
        steps = math.ceil(((trial.onset_s or 0.0) + WINDOW_S) / CONTROL_STEP_S - 1e-9)
        open_loop = Recording([info["truth"]], play(world, replay(actions), steps))
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
        if "_env" in vars(self):
            self._env.close()


def _options(trial: ScheduledTrial, perturbation: tuple[Perturbation, ...]) -> dict[str, Any]:
    return {"cup": trial.cup, "perturbation": perturbation, "context": trial.context}


def run_protocol(
    model: Model,
    protocol: ReachProtocol,
    seed: int,
    *,
    film: bool = False,
    observer: Observer | None = None,
    intervener: Intervener | None = None,
    on_progress: Callable[[float], object] | None = None,
) -> Result:
    """Run a learner through all trials of a protocol.

    Args:
        model: the learner.
        protocol: what it goes through.
        seed: the same seed gives the same cups and the same noise.
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
        act_and_record(model, env)

    def launch_at_each_cup() -> None:
        recorder.washout_onset_launch_errors = extra.first_launch_errors(recorder.schedule, env.index)

    env.on_washout = launch_at_each_cup
    corrections: dict[int, Correction] = {}
    before, weights = cost_of(model), weights_of(model)
    first = True
    try:
        while not env.finished:
            index, steps = env.index, env.total_steps
            onset_s = env.upcoming.onset_s
            compared = None if onset_s is None else extra.twin_and_open_loop(env.upcoming)
            if env.learning:
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
    cost = difference(difference(cost_of(model), before), extra.cost) | alignment_of(model) | moved(weights, model)
    return Result(rows, films, traces_of(rows, corrections), cost)


def env_of(model: Model, protocol: ReachProtocol, mode: str | None = None) -> gym.Env[Any, Any]:
    """Return the environment of a protocol with its lamps, and what the learner needs (control, observation)."""
    options: dict[str, Any] = {**getattr(model, "env_options", {}), "context": protocol.context}
    return gym.make(protocol.env_id, render_mode=mode, disable_env_checker=True, **options)


def cost_of(model: Model) -> dict[str, float]:
    """Return what a learner has counted since it was made (operations, changes of weights); {} if it does not count."""
    count = getattr(model, "cost", None)
    return {} if count is None else {str(name): float(value) for name, value in count().items()}


def alignment_of(model: Model) -> dict[str, float]:
    """Return the angle between a learner's last step and the true gradient by layer; {} if the learner has none."""
    angles = getattr(model, "alignment", None)
    return {f"alignment_{layer}_degrees": float(angle) for layer, angle in angles().items()} if callable(angles) else {}


def weights_of(model: Model) -> dict[str, NDArray[Any]]:
    """Return a copy of a learner's weights by layer; {} if it does not show them."""
    weights = getattr(model, "weights", None)
    return {name: np.array(values) for name, values in weights().items()} if callable(weights) else {}


def moved(before: dict[str, NDArray[Any]], model: Model) -> dict[str, float]:
    """Return how far each layer has moved: the norm of the change of its weights over their norm before, if not 0."""
    now = weights_of(model)
    return {
        f"movement_{layer}": float(np.linalg.norm(now[layer] - weights)) / float(np.linalg.norm(weights))
        for layer, weights in before.items()
        if np.any(weights)
    }


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
    on_progress: Callable[[float], object] | None = None,
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

    Each trial ends when its launch has been read. Where the lamps tell the side, the first `PARITY_MISS_REACHES` of a
    block tell the miss, and later reaches are NaN.
    """

    def tells_the_miss(trial: ScheduledTrial) -> bool:
        is_told = isinstance(protocol.blocks[trial.block_number - 1].scale, Parity)
        return not trial.probe and not (is_told and trial.trial_in_block > PARITY_MISS_REACHES)

    env = env_of(model, protocol)
    try:
        return [
            _launch_error(model, env, trial) if tells_the_miss(trial) else math.nan
            for trial in schedule_of(protocol, seed)
        ]
    finally:
        env.close()


def _launch_error(model: Model, env: gym.Env[Any, Any], trial: ScheduledTrial) -> float:
    for longest in (LATEST_LAUNCH_STEPS, UNLIMITED):
        recording, _ = act_and_record(model, env, _options(trial, trial.perturbation), trial.seed, longest)
        reach = recording.reach(success=False, clamped=trial.is_clamped)
        onset = movement_onset(reach.speed)
        if onset is not None and reach.time_s[-1] > reach.time_s[onset] + LAUNCH_WINDOW_S - 1e-9:
            break
    return launch_error_deg(reach)
