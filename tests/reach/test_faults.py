"""No option within its range and no action breaks the world."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reach.perturbations import (
    ConstantForce,
    CupJump,
    CupMark,
    CupRemoved,
    CurlField,
    DelayChange,
    EndVision,
    ErrorClamp,
    ForceChannel,
    Gain,
    HideHand,
    Load,
    MirrorReversal,
    Nudge,
    PositionField,
    Prism,
    Rotation,
    Slip,
    StiffnessChange,
    ToolLength,
    VelocityField,
)
from reach.sim.arm import ARMS
from reach.sim.layout import CONTROLS
from reach.sim.tasks import REWARD_TERMS
from reach.simulation import REWARDS

DEEPEST_M = 1e-3
FARTHEST_RAD = np.radians(0.5)


def real(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False)


def physical(low: float, high: float) -> st.SearchStrategy[Any]:
    """A number or a range."""
    return real(low, high) | st.tuples(real(low, high), real(low, high)).map(lambda ends: tuple(sorted(ends)))


KINDS: dict[str, st.SearchStrategy[Any]] = {
    "prism": st.builds(Prism, real(-0.5, 0.5)),
    "rotation": st.builds(Rotation, real(-180, 180)),
    "mirror-reversal": st.builds(MirrorReversal),
    "gain": st.builds(Gain, real(0.1, 10)),
    "hide-hand": st.builds(HideHand, real(0, 0.5), real(0.6, 2)),
    "end-vision": st.builds(EndVision),
    "error-clamp": st.builds(ErrorClamp, real(-180, 180)),
    "curl-field": st.builds(CurlField, real(-50, 50)),
    "velocity-field": st.builds(VelocityField, *(real(-50, 50) for _ in range(4))),
    "position-field": st.builds(PositionField, real(-200, 200)),
    "constant-force": st.builds(ConstantForce, real(-50, 50), real(-50, 50)),
    "nudge": st.builds(Nudge, real(-50, 50), real(-50, 50), real(0, 2), real(0.01, 1)),
    "force-channel": st.builds(ForceChannel, real(-180, 180)),
    "cup-jump": st.builds(CupJump, real(-0.3, 0.3), real(-0.3, 0.3), real(0, 2)),
    "cup-mark": st.builds(CupMark),
    "cup-removed": st.builds(CupRemoved),
    "slip": st.builds(Slip, real(0, 2)),
    "tool-length": st.builds(ToolLength, real(-0.05, 0.15)),
    "stiffness-change": st.builds(StiffnessChange, real(0.2, 5)),
    "load": st.builds(Load, real(0, 5)),
    "delay-change": st.builds(DelayChange, st.integers(-20, 20).map(lambda rows: 0.005 * rows)),
}
CUPS = st.fixed_dictionaries(
    {},
    optional={
        "radius_m": physical(0.015, 0.05),
        "mass_kg": physical(0.01, 5),
        "tip_speed_m_s": physical(0.01, 100),
        "finger_friction": physical(0, 2),
        "table_friction": physical(0, 2),
        "grip_n_per_m": physical(1, 10_000),
    },
)
SENSES = st.fixed_dictionaries(
    {},
    optional={
        "vision_delay_s": st.integers(0, 126).map(lambda rows: 0.005 * rows),
        "proprioception_delay_s": st.integers(0, 126).map(lambda rows: 0.005 * rows),
        "hand_noise_m": physical(0, 1),
        "torque_noise": physical(0, 0.25),
    },
)
OPTIONS = st.fixed_dictionaries(
    {
        "control": st.sampled_from(CONTROLS),
        "arm": st.sampled_from(sorted(ARMS)),
        "observation": st.sampled_from(["vector", "retina"]),
        "reward": st.sampled_from(REWARDS),
        "strength": physical(0.2, 5),
        "perturbation": st.lists(st.sampled_from(sorted(KINDS)), max_size=4, unique=True).flatmap(
            lambda kinds: st.tuples(*(KINDS[kind] for kind in kinds))
        ),
        "cup": CUPS,
        "senses": SENSES,
    }
)


@settings(max_examples=60)
@given(
    env_id=st.sampled_from(["reach/CupReach-v1", "reach/CupGrab-v1"]),
    options=OPTIONS,
    commands=st.lists(st.tuples(*(real(-1, 1) for _ in range(4))), min_size=1, max_size=6),
    seed=st.integers(0, 2**31),
)
def test_no_option_and_no_action_breaks_the_world(
    env_id: str, options: dict[str, Any], commands: list[tuple[float, ...]], seed: int
) -> None:
    env: Any = gym.make(env_id, **options)
    observation, _ = env.reset(seed=seed)
    arm = env.unwrapped.arm
    for command in commands:
        for _ in range(20):
            assert env.observation_space.contains(observation)
            observation, reward, terminated, truncated, info = env.step(np.array(command))
            assert np.isfinite(reward)
            assert reward == pytest.approx(sum(info[name] for name in REWARD_TERMS))
            truth = info["truth"]
            assert truth["penetration_m"] < DEEPEST_M
            assert (truth["joint_angles"] >= np.array(arm.lower) - FARTHEST_RAD).all()
            assert (truth["joint_angles"] <= np.array(arm.upper) + FARTHEST_RAD).all()
            if terminated or truncated:
                observation, _ = env.reset()
