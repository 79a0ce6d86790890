"""Progress of a running study: results written from time to time, and TensorBoard curves as jobs end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from reach.study.engine.formats import trials_frame
from reach.study.engine.jobs import Outcome
from reach.study.engine.store import whose_of
from reach.study.run.measures import per_seed

# Largest share of a study's time that is spent on writing its progress.
WRITING_SHARE = 0.05


class Throttle:
    """Calls `write` only as often as takes at most WRITING_SHARE of the time.

    So the cost of a study is proportional to its jobs, although each call takes longer than the one before.
    """

    def __init__(self, write: Callable[[], Any], clock: Callable[[], float] = time.monotonic) -> None:
        self._write = write
        self._clock = clock
        self._next = -math.inf

    def __call__(self) -> None:
        began = self._clock()
        if began < self._next:
            return
        self._write()
        ended = self._clock()
        self._next = ended + (ended - began) / WRITING_SHARE


class TensorBoard:
    """Writes TensorBoard files: one run for each learner, whose steps are seeds, and one for the study's progress."""

    def __init__(self, folder: Path, jobs: int) -> None:
        """Write into `folder`; `jobs` is the number of jobs to do.

        Raises:
            ModuleNotFoundError: TensorBoard is not installed.
        """
        try:
            from tensorboard.summary import Writer
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "--tensorboard needs TensorBoard: pip install 'cup-reach[tensorboard]'"
            ) from error
        self._make: Callable[[str], Any] = Writer
        self._folder = folder
        self._jobs = jobs
        self._done = 0
        self._began = time.monotonic()
        self._writers: dict[str, Any] = {}

    def _writer(self, run: str) -> Any:
        if run not in self._writers:
            self._writers[run] = self._make(str(self._folder / run))
        return self._writers[run]

    def on_end(self, outcome: Outcome) -> None:
        """Write the share of finished jobs and, for a run of a protocol, its measures."""
        self._done += 1
        study = self._writer("study")
        second = round(time.monotonic() - self._began)
        study.add_scalar("jobs/done", self._done / max(1, self._jobs), second)
        study.flush()
        if outcome.error or outcome.job.kind != "protocol":
            return
        for row in measures_of(outcome).itertuples():
            value = float(str(row.value))
            if math.isfinite(value):
                writer = self._writer(outcome.job.learner)
                writer.add_scalar(f"{outcome.job.protocol}/{row.metric}", value, outcome.job.seed)
                writer.flush()

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()


def measures_of(outcome: Outcome) -> pd.DataFrame:
    """Return the measures of one run, one row each."""
    return per_seed(trials_frame([{**row, **whose_of(outcome.job)} for row in outcome.rows]))
