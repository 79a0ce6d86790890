"""The table of a study's jobs: which wait, run, are done or failed, and what each took.

A text file with a JSON object a line, each with its own seal; the last line of a job counts. Its only writer is the
engine's process, so workers need no disk in common, and readers may look at any moment. Only the results in the store
say which jobs are done, so a table that is lost or damaged is made again from them; it then lacks the seconds of
earlier jobs. Seconds are kept here and not beside the results because they differ on every rerun.
"""

from __future__ import annotations

import errno
import json
import os
import time
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import pandas as pd

from reach.files import (
    UNSEALED,
    DamagedError,
    check_regular,
    check_seal,
    disk_full,
    is_sealed,
    seal,
    set_aside,
    write_file,
)
from reach.study.engine.jobs import Job, Outcome

# What a row holds. `place` is the job's place among the present jobs, None for one of an earlier definition; `state` is
# waiting, running, done or failed; times are seconds since 1970.
COLUMNS = (
    "name",
    "place",
    "kind",
    "learner",
    "protocol",
    "seed",
    "fingerprint",
    "state",
    "tries",
    "cpu_seconds",
    "wall_seconds",
    "started",
    "ended",
    "traceback",
)
TIMES = ("cpu_seconds", "wall_seconds", "started", "ended")
Rows = dict[str, dict[str, Any]]


class JobTable:
    """The table, open for its only writer; a context manager."""

    def __init__(self, path: Path) -> None:
        """Read the table at `path`, if there is one. A damaged one is renamed, with a warning, and made again."""
        self._path = path
        self._file: int | None = None
        try:
            self._rows = _read(path)
        except DamagedError as error:
            aside = set_aside(path)
            warnings.warn(f"{error}; it is made again, and the old one is kept as {aside}", stacklevel=2)
            self._rows = {}

    def __enter__(self) -> JobTable:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is not None:
            os.close(self._file)

    def enter(self, jobs: Iterable[Job], done: Mapping[str, bool]) -> None:
        """Make `jobs` the present ones, in their order; done: name -> whether its result is there.

        Raises:
            DiskFullError: there is no room.
        """
        for row in self._rows.values():
            row["place"] = None
        for place, job in enumerate(jobs):
            row = self._rows.setdefault(job.name, dict.fromkeys(COLUMNS) | {"tries": 0, "traceback": ""})
            state = "done" if done[job.name] else "failed" if row["state"] == "failed" else "waiting"
            row |= {"name": job.name, "place": place, "kind": job.kind, "learner": job.learner, "state": state}
            row |= {"protocol": job.protocol, "seed": job.seed, "fingerprint": job.fingerprint}
        write_file(self._path, b"".join(map(_line, self._rows.values())))
        if self._file is not None:
            os.close(self._file)
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)

    def begin(self, job: Job) -> None:
        """Record that a job has been given to a worker."""
        self._change(job, state="running", started=time.time())

    def end(self, outcome: Outcome) -> None:
        """Record that a job is done, and its result written, or has failed."""
        self._change(
            outcome.job,
            state="failed" if outcome.error else "done",
            tries=self._rows[outcome.job.name]["tries"] + outcome.tries,
            cpu_seconds=outcome.cpu_seconds,
            wall_seconds=outcome.wall_seconds,
            ended=time.time(),
            traceback=outcome.error,
        )

    def _change(self, job: Job, **changes: Any) -> None:
        assert self._file is not None
        row = self._rows[job.name]
        row |= {name: None if value != value else value for name, value in changes.items()}  # NaN is no JSON
        line = _line(row)
        with disk_full(self._path):
            if os.write(self._file, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _line(row: Mapping[str, Any]) -> bytes:
    return seal((json.dumps({**row, "seal": UNSEALED}, allow_nan=False) + "\n").encode())


def _read(path: Path) -> Rows:
    """Return the last row of each job by its name; a line that a kill has cut short is left out.

    Raises:
        DamagedError: a line is not as it was written.
    """
    check_regular(path)
    *lines, rest = (path.read_bytes() if path.exists() else b"").split(b"\n")
    if is_sealed(rest[:-1] + b"\n"):  # whole, and so not cut short by a kill
        raise DamagedError(f"{path} is damaged: its last line does not end")
    rows: Rows = {}
    for line in lines:
        check_seal(line + b"\n", path)
        try:
            row = json.loads(line)
            place = row["place"]
            rows[row["name"]] = {name: row[name] for name in COLUMNS}
        except (KeyError, RecursionError, TypeError, ValueError) as error:
            raise DamagedError(f"{path} is damaged: {line!r:.200} is no row of a table of jobs") from error
        if place is not None and not isinstance(place, int):
            raise DamagedError(f"{path} is damaged: place is {place!r:.200}")
    return rows


def read_jobs(path: Path) -> pd.DataFrame:
    """Return the present jobs in their order, a row each, with the columns of COLUMNS; empty without a table.

    Raises:
        DamagedError: the file is damaged, or no table of jobs.
    """
    try:
        present = [row for row in _read(path).values() if row["place"] is not None]
        present.sort(key=lambda row: int(row["place"]))
        if [row["place"] for row in present] != list(range(len(present))):
            raise DamagedError(f"{path} is damaged: rows are missing")
        return pd.DataFrame(present, columns=list(COLUMNS)).astype(dict.fromkeys(TIMES, "float64"))
    except (OSError, TypeError, ValueError) as error:
        raise DamagedError(
            f"{path} holds no table of jobs that can be read ({error}); the command that made the study, given again, "
            "makes it again and keeps the results"
        ) from error
