"""What a picture shows, and that drawing it changes nothing else."""

from __future__ import annotations

import copy
import dataclasses
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from reach.render import Scene, draw, palette
from reach.render.canvas import Canvas
from reach.render.table import LAMP_ON
from reach.sim.retina import ROW_Y_M, lamp_places_m

SIZES = [(600, 600), (84, 84), (320, 240), (90, 200), (601, 301)]
FLAGS = ("cup_held", "cup_tipped", "cup_present", "success", "show_error")
Make = Callable[..., Scene]


def count(frame: NDArray[np.uint8], colour: tuple[int, int, int]) -> int:
    """Pixels of just this colour."""
    return int(np.all(frame == colour, axis=-1).sum())


def middle(frame: NDArray[np.uint8], colour: tuple[int, int, int]) -> NDArray[np.float64]:
    """Mean column and row of the pixels of just this colour."""
    rows, columns = np.nonzero(np.all(frame == colour, axis=-1))
    return np.array([columns.mean(), rows.mean()])


def place(lowest: float = -10.0, highest: float = 10.0) -> st.SearchStrategy[NDArray[np.float64]]:
    return arrays(np.float64, 2, elements=st.floats(lowest, highest))


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_frame_is_height_by_width_rgb(scene_with: Make, width: int, height: int) -> None:
    frame = draw(scene_with(caption="reach 3"), width, height)
    assert frame.shape == (height, width, 3)
    assert frame.dtype == np.uint8
    assert frame.flags.c_contiguous
    assert frame.flags.writeable


@settings(max_examples=60)
@given(data=st.data(), width=st.integers(16, 300), height=st.integers(16, 300))
def test_any_scene_can_be_drawn_at_any_size(scene_with: Make, data: st.DataObject, width: int, height: int) -> None:
    paths = arrays(np.float64, st.tuples(st.integers(0, 5), st.just(2)), elements=st.floats(-1.0, 1.0))
    fields: dict[str, Any] = {
        "joints": data.draw(arrays(np.float64, (4, 2), elements=st.floats(-1.0, 1.0))),
        "fingers": data.draw(arrays(np.float64, (2, 2, 2), elements=st.floats(-1.0, 1.0))),
        "grasp_point": data.draw(place()),
        "cup": data.draw(place()),
        "seen_hand": data.draw(st.none() | place()),
        "seen_cup": data.draw(place()),
        "touch": data.draw(arrays(np.bool_, 3)),
        "path": data.draw(paths),
        "past_paths": tuple(data.draw(st.lists(paths, max_size=3))),
        "time_s": data.draw(st.floats(0.0, 1000.0)),
        "caption": data.draw(st.text(max_size=80)),
        "effort": data.draw(st.none() | arrays(np.float64, 3, elements=st.floats(-1.0, 1.0))),
        "activation": data.draw(st.none() | arrays(np.float64, 8, elements=st.floats(0.0, 1.0))),
        "field_n_s_per_m": data.draw(st.none() | arrays(np.float64, (2, 2), elements=st.floats(-1e3, 1e3))),
        "constant_force_n": data.draw(st.none() | arrays(np.float64, 2, elements=st.floats(-1e3, 1e3))),
        "hand_force_n": data.draw(st.none() | arrays(np.float64, 2, elements=st.floats(-1e3, 1e3))),
        "channel": data.draw(st.none() | st.floats(0.0, 6.3).map(lambda turn: np.array([np.cos(turn), np.sin(turn)]))),
        "lamps": data.draw(st.none() | arrays(np.float32, st.integers(1, 32), elements=st.sampled_from([0.0, 1.0]))),
        "trial": data.draw(st.none() | st.integers(0)),
        "block": data.draw(st.text(max_size=80)),
        **{name: data.draw(st.booleans()) for name in FLAGS},
    }
    assert draw(scene_with(**fields), width, height).shape == (height, width, 3)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_frames_are_independent_copies(scene_with: Make, width: int, height: int) -> None:
    scene = scene_with(past_paths=(np.array([[0.0, 0.3], [0.1, 0.5]]),))
    first = draw(scene, width, height)
    kept = first.copy()
    draw(scene_with(cup=np.array([-0.1, 0.3])), width, height)
    np.testing.assert_array_equal(first, kept)
    first[:] = 0
    np.testing.assert_array_equal(draw(scene, width, height), kept)


