"""What a person sees who moves the hand: cup, seen hand and start on the table, and a few words; no arm.

As in the laboratory the own arm is hidden, so that what is shown of the hand is all that is known of where it is seen.
On the way back to the start not even that is shown, but a ring as wide as the hand is far from the start: from where
the hand comes from, nothing of a perturbation could be learned.
"""

from __future__ import annotations

from dataclasses import dataclass

from reach.arguments import picture_size
from reach.render import palette
from reach.render.canvas import Canvas, Frame
from reach.render.cup import draw_standing
from reach.render.ground import START_RADIUS_M, room
from reach.render.labels import fitted, text

Place = tuple[float, float]

HAND_RADIUS_M = 0.009


@dataclass(frozen=True)
class View:
    """One moment as a person sees it.

    Attributes:
        start: (x, y) m, where the hand starts.
        cup: (x, y) m, where the cup is seen; None between trials.
        cup_radius: m.
        hand: (x, y) m, where the hand is seen; None where it is hidden.
        ring_m: distance of the hand from the start, shown as a ring around it; None for none.
        words: what there is to do, or how it went.
        won: whether `words` tell of a success, of a failure (False), or of neither (None).
        score: in the upper right.
        time_s: since the trial began; 0 between trials.
        trial: its number, from 1.
        probe: whether it is one without sight of the hand or the like.
    """

    start: Place
    cup: Place | None
    cup_radius: float
    hand: Place | None
    ring_m: float | None = None
    words: str = ""
    won: bool | None = None
    score: str = ""
    time_s: float = 0.0
    trial: int = 0
    probe: bool = False


def draw_seen(view: View, width: int, height: int) -> Frame:
    """The picture of a view, (height, width, 3) uint8, an array of its own.

    Raises:
        ValueError: a width or height outside 16 to 4096 pixels.
    """
    width, height = picture_size(width, height)
    canvas = Canvas(room(width, height).copy())
    start = canvas.at(view.start)
    canvas.disc(start, max(3.0, START_RADIUS_M * canvas.scale), palette.TABLE, palette.INK)
    if view.cup is not None:
        draw_standing(canvas, canvas.at(view.cup), view.cup_radius * canvas.scale, held=view.won is True)
    if view.ring_m is not None:
        canvas.ring(start, max(3.0, view.ring_m * canvas.scale), palette.SEEN)
    if view.hand is not None:
        canvas.disc(canvas.at(view.hand), HAND_RADIUS_M * canvas.scale, palette.SEEN, palette.WHITE)
    canvas.lay()
    margin = 0.025 * canvas.side
    colour = {None: palette.INK, True: palette.SUCCESS, False: palette.FAILURE}[view.won]
    score = text(view.score, canvas.text_px, palette.INK)
    room_px = int(width - 4 * margin - score.get_width())
    canvas.write(text(fitted(view.words, canvas.text_px, room_px), canvas.text_px, colour), margin, margin)
    canvas.write(score, width - margin - score.get_width(), margin)
    return canvas.frame
