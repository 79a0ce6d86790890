"""Keeping a learner while it learns, so that a run that is killed goes on from there and ends as if it had not been."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback


class Keep(BaseCallback):
    """Saves the learner every so often, and once more when the process is asked to stop; then learning ends.

    As a callback it saves between trials, where an error learner goes on exactly; `keep_when_due` is for learners that
    learn in stretches.

    Attributes:
        stopped: whether learning ended because the process was asked to stop.
    """

    def __init__(self, folder: Path, every_s: float = 20.0) -> None:
        """Keep the learner in `folder`, every `every_s` seconds."""
        super().__init__()
        self._folder = folder
        self._every_s = every_s
        self._last = monotonic()
        self._asked = False
        self.stopped = False

    @contextmanager
    def asked_by_signals(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM as being asked to stop, while inside."""
        before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._asked = True

    def _on_step(self) -> bool:
        if bool(np.any(self.locals["dones"])):
            self.keep_when_due(self.model)
        return not self.stopped

    def keep_when_due(self, model: Any) -> None:
        """Save `model`, with which going on is exact just now, if it is time to or if the process was asked to stop."""
        if self._asked or monotonic() - self._last > self._every_s:
            model.save(self._folder)
            self._last = monotonic()
            self.stopped = self._asked
