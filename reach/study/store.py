"""Where a study's results lie on disk, written whole or not at all.

A file is written under a temporary name in its own folder, flushed to the disk and then renamed, so a kill at
any moment leaves either the old file or the new one. Layout of a study's folder:

    trials.parquet   a row a trial, of every finished run of the present definition
    summary.json     rows of learner, protocol, metric, value, low, high, seeds
    report.html      the page
    jobs/            one file per finished job, by name and fingerprint; <name>.error.txt if it failed
    films/           <name>-<phase>.mp4
    baseline/        learners trained without a perturbation, one folder each
    logs/            what each worker printed
"""

from __future__ import annotations

import fcntl
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from reach.study.jobs import Job

TEMPORARY = ".part-"  # how the name of a file begins that is not yet whole
SIGNIFICANT_DIGITS = 6  # of a number in summary.json
FILM_PHASES = ("before", "during", "after")

# Columns of trials.parquet with their types; the first three say whose trial it is.
COLUMNS: dict[str, str] = {
    "learner": "str",
    "protocol": "str",
    "seed": "int64",
    "trial": "int64",
    "block": "str",
    "trial_in_block": "int64",
    "probe": "bool",
    "cup_x": "float64",
    "cup_y": "float64",
    "launch_error_deg": "float64",
    "endpoint_error_cm": "float64",
    "time_to_success_s": "float64",
    "success": "bool",
    "attempts": "int64",
    "tipped": "bool",
    "reward": "float64",
    "duration_s": "float64",
}


def write_whole(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a reader sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def trials_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Trial rows as a table with the columns of COLUMNS, in that order, then any further ones by name."""
    frame = pd.DataFrame(list(rows), columns=None if rows else list(COLUMNS))
    missing = [column for column in COLUMNS if column not in frame.columns]
    if missing:
        raise ValueError(f"trial rows lack the columns {missing}; a row has {list(COLUMNS)}")
    further = sorted(set(map(str, frame.columns)) - set(COLUMNS))
    return frame[[*COLUMNS, *further]].astype(COLUMNS)


def parquet_bytes(frame: pd.DataFrame, notes: Mapping[str, str] | None = None) -> bytes:
    """A table as the bytes of a Parquet file; `notes` go into the file's own metadata."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    if notes:
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), **notes})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())


def plain_number(value: Any) -> Any:
    """A number with few enough digits to be the same on every rerun; None for inf ("never") and NaN."""
    if isinstance(value, bool) or not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}") + 0.0  # + 0.0 turns -0.0 into 0.0


def summary_bytes(summary: pd.DataFrame) -> bytes:
    """summary.json: one row a line, in the order given, strict JSON."""
    columns = [str(column) for column in summary.columns]
    values = (summary[column].tolist() for column in columns)
    rows = (dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True))
    lines = [json.dumps({key: plain_number(value) for key, value in row.items()}, allow_nan=False) for row in rows]
    return ("[\n" + ",\n".join(lines) + "\n]\n").encode()


class FolderInUseError(RuntimeError):
    """Another process writes to the study's folder."""


class Store:
    """The folder of one study."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trials_path = folder / "trials.parquet"
        self.summary_path = folder / "summary.json"
        self.report_path = folder / "report.html"

    @contextmanager
    def only_writer(self) -> Iterator[None]:
        """Hold the folder for this process; a second process that asks is refused by name."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = self.folder / ".lock"
        with lock.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                holder = file.read().strip() or "unknown"
                raise FolderInUseError(
                    f"{self.folder} is being written by process {holder}; wait for it to end, or give another --out"
                ) from None
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            self._remove_parts()
            yield

    def _remove_parts(self) -> None:
        for folder in (self.folder, self.folder / "jobs", self.folder / "films"):
            for part in folder.glob(f"{TEMPORARY}*"):
                with suppress(FileNotFoundError):
                    part.unlink()

    def result_path(self, job: Job) -> Path:
        suffix = ".parquet" if job.kind == "protocol" else ".done"
        return self.folder / "jobs" / f"{job.name}{suffix}"

    def error_path(self, job: Job) -> Path:
        return self.folder / "jobs" / f"{job.name}.error.txt"

    def log_path(self, job: Job) -> Path:
        return self.folder / "logs" / f"{job.name}.txt"

    def film_paths(self, job: Job) -> dict[str, Path]:
        """Phase -> where its film lies, for the phases of FILM_PHASES."""
        return {phase: self.folder / "films" / f"{job.name}-{phase}.mp4" for phase in FILM_PHASES}

    def is_done(self, job: Job) -> bool:
        """Whether all the job was asked for is there."""
        if not self.result_path(job).is_file():
            return False
        if job.kind == "train":
            return Path(job.folder).is_dir()
        return not job.film or all(path.is_file() for path in self.film_paths(job).values())

    def write_result(self, job: Job, rows: Sequence[Mapping[str, Any]], films: Mapping[str, bytes]) -> None:
        """Keep what a job gave: its films first, so that its result stands for all of it."""
        for phase, data in films.items():
            write_whole(self.film_paths(job)[phase], data)
        if job.kind == "protocol":
            whose = {"learner": job.learner, "protocol": job.protocol, "seed": job.seed}
            frame = trials_frame([{**row, **whose} for row in rows])
            data = parquet_bytes(frame, {"reach.fingerprint": job.fingerprint})
        else:
            data = (job.to_json() + "\n").encode()
        write_whole(self.result_path(job), data)
        self.error_path(job).unlink(missing_ok=True)

    def write_error(self, job: Job, text: str) -> None:
        write_whole(self.error_path(job), text.encode())

    def read_trials(self, jobs: Iterable[Job]) -> pd.DataFrame:
        """The trials of all finished runs among `jobs`, in the order of `jobs`."""
        frames = []
        for job in jobs:
            path = self.result_path(job)
            if job.kind == "protocol" and path.is_file():
                frames.append(pd.read_parquet(path))
        if not frames:
            return trials_frame([])
        return pd.concat(frames, ignore_index=True)

    def write_trials(self, trials: pd.DataFrame) -> None:
        write_whole(self.trials_path, parquet_bytes(trials))

    def write_summary(self, summary: pd.DataFrame) -> None:
        write_whole(self.summary_path, summary_bytes(summary))

    def other_results(self, jobs: Iterable[Job]) -> int:
        """How many results in the folder belong to none of `jobs` (another definition, or not asked for)."""
        known = {self.result_path(job).name for job in jobs}
        files = [*self.folder.glob("jobs/[!.]*.parquet"), *self.folder.glob("jobs/*.done")]
        return sum(file.name not in known for file in files)


def load(path: str | Path) -> pd.DataFrame:
    """The trials of a study as a table, a row a trial.

    path: the study's folder, or a trials.parquet file.
    """
    path = Path(path)
    file = path / "trials.parquet" if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"{path} holds no trials.parquet; make one with scripts/compare.py --out {path}")
    return pd.read_parquet(file)
