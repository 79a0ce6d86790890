"""The folder of a study: results are written whole, as each job ends, and by one process at a time.

A file is written under a temporary name in its own folder, flushed to the disk and then renamed, so a kill at
any moment leaves either the old file or the new one. Layout of a study's folder:

    trials/          a row a trial: learner=<name>/protocol=<name>/seed=<n>/<fingerprint>.parquet, one a finished run
    traces/, costs/  the remaining error within a reach, and what was counted while learning, in the same layout
    baseline/        learners trained without a perturbation, one folder each, and <folder>.done where it is whole
    films/           <job>-<phase>.mp4
    jobs.sqlite      the table of jobs: state, tries, seconds, traceback
    logs/            what each worker printed; <job>.error.txt if it failed
    trials.parquet   all trials of the present definition in one file; traces.parquet and costs.parquet likewise
    summary.json     rows of protocol, learner, metric, value, low, high, seeds, failed; summary.csv the same
    report.html      the page

A run is done when its file of trials is there; everything else of it is written before.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from reach.study.frames import PARTS, WHOSE, parquet_bytes, rows_frame, summary_bytes, summary_csv_bytes
from reach.study.jobs import Job, digest
from reach.study.ledger import read_ledger
from reach.study.outcome import Outcome
from reach.study.whole_files import TEMPORARY, sync_folder, write_whole

__all__ = ["FILM_PHASES", "FolderInUseError", "Store", "load", "write_whole"]

FILM_PHASES = ("before", "during", "after")
DAMAGE = (OSError, ValueError, pa.ArrowException)  # what reading a damaged Parquet file raises
HELD_JOBS = b"reach.jobs"  # of which jobs a file of all trials was made


class FolderInUseError(RuntimeError):
    """Another process writes to the study's folder."""


class Store:
    """The folder of one study."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trials_path = folder / "trials.parquet"
        self.summary_path = folder / "summary.json"
        self.summary_csv_path = folder / "summary.csv"
        self.report_path = folder / "report.html"
        self.ledger_path = folder / "jobs.sqlite"

    @contextmanager
    def only_writer(self) -> Iterator[None]:
        """Hold the folder for this process.

        Raises:
            FolderInUseError: another process holds it; the message says which, and on which machine.
        """
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
            file.write(f"{os.getpid()} on {socket.gethostname()}")
            file.flush()
            self._remove_parts()
            yield

    def _remove_parts(self) -> None:
        for name in ("", *PARTS, "films", "logs", "baseline"):
            pattern = f"*/*/*/{TEMPORARY}*" if name in PARTS else f"{TEMPORARY}*"
            for part in (self.folder / name).glob(pattern):
                with suppress(FileNotFoundError, IsADirectoryError):
                    part.unlink()

    def part_path(self, part: str, job: Job) -> Path:
        """Where a run's table of this part (a key of PARTS) lies."""
        whose = self.folder / part / f"learner={job.learner}" / f"protocol={job.protocol}" / f"seed={job.seed}"
        return whose / f"{job.fingerprint}.parquet"

    def result_path(self, job: Job) -> Path:
        """The file that is there when the job is done."""
        if job.kind == "protocol":
            return self.part_path("trials", job)
        return self.folder / "baseline" / f"{Path(job.folder).name}.done"

    def error_path(self, job: Job) -> Path:
        return self.folder / "logs" / f"{job.name}.error.txt"

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

    def write_outcome(self, outcome: Outcome) -> None:
        """Keep what a job gave, and last the file that says it is done; or keep its error."""
        job = outcome.job
        if outcome.error:
            write_whole(self.error_path(job), outcome.error.encode())
            return
        if job.kind == "train":
            self._write_folder(Path(job.folder), outcome.folder)
            write_whole(self.result_path(job), (job.fingerprint + "\n").encode())
        else:
            costs = [{"metric": metric, "value": value} for metric, value in sorted(outcome.cost.items())]
            for phase, data in outcome.films.items():
                write_whole(self.film_paths(job)[phase], data)
            self._write_part("costs", job, costs)
            self._write_part("traces", job, outcome.traces)
            self._write_part("trials", job, outcome.rows)
        self.error_path(job).unlink(missing_ok=True)

    def _write_part(self, part: str, job: Job, rows: Sequence[Mapping[str, Any]]) -> None:
        if not rows and part != "trials":
            return
        frame = rows_frame([{**row, **whose_of(job)} for row in rows], PARTS[part])
        data = parquet_bytes(frame.drop(columns=list(WHOSE)), {"reach.fingerprint": job.fingerprint})
        write_whole(self.part_path(part, job), data)

    @staticmethod
    def _write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
        """Put a learner that came by value where the job would have left it."""
        if not files or folder.is_dir():
            return
        whole = folder.with_name(f"{folder.name}.arriving")
        for name, data in files.items():
            write_whole(whole / name, data)
        whole.replace(folder)
        sync_folder(folder.parent)

    def read(self, part: str, jobs: Iterable[Job]) -> pd.DataFrame:
        """A part (a key of PARTS) of all finished runs among `jobs`, in the order of `jobs`.

        Raises:
            ValueError: a file is damaged; the message says how its run is done anew.
        """
        runs = [job for job in jobs if job.kind == "protocol" and self.part_path(part, job).is_file()]
        return one_table(part, [(self._read_part(part, job), whose_of(job)) for job in runs])

    def _read_part(self, part: str, job: Job) -> pa.Table:
        path = self.part_path(part, job)
        try:
            return pq.ParquetFile(path, memory_map=True).read()
        except DAMAGE as error:
            raise ValueError(
                f"{path} is damaged ({error}); delete {self.result_path(job)}, and the command that made the study, "
                "given again, does this run anew"
            ) from error

    def read_trials(self, jobs: Iterable[Job]) -> pd.DataFrame:
        """The trials of all finished runs among `jobs`, in the order of `jobs`."""
        return self.read("trials", jobs)

    def read_jobs(self) -> pd.DataFrame:
        """The table of the present jobs: state, tries, cpu_seconds, wall_seconds, started, ended, traceback."""
        return read_ledger(self.ledger_path)

    def write_tables(self, jobs: Sequence[Job]) -> pd.DataFrame:
        """Write trials.parquet, traces.parquet and costs.parquet of the finished runs; gives the trials."""
        held = [job for job in jobs if job.kind == "protocol" and self.result_path(job).is_file()]
        notes = {HELD_JOBS.decode(): digest([job.name for job in held])}
        trials = self.read("trials", held)
        for part in PARTS:
            frame = trials if part == "trials" else self.read(part, held)
            write_whole(self.folder / f"{part}.parquet", parquet_bytes(frame, notes))
        return trials

    def write_summary(self, summary: pd.DataFrame) -> None:
        write_whole(self.summary_path, summary_bytes(summary))
        write_whole(self.summary_csv_path, summary_csv_bytes(summary))

    def other_results(self, jobs: Iterable[Job]) -> int:
        """How many results in the folder belong to none of `jobs` (another definition, or not asked for)."""
        known = {self.result_path(job) for job in jobs}
        files = [*self.folder.glob("trials/*/*/*/[!.]*.parquet"), *self.folder.glob("baseline/[!.]*.done")]
        return sum(file not in known for file in files)


