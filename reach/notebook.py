"""Show films in a notebook: of a learner (`reach.show(model, "rotation30")`), from frames, or from a file."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reach.arguments import require_whole

FPS = 50
MEDIA_TYPES = {".mp4": "video/mp4", ".gif": "image/gif"}
# Largest film; it is embedded in the HTML, so the browser holds all of it in memory.
LARGEST_BYTES = 50_000_000


@dataclass(frozen=True, eq=False)
class Film:
    """A film that a notebook displays.

    Attributes:
        data: bytes of the file.
        kind: media type, "video/mp4" or "image/gif".
        width: displayed width, pixels.

    Raises:
        ValueError: `data` is larger than 50 MB.
    """

    data: bytes
    kind: str = "video/mp4"
    width: int = 800

    def __post_init__(self) -> None:
        """Validate the size."""
        if len(self.data) > LARGEST_BYTES:
            raise ValueError(f"Film data: expected at most {LARGEST_BYTES:,} bytes, got {len(self.data):,}")

    def _repr_html_(self) -> str:
        """Return the HTML that a notebook displays."""
        source = f"data:{self.kind};base64,{base64.b64encode(self.data).decode('ascii')}"
        style = f"max-width:100%;width:{self.width}px"
        if self.kind == "image/gif":
            return f'<img src="{source}" alt="a film" style="{style}">'
        return f'<video src="{source}" controls loop muted autoplay playsinline style="{style}"></video>'

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the film to a file and return its path."""
        target = Path(path)
        target.write_bytes(self.data)
        return target


def show(
    what: Any,
    protocol: Any = None,
    *,
    first: int = 17,
    last: int = 24,
    seed: int = 0,
    fps: int = FPS,
    size: tuple[int, int] = (1280, 720),
    width: int = 800,
    **options: Any,
) -> Film:
    """Return a film, which a notebook displays if the call is the last line of a cell.

        reach.show(model, "rotation30")                     # a learner during a protocol
        reach.show({"BP": model, "DFA": other}, "prism")    # several learners, side by side, on the same cups
        reach.show(frames, fps=25)                          # any frames
        reach.show("film.mp4")                              # a file

    Args:
        what: a learner; a mapping from name to learner; frames (height, width, 3), uint8; or the path of a film (.mp4
            or .gif).
        protocol: a `Protocol` or the name of a preset. Required for learners, else unused.
        first, last: numbers of the first and the last reach to show. Learners only; earlier reaches run without
            rendering.
        seed: seed of the cups and the noise. Learners only.
        fps: frame rate of a film of frames, Hz.
        size: width and height of the rendered film, pixels. Learners only.
        width: displayed width of the film, pixels.
        options: learners only: `speed` of the film, and `panels`, `twin`, `overrides`, `learning` and `cup` of
            `reach.study.watch.session.WatchSession`.

    Raises:
        ValueError: `what` is an environment or another type that cannot be shown; a learner is given without a
            protocol; the protocol is unknown or has no such reaches; or the file is neither .mp4 nor .gif, or is larger
            than 50 MB.
    """
    from reach.render.film import film_bytes

    require_whole("width", width, 1)
    require_whole("fps", fps, 1, 1000)
    if isinstance(what, (str, os.PathLike)):
        path = Path(what)
        if path.suffix.lower() not in MEDIA_TYPES:
            raise ValueError(f"what: expected a path that ends in {' or '.join(MEDIA_TYPES)}, got {str(path)!r}")
        return Film(path.read_bytes(), MEDIA_TYPES[path.suffix.lower()], width)
    if hasattr(what, "predict") or isinstance(what, dict):
        if protocol is None:
            raise ValueError("protocol: expected a protocol such as 'rotation30' for a learner, got None")
        name = getattr(what, "config", {}).get("learner") or type(what).__name__
        learners = what if isinstance(what, dict) else {str(name): what}
        return Film(_film_of_learners(learners, protocol, (first, last), seed, size, options), width=width)
    if hasattr(what, "step") or not isinstance(what, Iterable):
        raise ValueError(
            "what: expected a learner (with a protocol), a mapping of learners, frames (height, width, 3) uint8 "
            f"or the path of a film, got {what!r}. To show an environment, create it with render_mode='rgb_array' "
            "and pass its frames: [env.render(), ...]"
        )
    return Film(film_bytes(what, fps), width=width)


def _film_of_learners(
    learners: dict[str, Any], protocol: Any, reaches: tuple[int, int], seed: int, size: tuple[int, int], options: Any
) -> bytes:
    """Return the MP4 film of learners from the first to the last of `reaches`; arguments as in `show`."""
    from reach.protocols.presets import find_protocol
    from reach.render.film import film_bytes
    from reach.study.watch.session import WatchSession, film_frames, trial_indices

    protocol = find_protocol(protocol)
    first, last = (require_whole(name, value, 1) for name, value in zip(("first", "last"), reaches, strict=True))
    seed = require_whole("seed", seed, 0)
    speed = options.pop("speed", 1.0)
    indices = trial_indices(protocol, seed, first, last)
    session = WatchSession(list(learners.items()), protocol, seed, indices, size=size, **options)
    return film_bytes(film_frames(session, speed), FPS)
