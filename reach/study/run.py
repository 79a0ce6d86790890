"""Run a learner through a protocol, trial by trial.

This module uses only Stable-Baselines3's model interface of a learner (`predict`, `learn` with a callback, `set_env`).
Trials with learning are run by the learner's own `learn`. Trials without learning (probes) are run by `predict`, if
necessary while `learn` waits for its next trial.

A reach with an onset within the reach is compared with its twin: the same trial, noise and learner without the
perturbation that sets in. Perturbations that act from the start (a rotation, a hidden hand) stay in the twin. The
learner acts in the twin by `predict` before the reach, so it is in the same state in both and does not learn from the
twin. Exploration during learning would add to the difference between reach and twin, so protocols that measure within
the reach keep learning off.

An `Observer` observes a run, an `Intervener` also changes it. A `reach.render.film.Camera` films a few reaches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, SupportsFloat

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from reach.measures.reach import (
    LAUNCH_WINDOW_S,
    WINDOW,
    WINDOW_S,
    WITHIN_REACH,
    Correction,
    Trajectory,
    launch_error_deg,
    measure_correction,
    movement_onset,
)
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

Actions = NDArray[np.float64]  # (steps, 4)

# Numbers of filmed reaches: the last before the perturbation, the first with it, and the last with it.
FILMED_REACHES = {"before": 3, "during": 4, "after": 3}


class Observer(Protocol):
    """The interface of observers of a run."""

    def watches(self, index: int) -> bool:
        """Return whether `on_step` must be called in a trial, by its index in the schedule."""

    def on_step(self, index: int, step: int, over: bool, render: Callable[[], Any]) -> None:
        """Observe a control step that has ended; `index` is the index of the trial in the schedule."""


class Intervener(Observer, Protocol):
    """The interface of observers that may also change the world."""

    def wrap_world(self, env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
        """Wrap the unwrapped environment of the protocol, or return it unchanged."""

    def attach(self, env: ObservedRun) -> None:
        """Store the environment of the run; called once, before the first trial."""


class ObservedRun(gym.Wrapper[Any, Any, Any, Any]):
    """The environment of a run: switches learning on and off, and calls an observer after each step.

    Attributes:
        steps: number of steps in the current trial; 0 between trials.
        total_steps: number of steps so far.
        silenced: True switches learning off in all trials; change it between trials only.
        act_alone: function that runs the upcoming trial without learning, while `learn` is running.
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
        self.act_alone: Callable[[], object] | None = None
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
        """Return False to end `learn` (this is its callback) before a trial without learning or a reach with a twin."""
        return self.learning and (self.steps > 0 or self.upcoming.onset_s is None)

    # `learn` may call `keep_learning` once per trial instead of at each step.
    keep_learning.per_trial = True  # type: ignore[attr-defined]

    @property
    def playable_steps(self) -> int:
        """Return the number of control steps that can be played, see `reach.play`; 0 if the trial is observed."""
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
        """Begin the next trial with learning; first run the trials without learning that precede it.

        Stable-Baselines3 begins a trial before it calls the callback. Stopping it there for a probe would lose the last
        step of the previous trial with its reward, and the rollout from which it has not learned yet.
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


def filmed_trials(schedule: Sequence[ScheduledTrial]) -> dict[int, str]:
    """Return the phase, "before", "during" or "after", of each trial of a schedule to film, by index, without probes.

    Of a protocol without a perturbation, the last reaches are filmed.
    """
    blocks = {index: trial.block for index, trial in enumerate(schedule) if not trial.probe}
    before = [index for index, block in blocks.items() if block == BASELINE]
    perturbed = [index for index, block in blocks.items() if block == PERTURBED] or list(blocks)
    return {
        **dict.fromkeys(perturbed[-FILMED_REACHES["after"] :], "after"),
        **dict.fromkeys(perturbed[: FILMED_REACHES["during"]], "during"),
        **dict.fromkeys((before or perturbed)[-FILMED_REACHES["before"] :], "before"),
    }


# Number of steps for `learn`, more than any protocol has; a callback ends `learn`.
UNTIL_STOPPED = 1_000_000_000
# Column of a row: the launch error, degrees, of the same learner with learning off in the same trial.
LAUNCH_ERROR_WITHOUT_LEARNING = "unlearned_launch_error_deg"
# Number of reaches from which the miss is computed if lamps determine the side. They are about 100 launches to each of
# four cups. Launches scatter by about 5 degrees, so the mean miss has a standard error of 0.3 degrees.
PARITY_MISS_REACHES = 400
# Number of control steps that are run first to find a launch; without a launch the whole trial is run.
LATEST_LAUNCH_STEPS = 30
# Entries of a learner's `cost` that are sizes, not counts.
SIZES = ("parameters",)


class Model(Protocol):
    """The part of Stable-Baselines3's interface that a study requires of a learner.

    Optional attributes of a learner: `env_options`, the options of the environment that it needs; `cost()`, its
    operation counts since it was made; `alignment()`, the angle between its last step and the gradient by layer; and,
    if `can_play` is true, `play_trial(env, observation, longest)`, which acts as `predict` does, in compiled code, and
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
    """The result of a run; empty for a training.

    Attributes:
        rows: a row for each trial.
        films: bytes of an MP4 film, by phase.
        traces: a row for each block and time: block, time_s from onset, remaining (mean r(t) over the block's reaches)
            and trials, the number of reaches. Empty without perturbations within a reach.
        cost: operation counts of the learner in this protocol, and the angle in degrees between its last step and the
            gradient by layer; empty for a learner that has neither.
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
    """Run one trial without learning, in compiled code if model and environment support it.

    Args:
        model: the learner.
        env: the environment.
        options, seed: arguments of `env.reset`.
        longest: largest number of control steps.

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
    """Trials of the present learner without learning, outside the protocol and in a separate environment.

    Attributes:
        cost: operation counts of the learner in these trials, which are not part of the protocol's cost.
    """

    def __init__(self, model: Model, protocol: ReachProtocol) -> None:
        self.model = model
        self.cost: dict[str, float] = {}
        self._env = env_of(model, protocol)

    def twin_and_open_loop(self, trial: ScheduledTrial) -> tuple[Trajectory, Trajectory]:
        """Return the twin of a trial, and the perturbed trial under the twin's commands (open loop)."""
        before = cost_of(self.model)
        twin, actions = act_and_record(self.model, self._env, _options(trial, trial.from_start), trial.seed)
        world = self._env.unwrapped
        _, info = world.reset(seed=trial.seed, options=_options(trial, trial.perturbation))
        steps = math.ceil(((trial.onset_s or 0.0) + WINDOW_S) / CONTROL_STEP_S - 1e-9)
        open_loop = Recording([info["truth"]], play(world, replay(actions), steps))
        self._count(before)
        return twin.trajectory(), open_loop.trajectory()

    def first_launch_errors(self, schedule: Sequence[ScheduledTrial], index: int) -> dict[int, float]:
        """Return the launch errors, degrees, of the first reach to each cup in the block that begins at `index`."""
        before = cost_of(self.model)
        first: dict[Cup, int] = {}
        for place, trial in enumerate(schedule[index:], start=index):
            if trial.block_number == schedule[index].block_number and not trial.probe:
                first.setdefault(trial.cup, place)
        errors = {place: self.launch_error(schedule[place]) for place in first.values()}
        self._count(before)
        return errors

    def launch_error(self, trial: ScheduledTrial) -> float:
        """Return the launch error in a trial, degrees; the trial ends when its launch error is known."""
        for longest in (LATEST_LAUNCH_STEPS, UNLIMITED):
            options = _options(trial, trial.perturbation)
            recording, _ = act_and_record(self.model, self._env, options, trial.seed, longest)
            reach = recording.reach(success=False, clamped=trial.is_clamped)
            onset = movement_onset(reach.speed)
            if onset is not None and reach.time_s[-1] > reach.time_s[onset] + LAUNCH_WINDOW_S - 1e-9:
                break
        return launch_error_deg(reach)

    def _count(self, before: dict[str, float]) -> None:
        spent = difference(cost_of(self.model), before)
        self.cost = {name: self.cost.get(name, 0.0) + spent.get(name, 0.0) for name in {**self.cost, **spent}}

    def close(self) -> None:
        self._env.close()