def whose_of(job: Job) -> dict[str, Any]:
    """The columns that say whose rows they are."""
    return {"learner": job.learner, "protocol": job.protocol, "seed": job.seed}


def one_table(part: str, tables: Sequence[tuple[pa.Table, Mapping[str, Any]]]) -> pd.DataFrame:
    """Tables of one part in one, in the order given; each comes with its columns of WHOSE."""
    if not tables:
        return rows_frame([], PARTS[part])
    whole = pa.concat_tables([table for table, _ in tables], promote_options="default").replace_schema_metadata(None)
    lengths = [len(table) for table, _ in tables]
    for place, column in enumerate(WHOSE):
        repeated = np.repeat(np.array([whose[column] for _, whose in tables]), lengths)
        whole = whole.add_column(place, column, pa.array(repeated))
    found: pd.DataFrame = whole.to_pandas().astype(PARTS[part])
    return found


def load(path: str | Path, part: str = "trials") -> pd.DataFrame:
    """A study's results as a table; while it runs, of the runs that are finished.

    Args:
        path: the study's folder, or a file such as its trials.parquet.
        part: "trials" (a row a trial), "traces" (the remaining error within a reach, by block) or "costs".

    Raises:
        FileNotFoundError: there are no results.
        ValueError: an unknown part, or a file that is damaged.
    """
    path = Path(path)
    if part not in PARTS:
        raise ValueError(f"part is {part!r}; {list(PARTS)} are allowed")
    if path.is_file():
        return _read_whole(path)
    store = Store(path)
    present = store.read_jobs()
    rows: list[dict[str, Any]] = [{str(k): v for k, v in row.items()} for row in present.to_dict("records")]
    runs = [
        Job("protocol", row["learner"], row["seed"], "", "", row["fingerprint"], row["protocol"])
        for row in rows
        if row["kind"] == "protocol" and row["state"] == "done"
    ]
    whole = path / f"{part}.parquet"
    if whole.is_file() and (present.empty or _is_of(whole, runs)):
        return _read_whole(whole)
    if not any(store.result_path(run).is_file() for run in runs):
        raise FileNotFoundError(f"{path} holds no results; make some with scripts/compare.py --out {path}")
    return store.read(part, runs)


def _read_whole(file: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(file)
    except DAMAGE as error:
        raise ValueError(
            f"{file} is damaged ({error}); the command that made it, given again, writes it anew"
        ) from error


def _is_of(file: Path, runs: Sequence[Job]) -> bool:
    """Whether a file of a whole part was made of just these runs."""
    try:
        notes: dict[bytes, bytes] = pq.read_schema(file).metadata or {}
    except DAMAGE:
        return False
    return notes.get(HELD_JOBS, b"").decode() == digest([job.name for job in runs])
