"""The world stays sound under whatever is done to it, and every task in it can be done: `make proofs` prints it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import gymnasium as gym
import numpy as np
import pytest
from numpy.typing import NDArray

from agents.reaching.expert import Expert
from reach.perturbations import (
    PERTURBATIONS,
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
    Perturbation,
    PositionField,
    Prism,
    Rotation,
    Slip,
    StiffnessChange,
    ToolLength,
    VelocityField,
)
from reach.sim.arm import ARMS
from reach.sim.layout import CONTROLS, START_AXIS_DEGREES, START_HAND_M

pytestmark = pytest.mark.slow

FUZZED_STEPS = 10_000_000
NUM_ENVS = 512
BATCH_STEPS = 200
CUPS = 1000
# Where most of the fuzzed trials have their cup: just before the fingers, m and degrees from the axis of the hand.
NEAR_M, NEAR_DEGREES = (0.125, 0.16), (-35.0, 35.0)
LEAST_TOUCHED_SHARE = 0.03
# Columns of the observation: left finger, right finger, palm.
TOUCH = slice(12, 15)
WORLDS = list(product(("reach/CupReach-v1", "reach/CupGrab-v1"), CONTROLS, sorted(ARMS), ("dense", "sparse")))


def makers(rng: np.random.Generator) -> dict[str, Callable[[], Perturbation]]:
    """Every perturbation with values drawn from all that it allows."""

    def draw(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    def onset() -> float | None:
        return None if rng.random() < 0.5 else draw(0.0, 1.5)

    return {
        "prism": lambda: Prism(draw(-0.5, 0.5)),
        "rotation": lambda: Rotation(draw(-180, 180)),
        "mirror-reversal": lambda: MirrorReversal(onset()),
        "gain": lambda: Gain(draw(0.1, 10)),
        "hide-hand": lambda: HideHand(draw(0.0, 0.5), draw(0.6, 2.0)),
        "end-vision": EndVision,
        "error-clamp": lambda: ErrorClamp(draw(-180, 180), onset()),
        "curl-field": lambda: CurlField(draw(-50, 50)),
        "velocity-field": lambda: VelocityField(draw(-50, 50), draw(-50, 50), draw(-50, 50), draw(-50, 50)),
        "position-field": lambda: PositionField(draw(-200, 200), onset()),
        "constant-force": lambda: ConstantForce(draw(-50, 50), draw(-50, 50), onset()),
        "nudge": lambda: Nudge(draw(-50, 50), draw(-50, 50), draw(0, 2), draw(0.01, 1)),
        "force-channel": lambda: ForceChannel(draw(-180, 180)),
        "cup-jump": lambda: CupJump(draw(-0.3, 0.3), draw(-0.3, 0.3), draw(0, 2)),
        "cup-mark": CupMark,
        "cup-removed": lambda: CupRemoved(onset()),
        "slip": lambda: Slip(draw(0, 2), onset()),
        "tool-length": lambda: ToolLength(draw(-0.05, 0.15)),
        "stiffness-change": lambda: StiffnessChange(draw(0.2, 5)),
        "load": lambda: Load(draw(0, 5)),
        "delay-change": lambda: DelayChange(0.005 * int(rng.integers(-126, 127))),
    }


@pytest.mark.long
def test_ten_million_fuzzed_steps_keep_the_world_sound() -> None:
    rng = np.random.default_rng(0)
    kinds = makers(rng)
    assert set(kinds) == set(PERTURBATIONS)
    steps, trials, touched, deepest_m, farthest_degrees = 0, 0, 0, 0.0, -np.inf

    def combination() -> tuple[Perturbation, ...]:
        chosen = rng.choice(sorted(kinds), int(rng.integers(0, 4)), replace=False)
        return tuple(kinds[kind]() for kind in chosen)

    def near_cups(acting: list[tuple[Perturbation, ...]]) -> NDArray[np.float64]:
        tools = [sum(one.longer_m for one in ones if isinstance(one, ToolLength)) for ones in acting]
        distance = rng.uniform(*NEAR_M, NUM_ENVS) + np.array(tools)
        bearing = np.radians(START_AXIS_DEGREES + rng.uniform(*NEAR_DEGREES, NUM_ENVS))
        return np.array(START_HAND_M) + distance[:, None] * np.stack([np.cos(bearing), np.sin(bearing)], axis=-1)

    while steps < FUZZED_STEPS:
        env_id, control, arm, reward = WORLDS[steps // (NUM_ENVS * BATCH_STEPS) % len(WORLDS)]
        env = gym.make_vec(
            env_id, NUM_ENVS, vectorization_mode="vector_entry_point", control=control, arm=arm, reward=reward,
            autoreset_mode="SameStep", strength=(0.2, 5.0),
            cup={"radius_m": (0.015, 0.05), "tip_speed_m_s": (0.1, 100.0), "finger_friction": (0.0, 2.0)},
            senses={"torque_noise": (0.0, 0.25), "vision_delay_s": (0.0, 0.6), "proprioception_delay_s": (0.0, 0.6)},
        )  # fmt: skip
        perturbations = [combination() for _ in range(NUM_ENVS)]
        options = {"perturbation": perturbations, **({"cup": near_cups(perturbations)} if rng.random() < 0.8 else {})}
        env.reset(seed=int(rng.integers(2**31)), options=options)
        lower, upper = (np.degrees(bound) for bound in (ARMS[arm]().lower, ARMS[arm]().upper))
        persistence = rng.choice([0.0, 0.5, 0.9, 0.98])
        actions = rng.uniform(-1, 1, (NUM_ENVS, 4))
        for _ in range(BATCH_STEPS):
            new = rng.random(NUM_ENVS) > persistence
            # Now and then commands at the very ends of their range.
            drawn = rng.uniform(-1, 1, (int(new.sum()), 4))
            actions[new] = np.sign(drawn) if rng.random() < 0.3 else drawn
            observations, rewards, terminated, truncated, info = env.step(actions)
            assert env.observation_space.contains(observations)
            assert np.isfinite(rewards).all()
            angles = np.degrees(info["truth"]["joint_angles"])
            deepest_m = max(deepest_m, float(info["truth"]["penetration_m"].max()))
            farthest_degrees = max(farthest_degrees, float((lower - angles).max()), float((angles - upper).max()))
            steps += NUM_ENVS
            touched += int(observations[:, TOUCH].any(axis=-1).sum())
            trials += int(np.sum(terminated | truncated))
    print(
        f"\n{steps:,} fuzzed steps, {trials:,} trials over, the cup touched in {touched / steps:.0%}: "
        f"deepest interpenetration {1000 * deepest_m:.4f} mm, "
        f"farthest beyond a joint limit {max(0.0, farthest_degrees):.4f} degrees"
    )
    assert touched > LEAST_TOUCHED_SHARE * steps
    assert deepest_m < 1e-3
    assert farthest_degrees < 0.5


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("arm", sorted(ARMS))
def test_the_expert_grabs_ninety_nine_of_a_hundred_cups(control: str, arm: str) -> None:
    env = gym.make("reach/CupGrab-v1", control=control, arm=arm)
    expert = Expert(env)
    won = 0
    _, info = env.reset(seed=0)
    for _ in range(CUPS):
        expert.begin(info["truth"])
        over = False
        while not over:
            _, _, terminated, truncated, info = env.step(expert.act(info["truth"]))
            over = bool(terminated or truncated)
        won += info["is_success"]
        _, info = env.reset()
    print(f"\nCupGrab-v1 expert, {control}, {arm}: {100 * won / CUPS:.1f} % of {CUPS:,} cups")
    assert won / CUPS >= 0.99
