"""A learner's network as a picture: spikes, activities, and the path of the error."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from reach.render import palette
from reach.render.activations import draw_network, draw_spikes, tiling
from reach.snapshot import ROUTES, ErrorPath, Layer, LayerSignal, Population, Snapshot, snapshot_of

WIDTH, HEIGHT = 480, 320


def layered(route: str = "backward", modulator: float = 1.0) -> Snapshot:
    layers = tuple(Layer(name, np.linspace(-1.0, 1.0, 32)) for name in ("senses", "hidden 1", "hidden 2", "posture"))
    signals = tuple(LayerSignal(layer.name, np.full(32, modulator)) for layer in layers[1:])
    return Snapshot(layers=layers, error_path=ErrorPath(route, np.ones(3), signals))  # type: ignore[arg-type]


def path_pixels(frame: np.ndarray) -> int:
    """Pixels in the colour of the error, in the lane between activities and signals."""
    lane = frame[round(0.42 * HEIGHT) : round(0.62 * HEIGHT)]
    return int(np.all(lane == palette.SEEN, axis=-1).sum())


def test_the_path_of_an_error_grows_with_its_progress() -> None:
    for route in ROUTES:
        amounts = [path_pixels(draw_network(layered(route), WIDTH, HEIGHT, share)) for share in (0.0, 0.3, 0.6, 1.0)]
        assert amounts == sorted(set(amounts))


def test_the_routes_differ_halfway() -> None:
    routes = ("backward", "broadcast", "forward")
    assert len({draw_network(layered(route), WIDTH, HEIGHT, 0.3).tobytes() for route in routes}) == len(routes)


def test_backwards_the_error_reaches_the_last_layer_before_the_first() -> None:
    begin, half, end = (
        draw_network(layered("backward"), WIDTH, HEIGHT, progress)[round(0.7 * HEIGHT) :]
        for progress in (0.0, 0.5, 1.0)
    )
    reached_by_half = np.flatnonzero(np.any(half != begin, axis=(0, 2)))
    reached = np.flatnonzero(np.any(end != begin, axis=(0, 2)))
    assert reached_by_half.min() > reached.min() + 0.1 * WIDTH


def test_no_path_leads_to_a_layer_without_a_signal() -> None:
    silent = path_pixels(draw_network(layered("broadcast", modulator=0.0), WIDTH, HEIGHT, 1.0))
    assert silent < path_pixels(draw_network(layered("broadcast"), WIDTH, HEIGHT, 1.0))


def test_each_spike_leaves_a_mark_in_its_own_row_and_time() -> None:
    frame = np.zeros((40, 100, 3), dtype=np.uint8)
    spikes = np.zeros((50, 10), dtype=np.uint8)
    spikes[0, 0] = spikes[49, 9] = 1
    draw_spikes(frame, (0, 0, 100, 40), spikes, 50, (255, 255, 255))
    rows, columns = np.nonzero(frame[..., 0])
    assert set(zip((rows // 4).tolist(), (columns // 2).tolist(), strict=True)) == {(0, 0), (9, 49)}


def test_a_raster_of_more_cells_than_rows_fills_its_box() -> None:
    frame = np.zeros((10, 60, 3), dtype=np.uint8)
    draw_spikes(frame, (0, 0, 60, 10), np.ones((30, 100), dtype=np.uint8), 30, (255, 255, 255))
    assert np.all(frame == 255)


def test_tiles_stay_in_their_box() -> None:
    for cells, box in itertools.product((1, 3, 48, 128, 301, 5000), ((80, 120), (300, 20), (30, 200))):
        columns, rows, side = tiling(cells, *box, 14)
        assert columns * side <= box[0]
        assert rows * side <= box[1]
        assert columns * rows >= cells or side == 3


def test_spikes_of_another_type_are_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        Population("hidden", np.zeros((3, 4)), 0.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("values", [np.array([np.nan]), np.zeros((2, 2)), np.zeros(0)])
def test_activities_that_are_no_numbers_are_refused(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="finite"):
        Layer("hidden", values)


def test_an_unknown_route_is_refused() -> None:
    with pytest.raises(ValueError, match="backward"):
        layered("sideways")


def test_a_learner_without_a_snapshot_is_drawn() -> None:
    assert snapshot_of(object()) is None
    assert draw_network(None, WIDTH, HEIGHT).shape == (HEIGHT, WIDTH, 3)
