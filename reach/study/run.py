"""One job done in this process: a learner is made by its factory and put through a protocol, trial by trial.

The learner is known by Stable-Baselines3's model interface alone (`predict`, `learn` with a callback,
`set_env`). Trials in which learning is on are run by the learner's own `learn`; the others (probes) by
`predict`.
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, SupportsFloat

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from reach.protocols import BASELINE, PERTURBED, PROTOCOLS, ProtocolWrapper, ScheduledTrial
from reach.protocols import Protocol as ReachProtocol
from reach.study.jobs import Job

Frame = NDArray[np.uint8]  # (height, width, 3)

# More steps than any protocol has: `learn` is ended by its callback.
UNTIL_STOPPED = 1_000_000_000
FILM_SIDE_PX = 300  # frames are shrunk by a whole factor to about this
# The launch error, degrees, of the same trial by the same learner with learning off.
UNLEARNED_LAUNCH_ERROR = "unlearned_launch_error_deg"
FILM_EVERY = 2  # every second control step is a frame
FILM_HOLD_FRAMES = 8  # the last frame of a reach stands this long
# Reaches in a film: the last ones before the perturbation, the first ones with it, the last ones with it.
FILMED_REACHES = {"before": 3, "during": 4, "after": 3}


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


Factory = Callable[[str, int, Path, Callable[[float], None] | None], Model]


@dataclass(frozen=True)
class Result:
    """What a job gives back: a row a trial, and films by phase (MP4 bytes). Both are empty for a training."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    films: dict[str, bytes] = field(default_factory=dict)


def load_factory(name: str) -> Factory:
    """The function that "module:function" names."""
    module, _, function = name.partition(":")
    if not module or not function:
        raise ValueError(f"factory={name!r} must read 'module:function', such as 'agents.learner:prepare'")
    factory = getattr(importlib.import_module(module), function, None)
    if not callable(factory):
        raise ValueError(f"factory={name!r}: module {module!r} has no function {function!r}")
    made: Factory = factory
    return made


class Onlooker(Protocol):
    """Whoever looks at a protocol under way."""

    def look(self, index: int, step: int, over: bool, render: Callable[[], Any]) -> None:
        """Called after each step of trial `index` of the schedule."""


class Camera:
    """Keeps the frames of chosen trials. `chosen`: index in the schedule -> phase."""

    def __init__(self, chosen: dict[int, str]) -> None:
        self.chosen = chosen
        self.frames: dict[str, list[Frame]] = {phase: [] for phase in FILMED_REACHES}

    def look(self, index: int, step: int, over: bool, render: Callable[[], Any]) -> None:
        phase = self.chosen.get(index)
        if phase is None or (step % FILM_EVERY and not over):
            return
        frame = shrink(np.asarray(render(), dtype=np.uint8))
        self.frames[phase].extend([frame] * (FILM_HOLD_FRAMES if over else 1))


