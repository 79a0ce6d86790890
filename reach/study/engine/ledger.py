"""The table of a study's jobs: what waits, runs, is done or failed, and what each took.

One SQLite file in WAL mode whose only writer is the engine's own process, so workers need no disk in common and readers
may look at any moment. It is the log of the study and the order of its jobs. Only the results in the store say which
jobs are done, so a table that is lost or damaged is made again from them; it then lacks the seconds of earlier jobs.
Seconds are kept here and not beside the results because they differ on every rerun. SQLite has no checksums, so each
row holds the SHA-256 of its other fields.
"""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import pandas as pd

from reach.files import disk_full, set_aside
from reach.study.engine.formats import DamagedError, sha256_of
from reach.study.engine.jobs import Job, Outcome

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
    traceback TEXT NOT NULL DEFAULT '',
    seal TEXT NOT NULL DEFAULT ''
)
"""
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
SEAL_ROWS = f"UPDATE jobs SET seal = seal_of({', '.join(COLUMNS)})"
ENTER = """
INSERT INTO jobs (name, place, kind, learner, protocol, seed, fingerprint, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET place = excluded.place, state = CASE
    WHEN excluded.state = 'done' THEN 'done' WHEN jobs.state = 'failed' THEN 'failed' ELSE 'waiting' END
"""


# Errors of SQLite that say nothing of the file: it is in use, may not be written, or there is no room or memory.
NOT_DAMAGE = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_NOMEM,
)
# The files of a table: the table itself, and those that SQLite keeps beside it while it is open.
ENDS = ("", "-wal", "-shm", "-journal")


class Ledger:
    """The table, open for its only writer; a context manager. Times are seconds since 1970.

    A table that is damaged, or no table at all, is renamed, with a warning, and the table made again.
    """

    def __init__(self, path: Path) -> None:
        """Open the table at `path`, or make it.

        Raises:
            DiskFullError: there is no room.
            OSError: it cannot be written; the message names it and says why.
        """
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with _told(path):
            try:
                self.table = _opened(path)
            except DamagedError as error:
                # What was under way in the damaged file must not be taken for the new one's.
                aside = [set_aside(Path(f"{path}{end}")) for end in ENDS if os.path.lexists(f"{path}{end}")]
                warnings.warn(f"{error}; it is made again, and the old one is kept as {aside[0]}", stacklevel=2)
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
        with _told(self._path), self.table:
            self.table.execute("BEGIN")
            self.table.execute("UPDATE jobs SET place = NULL")
            self.table.executemany(ENTER, rows)
            self.table.execute(SEAL_ROWS)

    def begun(self, job: Job) -> None:
        """Note that a job has been given to a worker."""
        self._change(job, "state = 'running', started = ?", time.time())

    def ended(self, outcome: Outcome) -> None:
        """Note that a job is done, and its result written, or has failed."""
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
        with _told(self._path), self.table:
            self.table.execute("BEGIN")
            self.table.execute(f"UPDATE jobs SET {what} WHERE name = ?", (*values, job.name))
            self.table.execute(f"{SEAL_ROWS} WHERE name = ?", (job.name,))


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn an error of SQLite into an `OSError` that names the file."""
    try:
        with disk_full(path):
            yield
    except sqlite3.Error as error:
        raise OSError(
            f"{path} cannot be written ({error}); close other programs that use it, check its permissions and the "
            "disk, and give the same command again"
        ) from error


def _opened(path: Path) -> sqlite3.Connection:
    table = connect_to_file(path, isolation_level=None)
    try:
        table.create_function("seal_of", len(COLUMNS), _seal_of, deterministic=True)
        with _damage(path):
            table.execute("PRAGMA journal_mode = WAL")
            table.execute("PRAGMA synchronous = NORMAL")
            table.execute(TABLE)
            _read(table, path, "")
    except (sqlite3.Error, DamagedError):
        table.close()
        raise
    return table


def connect_to_file(path: Path, **options: Any) -> sqlite3.Connection:
    """Open a database of SQLite for writing, or create it; `options` are those of `sqlite3.connect`.

    Raises:
        DamagedError: it, or a file that SQLite keeps beside it, is a link, folder, pipe or device.
    """
    for end in ENDS:
        _check_that_it_is_a_file(Path(f"{path}{end}"))
    table: sqlite3.Connection = sqlite3.connect(path, **options)
    return table


def _check_that_it_is_a_file(path: Path) -> None:
    """Let SQLite follow no link, and open no folder and no pipe."""
    if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
        raise DamagedError(f"{path} is no regular file, but a link, folder, pipe or device")


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turn what SQLite raises for a damaged file into a `DamagedError`."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        # A damaged header can forbid writing, which the permissions allow.
        forbidden = code != sqlite3.SQLITE_READONLY or not (
            os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
        )
        if code in NOT_DAMAGE and forbidden:
            raise
        raise DamagedError(f"{path} is damaged ({error})") from error


def _seal_of(*fields: object) -> str:
    return sha256_of(json.dumps(fields).encode())


def _read(table: sqlite3.Connection, path: Path, which: str) -> pd.DataFrame:
    """Return rows of the table, all of it checked.

    Raises:
        DamagedError: the file is damaged, or a row is not as it was written.
    """
    table.text_factory = lambda text: text.decode(errors="replace")
    (found,) = table.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise DamagedError(f"{path} is damaged ({found})")
    rows = table.execute(f"SELECT {', '.join(COLUMNS)}, seal FROM jobs {which}").fetchall()
    if any(_seal_of(*fields) != seal for *fields, seal in rows):
        raise DamagedError(f"{path} is damaged (a row does not match its SHA-256)")
    return pd.DataFrame.from_records([row[:-1] for row in rows], columns=list(COLUMNS), coerce_float=True)


def read_ledger(path: Path) -> pd.DataFrame:
    """Return the present jobs in their order, a row each, with the columns of the table; empty without a table.

    Raises:
        DamagedError: the file is damaged, or no table of jobs.
    """
    if not os.path.lexists(path):
        return pd.DataFrame(columns=["name", "kind", "learner", "protocol", "seed", "fingerprint", "state"])
    try:
        _check_that_it_is_a_file(path)
        with _damage(path):
            try:
                return _present(path, "mode=ro")
            except sqlite3.OperationalError:  # a folder in which nothing may be written, where WAL needs a file beside
                return _present(path, "immutable=1")
    except (DamagedError, sqlite3.Error) as error:
        raise DamagedError(
            f"{path} holds no table of jobs that can be read ({error}); the command that made the study, given again, "
            "makes it again and keeps the results"
        ) from error


def _present(path: Path, how: str) -> pd.DataFrame:
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?{how}", uri=True)) as table:
        found = _read(table, path, "WHERE place IS NOT NULL ORDER BY place")
    if found["place"].tolist() != list(range(len(found))):
        raise DamagedError(f"{path} is damaged (rows are missing)")
    return found
