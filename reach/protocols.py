"""Protocols of the motor-learning laboratory as data, and the wrapper that runs any learner through one.

A protocol is a list of blocks: so many trials, what is perturbed, what probe follows each reach, whether learning is
on. `ProtocolWrapper` turns each `reset` into the next trial of the schedule and records a row of measures for it.
Whatever trains on a Gymnasium environment can be put through it; nothing of the schedule reaches the learner.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np

from reach.perturbations import HideHand, Perturbation, Prism, Rotation
from reach.sim.state import START_HAND_M
from reach.trials import ReachMeasures, ReachRecord, measure_reach
from reach.view import Label

BASELINE, PERTURBED, WASHOUT = "baseline", "perturbed", "washout"
# A fan of four cups about the hand's start, as in centre-out reaching; every four reaches visit all four.
TARGET_DISTANCE_M = 0.20
TARGET_BEARINGS_DEGREES = (65.0, 85.0, 105.0, 125.0)
TARGETS = tuple(
    (
        START_HAND_M[0] + TARGET_DISTANCE_M * math.cos(math.radians(bearing)),
        START_HAND_M[1] + TARGET_DISTANCE_M * math.sin(math.radians(bearing)),
    )
    for bearing in TARGET_BEARINGS_DEGREES
)


@dataclass(frozen=True)
class Block:
    """A stretch of like trials.

    Attributes:
        name: "baseline", "perturbed" or "washout".
        trials: reaches, 1 or more (probes not counted).
        perturbation: what acts in each reach, all together.
        probe: what acts in a probe trial after each reach; None for no probes. Learning is off in probes.
        learning: whether learning is on.
    """

    name: str
    trials: int
    perturbation: tuple[Perturbation, ...] = ()
    probe: tuple[Perturbation, ...] | None = None
    learning: bool = True

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise ValueError(f"Block trials is {self.trials}; 1 or more is allowed")
        if self.name not in (BASELINE, PERTURBED, WASHOUT):
            raise ValueError(f"Block name is {self.name!r}; {[BASELINE, PERTURBED, WASHOUT]} are allowed")


@dataclass(frozen=True)
class Protocol:
    """A schedule of blocks.

    Attributes:
        name: of the protocol.
        blocks: in order.
        source: the study it follows.
        env_id: the environment it runs in.
        cups: places (x, y) m; each round of reaches visits all of them in an order drawn from the seed.
    """

    name: str
    blocks: tuple[Block, ...]
    source: str
    env_id: str = "reach/CupReach-v0"
    cups: tuple[tuple[float, float], ...] = TARGETS

    @property
    def reaches(self) -> int:
        """Reaches in all, without probes."""
        return sum(block.trials for block in self.blocks)


@dataclass(frozen=True)
class ScheduledTrial:
    """One trial of a schedule; `trial` and `trial_in_block` count from 1, a probe carries those of its reach."""

    trial: int
    block: str
    trial_in_block: int
    probe: bool
    learning: bool
    perturbation: tuple[Perturbation, ...]
    cup: tuple[float, float]
    seed: int


PROTOCOLS: dict[str, Protocol] = {
    "rotation30": Protocol(
        name="rotation30",
        blocks=(
            Block(BASELINE, 20),
            Block(PERTURBED, 100, (Rotation(30.0),), probe=(HideHand(),)),
            Block(WASHOUT, 20),
        ),
        source="Krakauer et al. 2000, J Neurosci 20:8916 (30 degrees, centre-out); no-cursor probes as in Ruttle, "
        "'t Hart and Henriques 2021, Sci Rep 11:2001",
    ),
    # The arm is unseen under way, as in throwing through prisms, else the reach is corrected before it ends.
    "prism": Protocol(
        name="prism",
        blocks=(
            Block(BASELINE, 20, (HideHand(until_s=0.8),)),
            Block(PERTURBED, 60, (Prism(0.06), HideHand(until_s=0.8))),
            Block(WASHOUT, 40, (HideHand(until_s=0.8),)),
        ),
        source="Martin et al. 1996, Brain 119:1183 (throwing while looking through prisms)",
    ),
}


def schedule_of(protocol: Protocol, seed: int) -> list[ScheduledTrial]:
    """Every trial of a protocol in order; cups and noise seeds follow from `seed` alone, so learners are paired."""
    rng = np.random.default_rng(seed)
    noise = np.random.SeedSequence(seed)
    found: list[ScheduledTrial] = []
    order: list[int] = []
    number = 0
    for block in protocol.blocks:
        for place in range(1, block.trials + 1):
            number += 1
            if not order:
                order = rng.permutation(len(protocol.cups)).tolist()
            cup = protocol.cups[order.pop()]
            kinds = [(False, block.learning, block.perturbation)]
            if block.probe is not None:
                kinds.append((True, False, block.probe))
            for probe, learning, perturbation in kinds:
                trial_seed = int(noise.spawn(1)[0].generate_state(1)[0])
                found.append(ScheduledTrial(number, block.name, place, probe, learning, perturbation, cup, trial_seed))
    return found


@dataclass
class _Recording:
    """The rows of one reach while it runs."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    reward: float = 0.0

    def measures(self, success: bool) -> ReachMeasures:
        def column(name: str) -> Any:
            return np.array([row[name] for row in self.rows])

        return measure_reach(
            ReachRecord(
                time_s=column("time_s"),
                hand=column("hand"),
                seen_hand=column("seen_hand"),
                seen_cup=column("seen_cup"),
                speed=np.hypot(*column("hand_velocity").T),
                aperture=column("aperture_m"),
                held=column("held_s") > 0.0,
                success=success,
                tipped=bool(self.rows[-1]["tipped"]),
                reward=self.reward,
            )
        )


