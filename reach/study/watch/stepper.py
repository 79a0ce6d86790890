"""A learner on its way through a protocol, one control step at a time, for whoever watches.

The protocol runs as it does in a study, in a thread of its own that waits after each step of a watched trial and once
more when the learner has learned from it. Only one of the two threads ever runs; so world and learner can be looked at,
and a hand be laid on them, while it waits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium as gym

from reach.interventions import move_cup, perturb
from reach.perturbations import CurlField, Perturbation, Prism, VelocityField
from reach.protocols import Protocol, ScheduledTrial, schedule_of
from reach.scene import Label, scene_in
from reach.snapshot import Inside, inside_of
from reach.study.run import Model, act_through_trial, made_for, run_protocol
from reach.study.watched import Watched

# In a step of a trial, at its end, when the learner has learned from it, and when all is over.
Stage = Literal["before", "step", "over", "learned", "end"]
ADDED_PRISM, ADDED_FIELD = Prism(0.06), CurlField(13.0)


class StoppedWatchingError(Exception):
    """Whoever watched has had enough."""


@dataclass(frozen=True)
class Wish:
    """What a watcher has asked for beside the protocol.

    Attributes:
        prism, field: on (one of the laboratory's size where the trial has none), off, or None for as the protocol says.
    """

    prism: bool | None = None
    field: bool | None = None

    def granted(self, acting: tuple[Perturbation, ...]) -> tuple[Perturbation, ...]:
        """What acts in a trial in which `acting` would."""
        kinds: tuple[tuple[bool | None, tuple[type, ...], Perturbation], ...] = (
            (self.prism, (Prism,), ADDED_PRISM),
            (self.field, (CurlField, VelocityField), ADDED_FIELD),
        )
        for wanted, kind, added in kinds:
            there = any(isinstance(one, kind) for one in acting)
            if wanted is False:
                acting = tuple(one for one in acting if not isinstance(one, kind))
            elif wanted and not there:
                acting = (*acting, added)
        return acting


class _World(gym.Wrapper[Any, Any, Any, Any]):
    """The bare world: waits before each trial, and lets more or less act in it than the protocol says."""

    def __init__(self, env: gym.Env[Any, Any], course: Stepped) -> None:
        super().__init__(env)
        self._course = course

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self._course._before_trial()
        given = dict(options or {})
        if "perturbation" in given:
            given["perturbation"] = self._course.wish.granted(given["perturbation"])
        return self.env.reset(seed=seed, options=given)


class Stepped:
    """One learner's course.

    Attributes:
        schedule: of the protocol.
        stage: where it has come to; nothing is there to see "before" the first watched step.
        index: in the schedule, of the trial that is seen.
        wish: what the watcher has asked for.
    """

    def __init__(self, model: Model, protocol: Protocol, seed: int, chosen: set[int], name: str = "") -> None:
        """Make ready.

        Args:
            model: the learner.
            protocol: to go through.
            seed: of cups and noise.
            chosen: trials of the schedule that are watched; the protocol is left after the last of them.
            name: of the learner.

        Raises:
            ValueError: no trial is chosen.
        """
        if not chosen:
            raise ValueError("chosen is empty; one trial or more are to be watched")
        self.model = model
        self.protocol = protocol
        self.name = name
        self.schedule: list[ScheduledTrial] = schedule_of(protocol, seed)
        self.chosen = chosen
        self.stage: Stage = "before"
        self.index = 0
        self.step = 0
        self.wish = Wish()
        self._seed = seed
        self._learning = True
        self._is_skipping = False
        self._is_left = False
        self._env: Watched | None = None
        self._error: BaseException | None = None
        self._go, self._halted = threading.Semaphore(0), threading.Semaphore(0)
        self._thread: threading.Thread | None = None
        self._last: Any = None
        # Of what it shows, it keeps some only for those who have looked before.
        inside_of(model)

    # --- whoever watches ---------------------------------------------------------------------------------

    def advance(self) -> bool:
        """Go on until there is something new to see; False when the course is over. An error in it is raised here."""
        if self.is_over:
            return False
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        else:
            self._go.release()
        self._halted.acquire()
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        return not self.is_over

    @property
    def is_over(self) -> bool:
        """There is nothing more to see."""
        return self.stage == "end"

    def leave(self) -> None:
        """End the course where it is."""
        self._is_left = True
        if self._thread is not None and self.stage != "end":
            self._go.release()
            self._thread.join()
        self.stage = "end"

    @property
    def trial(self) -> ScheduledTrial:
        """The trial that is seen."""
        return self.schedule[self.index]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Measures of the trials that are over."""
        return [] if self._env is None else self._env.protocol.rows

    def scene(self) -> Any:
        """The `reach.render.Scene` of this moment; once a reach is over, of its end."""
        assert self._env is not None
        if self.stage != "step":
            return self._last
        return scene_in(self._env)

    def inside(self) -> Inside | None:
        """The learner's inside at this moment; None where it shows none."""
        return inside_of(self.model)

    def skip(self) -> None:
        """Let the rest of this trial pass unseen; it is learned from all the same."""
        self._is_skipping = self.stage == "step"

    @property
    def learning(self) -> bool:
        """Whether learning is wanted."""
        return self._learning

    def set_learning(self, wanted: bool) -> None:
        """Let the learner learn, where the protocol does, or not; from the next trial on."""
        self._learning = wanted

    @property
    def acting(self) -> tuple[Perturbation, ...]:
        """What acts in the trial that is seen."""
        return self.wish.granted(self.trial.perturbation)

    def set_wish(self, wish: Wish) -> None:
        """Let more or less act than the protocol says, from now on.

        Raises:
            ValueError: perturbations that cannot act together; then nothing changes.
        """
        if self.stage == "step":
            perturb(self._env, wish.granted(self.trial.perturbation))
        self.wish = wish

    def move_cup(self, place: tuple[float, float]) -> bool:
        """Put the cup elsewhere (x, y) m; False where that cannot be."""
        try:
            return self.stage == "step" and move_cup(self._env, place)
        except ValueError:
            return False

    def twin_scenes(self) -> list[Any]:
        """Scenes of the trial that is seen as it would go without its perturbation, step by step.

        To be asked for before the learner learns from it. Of a perturbation that sets in within the reach, what was
        there before stays.
        """
        now = self.trial
        env = made_for(self.model, self.protocol, "rgb_array")
        options = {"cup": now.cup, "perturbation": now.standing if now.onset_s is not None else ()}
        env.unwrapped.label = Label("", now.trial)  # type: ignore[attr-defined]
        scenes = []
        try:
            for _ in act_through_trial(self.model, env, options, now.seed):
                scenes.append(scene_in(env))
        finally:
            env.close()
        return scenes

    # --- the course, in its own thread -------------------------------------------------------------------

    def take(self, env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
        """The world, in which the watcher has a hand."""
        return _World(env, self)

    def meet(self, env: Watched) -> None:
        """The protocol, before its first trial."""
        self._env = env
        env.silenced = not self._learning

    def look(self, index: int, step: int, over: bool, render: Callable[[], Any]) -> None:
        """Wait for whoever watches, where this trial is watched.

        Raises:
            StoppedWatchingError: the course was left.
        """
        if index in self.chosen and (over or not self._is_skipping):
            self.index, self.step = index, step
            self.stage = "over" if over else "step"
            if over:
                assert self._env is not None
                self._last = scene_in(self._env)
            self._halt()
        if over:
            assert self._env is not None
            self._is_skipping = False
            self._env.silenced = not self._learning

    def _before_trial(self) -> None:
        if self.stage == "over":
            self.stage = "learned"
            self._halt()
            if self.index == max(self.chosen):
                raise StoppedWatchingError

    def _halt(self) -> None:
        self._halted.release()
        self._go.acquire()
        if self._is_left:
            raise StoppedWatchingError

    def _run(self) -> None:
        try:
            run_protocol(self.model, self.protocol, self._seed, companion=self)
            if self.stage == "over":
                self.stage = "learned"
                self._halt()
        except StoppedWatchingError:
            pass
        except BaseException as error:
            self._error = error
        self.stage = "end"
        self._halted.release()
