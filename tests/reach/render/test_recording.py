"""Pictures that are kept as they are shown."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from reach.render.recording import Recorder, write_png

FRAME = np.arange(40 * 60 * 3, dtype=np.uint8).reshape(40, 60, 3)


def test_a_picture_is_kept_to_the_last_bit(tmp_path: Path) -> None:
    path = write_png(tmp_path / "new" / "one.png", FRAME[:, ::-1])
    np.testing.assert_array_equal(iio.imread(path), FRAME[:, ::-1])
    assert [one.name for one in path.parent.iterdir()] == ["one.png"]


def test_another_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="png"):
        write_png(tmp_path / "one.jpg", FRAME)


def test_a_film_holds_every_picture_that_was_added(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "film.mp4", 25)
    for _ in range(7):
        recorder.add(FRAME)
    assert len(iio.imread(recorder.finish())) == 7


def test_what_cannot_be_written_is_said_at_the_end_and_holds_nobody_up(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "film.mp4", 25)
    for k in range(500):
        recorder.add(FRAME[: 40 - k % 2])
    with pytest.raises(ValueError, match="one size"):
        recorder.finish()