def _options(trial: ScheduledTrial, perturbation: tuple[Perturbation, ...]) -> dict[str, Any]:
    return {"cup": trial.cup, "perturbation": perturbation, "context": trial.context}


def run_protocol(
    model: Model,
    protocol: ReachProtocol,
    seed: int,
    *,
    film: bool = False,
    intervener: Intervener | None = None,
    on_progress: Callable[[float], object] | None = None,
) -> Result:
    """Run a learner through all trials of a protocol.

    Args:
        model: the learner.
        protocol: the protocol.
        seed: seed of cups and noise.
        film: whether to film a few reaches.
        intervener: an observer that may also change the world; the run is then not filmed.
        on_progress: called with the share of trials done, 0..1.

    Raises:
        RuntimeError: the learner's `learn` took no step.
    """
    mode = "rgb_array" if film or intervener is not None else None
    world = env_of(model, protocol, mode)
    recorder = ProtocolWrapper(world if intervener is None else intervener.wrap_world(world), protocol, seed=seed)
    camera = None
    if film:
        # Imported here, so that a process that does not film needs no pygame.
        from reach.render.film import Camera

        camera = Camera(filmed_trials(recorder.schedule))
    env = ObservedRun(recorder, intervener or camera, on_progress)
    if intervener is not None:
        intervener.attach(env)
    extra = ExtraTrials(model, protocol)

    act_alone = partial(act_and_record, model, env)

    def launch_at_each_cup() -> None:
        recorder.washout_onset_launch_errors = extra.first_launch_errors(recorder.schedule, env.index)

    env.on_washout = launch_at_each_cup
    corrections: dict[str, list[Correction]] = {}
    before, weights = cost_of(model), weights_of(model)
    first = True
    try:
        while not env.finished:
            index, steps = env.index, env.total_steps
            onset_s = env.upcoming.onset_s
            if onset_s is not None:
                twin, open_loop = extra.twin_and_open_loop(env.upcoming)
            if env.learning:
                model.set_env(env)  # each time, because probes have advanced the environment
                env.act_alone = act_alone
                model.learn(UNTIL_STOPPED, callback=env.keep_learning, reset_num_timesteps=first)
                env.act_alone = None
                first = False
            else:
                act_alone()
            if env.total_steps == steps:
                raise RuntimeError(f"{type(model).__name__}.learn took no step of trial {env.index}")
            if onset_s is not None:
                correction = measure_correction(recorder.trajectories[index], twin, open_loop, onset_s)
                if correction is not None:
                    row = recorder.rows[index]
                    row |= {name: getattr(correction, name) for name in WITHIN_REACH}
                    corrections.setdefault(row["block"], []).append(correction)
    finally:
        env.close()
        extra.close()
    films = {} if camera is None else camera.films(env.metadata.get("render_fps", 50))
    cost = difference(difference(cost_of(model), before), extra.cost) | alignment_of(model) | moved(weights, model)
    return Result(recorder.rows, films, traces_of(corrections), cost)


