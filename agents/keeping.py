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
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm


class Keep(BaseCallback):
    """Saves the learner every so often, and once more when the process is asked to stop; then learning ends.

    It saves where going on is exact: between trials, or for a learner that learns from rollouts (PPO) between these.

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

    def _on_rollout_start(self) -> None:
        if isinstance(self.model, OnPolicyAlgorithm):
            self._keep_when_due()

    def _on_step(self) -> bool:
        if not isinstance(self.model, OnPolicyAlgorithm) and bool(np.any(self.locals["dones"])):
            self._keep_when_due()
        return not self.stopped

    def _keep_when_due(self) -> None:
        model: Any = self.model
        if self._asked or monotonic() - self._last > self._every_s:
            model.save(self._folder)
            self._last = monotonic()
            self.stopped = self._asked
