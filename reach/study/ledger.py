"""The table of a study's jobs: what waits, runs, is done or failed, and what each took.

One SQLite file in WAL mode whose only writer is the engine's own process, so workers need no disk in common and readers
may look at any moment. It is the log of the study and the order of its jobs; that a job is done is said by its result
in the store, so the table can be lost and is made anew. Seconds stand here and not beside the results because they
differ on every rerun.
"""

from __future__ import annotations

import sqlite3
import time
import warnings
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Literal

import pandas as pd

from reach.study.jobs import Job
from reach.study.outcome import Outcome
from reach.study.whole_files import disk_full

State = Literal["waiting", "running", "done", "failed"]

TABLE = """
CREATE TABLE IF NOT EXISTS jobs (
    name TEXT PRIMARY KEY,
    place INTEGER,
    kind TEXT NOT NULL,
    learner TEXT NOT NULL,
    protocol TEXT NOT NULL,
    seed INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'failed')),
    tries INTEGER NOT NULL DEFAULT 0,
    cpu_seconds REAL,
    wall_seconds REAL,
    started REAL,
    ended REAL,
    traceback TEXT NOT NULL DEFAULT ''
)
"""
ENTER = """
INSERT INTO jobs (name, place, kind, learner, protocol, seed, fingerprint, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET place = excluded.place, state = CASE
    WHEN excluded.state = 'done' THEN 'done' WHEN jobs.state = 'failed' THEN 'failed' ELSE 'waiting' END
"""


class Ledger:
    """The table, open for its only writer; a context manager. Times are seconds since 1970.

    A file that is damaged, or no table at all, is kept under another name, with a warning, and the table made anew.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with disk_full(path):
            try:
                self.table = _opened(path)
            except sqlite3.OperationalError:  # locked, or no room: nothing is damaged
                raise
            except sqlite3.DatabaseError as error:
                aside = path.with_name(f"{path.name}.damaged")
                # What was under way in the damaged file must not be taken for the new one's.
                for end in ("", "-wal", "-shm"):
                    with suppress(FileNotFoundError):
                        Path(f"{path}{end}").replace(f"{aside}{end}")
                warnings.warn(f"{path} is damaged ({error}) and made anew; it is kept as {aside}", stacklevel=2)
                self.table = _opened(path)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        # At rest the table is one file, to be copied, or read where nothing may be written. A reader may forbid it.
        with suppress(sqlite3.Error):
            self.table.execute("PRAGMA journal_mode = DELETE")
        self.table.close()

    def enter(self, jobs: Iterable[Job], done: Mapping[str, bool]) -> None:
        """Make `jobs` the present ones, in their order; done: name -> whether its result is there."""
        rows = [
            (job.name, place, job.kind, job.learner, job.protocol, job.seed, job.fingerprint, state)
            for place, job in enumerate(jobs)
            for state in ["done" if done[job.name] else "waiting"]
        ]
        with disk_full(self._path), self.table:
            self.table.execute("BEGIN")
            self.table.execute("UPDATE jobs SET place = NULL")
            self.table.executemany(ENTER, rows)

    def begun(self, job: Job) -> None:
        """A job has been given to a worker."""
        self._change(job, "state = 'running', started = ?", time.time())

    def ended(self, outcome: Outcome) -> None:
        """A job is done, and its result written, or has failed."""
        state = "failed" if outcome.error else "done"
        self._change(
            outcome.job,
            "state = ?, tries = tries + ?, cpu_seconds = ?, wall_seconds = ?, ended = ?, traceback = ?",
            state,
            outcome.tries,
            outcome.cpu_seconds,
            outcome.wall_seconds,
            time.time(),
            outcome.error,
        )

    def _change(self, job: Job, what: str, *values: object) -> None:
        with disk_full(self._path):
            self.table.execute(f"UPDATE jobs SET {what} WHERE name = ?", (*values, job.name))


def _opened(path: Path) -> sqlite3.Connection:
    table = sqlite3.connect(path, isolation_level=None)
    try:
        table.execute("PRAGMA journal_mode = WAL")
        table.execute("PRAGMA synchronous = NORMAL")
        table.execute(TABLE)
        (found,) = table.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise sqlite3.DatabaseError(found)
    except sqlite3.Error:
        table.close()
        raise
    return table


def read_ledger(path: Path) -> pd.DataFrame:
    """The present jobs in their order, a row each, with the columns of the table; empty where there is no table.

    Raises:
        ValueError: the file is damaged, or no table of jobs.
    """
    if not path.is_file():
        return pd.DataFrame(columns=["name", "kind", "learner", "protocol", "seed", "fingerprint", "state"])
    try:
        try:
            return _present(path, "mode=ro")
        except sqlite3.OperationalError:  # a folder in which nothing may be written, where WAL needs a file beside
            return _present(path, "immutable=1")
    except sqlite3.DatabaseError as error:
        raise ValueError(
            f"{path} holds no table of jobs that can be read ({error}); the command that made the study, given again, "
            "makes it anew and keeps the results"
        ) from error


def _present(path: Path, how: str) -> pd.DataFrame:
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?{how}", uri=True)) as table:
        found = table.execute("SELECT * FROM jobs WHERE place IS NOT NULL ORDER BY place")
        columns = [str(name) for name, *_ in found.description]
        return pd.DataFrame.from_records(found.fetchall(), columns=columns, coerce_float=True)
