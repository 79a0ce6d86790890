"""Table, network and error history in one picture."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest

from reach.render import Scene, palette
from reach.render.panels import BlockSpan, ErrorHistory, LearnerView, Panels, compose, draw_history, layout_of
from reach.snapshot import Layer, Snapshot

WIDTH, HEIGHT = 640, 400
BLOCKS = BlockSpan("baseline", 1, 4), BlockSpan("perturbed", 5, 12)
ALL_PANELS = [Panels(*shown) for shown in itertools.product((True, False), repeat=3) if any(shown)]


def history(errors: dict[str, list[float]], trial: int | None = None) -> ErrorHistory:
    padded = {name: np.array(values + [math.nan] * (12 - len(values))) for name, values in errors.items()}
    return ErrorHistory(12, BLOCKS, padded, 45.0, trial, ((5, 5, 30.0), (6, 12, 10.0)))


def test_no_two_panels_overlap_or_leave_the_picture() -> None:
    for panels, learners, size in itertools.product(ALL_PANELS, (1, 2, 3, 4), ((640, 400), (1280, 720), (2560, 1440))):
        layout = layout_of(panels, learners, *size)
        boxes = [*layout.headers, *layout.tables, *layout.networks, *([layout.errors] if layout.errors else [])]
        for left, top, width, height in boxes:
            assert min(left, top) >= 0
            assert left + width <= size[0]
            assert top + height <= size[1]
        for (x, y, width, height), (left, top, right, bottom) in itertools.combinations(boxes, 2):
            assert x + width <= left or left + right <= x or y + height <= top or top + bottom <= y
        assert sum(width * height for _, _, width, height in boxes) > 0.95 * size[0] * size[1]
        assert (len(layout.tables), len(layout.networks)) == (learners * panels.table, learners * panels.network)
        assert (layout.errors is not None) == panels.errors


def test_every_choice_of_panels_is_drawn(scene_with: Callable[..., Scene]) -> None:
    snapshot = Snapshot(layers=(Layer("senses", np.ones(8)),))
    for panels, names in itertools.product(ALL_PANELS, (["error-bp"], ["error-bp", "error-dfa"])):
        views = [LearnerView(name, scene_with(), snapshot) for name in names]
        frame = compose(views, history({name: [1.0] for name in names}), WIDTH, HEIGHT, panels, help_shown=True)
        assert frame.shape == (HEIGHT, WIDTH, 3)


def test_no_panel_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="one or more to be True"):
        Panels(table=False, network=False, errors=False)


def test_too_small_a_picture_is_refused() -> None:
    for learners, size in ((1, (479, 400)), (1, (480, 399)), (5, (700, 700))):
        with pytest.raises(ValueError, match="width and height: expected at least"):
            layout_of(Panels(), learners, *size)


def points(frame: np.ndarray, learner: str) -> int:
    code = palette.learner_colour(learner)
    return int(np.all(frame == [int(code[k : k + 2], 16) for k in (1, 3, 5)], axis=-1).sum())


def test_each_trial_adds_a_point_in_its_learners_colour() -> None:
    counts = [points(draw_history(history({"error-bp": [3.0] * n}), WIDTH, HEIGHT), "error-bp") for n in (0, 4, 8, 12)]
    assert counts == sorted(set(counts))
    assert np.ptp(np.diff(counts)) <= 0.1 * counts[-1]


def test_an_error_beyond_the_edge_stands_at_the_edge() -> None:
    assert points(draw_history(history({"error-bp": [500.0]}), WIDTH, HEIGHT), "error-bp") > points(
        draw_history(history({"error-bp": []}), WIDTH, HEIGHT), "error-bp"
    )


def test_people_stand_faint_behind_the_learner() -> None:
    on_the_curve = draw_history(history({"error-bp": [math.nan] * 4 + [30.0]}), WIDTH, HEIGHT)
    beside_it = draw_history(history({"error-bp": [math.nan] * 4 + [-30.0]}), WIDTH, HEIGHT)
    assert points(on_the_curve, "error-bp") == pytest.approx(points(beside_it, "error-bp"), rel=0.15)


def test_errors_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(12,\)"):
        ErrorHistory(12, BLOCKS, {"error-bp": np.zeros(3)})
