"""Table, inside and story in one picture."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest

from reach.render import Scene, palette
from reach.render.panels import BlockSpan, Moment, Panels, Story, compose, draw_story, layout_of
from reach.snapshot import Inside, Layer

WIDTH, HEIGHT = 640, 400
BLOCKS = BlockSpan("baseline", 1, 4), BlockSpan("perturbed", 5, 12)
ALL_PANELS = [Panels(*shown) for shown in itertools.product((True, False), repeat=3) if any(shown)]


def story(errors: dict[str, list[float]], trial: int | None = None) -> Story:
    full = {name: np.array(found + [math.nan] * (12 - len(found))) for name, found in errors.items()}
    return Story(12, BLOCKS, full, 45.0, trial, ((5, 5, 30.0), (6, 12, 10.0)))


def inside() -> Inside:
    return Inside(layers=(Layer("senses", np.ones(8)),))


@pytest.mark.parametrize("learners", [1, 2, 3, 4])
@pytest.mark.parametrize("panels", ALL_PANELS)
@pytest.mark.parametrize("size", [(640, 400), (1280, 720), (2560, 1440)])
def test_no_two_parts_overlap_or_leave_the_picture(panels: Panels, learners: int, size: tuple[int, int]) -> None:
    layout = layout_of(panels, learners, *size)
    covered = np.zeros((size[1], size[0]), dtype=np.uint8)
    for left, top, width, height in (*layout.heads, *layout.tables, *layout.insides, layout.story or (0, 0, 0, 0)):
        assert min(left, top) >= 0
        assert left + width <= size[0]
        assert top + height <= size[1]
        covered[top : top + height, left : left + width] += 1
    assert covered.max() == 1
    assert covered.mean() > 0.95
    assert (len(layout.tables), len(layout.insides)) == (learners * panels.table, learners * panels.inside)
    assert (layout.story is not None) == panels.story


@pytest.mark.parametrize("panels", ALL_PANELS)
@pytest.mark.parametrize("names", [("error-bp",), ("error-bp", "error-dfa")])
def test_every_choice_of_panels_is_drawn(
    scene_with: Callable[..., Scene], panels: Panels, names: tuple[str, ...]
) -> None:
    moments = [Moment(name, scene_with(), inside()) for name in names]
    frame = compose(moments, story({name: [1.0] for name in names}), WIDTH, HEIGHT, panels, help_shown=True)
    assert frame.shape == (HEIGHT, WIDTH, 3)


def test_no_panel_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="one at least"):
        Panels(table=False, inside=False, story=False)


@pytest.mark.parametrize(("learners", "size"), [(1, (479, 400)), (1, (480, 399)), (5, (700, 700))])
def test_too_small_a_picture_is_refused(learners: int, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="or more"):
        layout_of(Panels(), learners, *size)


def points(frame: np.ndarray, learner: str) -> int:
    code = palette.learner_colour(learner)
    return int(np.all(frame == [int(code[k : k + 2], 16) for k in (1, 3, 5)], axis=-1).sum())


def test_each_trial_adds_a_point_in_its_learners_colour() -> None:
    found = [points(draw_story(story({"error-bp": [3.0] * n}), WIDTH, HEIGHT), "error-bp") for n in (0, 4, 8, 12)]
    assert found == sorted(found)
    assert len(set(found)) == len(found)
    assert np.ptp(np.diff(found)) <= 0.1 * found[-1]


def test_an_error_beyond_the_edge_stands_at_the_edge() -> None:
    assert points(draw_story(story({"error-bp": [500.0]}), WIDTH, HEIGHT), "error-bp") > points(
        draw_story(story({"error-bp": []}), WIDTH, HEIGHT), "error-bp"
    )


def test_people_stand_faint_behind_the_learner() -> None:
    on_the_curve = draw_story(story({"error-bp": [math.nan] * 4 + [30.0]}), WIDTH, HEIGHT)
    beside_it = draw_story(story({"error-bp": [math.nan] * 4 + [-30.0]}), WIDTH, HEIGHT)
    assert points(on_the_curve, "error-bp") == pytest.approx(points(beside_it, "error-bp"), rel=0.15)


def test_a_story_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(12,\)"):
        Story(12, BLOCKS, {"error-bp": np.zeros(3)})
