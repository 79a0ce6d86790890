"""Films hold the frames they were given, or do not appear at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from numpy.typing import NDArray

from reach.render import Scene, draw, side_by_side, write_film
from reach.render.film import FilmRecorder, write_png

Frame = NDArray[np.uint8]
SIZES = [(64, 48), (63, 47), (64, 47)]


def ramp(width: int, height: int, count: int) -> Iterator[Frame]:
    """Frames that grow lighter, one at a time."""
    for k in range(count):
        yield np.full((height, width, 3), 20 + 8 * k, dtype=np.uint8)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_an_mp4_has_the_frames_given_with_even_sides(tmp_path: Path, width: int, height: int) -> None:
    path = write_film(tmp_path / "film.mp4", ramp(width, height, 15), 25)
    film = iio.imread(path)
    assert film.shape == (15, height + height % 2, width + width % 2, 3)
    np.testing.assert_allclose(film.mean(axis=(1, 2, 3)), 20 + 8 * np.arange(15), atol=4)
    facts = iio.immeta(path)
    assert facts["fps"] == 25
    assert facts["codec"] == "h264"
    assert facts["pix_fmt"].startswith("yuv420p")


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_gif_has_the_frames_given(tmp_path: Path, width: int, height: int) -> None:
    path = write_film(tmp_path / "film.gif", ramp(width, height, 12), 25)
    film = iio.imread(path)
    assert film.shape == (12, height, width, 3)
    np.testing.assert_allclose(film.mean(axis=(1, 2, 3)), 20 + 8 * np.arange(12), atol=2)
    assert iio.immeta(path)["duration"] == 40


def test_a_reach_can_be_filmed(tmp_path: Path, scene_with: Callable[..., Scene]) -> None:
    frames = [draw(scene_with(time_s=0.02 * k, cup=np.array([0.01 * k - 0.2, 0.6])), 200, 200) for k in range(5)]
    film = iio.imread(write_film(tmp_path / "reach.mp4", frames, 50))
    assert np.abs(film.astype(int) - np.array(frames)).mean() < 6.0


def test_one_frame_is_a_film(tmp_path: Path) -> None:
    assert len(iio.imread(write_film(tmp_path / "one.mp4", ramp(64, 48, 1), 50))) == 1


def test_folders_are_made_and_nothing_is_left_beside_the_film(tmp_path: Path) -> None:
    path = write_film(str(tmp_path / "deep" / "er" / "film.MP4"), ramp(64, 48, 2), 50)
    assert [found.name for found in path.parent.iterdir()] == ["film.MP4"]


def test_a_film_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"old")

    def broken() -> Iterator[Frame]:
        yield from ramp(64, 48, 3)
        raise RuntimeError("the world ended")

    with pytest.raises(RuntimeError, match="the world ended"):
        write_film(path, broken(), 25)
    assert path.read_bytes() == b"old"
    assert [found.name for found in tmp_path.iterdir()] == ["film.mp4"]


def test_writing_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_film(tmp_path / "film.mp4", ramp(64, 48, 2), 25)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["film.avi", "film", "film.mp4.txt", ".mp4"])
def test_another_suffix_is_refused_with_those_allowed(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"\.mp4 or \.gif"):
        write_film(tmp_path / name, ramp(64, 48, 2), 25)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("frames", "says"),
    [
        ([], "frames: expected at least one, got none"),
        ([np.zeros((48, 64), dtype=np.uint8)], r"frames\[0\]: .* got \(48, 64\)"),
        ([np.zeros((48, 64, 3))], r"frames\[0\]: .* float64"),
        (
            [np.zeros((48, 64, 3), dtype=np.uint8), np.zeros((48, 66, 3), dtype=np.uint8)],
            r"frames\[1\]: .* got \(48, 66, 3\)",
        ),
    ],
)
def test_wrong_frames_are_named(tmp_path: Path, frames: list[Frame], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        write_film(tmp_path / "film.mp4", frames, 25)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fps", [0, -1, 2000])
def test_an_impossible_rate_is_named(tmp_path: Path, fps: int) -> None:
    with pytest.raises(ValueError, match=f"fps: expected a whole number from 1 to 1000, got {fps}"):
        write_film(tmp_path / "film.mp4", ramp(64, 48, 2), fps)


def test_frames_side_by_side_stay_whole_under_their_titles() -> None:
    frames = [next(ramp(width, 100, 1)) + np.uint8(k) for k, width in enumerate((80, 120, 60))]
    bare, titled = side_by_side(frames), side_by_side(frames, ["first", "second, far too long to fit", ""])
    assert bare.shape[0] == 100
    assert bare.shape[1] == titled.shape[1] > 80 + 120 + 60
    np.testing.assert_array_equal(titled[-100:], bare)
    np.testing.assert_array_equal(bare[:, :80], frames[0])
    np.testing.assert_array_equal(bare[:, -60:], frames[2])
    above = titled[:-100]
    assert (above[:, :80] < 128).any()
    assert (above[:, -60:] == 255).all()


def test_side_by_side_refuses_what_does_not_fit() -> None:
    frame = next(ramp(64, 48, 1))
    with pytest.raises(ValueError, match="expected at least one"):
        side_by_side([])
    with pytest.raises(ValueError, match="titles: expected one for each of 2 frames, or none, got 1"):
        side_by_side([frame, frame], ["one"])
    with pytest.raises(ValueError, match=r"frames: expected one height, got \[48, 50\]"):
        side_by_side([frame, next(ramp(64, 50, 1))])


FRAME = np.arange(40 * 60 * 3, dtype=np.uint8).reshape(40, 60, 3)


def test_a_png_holds_the_picture_to_the_last_bit(tmp_path: Path) -> None:
    path = write_png(tmp_path / "new" / "one.png", FRAME[:, ::-1])
    np.testing.assert_array_equal(iio.imread(path), FRAME[:, ::-1])
    assert [file.name for file in path.parent.iterdir()] == ["one.png"]


def test_another_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="png"):
        write_png(tmp_path / "one.jpg", FRAME)


def test_a_film_holds_every_picture_that_was_added(tmp_path: Path) -> None:
    recorder = FilmRecorder(tmp_path / "film.mp4", 25)
    for _ in range(7):
        recorder.add(FRAME)
    assert len(iio.imread(recorder.finish())) == 7


def test_an_error_in_writing_is_raised_at_the_end_and_blocks_nobody(tmp_path: Path) -> None:
    recorder = FilmRecorder(tmp_path / "film.mp4", 25)
    for k in range(500):
        recorder.add(FRAME[: 40 - k % 2])
    with pytest.raises(ValueError, match="like the first"):
        recorder.finish()
