"""Saving a learner while it learns, so that a run that is killed goes on from there and ends as if it had not been."""

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

from agents.trial_learner import TrialLearner


class Keep(BaseCallback):
    """Save the learner every so often, and once more when the process is asked to stop; then end learning.

    It saves where a resumed run is exact: a learner that learns from trial to trial between trials, one from reward
    between rollouts.

    Attributes:
        stopped: the signal by which the process was asked to stop, once learning has ended because of it.
    """

    def __init__(self, folder: Path, every_s: float = 20.0) -> None:
        """Save the learner in `folder`, every `every_s` seconds."""
        super().__init__()
        self._folder = folder
        self._every_s = every_s
        self._last = monotonic()
        self._asked: int | None = None
        self.stopped: int | None = None

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
        self._asked = number

    def _on_rollout_start(self) -> None:
        model: Any = self.model
        if not isinstance(model, TrialLearner):
            self.keep_when_due(model)

    def _on_step(self) -> bool:
        model: Any = self.model
        if isinstance(model, TrialLearner) and bool(np.any(self.locals["dones"])):
            self.keep_when_due(model)
        return self.stopped is None

    def keep_when_due(self, model: Any) -> None:
        """Save `model`, which can be resumed exactly now, if it is time to or if the process was asked to stop."""
        if self.stopped is None and (self._asked is not None or monotonic() - self._last > self._every_s):
            model.save(self._folder)
            self._last = monotonic()
            self.stopped = self._asked