def shrink(frame: Frame) -> Frame:
    """A frame whose shorter side is about FILM_SIDE_PX, by averaging whole blocks of pixels."""
    by = max(1, min(frame.shape[:2]) // FILM_SIDE_PX)
    height, width = frame.shape[0] // by, frame.shape[1] // by
    blocks = frame[: height * by, : width * by].reshape(height, by, width, by, 3)
    mean: NDArray[np.float64] = blocks.mean(axis=(1, 3))
    return mean.round().astype(np.uint8)


def filmed_trials(schedule: Sequence[ScheduledTrial]) -> dict[int, str]:
    """Which trials of a schedule to film, and in which phase: index -> "before", "during" or "after".

    Probes are left out. A protocol that perturbs nothing is filmed at its end.
    """
    reaches = [(index, trial.block) for index, trial in enumerate(schedule) if not trial.probe]
    before = [index for index, block in reaches if block == BASELINE]
    perturbed = [index for index, block in reaches if block == PERTURBED] or [index for index, _ in reaches]
    return {
        **dict.fromkeys(perturbed[-FILMED_REACHES["after"] :], "after"),
        **dict.fromkeys(perturbed[: FILMED_REACHES["during"]], "during"),
        **dict.fromkeys((before or perturbed)[-FILMED_REACHES["before"] :], "before"),
    }


class Watched(gym.Wrapper[Any, Any, Any, Any]):
    """A protocol under way: knows whether learning is on, films chosen trials and tells how far it is."""

    def __init__(
        self,
        env: ProtocolWrapper,
        camera: Onlooker | None = None,
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        super().__init__(env)
        self.protocol = env
        self.camera = camera
        self.on_progress = on_progress
        self.steps = 0  # taken in the trial that runs
        self.total_steps = 0

    @property
    def index(self) -> int:
        """In the schedule, of the trial that runs, or of the next one between trials."""
        return len(self.protocol.rows)

    @property
    def finished(self) -> bool:
        return self.protocol.finished

    @property
    def learning(self) -> bool:
        """Whether learning is on in the trial that runs, or in the next one between trials."""
        return not self.finished and self.protocol.schedule[self.index].learning

    def keep_learning(self, *_: Any) -> bool:
        """Callback for `learn`: False ends it."""
        return self.learning

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.steps = 0
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        index = self.index
        observation, reward, terminated, truncated, info = self.env.step(action)
        over = bool(terminated or truncated)
        if self.camera is not None:
            self.camera.look(index, self.steps, over, self.env.render)
        self.steps += 1
        self.total_steps += 1
        if over and self.on_progress is not None:
            self.on_progress(self.index / len(self.protocol.schedule))
        return observation, reward, terminated, truncated, info


def act_through_trial(model: Model, env: Watched) -> None:
    """One whole trial by `predict` alone."""
    observation, _ = env.reset()
    state, start, over = None, np.ones(1, dtype=bool), False
    while not over:
        action, state = model.predict(observation, state=state, episode_start=start, deterministic=True)
        observation, _, terminated, truncated, _ = env.step(action)
        start, over = np.zeros(1, dtype=bool), terminated or truncated


def run_protocol(
    model: Model,
    protocol: ReachProtocol,
    seed: int,
    *,
    learning: bool = True,
    film: bool = False,
    onlooker: Onlooker | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> Result:
    """Put `model` through every trial of `protocol`; the same seed gives the same cups and the same noise.

    Without `learning` it acts throughout as it is. With `film` a few reaches are filmed; an `onlooker` may look at
    every step instead.
    """
    drawn = film or onlooker is not None
    # A learner may say what its world must be like: its control, its observations.
    options: dict[str, Any] = getattr(model, "env_options", {})
    mode = "rgb_array" if drawn else None
    made = gym.make(protocol.env_id, render_mode=mode, disable_env_checker=True, **options)
    recorder = ProtocolWrapper(made, protocol, seed=seed)
    camera = Camera(filmed_trials(recorder.schedule)) if film else None
    env = Watched(recorder, onlooker or camera, on_progress)
    first = True
    try:
        while not env.finished:
            if not (learning and env.learning):
                act_through_trial(model, env)
                continue
            steps = env.total_steps
            model.set_env(env)  # anew each time: probes have moved the environment on
            model.learn(UNTIL_STOPPED, callback=env.keep_learning, reset_num_timesteps=first)
            first = False
            if env.total_steps == steps:
                raise RuntimeError(f"{type(model).__name__}.learn took no step of trial {env.index}")
        rows = [dict(row) for row in recorder.rows]
    finally:
        env.close()
    if camera is None:
        return Result(rows)
    fps = round(made.metadata.get("render_fps", 50) / FILM_EVERY)
    return Result(rows, {phase: film_bytes(frames, fps) for phase, frames in camera.frames.items() if frames})


def film_bytes(frames: list[Frame], fps: int) -> bytes:
    """Frames as the bytes of an MP4 film."""
    from reach.render.film import write_film

    with tempfile.TemporaryDirectory(prefix="reach-film-") as folder:
        path = Path(folder) / "film.mp4"
        write_film(path, frames, fps)
        return path.read_bytes()


def perform(job: Job, on_progress: Callable[[float], None] | None = None) -> Result:
    """Do a job here and now. Training ends with the learner kept in the job's folder by its factory."""
    prepare = load_factory(job.factory)
    if job.kind == "train":
        prepare(job.learner, job.seed, Path(job.folder), on_progress)
        return Result()
    if job.protocol not in PROTOCOLS:
        raise ValueError(f"protocol={job.protocol!r} is not known; known are {sorted(PROTOCOLS)}")
    model = prepare(job.learner, job.seed, Path(job.folder), None)
    protocol = PROTOCOLS[job.protocol]
    # What it does when it does not learn is the measure of what it learns.
    unlearning = run_protocol(model, protocol, job.seed, learning=False)
    result = run_protocol(model, protocol, job.seed, film=job.film, on_progress=on_progress)
    for row, still in zip(result.rows, unlearning.rows, strict=True):
        row[UNLEARNED_LAUNCH_ERROR] = still["launch_error_deg"]
    return result
