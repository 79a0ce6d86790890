"""The cup is pushed, gripped, held, lost and tipped as the hand deserves."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from reach import Arm
from reach.perturbations import write_perturbations
from reach.sim import layout as s
from reach.sim import setup
from reach.sim.grasp import move_hands_and_cups, place_hands, smallest_clearance

ARM = Arm.winter()
STEP_S = s.INNER_STEP_S


class Hand:
    """A hand that is moved kinematically: the wrist joint is replaced by a given pose of the whole arm."""

    def __init__(self, cup_offset: tuple[float, float], aperture: float = 0.10, cup: setup.Cup | None = None) -> None:
        self.tile = np.zeros(s.TILE_SIZE)
        self.body = self.tile[:: s.LANES]
        setup.write_settings(self.body, ARM, 1.0, asdict(cup or setup.Cup()), asdict(setup.Senses()), s.POSTURE)
        write_perturbations((), self.body)
        self.axis = np.radians(100.0)
        self.place = np.array([0.1, 0.5])
        self.body[s.APERTURE] = aperture
        self.body[s.CUP_PRESENT] = 1.0
        self._pose(self.place, np.zeros(2))
        self.body[s.CUP_X : s.CUP_Y + 1] = self.world(cup_offset)

    def world(self, offset: tuple[float, float]) -> np.ndarray:
        along = np.array([np.cos(self.axis), np.sin(self.axis)])
        return self.place + offset[0] * along + offset[1] * np.array([-along[1], along[0]])

    @property
    def cup_offset(self) -> np.ndarray:
        along = np.array([np.cos(self.axis), np.sin(self.axis)])
        apart = self.body[s.CUP_X : s.CUP_Y + 1] - self.place
        return np.array([apart @ along, apart @ [-along[1], along[0]]])

    def _pose(self, place: np.ndarray, velocity: np.ndarray) -> None:
        angle = ARM.inverse_kinematics(place, self.axis)
        rate = np.linalg.solve(np.vstack([ARM.jacobian(angle), np.ones(3)]), np.append(velocity, 0.0))
        self.body[s.ANGLE_1 : s.ANGLE_3 + 1] = angle
        self.body[s.VELOCITY_1 : s.VELOCITY_3 + 1] = rate
        place_hands(self.tile, s.FIRST_LANE)

    def move(self, velocity: tuple[float, float], seconds: float, target_aperture: float) -> None:
        """Move with a velocity (along, aside) m/s in the hand's frame while the fingers go to an aperture."""
        along = np.array([np.cos(self.axis), np.sin(self.axis)])
        speed = velocity[0] * along + velocity[1] * np.array([-along[1], along[0]])
        for _ in range(round(seconds / STEP_S)):
            self.place = self.place + speed * STEP_S
            self._pose(self.place, speed)
            self.body[s.GOAL_APERTURE] = target_aperture
            move_hands_and_cups(self.tile, s.ALL_LANES, STEP_S)


def test_fingers_close_on_the_cup_and_hold_it() -> None:
    hand = Hand((0.0, 0.01))
    hand.move((0.0, 0.0), 0.5, target_aperture=0.0)
    assert hand.body[s.APERTURE] == pytest.approx(0.07)
    assert hand.body[s.TOUCH_LEFT] == hand.body[s.TOUCH_RIGHT] == 1.0
    assert hand.cup_offset[1] == pytest.approx(0.0, abs=1e-4)
    assert hand.body[s.HELD_S] > 0.2


def test_a_held_cup_goes_with_the_hand() -> None:
    hand = Hand((0.0, 0.0))
    hand.move((0.0, 0.0), 0.3, target_aperture=0.0)
    before = hand.cup_offset
    hand.move((-0.2, 0.1), 0.3, target_aperture=0.0)
    np.testing.assert_allclose(hand.cup_offset, before, atol=1e-3)
    assert hand.body[s.HELD_S] > 0.4


def test_a_cup_held_too_lightly_slips_when_pulled_fast() -> None:
    slippery = Hand((0.0, 0.0), cup=setup.Cup(finger_friction=0.05))
    slippery.move((0.0, 0.0), 0.3, target_aperture=0.0)
    slippery.move((-1.0, 0.0), 0.2, target_aperture=0.0)
    assert slippery.cup_offset[0] > 0.05
    assert slippery.body[s.HELD_S] == 0.0


def test_an_open_hand_leaves_the_cup_where_it_stands() -> None:
    hand = Hand((0.0, 0.0))
    cup = hand.body[s.CUP_X : s.CUP_Y + 1].copy()
    hand.move((-0.3, 0.0), 0.3, target_aperture=0.11)
    np.testing.assert_array_equal(hand.body[s.CUP_X : s.CUP_Y + 1], cup)


def test_a_slow_push_moves_the_cup_with_the_finger_and_stops_with_it() -> None:
    hand = Hand((0.0, 0.10))
    hand.move((0.0, 0.2), 0.4, target_aperture=0.10)
    pushed = hand.body[s.CUP_X : s.CUP_Y + 1].copy()
    assert hand.body[s.TIPPED] == 0.0
    assert hand.cup_offset[1] > 0.09
    hand.move((0.0, 0.0), 0.2, target_aperture=0.10)
    np.testing.assert_allclose(hand.body[s.CUP_X : s.CUP_Y + 1], pushed, atol=1e-9)


@pytest.mark.parametrize(("share", "tips"), [(0.95, False), (1.05, True)])
def test_the_cup_tips_when_struck_faster_than_its_threshold(share: float, tips: bool) -> None:
    hand = Hand((0.0, 0.12))
    hand.move((0.0, share * setup.Cup().tip_speed_m_s), 0.05, target_aperture=0.10)
    assert (hand.body[s.TIPPED] > 0.0) == tips


def test_only_the_normal_part_of_a_blow_counts() -> None:
    # The finger slides past the cup's side: fast along the contact, slow across it.
    hand = Hand((0.09, 0.1035))
    hand.move((1.2, 0.05), 0.1, target_aperture=0.10)
    assert hand.body[s.TOUCH_LEFT] == 1.0
    assert hand.body[s.TIPPED] == 0.0


def test_the_default_threshold_is_that_of_a_block_tipped_by_an_impulse() -> None:
    height, radius, gravity = 0.10, 0.035, 9.81
    about_edge = (3 * radius**2 + height**2) / 12 + (height / 2) ** 2 + radius**2
    lift = np.hypot(height / 2, radius) - height / 2
    speed = np.sqrt(2 * gravity * lift * about_edge) / (height / 2)
    assert setup.Cup().tip_speed_m_s == pytest.approx(speed, abs=0.01)


def test_clearance_is_negative_only_inside_the_hand() -> None:
    hand = Hand((0.0, 0.0), aperture=0.10)
    assert smallest_clearance(hand.body, *hand.world((0.0, 0.0))) > 0
    assert smallest_clearance(hand.body, *hand.world((0.0, 0.058))) < 0
    assert smallest_clearance(hand.body, *hand.world((0.0, 0.30))) > 0.19
