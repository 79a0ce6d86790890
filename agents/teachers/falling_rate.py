"""A learning rate that falls while a learner is trained, so that a step that is large at first does no harm at last."""

from __future__ import annotations

from typing import Any

# What is left of the learning rate at the end of the usual training, and later.
LAST_SHARE = 0.1


class FallingRate:
    """An algorithm whose learning rate falls with the steps of its usual training, `STEPS`, to a tenth.

    It falls as a line does, however many stretches the training is learned in, and then stays. A `learn` that resets
    the number of steps, as a protocol of a study begins with, starts with the whole of it again.
    """

    STEPS: int

    def _setup_lr_schedule(self) -> None:
        made: Any = super()
        made._setup_lr_schedule()
        model: Any = self
        rate = model.lr_schedule
        model.lr_schedule = lambda left: rate(left) * (LAST_SHARE + (1.0 - LAST_SHARE) * left)

    def _update_current_progress_remaining(self, num_timesteps: int, total_timesteps: int) -> None:
        made: Any = super()
        made._update_current_progress_remaining(min(num_timesteps, self.STEPS), self.STEPS)