@pytest.mark.parametrize("width", [84, 600])
def test_drawing_leaves_the_scene_as_it_is(scene_with: Make, width: int) -> None:
    scene = scene_with(seen_hand=np.array([0.2, 0.4]), seen_cup=np.array([0.2, 0.6]), touch=np.ones(3, dtype=np.bool_))
    before = copy.deepcopy(scene)
    draw(scene, width, width)
    for field in dataclasses.fields(Scene):
        np.testing.assert_array_equal(getattr(scene, field.name), getattr(before, field.name))


def test_the_cup_is_where_the_table_says(scene_with: Make) -> None:
    """0.9 m are 600 pixels; the shoulder stands 0.33 m below the middle."""
    for cup in (np.array([-0.2, 0.6]), np.array([0.05, 0.7]), np.array([-0.35, 0.4])):
        frame = draw(scene_with(cup=cup, seen_cup=cup), 600, 600)
        expected = np.array([300.0, 300.0]) + (cup - [0.0, 0.33]) * [1.0, -1.0] * 600 / 0.9 - 0.5
        np.testing.assert_allclose(middle(frame, palette.CUP_INSIDE), expected, atol=0.6)


def test_a_cup_that_moves_less_than_a_pixel_moves_in_a_small_picture(scene_with: Make) -> None:
    frames = [draw(scene_with(cup=np.array([x, 0.6]), seen_cup=np.array([x, 0.6])), 84, 84) for x in (-0.2, -0.1975)]
    assert not np.array_equal(frames[0], frames[1])


def test_a_wider_picture_shows_the_same_square_in_its_middle(scene_with: Make) -> None:
    wide, tall, square = (draw(scene_with(), *size).astype(int) for size in ((300, 100), (100, 300), (100, 100)))
    # Outlines may differ by the rounding of a coordinate.
    assert np.abs(wide[:, 100:200] - square).mean() < 0.2
    assert np.abs(tall[100:200] - square).mean() < 0.2


@pytest.mark.parametrize("width", [84, 600])
@pytest.mark.parametrize("part", ["seen_hand", "seen_cup"])
@pytest.mark.parametrize(("shift_m", "shows"), [(0.0, False), (0.0035, False), (0.0045, True), (0.06, True)])
def test_a_seen_place_is_drawn_only_if_it_differs(
    scene_with: Make, width: int, part: str, shift_m: float, shows: bool
) -> None:
    plain = draw(scene_with(), width, width)
    moved = scene_with(**{part: getattr(scene_with(), part) + np.array([shift_m, 0.0])})
    assert (not np.array_equal(draw(moved, width, width), plain)) == shows


def test_the_legend_shows_only_when_something_is_seen_elsewhere(scene_with: Make) -> None:
    def legend(scene: Scene) -> int:
        return count(draw(scene, 600, 600)[:120, :280], palette.SEEN)

    assert legend(scene_with()) == 0
    assert legend(scene_with(seen_cup=np.array([0.2, 0.6]))) > 0


