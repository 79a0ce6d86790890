"""The wrapper that makes each `reset` the next trial of a schedule and writes a row of measures for each."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import TimeLimit

from reach.arguments import require_whole
from reach.measures.channel import channel_index, velocity_field
from reach.measures.correction import WITHIN_REACH, Trajectory
from reach.measures.reach import ReachMeasures, ReachRecord, measure_reach
from reach.perturbations import ForceChannel, HideHand
from reach.protocols.blocks import Protocol, ScheduledTrial, schedule_of
from reach.protocols.presets import PROTOCOLS
from reach.scene import Label
from reach.sim.layout import TRIAL_S

# Column of a row: at the first reach to each cup of the first washout, the launch error, degrees, of that trial by the
# learner as it was when the washout began. NaN for all other trials.
WASHOUT_ONSET_LAUNCH_ERROR = "washout_onset_launch_error_deg"
# A probe is over when a reach should be: nothing is to be got in it, and what counts is how the hand sets out.
PROBE_S = 1.2


@dataclass
class Recording:
    """The moments of one reach while it runs, as `info["truth"]` shows them."""

    moments: list[Any] = field(default_factory=list)
    reward: float = 0.0

    def column(self, name: str) -> Any:
        """One key of all moments, (T, ...)."""
        return np.array([moment[name] for moment in self.moments])

    def record(self, success: bool, clamped: bool) -> ReachRecord:
        """As a record. Where the seen hand is held on a ray, its course tells nothing, and the true one is taken."""
        return ReachRecord(
            time_s=self.column("time_s"),
            hand=self.column("hand"),
            seen_hand=self.column("hand" if clamped else "seen_hand"),
            seen_cup=self.column("seen_cup"),
            speed=np.hypot(*self.column("hand_velocity").T),
            aperture=self.column("aperture_m"),
            held=self.column("held_s") > 0.0,
            success=success,
            tipped=bool(self.moments[-1]["tipped"]),
            reward=self.reward,
        )

    def course(self) -> Trajectory:
        """As the course of the hand."""
        return Trajectory(
            time_s=self.column("time_s"),
            hand=self.column("hand"),
            velocity=self.column("hand_velocity"),
            seen_hand=self.column("seen_hand"),
            seen_cup=self.column("seen_cup"),
        )


def _seen_as(probe: ScheduledTrial) -> str:
    """What a watcher calls a probe."""
    kinds = {type(one) for one in probe.perturbation}
    return "no-cursor" if HideHand in kinds else "force-channel" if ForceChannel in kinds else "plain"


def _has_time_limit(env: gym.Env[Any, Any]) -> bool:
    while isinstance(env, gym.Wrapper):
        if isinstance(env, TimeLimit):
            return True
        env = env.env
    return False


class ProtocolWrapper(gym.Wrapper[Any, Any, Any, Any]):
    """Runs whatever learns on the wrapped environment through a protocol.

    Trials end at the time limit of the wrapped environment; without one (`gym.make` sets one, `CupEnv` has none) at the
    3 s of the registered environments.

    Attributes:
        schedule: every trial, in order.
        current: the trial that runs, None before the first reset and after the last trial.
        recording: of the trial that runs, or of the last one between trials.
        rows: a dictionary of measures for each trial that is over.
        courses: of the hand in trials in which a perturbation sets in, by their place in the schedule.
        washout_onset_launch_errors: of the column `WASHOUT_ONSET_LAUNCH_ERROR`, by place in the schedule; for whoever
            launches these trials before the washout to fill in.
        finished: whether all trials are over; resets after that give plain, unrecorded trials.
    """

    def __init__(self, env: gym.Env[Any, Any], protocol: Protocol | str, seed: int = 0) -> None:
        """Wrap an environment.

        Args:
            env: a `CupEnv`, wrapped or not.
            protocol: a protocol or the name of a preset.
            seed: of cup order, sizes and noise; learners given the same seed meet the same trials.

        Raises:
            ValueError: an environment of another kind, an unknown preset, or a seed below 0.
        """
        super().__init__(env)
        if not hasattr(env.unwrapped, "twin"):
            raise ValueError(f"env is {env.unwrapped!r}; a CupEnv, wrapped or not, is allowed")
        if isinstance(protocol, str) and protocol in PROTOCOLS:
            protocol = PROTOCOLS[protocol]
        if not isinstance(protocol, Protocol):
            raise ValueError(f"protocol is {protocol!r}; a Protocol or one of {sorted(PROTOCOLS)} is allowed")
        self.protocol = protocol
        self.schedule = schedule_of(protocol, require_whole("seed", seed, 0))
        self._limit_s = math.inf if _has_time_limit(env) else TRIAL_S
        self.rows: list[dict[str, Any]] = []
        self.courses: dict[int, Trajectory] = {}
        self.washout_onset_launch_errors: dict[int, float] = {}
        self.current: ScheduledTrial | None = None
        self.recording = Recording()
        # The force that a learner of this protocol is to expect in the channel.
        fields = (velocity_field(block.perturbation) for block in protocol.blocks)
        self._field = next((one for one in fields if one is not None), None)
        self._next = 0

    @property
    def finished(self) -> bool:
        """Whether every scheduled trial is over."""
        return len(self.rows) == len(self.schedule)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin the next trial of the schedule; `seed` is ignored, for the schedule has its own.

        A trial that was left before its end is begun again.
        """
        self._next = len(self.rows)
        self.recording = Recording()
        if self.finished:
            self.current = None
            self.unwrapped.label = Label()  # type: ignore[attr-defined]
            return self.env.reset(options=options)
        self.current = self.schedule[self._next]
        now = self.current
        kind = f"{_seen_as(now)} probe" if now.probe else now.block
        self.unwrapped.label = Label(self.protocol.name, now.trial, kind)  # type: ignore[attr-defined]
        observation, info = self.env.reset(
            seed=now.seed, options={**(options or {}), "cup": now.cup, "perturbation": now.perturbation}
        )
        self.recording.moments.append(info["truth"])
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the environment and record; the row is written when the trial ends, a probe's after 1.2 s at latest."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        truncated = bool(truncated or info["truth"]["time_s"] > self._limit_s - 1e-9)
        if self.current is not None and not self.finished:
            self.recording.moments.append(info["truth"])
            self.recording.reward += float(reward)
            truncated = truncated or (self.current.probe and info["truth"]["time_s"] > PROBE_S - 1e-9)
            if (terminated or truncated) and len(self.rows) == self._next:
                if self.current.onset_s is not None:
                    self.courses[self._next] = self.recording.course()
                self.rows.append(self._row(self.current, info["is_success"]))
        return observation, reward, terminated, truncated, info

    def _row(self, trial: ScheduledTrial, success: bool) -> dict[str, Any]:
        record = self.recording.record(success, trial.is_clamped)
        measures: ReachMeasures = measure_reach(record)
        channelled = any(isinstance(one, ForceChannel) for one in trial.perturbation)
        index = math.nan
        if channelled and self._field is not None:
            velocity, force = self.recording.column("hand_velocity"), self.recording.column("channel_force_n")
            index = channel_index(record, velocity, force, self._field)
        onset = trial.onset_s
        return {
            "trial": trial.trial,
            "block": trial.block,
            "block_number": trial.block_number,
            "trial_in_block": trial.trial_in_block,
            "probe": trial.probe,
            "perturbation_scale": trial.scale,
            "cup_x": trial.cup[0],
            "cup_y": trial.cup[1],
            "launch_error_deg": measures.launch_error_deg,
            "endpoint_error_cm": measures.endpoint_error_cm,
            "channel_index": index,
            "time_to_success_s": measures.time_to_success_s,
            "success": measures.success,
            "attempts": measures.attempts,
            "tipped": measures.tipped,
            "reward": measures.reward,
            "duration_s": measures.duration_s,
            "onset_s": math.nan if onset is None else onset,
            WASHOUT_ONSET_LAUNCH_ERROR: self.washout_onset_launch_errors.get(len(self.rows), math.nan),
            **dict.fromkeys(WITHIN_REACH, math.nan),
        }
