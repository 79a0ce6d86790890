"""Watching a learner go through a protocol: live, or as a stream of frames for a film."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reach.protocols import Protocol, schedule_of
from reach.study.run import Model, run_protocol

Frame = NDArray[np.uint8]

FRAMES_AHEAD = 32
HOLD_FRAMES = 12


class StoppedWatchingError(Exception):
    """Whoever watched has had enough."""


class Viewer:
    """Shows chosen reaches; `show` answers whether to go on."""

    def __init__(self, chosen: set[int], show: Callable[[Frame], bool]) -> None:
        """Watch the trials whose indices in the schedule are `chosen`."""
        self._chosen = chosen
        self._show = show

    def look(self, index: int, step: int, over: bool, render: Callable[[], Any]) -> None:
        """Show this moment if its trial is chosen; the end of a reach stands for a moment.

        Raises:
            StoppedWatchingError: `show` answered False.
        """
        if index not in self._chosen:
            return
        frame = np.asarray(render(), dtype=np.uint8)
        for _ in range(HOLD_FRAMES if over else 1):
            if not self._show(frame):
                raise StoppedWatchingError


def indices_of(protocol: Protocol, seed: int, first: int, last: int) -> set[int]:
    """Where the reaches numbered `first` to `last` (from 1, both included) stand in the schedule, probes left out.

    Raises:
        ValueError: no such reaches.
    """
    if not 1 <= first <= last <= protocol.reaches:
        raise ValueError(f"reaches {first} to {last} are asked for; 1 to {protocol.reaches} are in {protocol.name}")
    schedule = schedule_of(protocol, seed)
    return {k for k, trial in enumerate(schedule) if first <= trial.trial <= last and not trial.probe}


def watch_live(model: Model, protocol: Protocol, seed: int, chosen: set[int], show: Callable[[Frame], bool]) -> bool:
    """Run a protocol and show the chosen trials; False when the watcher left before its end."""
    try:
        run_protocol(model, protocol, seed, onlooker=Viewer(chosen, show))
    except StoppedWatchingError:
        return False
    return True


def frames_of(model: Model, protocol: Protocol, seed: int, chosen: set[int]) -> Iterator[Frame]:
    """The frames of the chosen trials as they come; only a few are held at a time.

    The protocol runs in a thread of its own and waits for whoever takes the frames; an error there is raised here.
    """
    waiting: queue.Queue[Frame | BaseException | None] = queue.Queue(FRAMES_AHEAD)
    left = threading.Event()

    def show(frame: Frame) -> bool:
        while not left.is_set():
            try:
                waiting.put(frame, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def run() -> None:
        try:
            watch_live(model, protocol, seed, chosen, show)
            waiting.put(None)
        except BaseException as error:
            waiting.put(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        left.set()