@pytest.mark.parametrize("width", [84, 600])
def test_a_hidden_hand_is_marked_and_has_no_seen_place(scene_with: Make, width: int) -> None:
    shown, hidden = draw(scene_with(), width, width), draw(scene_with(seen_hand=None), width, width)
    mark = (slice(0, width // 6), slice(0, width // 3))
    assert not np.array_equal(hidden[mark], shown[mark]), "the crossed-out eye"
    assert count(hidden, palette.SEEN) == 0
    for skin in (palette.SKIN, palette.SKIN_EDGE):
        assert count(hidden, skin) == 0


@pytest.mark.parametrize("width", [84, 600])
def test_a_held_cup_has_a_green_rim(scene_with: Make, width: int) -> None:
    assert count(draw(scene_with(), width, width), palette.HELD) == 0
    held = draw(scene_with(cup_held=True), width, width)
    assert count(held, palette.HELD) > 0
    assert count(held, palette.CUP_RIM) == 0


@pytest.mark.parametrize("width", [84, 600])
@pytest.mark.parametrize(
    "change",
    [
        {"cup_tipped": True},
        {"success": True},
        {"touch": np.array([False, False, True])},
        {"path": np.array([[0.12, 0.36], [-0.2, 0.5]])},
        {"past_paths": (np.array([[0.12, 0.36], [-0.2, 0.5]]),)},
        {"start": np.array([-0.2, 0.5])},
    ],
    ids=lambda change: next(iter(change)),
)
def test_each_state_changes_the_picture(scene_with: Make, width: int, change: dict[str, Any]) -> None:
    assert not np.array_equal(draw(scene_with(**change), width, width), draw(scene_with(), width, width))


def test_older_paths_are_fainter(scene_with: Make) -> None:
    """Distance from the table's colour, along three parallel paths."""
    paths = tuple(np.array([[x, 0.45], [x, 0.65]]) for x in (-0.32, -0.25, -0.17))
    frame = draw(scene_with(past_paths=paths), 600, 600)[100:210].astype(int)
    strength = [
        np.abs(frame[:, (column := round(300 + x * 600 / 0.9)) - 3 : column + 4] - palette.TABLE).sum()
        for x in (-0.32, -0.25, -0.17)
    ]
    assert strength[0] < strength[1] < strength[2]


def test_a_caption_is_written_whatever_is_in_it(scene_with: Make) -> None:
    plain = draw(scene_with(), 400, 400)
    for caption in ("reach 3", "30° \0 of\nrotation", "x" * 500, "日本語"):
        assert not np.array_equal(draw(scene_with(caption=caption), 400, 400), plain)


@pytest.mark.parametrize(("width", "height"), [(15, 100), (100, 0), (5000, 100), (-3, 100)])
def test_an_impossible_size_is_named(scene_with: Make, width: int, height: int) -> None:
    with pytest.raises(ValueError, match=r"(width|height): .* 16 to 4096"):
        draw(scene_with(), width, height)


def test_the_display_is_never_touched() -> None:
    program = """
import sys, numpy as np
import reach
assert "pygame" not in sys.modules, "import reach loads pygame"
from reach.render import Scene, draw
p = np.zeros(2)
scene = Scene(np.zeros((4, 2)), np.zeros((2, 2, 2)), 0.01, p, p, 0.03, False, False, None, p + 0.1, p,
              np.ones(3, bool), np.zeros((3, 2)), caption="words")
draw(scene, 600, 600), draw(scene, 84, 84)
import pygame
assert not pygame.display.get_init()
assert not pygame.get_init()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout + done.stderr == "", "nothing is printed, and pygame's greeting is switched off"


CURL = np.array([[0.0, 13.0], [-13.0, 0.0]])
# Rows of a picture of 600 pixels with table alone: below the keys, above the table's edge.
TABLE = slice(160, 440)
ASIDE = np.array([0.0, -0.10])


def table(make: Make, **fields: Any) -> NDArray[np.int64]:
    """The bare table of a reach from the middle of the picture: arm and cup are down on the floor."""
    scene = make(
        joints=np.tile(ASIDE, (4, 1)),
        fingers=np.tile(ASIDE, (2, 2, 1)),
        grasp_point=ASIDE,
        seen_hand=ASIDE,
        cup=ASIDE,
        seen_cup=ASIDE,
        path=np.zeros((0, 2)),
        start=np.array([0.0, 0.30]),
        **fields,
    )
    return draw(scene, 600, 600)[TABLE].astype(np.int64)


def test_without_a_force_there_is_no_arrow(scene_with: Make) -> None:
    bare = table(scene_with)
    np.testing.assert_array_equal(
        table(scene_with, field_n_s_per_m=np.zeros((2, 2)), constant_force_n=np.zeros(2)), bare
    )
    assert (table(scene_with, field_n_s_per_m=CURL) != bare).any()


def test_opposite_curl_fields_are_mirror_images(scene_with: Make) -> None:
    right, left = table(scene_with, field_n_s_per_m=CURL), table(scene_with, field_n_s_per_m=-CURL)
    assert np.abs(right[:, ::-1] - left).max() <= 2
    assert np.abs(right - left).max() > 20


def test_a_constant_force_is_a_stream_that_is_the_same_everywhere(scene_with: Make) -> None:
    """Three spacings of the arrows are 200 pixels."""
    drawn = np.abs(table(scene_with, constant_force_n=np.array([2.0, 1.0])) - table(scene_with))
    rows = slice(0, 200)
    assert drawn[rows, 20:350].any()
    assert np.abs(drawn[rows, 20:350] - drawn[rows, 220:550]).max() <= 14, "except on the lines of the grid"


def test_a_larger_force_has_longer_arrows(scene_with: Make) -> None:
    bare = table(scene_with)
    drawn = [
        (table(scene_with, constant_force_n=np.array([0.0, n])) != bare).any(axis=-1).sum() for n in (1.0, 3.0, 6.0)
    ]
    assert 0 < drawn[0] < drawn[1] < drawn[2]


def test_no_arrow_lies_under_the_words(scene_with: Make) -> None:
    words = {"caption": "a caption of some length", "trial": 3, "block": "perturbed"}
    still, field = (draw(scene_with(**words, **more), 600, 600)[:58] for more in ({}, {"field_n_s_per_m": CURL}))
    np.testing.assert_array_equal(still, field)


@pytest.mark.parametrize("width", [84, 300])
def test_a_field_shows_at_any_size(scene_with: Make, width: int) -> None:
    assert (draw(scene_with(field_n_s_per_m=CURL), width, width) != draw(scene_with(), width, width)).any()


def test_a_channel_has_a_wall_on_either_side_and_is_open_between(scene_with: Make) -> None:
    drawn = np.any(table(scene_with, channel=np.array([0.0, 1.0])) != table(scene_with), axis=-1)
    middle = 300
    rows = drawn[:140]
    assert not rows[:, middle - 7 : middle + 8].any()
    assert rows[:, middle - 16 : middle - 7].any(axis=1).all()
    assert rows[:, middle + 8 : middle + 17].any(axis=1).all()
    assert not rows[:, : middle - 16].any()
    assert not rows[:, middle + 17 :].any()


def test_the_present_force_is_a_centimetre_a_newton_from_the_hand(scene_with: Make) -> None:
    scene = scene_with(hand_force_n=np.array([-8.0, 0.0]), path=np.zeros((0, 2)))
    x, y = scene.grasp_point
    row = round(299.5 - (y - 0.33) * 600 / 0.9)
    columns = np.nonzero(np.all(draw(scene, 600, 600)[row] == palette.FORCE, axis=-1))[0]
    tail, tip = 299.5 + np.array([x, x - 0.08]) * 600 / 0.9
    assert abs(columns.max() - tail) < 3.0
    assert abs(columns.min() - tip) < 3.0


@pytest.mark.parametrize("force", [(8.0, 0.0), (0.0, 8.0), (-5.0, -5.0)])
def test_the_arrow_of_a_force_points_its_way(scene_with: Make, force: tuple[float, float]) -> None:
    none, pushed = (draw(scene_with(hand_force_n=np.array(values)), 600, 600) for values in ((0.0, 0.0), force))
    rows, columns = np.nonzero(np.any(none != pushed, axis=-1))
    x, y = scene_with().grasp_point
    away = np.array([columns.mean() - 299.5 - x * 600 / 0.9, 299.5 - (y - 0.33) * 600 / 0.9 - rows.mean()])
    np.testing.assert_allclose(away / np.linalg.norm(away), np.array(force) / np.linalg.norm(force), atol=0.1)


def test_a_force_too_small_to_see_has_no_arrow(scene_with: Make) -> None:
    none, small = (draw(scene_with(hand_force_n=np.array([force, 0.0])), 600, 600) for force in (0.0, 0.04))
    np.testing.assert_array_equal(none, small)


def test_lamps_are_full_if_on_and_dark_if_off_and_nothing_hides_them(scene_with: Make) -> None:
    canvas = Canvas(np.zeros((600, 600, 3), dtype=np.uint8))
    places = [(x, ROW_Y_M) for x in lamp_places_m(4)[0].tolist()]
    over_the_first = {"cup": np.array(places[0]), "grasp_point": np.array(places[0])}
    frame = draw(scene_with(lamps=np.array([1.0, 0.0, 0.0, 1.0]), **over_the_first), 600, 600)
    colours = [frame[round(row), round(column)].tolist() for column, row in map(canvas.pixel, places)]
    on, off = list(LAMP_ON), list(palette.LAMP_ROW)
    assert colours == [on, off, off, on]
