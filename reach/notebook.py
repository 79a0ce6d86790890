"""Films inside a notebook: `reach.show(model, "rotation30")`, or of any pictures."""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reach.arguments import require_whole

FPS = 50
TYPES = {".mp4": "video/mp4", ".gif": "image/gif"}
# Browsers hold a film of a page in memory.
LARGEST_BYTES = 50_000_000


@dataclass(frozen=True, eq=False)
class Film:
    """A film that a notebook shows in its place, and that holds nothing but its bytes.

    Attributes:
        data: of the file.
        kind: "video/mp4" or "image/gif".
        width: at which it is shown, pixels.
    """

    data: bytes
    kind: str = "video/mp4"
    width: int = 800

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        source = f"data:{self.kind};base64,{base64.b64encode(self.data).decode('ascii')}"
        style = f"max-width:100%;width:{self.width}px"
        if self.kind == "image/gif":
            return f'<img src="{source}" alt="a film" style="{style}">'
        return f'<video src="{source}" controls loop muted autoplay playsinline style="{style}"></video>'

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the film's file."""
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
    **watched: Any,
) -> Film:
    """A film to be shown in a notebook, as the last line of a cell.

        reach.show(model, "rotation30")                  # a learner on its way through a protocol
        reach.show({"BP": one, "DFA": other}, "prism")   # several, side by side on the same cups
        reach.show(frames, fps=25)                       # any pictures
        reach.show("film.mp4")                           # a film there is

    Args:
        what: a learner, several by name, pictures (height, width, 3) uint8, or the path of a film (.mp4 or .gif).
        protocol: of a learner; a `Protocol` or the name of a preset.
        first, last: numbers of the reaches of the protocol that are shown; those before are gone through unseen.
        seed: of cups and noise.
        fps: of pictures.
        size: width and height of the picture of a learner, pixels.
        width: at which the notebook shows the film, pixels.
        watched: options of `reach.study.watch.session.Watching` (`panels`, `twin`, `wish`, `learning`, `cup`), and
            `speed`.

    Raises:
        ValueError: an environment or something else that is no film, a learner without a protocol, an unknown
            protocol, no such reaches, a film of another kind or one larger than 50 MB.
    """
    require_whole("width", width, 1)
    require_whole("fps", fps, 1, 1000)
    if isinstance(what, (str, os.PathLike)):
        path = Path(what)
        if path.suffix.lower() not in TYPES:
            raise ValueError(f"what is {str(path)!r}; a film's name ends in {' or '.join(TYPES)}")
        return _film(path.read_bytes(), TYPES[path.suffix.lower()], width)
    if hasattr(what, "predict") or isinstance(what, dict):
        if protocol is None:
            raise ValueError("protocol is None; the learner is to go through a protocol, such as 'rotation30'")
        learners = what if isinstance(what, dict) else {_name_of(what): what}
        return _film(_filmed(learners, protocol, (first, last), seed, size, watched), "video/mp4", width)
    if hasattr(what, "step") or not isinstance(what, Iterable):
        raise ValueError(
            f"what is {what!r}; a learner with a protocol, a mapping of learners, pictures (height, width, 3) uint8 or "
            "the path of a film is allowed. Of an environment made with render_mode='rgb_array', pass the pictures: "
            "[env.render(), ...]"
        )
    return _film(_encoded(what, fps), "video/mp4", width)


def _film(data: bytes, kind: str, width: int) -> Film:
    if len(data) > LARGEST_BYTES:
        raise ValueError(f"what is a film of {len(data):,} bytes; up to {LARGEST_BYTES:,} are allowed in a notebook")
    return Film(data, kind, width)


def _name_of(model: Any) -> str:
    return str(getattr(model, "config", {}).get("learner") or type(model).__name__)


def _filmed(
    learners: dict[str, Any],
    protocol: Any,
    shown: tuple[int, int],
    seed: int,
    size: tuple[int, int],
    watched: dict[str, Any],
) -> bytes:
    from reach.protocols import PROTOCOLS, Protocol
    from reach.study.watch.session import Watching, frames_of, indices_of

    if isinstance(protocol, str):
        if protocol not in PROTOCOLS:
            raise ValueError(f"protocol is {protocol!r}; {sorted(PROTOCOLS)} are allowed")
        protocol = PROTOCOLS[protocol]
    if not isinstance(protocol, Protocol):
        raise ValueError(f"protocol is {protocol!r}; a Protocol or one of {sorted(PROTOCOLS)} is allowed")
    first, last = (require_whole(name, value, 1) for name, value in zip(("first", "last"), shown, strict=True))
    seed = require_whole("seed", seed, 0)
    speed = watched.pop("speed", 1.0)
    chosen = indices_of(protocol, seed, first, last)
    watching = Watching(list(learners.items()), protocol, seed, chosen, size=size, **watched)
    return _encoded(frames_of(watching, speed), FPS)


def _encoded(frames: Iterable[Any], fps: int) -> bytes:
    """The bytes of an MP4 film."""
    from reach.render.film import write_film

    with tempfile.TemporaryDirectory(prefix="reach-show-") as folder:
        return write_film(Path(folder) / "film.mp4", frames, fps).read_bytes()
