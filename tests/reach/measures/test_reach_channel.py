"""The adaptation index: which share of a force field's force an arm in a force channel leans on the wall with."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from reach import CurlField, ForceChannel, HideHand, PositionField, VelocityField
from reach.measures.reach import ReachRecord, channel_index, force_field
from reach.protocols.wrapper import Recording

Array = NDArray[np.float64]


def channelled(bearing_deg: float = 90.0, noise_n: float = 0.0) -> tuple[ReachRecord, Array, Array]:
    """A minimum-jerk reach of 20 cm along a channel: record, velocity (T, 2) and unit vector to its left."""
    time = np.arange(61) * 0.02
    x = np.clip((time - 0.2) / 0.6, 0.0, 1.0)
    rate = 0.2 / 0.6 * 30.0 * x**2 * (1.0 - x) ** 2
    way = 0.2 * x**3 * (10.0 - 15.0 * x + 6.0 * x**2)
    along = np.array([math.cos(math.radians(bearing_deg)), math.sin(math.radians(bearing_deg))])
    hand = np.array([0.12, 0.36]) + way[:, None] * along
    record = ReachRecord(
        time_s=time,
        hand=hand,
        seen_hand=hand,
        seen_cup=np.tile(np.array([0.12, 0.36]) + 0.2 * along, (len(time), 1)),
        speed=rate,
        aperture=np.full(len(time), 0.1),
        held=np.zeros(len(time), dtype=np.bool_),
        success=False,
        tipped=False,
        reward=0.0,
    )
    return record, rate[:, None] * along, np.array([-along[1], along[0]])


@given(share=st.floats(-0.5, 1.5), bearing=st.floats(-180.0, 180.0), newton_s_per_m=st.sampled_from([-13.0, 6.0, 13.0]))
def test_the_index_is_the_share_of_the_force_that_is_expected(
    share: float, bearing: float, newton_s_per_m: float
) -> None:
    record, velocity, left = channelled(bearing)
    field = force_field((CurlField(newton_s_per_m), HideHand()))
    assert field is not None
    # What leans on the wall without the field (a constant 0.7 N) is no expectation of it.
    force = velocity @ field[:, 2:].T
    wall = share * force @ left + 0.7
    assert channel_index(record, velocity, wall, force) == pytest.approx(share)


def test_fields_add_up_and_without_one_there_is_none() -> None:
    np.testing.assert_array_equal(force_field((CurlField(13.0),)), [[0.0, 0.0, 0.0, 13.0], [0.0, 0.0, -13.0, 0.0]])
    both = force_field((CurlField(13.0), VelocityField(1.0, 2.0, 3.0, 4.0), PositionField(45.0)))
    np.testing.assert_array_equal(both, [[0.0, 45.0, 1.0, 15.0], [-45.0, 0.0, -10.0, 4.0]])
    assert force_field((HideHand(),)) is None


def test_a_hand_that_stayed_tells_nothing() -> None:
    record, velocity, _ = channelled()
    still = ReachRecord(**(vars(record) | {"speed": np.zeros(61)}))
    force = velocity @ [[0.0, -13.0], [13.0, 0.0]]
    assert math.isnan(channel_index(still, velocity, np.zeros(61), force))
    assert math.isnan(channel_index(record, velocity, np.zeros(61), np.zeros((61, 2))))


def index_of_an_arm_that_expects(share: float, newton_s_per_m: float) -> float:
    """Adaptation index of a scripted arm that counters a share of the force a field would exert, in the simulation."""
    env: Any = gym.make("reach/CupReach-v1", control="torque").unwrapped
    field = force_field((CurlField(newton_s_per_m),))
    assert field is not None
    _, info = env.reset(seed=0, options={"cup": (0.12, 0.56), "perturbation": ForceChannel()})
    recording = Recording([info["truth"]])
    start, way = info["truth"]["hand"].copy(), np.array([0.0, 0.12])
    for step in range(60):
        truth = info["truth"]
        x = min(1.0, max(0.0, (0.02 * step - 0.2) / 0.8))
        place = start + way * (10.0 * x**3 - 15.0 * x**4 + 6.0 * x**5)
        rate = way * 30.0 * x**2 * (1.0 - x) ** 2 / 0.8
        velocity = truth["hand_velocity"]
        force = 40.0 * (place - truth["hand"]) + 10.0 * (rate - velocity) - share * field[:, 2:] @ velocity
        torque = env.arm.jacobian(truth["joint_angles"]).T @ force
        info = env.step(env.action_for([*env.joint_command(torque, ahead_s=0.04), 1.0]))[4]
        recording.moments.append(info["truth"])
    record = recording.reach(success=False, clamped=False)
    velocity = recording.column("hand_velocity")
    return channel_index(record, velocity, recording.column("channel_force_n"), velocity @ field[:, 2:].T)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_an_arm_in_the_simulation_leans_on_the_wall_with_what_it_expects(share: float) -> None:
    # Its own sideways forces, which no field has taught it, cancel over fields to either side.
    found = np.mean([index_of_an_arm_that_expects(share, b) for b in (13.0, -13.0)])
    assert found == pytest.approx(share, abs=0.1)