class ProtocolWrapper(gym.Wrapper[Any, Any, Any, Any]):
    """Runs whatever learns on the wrapped environment through a protocol.

    Attributes:
        schedule: every trial, in order.
        current: the trial that runs, None before the first reset and after the last trial.
        rows: a dictionary of measures for each trial that is over.
        finished: whether all trials are over; resets after that give plain, unrecorded trials.
    """

    def __init__(self, env: gym.Env[Any, Any], protocol: Protocol | str, seed: int = 0) -> None:
        """Wrap an environment.

        Args:
            env: a `CupEnv`, wrapped or not.
            protocol: a protocol or the name of a preset.
            seed: of cup order and noise; learners given the same seed meet the same trials.

        Raises:
            ValueError: an environment of another kind, an unknown preset, or a seed below 0.
        """
        super().__init__(env)
        if not hasattr(env.unwrapped, "twin"):
            raise ValueError(f"env is {env.unwrapped!r}; a CupEnv, wrapped or not, is allowed")
        if isinstance(protocol, str):
            if protocol not in PROTOCOLS:
                raise ValueError(f"protocol is {protocol!r}; {sorted(PROTOCOLS)} are allowed")
            protocol = PROTOCOLS[protocol]
        if seed < 0:
            raise ValueError(f"seed is {seed}; 0 or more is allowed")
        self.protocol = protocol
        self.schedule = schedule_of(protocol, seed)
        self.rows: list[dict[str, Any]] = []
        self.current: ScheduledTrial | None = None
        self._next = 0
        self._recording = _Recording()

    @property
    def finished(self) -> bool:
        """Whether every scheduled trial is over."""
        return len(self.rows) == len(self.schedule)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin the next trial of the schedule; `seed` is ignored, for the schedule has its own.

        A trial that was left before its end is begun again.
        """
        self._next = len(self.rows)
        self._recording = _Recording()
        if self.finished:
            self.current = None
            self.unwrapped.label = Label()  # type: ignore[attr-defined]
            return self.env.reset(options=options)
        self.current = self.schedule[self._next]
        now = self.current
        kind = "no-cursor probe" if now.probe else now.block
        self.unwrapped.label = Label(self.protocol.name, now.trial, kind)  # type: ignore[attr-defined]
        observation, info = self.env.reset(
            seed=now.seed, options={**(options or {}), "cup": now.cup, "perturbation": now.perturbation}
        )
        self._recording.rows.append(info["truth"])
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the environment and record; the row is written when the trial ends."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if self.current is not None and not self.finished:
            self._recording.rows.append(info["truth"])
            self._recording.reward += float(reward)
            if (terminated or truncated) and len(self.rows) == self._next:
                self.rows.append(self._row(self.current, self._recording.measures(info["is_success"])))
        return observation, reward, terminated, truncated, info

    @staticmethod
    def _row(trial: ScheduledTrial, measures: ReachMeasures) -> dict[str, Any]:
        return {
            "trial": trial.trial,
            "block": trial.block,
            "trial_in_block": trial.trial_in_block,
            "probe": trial.probe,
            "cup_x": trial.cup[0],
            "cup_y": trial.cup[1],
            "launch_error_deg": measures.launch_error_deg,
            "endpoint_error_cm": measures.endpoint_error_cm,
            "time_to_success_s": measures.time_to_success_s,
            "success": measures.success,
            "attempts": measures.attempts,
            "tipped": measures.tipped,
            "reward": measures.reward,
            "duration_s": measures.duration_s,
        }