def env_of(model: Model, protocol: ReachProtocol, mode: str | None = None) -> gym.Env[Any, Any]:
    """Return the environment of a protocol, with its lamps and the learner's options (control, observation)."""
    options: dict[str, Any] = {**getattr(model, "env_options", {}), "context": protocol.context}
    return gym.make(protocol.env_id, render_mode=mode, disable_env_checker=True, **options)


def cost_of(model: Model) -> dict[str, float]:
    """Return the operation counts of a learner since it was made; {} if the learner does not count."""
    count = getattr(model, "cost", None)
    return {} if count is None else {str(name): float(value) for name, value in count().items()}


def alignment_of(model: Model) -> dict[str, float]:
    """Return the angles, degrees, between a learner's last step and the gradient, by layer; {} if unavailable."""
    angles = getattr(model, "alignment", None)
    return {f"alignment_{layer}_degrees": float(angle) for layer, angle in angles().items()} if callable(angles) else {}


def weights_of(model: Model) -> dict[str, NDArray[Any]]:
    """Return a copy of a learner's weights by layer; {} if unavailable."""
    weights = getattr(model, "weights", None)
    return {name: np.array(values) for name, values in weights().items()} if callable(weights) else {}


def moved(before: dict[str, NDArray[Any]], model: Model) -> dict[str, float]:
    """Return the norm of the change of each layer's weights over their norm before; layers of norm 0 are left out."""
    now = weights_of(model)
    return {
        f"movement_{layer}": float(np.linalg.norm(now[layer] - weights)) / float(np.linalg.norm(weights))
        for layer, weights in before.items()
        if np.any(weights)
    }


def difference(now: dict[str, float], before: dict[str, float]) -> dict[str, float]:
    """Return the counts in `now` minus those in `before`; entries in SIZES are not subtracted."""
    return {name: value if name in SIZES else value - before.get(name, 0.0) for name, value in now.items()}


def traces_of(corrections: dict[str, list[Correction]]) -> list[dict[str, Any]]:
    """Return the mean remaining error, every 20 ms, of the corrections in each block."""
    return [
        {"block": name, "time_s": round(time, 3), "remaining": mean, "trials": len(block)}
        for name, block in corrections.items()
        for time, mean in zip(WINDOW.tolist(), np.mean([c.remaining for c in block], axis=0).tolist(), strict=True)
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
    """Return the launch error, degrees, of the present learner, without learning, in each trial; NaN for probes.

    If lamps determine the side, only the first `PARITY_MISS_REACHES` reaches of a block are run, and the launch errors
    of later reaches are NaN.
    """

    def counts_for_miss(trial: ScheduledTrial) -> bool:
        is_set_by_lamps = isinstance(protocol.blocks[trial.block_number - 1].scale, Parity)
        return not trial.probe and not (is_set_by_lamps and trial.trial_in_block > PARITY_MISS_REACHES)

    extra = ExtraTrials(model, protocol)
    try:
        return [
            extra.launch_error(trial) if counts_for_miss(trial) else math.nan for trial in schedule_of(protocol, seed)
        ]
    finally:
        extra.close()
