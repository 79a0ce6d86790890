"""Films in a notebook."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import numpy as np
import pytest

import reach
from reach.notebook import Film

FRAMES = [np.full((40, 60, 3), shade, dtype=np.uint8) for shade in range(0, 250, 50)]


class Still:
    """A learner that never moves."""

    def predict(self, observation: object, state: object = None, **_: object) -> tuple[np.ndarray, object]:
        return np.zeros(4, dtype=np.float32), state

    def learn(self, total_timesteps: int, callback: object = None, *, reset_num_timesteps: bool = True) -> Still:
        over = False
        self.env.reset()
        while not over:
            _, _, terminated, truncated, _ = self.env.step(np.zeros(4, dtype=np.float32))
            over = terminated or truncated
            callback({}, {})  # type: ignore[operator]
        return self

    def set_env(self, env: object) -> None:
        self.env: object = env


def embedded(film: Film) -> bytes:
    found = re.search(r"base64,([^\"]+)\"", film._repr_html_())
    assert found is not None
    return base64.b64decode(found.group(1))


def test_pictures_become_a_film_that_a_page_holds(tmp_path: Path) -> None:
    film = reach.show(FRAMES, fps=5)
    iio = pytest.importorskip("imageio.v3")
    (tmp_path / "film.mp4").write_bytes(embedded(film))
    assert iio.imread(tmp_path / "film.mp4").shape == (5, 40, 60, 3)
    assert film.save(tmp_path / "same.mp4").read_bytes() == embedded(film)
    assert "<video" in film._repr_html_()


def test_a_film_there_is_is_shown_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "one.gif").write_bytes(b"GIF89a")
    film = reach.show(tmp_path / "one.gif")
    assert embedded(film) == b"GIF89a"
    assert "<img" in film._repr_html_()


def test_a_learner_is_shown_on_its_way_through_a_protocol() -> None:
    film = reach.show(Still(), "rotation30", first=1, last=1, size=(480, 400), speed=32)
    assert len(embedded(film)) > 1000


def test_what_cannot_be_shown_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="protocol: expected a protocol such as"):
        reach.show(Still())
    with pytest.raises(ValueError, match="rotation30"):
        reach.show(Still(), "rotation31")
    with pytest.raises(ValueError, match=r"ends in \.mp4 or \.gif"):
        reach.show(tmp_path / "film.avi")
