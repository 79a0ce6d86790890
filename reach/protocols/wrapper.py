"""The wrapper that makes each `reset` the next trial of a protocol and records a row of measures for each trial."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import TimeLimit
from numpy.typing import NDArray

from reach.arguments import require_whole
from reach.measures.reach import WITHIN_REACH, ReachRecord, Trajectory, channel_index, force_field, measure_reach
from reach.perturbations import ForceChannel, HideHand
from reach.play import Loop, Played, play, playable_steps
from reach.protocols.blocks import Protocol, ScheduledTrial, schedule_of
from reach.protocols.presets import find_protocol
from reach.scene import Label
from reach.sim.layout import CONTROL_STEP_S, TRIAL_S

# Column of a row, set at the first reach to each cup in the first washout: the launch error, degrees, that the learner
# would have in this trial with its state at the beginning of the washout. NaN in all other trials.
WASHOUT_ONSET_LAUNCH_ERROR = "washout_onset_launch_error_deg"
# Duration of a probe, after which a reach should be over; only the launch of a probe is measured.
PROBE_S = 1.2


@dataclass
class Recording:
    """The states of one reach from the reset on.

    Attributes:
        moments: `info["truth"]` after the reset and after each call of `step`.
        played: control steps after these that were played in compiled code; None if there are none.
        reward: sum of the rewards.
    """

    moments: list[dict[str, Any]] = field(default_factory=list)
    played: Played | None = None
    reward: float = 0.0

    def column(self, name: str) -> NDArray[Any]:
        """Return one key of `info["truth"]` at all moments, (T, ...)."""
        column = np.array([moment[name] for moment in self.moments])
        return column if self.played is None else np.concatenate([column, self.played.column(name)])

    def reach(self, success: bool, clamped: bool) -> ReachRecord:
        """Return the record of the reach; `clamped` replaces the seen hand, fixed to a ray, by the true hand."""
        return ReachRecord(
            time_s=self.column("time_s"),
            hand=self.column("hand"),
            seen_hand=self.column("hand" if clamped else "seen_hand"),
            seen_cup=self.column("seen_cup"),
            speed=np.hypot(*self.column("hand_velocity").T),
            aperture=self.column("aperture_m"),
            held=self.column("held_s") > 0.0,
            success=success,
            tipped=bool(self.column("tipped")[-1]),
            reward=self.reward,
        )

    def trajectory(self) -> Trajectory:
        """Return the trajectory of the hand."""
        return Trajectory(*map(self.column, ("time_s", "hand", "hand_velocity", "seen_hand", "seen_cup")))


def _label(trial: ScheduledTrial) -> str:
    """Return the label of a trial in pictures."""
    if not trial.probe:
        return trial.block
    kinds = {type(perturbation) for perturbation in trial.perturbation}
    return f"{'no-cursor' if HideHand in kinds else 'force-channel' if ForceChannel in kinds else 'plain'} probe"


def _has_time_limit(env: gym.Env[Any, Any]) -> bool:
    while isinstance(env, gym.Wrapper):
        if isinstance(env, TimeLimit):
            return True
        env = env.env
    return False


class ProtocolWrapper(gym.Wrapper[Any, Any, Any, Any]):
    """Run any learner on the wrapped environment through a protocol.

    Trials end at the time limit of the wrapped environment, which `gym.make` sets. Without a time limit, as for a bare
    `CupEnv`, trials end after 3 s, the limit of the registered environments.

    Attributes:
        schedule: all trials in order.
        current: the running trial; None before the first reset and after the last trial.
        recording: recording of the running trial, or, between trials, of the last one.
        rows: a dictionary of measures for each finished trial.
        trajectories: trajectories of the hand in trials with an onset within the reach, by index in the schedule.
        washout_onset_launch_errors: values of the column `WASHOUT_ONSET_LAUNCH_ERROR`, by index in the schedule. The
            caller that runs these trials before the washout fills them in.
        finished: whether all trials are over; later resets begin plain trials, which are not recorded.
    """

    def __init__(self, env: gym.Env[Any, Any], protocol: Protocol | str, seed: int = 0) -> None:
        """Wrap an environment.

        Args:
            env: a `CupEnv`, wrapped or not.
            protocol: a protocol or the name of a preset.
            seed: seed of cup order, sizes, lamps and noise; learners with the same seed get the same trials.

        Raises:
            ValueError: the environment is of another kind, has no truth or another number of lamps, the preset is
                unknown, or the seed is below 0.
        """
        super().__init__(env)
        if not hasattr(env.unwrapped, "twin"):
            raise ValueError(f"env: expected a CupEnv, wrapped or not, got {env.unwrapped!r}")
        if not env.unwrapped.truth:  # type: ignore[attr-defined]
            raise ValueError("env: expected one made with truth=True, which the measures read, got truth=False")
        protocol = find_protocol(protocol)
        lamps = env.unwrapped.context  # type: ignore[attr-defined]
        if lamps != protocol.context:
            raise ValueError(
                f"env: expected one made with context={protocol.context}, the lamps of protocol {protocol.name!r}, got "
                f"context={lamps}"
            )
        self.protocol = protocol
        self.schedule = schedule_of(protocol, require_whole("seed", seed, 0))
        self._limit_s = math.inf if _has_time_limit(env) else TRIAL_S
        self.rows: list[dict[str, Any]] = []
        self.trajectories: dict[int, Trajectory] = {}
        self.washout_onset_launch_errors: dict[int, float] = {}
        self.current: ScheduledTrial | None = None
        self.recording = Recording()
        # The force field to which learners adapt in this protocol, for the adaptation index of channel trials.
        fields = (force_field(block.perturbation) for block in protocol.blocks)
        self._field = next((field for field in fields if field is not None), None)
        self._next = 0

    @property
    def finished(self) -> bool:
        """Return whether all scheduled trials are over."""
        return len(self.rows) == len(self.schedule)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin the next trial of the schedule; `seed` is ignored, because the schedule has its own seeds.

        A trial that is not finished begins again.
        """
        self._next = len(self.rows)
        self.recording = Recording()
        if self.finished:
            self.current = None
            self.unwrapped.label = Label()  # type: ignore[attr-defined]
            return self.env.reset(options=options)
        trial = self.current = self.schedule[self._next]
        self.unwrapped.label = Label(self.protocol.name, trial.trial, _label(trial))  # type: ignore[attr-defined]
        given = {"cup": trial.cup, "perturbation": trial.perturbation, "context": trial.context}
        observation, info = self.env.reset(seed=trial.seed, options={**(options or {}), **given})
        self.recording.moments.append(info["truth"])
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the environment and record; when the trial ends, after at most 1.2 s in a probe, write its row."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        truncated = bool(truncated or info["truth"]["time_s"] > self._limit_s - 1e-9)
        if self.current is not None and not self.finished:
            self.recording.moments.append(info["truth"])
            self.recording.reward += float(reward)
            truncated = truncated or (self.current.probe and info["truth"]["time_s"] > PROBE_S - 1e-9)
            if (terminated or truncated) and len(self.rows) == self._next:
                self._finish_trial(info["is_success"])
        return observation, reward, terminated, truncated, info

    @property
    def playable_steps(self) -> int:
        """Return the largest number of control steps that can be played, see `reach.play`."""
        limit_s = PROBE_S if self.current is not None and self.current.probe else self._limit_s
        steps = playable_steps(self.env)
        return steps if math.isinf(limit_s) else min(steps, round(limit_s / CONTROL_STEP_S))

    def play(self, loop: Loop, longest: int) -> Played:
        """Play the current trial and record it, see `reach.play.play`; when the trial ends, write its row."""
        limit = self.playable_steps
        played = play(self.env, loop, min(longest, limit))
        played = replace(played, is_over=played.is_over or len(played.moments) == limit)
        if self.current is not None:
            self.recording.played, self.recording.reward = played, played.reward
            if played.is_over:
                self._finish_trial(played.is_success)
        return played

    def _finish_trial(self, success: bool) -> None:
        """Write the row of the current trial."""
        trial = self.current
        assert trial is not None
        if trial.onset_s is not None:
            self.trajectories[self._next] = self.recording.trajectory()
        self.rows.append(self._row(trial, success))

    def _row(self, trial: ScheduledTrial, success: bool) -> dict[str, Any]:
        reach = self.recording.reach(success, trial.is_clamped)
        index = math.nan
        if self._field is not None and any(isinstance(acting, ForceChannel) for acting in trial.perturbation):
            hand, velocity = self.recording.column("hand"), self.recording.column("hand_velocity")
            field_force = np.hstack([hand - hand[0], velocity]) @ self._field.T
            index = channel_index(reach, velocity, self.recording.column("channel_force_n"), field_force)
        return {
            "trial": trial.trial,
            "block": trial.block,
            "block_number": trial.block_number,
            "trial_in_block": trial.trial_in_block,
            "probe": trial.probe,
            "perturbation_scale": trial.scale,
            "cup_x": trial.cup[0],
            "cup_y": trial.cup[1],
            **vars(measure_reach(reach)),
            "channel_index": index,
            "onset_s": math.nan if trial.onset_s is None else trial.onset_s,
            WASHOUT_ONSET_LAUNCH_ERROR: self.washout_onset_launch_errors.get(len(self.rows), math.nan),
            **dict.fromkeys(WITHIN_REACH, math.nan),
            **({"context": "".join(map(str, trial.context))} if trial.context else {}),
        }
