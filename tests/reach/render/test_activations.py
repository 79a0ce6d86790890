"""The inside of a learner as a picture: spikes, activities, and the way of the error."""

from __future__ import annotations

import numpy as np
import pytest

from reach.render import palette
from reach.render.activations import draw_inside, draw_spikes, tiling
from reach.snapshot import WAYS, Arrival, Inside, Layer, Population, Travel, inside_of

WIDTH, HEIGHT = 480, 320


def layered(way: str = "backward", told: float = 1.0) -> Inside:
    layers = tuple(Layer(name, np.linspace(-1.0, 1.0, 32)) for name in ("senses", "hidden 1", "hidden 2", "posture"))
    arrivals = tuple(Arrival(one.name, np.full(32, told)) for one in layers[1:])
    return Inside(layers=layers, travel=Travel(way, np.ones(3), arrivals))  # type: ignore[arg-type]


def purple(frame: np.ndarray, *, right_of: float = 0.0) -> int:
    """Pixels in the colour of the error, in the lane between activities and what is told."""
    lane = frame[round(0.42 * HEIGHT) : round(0.62 * HEIGHT), round(right_of * WIDTH) :]
    return int(np.all(lane == palette.SEEN, axis=-1).sum())


@pytest.mark.parametrize("way", WAYS)
def test_an_error_is_on_its_way_longer_the_further_it_has_come(way: str) -> None:
    amounts = [purple(draw_inside(layered(way), WIDTH, HEIGHT, share)) for share in (0.0, 0.3, 0.6, 1.0)]
    assert amounts == sorted(amounts)
    assert len(set(amounts)) == len(amounts)


def test_the_ways_differ_halfway() -> None:
    ways = [draw_inside(layered(way), WIDTH, HEIGHT, 0.3).tobytes() for way in ("backward", "broadcast", "forward")]
    assert len(set(ways)) == len(ways)


def test_backwards_the_last_layer_hears_before_the_first() -> None:
    told = draw_inside(layered("backward"), WIDTH, HEIGHT, 0.5)[round(0.7 * HEIGHT) :]
    nothing = draw_inside(layered("backward"), WIDTH, HEIGHT, 0.0)[round(0.7 * HEIGHT) :]
    changed = np.flatnonzero(np.any(told != nothing, axis=(0, 2)))
    everything = draw_inside(layered("backward"), WIDTH, HEIGHT, 1.0)[round(0.7 * HEIGHT) :]
    all_changed = np.flatnonzero(np.any(everything != nothing, axis=(0, 2)))
    assert changed.min() > all_changed.min() + 0.1 * WIDTH


def test_nothing_leads_to_a_layer_that_hears_nothing() -> None:
    silent = purple(draw_inside(layered("broadcast", told=0.0), WIDTH, HEIGHT, 1.0))
    assert silent < purple(draw_inside(layered("broadcast"), WIDTH, HEIGHT, 1.0))


def test_each_spike_leaves_a_mark_in_its_own_row_and_time() -> None:
    frame = np.zeros((40, 100, 3), dtype=np.uint8)
    spikes = np.zeros((50, 10), dtype=np.uint8)
    spikes[0, 0] = spikes[49, 9] = 1
    draw_spikes(frame, (0, 0, 100, 40), spikes, 50, (255, 255, 255))
    rows, columns = np.nonzero(frame[..., 0])
    assert set(zip((rows // 4).tolist(), (columns // 2).tolist(), strict=True)) == {(0, 0), (9, 49)}


def test_a_raster_shows_cells_alike_where_rows_run_out() -> None:
    frame = np.zeros((10, 60, 3), dtype=np.uint8)
    draw_spikes(frame, (0, 0, 60, 10), np.ones((30, 100), dtype=np.uint8), 30, (255, 255, 255))
    assert np.all(frame == 255)


@pytest.mark.parametrize("cells", [1, 3, 48, 128, 301, 5000])
@pytest.mark.parametrize("box", [(80, 120), (300, 20), (30, 200)])
def test_tiles_stay_in_their_box(cells: int, box: tuple[int, int]) -> None:
    across, rows, side = tiling(cells, *box, 14)
    assert across * side <= box[0]
    assert rows * side <= box[1]
    assert across * rows >= cells or side == 3


@pytest.mark.parametrize("size", [(1, 1), (119, 300), (300, 89)])
def test_too_small_a_picture_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="120 and 90"):
        draw_inside(Inside(), *size)


def test_spikes_of_another_type_are_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        Population("hidden", np.zeros((3, 4)), 0.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("values", [np.array([np.nan]), np.zeros((2, 2)), np.zeros(0)])
def test_activities_that_are_no_numbers_are_refused(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="finite"):
        Layer("hidden", values)


def test_an_unknown_way_is_refused() -> None:
    with pytest.raises(ValueError, match="backward"):
        layered("sideways")


def test_who_shows_nothing_is_drawn_all_the_same() -> None:
    assert inside_of(object()) is None
    assert draw_inside(None, WIDTH, HEIGHT).shape == (HEIGHT, WIDTH, 3)
