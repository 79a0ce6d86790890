"""The folder of a study: results are written atomically when a job ends, by one process at a time.

A file is written under a temporary name in its own folder, flushed to the disk and then renamed, so a kill at any time
leaves either the old file or the new one. Each job ends with its completion mark: a file with the job's name and the
SHA-256 of every file of its result, sealed by its own SHA-256. The mark of a run is its file of trials, the mark of a
training is its .done file. Damage is therefore detected when a result is read, and the job is done again.
Layout of a study's folder:

    trials/          a row per trial; for each run learner=<name>/protocol=<name>/seed=<n>/<fingerprint>.parquet
    traces/, costs/  the remaining error within a reach, and counts during learning, in the same layout
    baseline/        learners trained without perturbations, one folder each
    films/           <job>-<phase>.mp4
    done/            the completion mark <job>.json of each finished job
    jobs.jsonl       the table of jobs: state, tries, durations, traceback
    logs/            the output of each worker; <job>.error.txt if the job failed
    trials.parquet   all trials of the present definition; traces.parquet and costs.parquet likewise
    summary.json     rows of protocol, learner, metric, value, low, high, seeds, failed; also as summary.csv
    pairs.csv        differences between every two learners, paired by seed
    report.html      the report

Links below this folder are not followed when results are written. A study can be divided into shards for batch queues.
A shard contains all runs of its share of the learners and seeds, and the trainings that they need, so no shard waits
for another. Shard 2 of 8 of a study in OUT is a separate study in OUT/shard-2-of-8; `merge` copies its results to OUT.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import socket
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from reach.files import (
    UNSEALED,
    DamagedError,
    check_seal,
    open_regular,
    path_inside,
    read_folder,
    remove,
    rename_damaged,
    seal,
    sha256_of,
    write_file,
    write_folder,
)
from reach.study.engine import formats
from reach.study.engine.formats import PARTS, WHOSE
from reach.study.engine.jobs import COLUMNS, IDENTITY, TIMES, Job, Outcome, digest, read_rows

State = Literal["absent", "damaged", "done"]

FILM_PHASES = ("before", "during", "after")
FOLDERS = (*PARTS, "baseline", "films", "done", "logs")
MERGED_JOBS = b"reach.jobs"  # entry in a file of all trials: hash of the names of its jobs
UNFINISHED = ".*.part-*"  # temporary names of `reach.files`
REDO = "repeat the command of the study to do this job again"
SHARD = re.compile(r"(\d+)/(\d+)")


class FolderInUseError(RuntimeError):
    """Another process writes to the study's folder."""


class Store:
    """The folder of one study."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trials_path = folder / "trials.parquet"
        self.summary_path = folder / "summary.json"
        self.summary_csv_path = folder / "summary.csv"
        self.pairs_path = folder / "pairs.csv"
        self.report_path = folder / "report.html"
        self.jobs_path = folder / "jobs.jsonl"

    @contextmanager
    def only_writer(self) -> Iterator[None]:
        """Lock the folder for this process.

        Raises:
            FolderInUseError: another process has locked the folder; the message names process and machine.
            OSError: the lock or a folder of results is a link.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with os.fdopen(open_regular(self.folder / ".lock"), "r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = file.read().strip() or "unknown"
                raise FolderInUseError(
                    f"--out: expected a folder that no other process writes, got {self.folder}, which "
                    f"is being written by process {holder}; wait for it to end, or give another folder"
                ) from None
            file.truncate(0)
            file.write(f"{os.getpid()} on {socket.gethostname()}")
            file.flush()
            for top in map(self.folder.joinpath, FOLDERS):
                for path in [top, *(Path(parent) / name for parent, names, _ in os.walk(top) for name in names)]:
                    if path.is_symlink():
                        raise OSError(f"{path} is a link, and results would be written where it leads; remove it")
            # Remove files of killed writers, also of those on other machines, because no other process writes here now.
            for name in ("", *FOLDERS):
                pattern = f"*/*/*/{UNFINISHED}" if name in PARTS else UNFINISHED
                for part in (self.folder / name).glob(pattern):
                    remove(part)
            yield

    def part_path(self, part: str, job: Job) -> Path:
        """Return the path of a run's table of this part (a key of PARTS)."""
        folder = self.folder / part / f"learner={job.learner}" / f"protocol={job.protocol}" / f"seed={job.seed}"
        return folder / f"{job.fingerprint}.parquet"

    def mark_path(self, job: Job) -> Path:
        """Return the path of the completion mark, which exists if the job is done."""
        return self.folder / "done" / f"{job.name}.json"

    def error_path(self, job: Job) -> Path:
        """Return the path of the error message of a failed job."""
        return self.folder / "logs" / f"{job.name}.error.txt"

    def log_path(self, job: Job) -> Path:
        """Return the path of the log of a job's worker."""
        return self.folder / "logs" / f"{job.name}.txt"

    def film_paths(self, job: Job) -> dict[str, Path]:
        """Return the path of each film, by phase of FILM_PHASES."""
        return {phase: self.folder / "films" / f"{job.name}-{phase}.mp4" for phase in FILM_PHASES}

    def is_done(self, job: Job) -> bool:
        """Return whether the complete result of a job exists and is undamaged."""
        return self.state(job) == "done"

    def state(self, job: Job) -> State:
        """Return the state of a job; warn of damage and name the damaged file."""
        try:
            return "done" if self.check(job) else "absent"
        except DamagedError as error:
            warnings.warn(f"{error}; its job is done again", stacklevel=1)
            return "damaged"

    def check(self, job: Job) -> bool:
        """Check the files of a job against its mark; return whether it has a mark and its result is complete.

        Raises:
            DamagedError: a file is missing, altered or belongs to another job.
        """
        digests = self.marked_files(job)
        if digests is None or (job.kind == "train" and not Path(job.folder).is_dir()):
            return False
        if job.film and digests.keys().isdisjoint(FILM_PHASES):  # a short protocol may lack some phases
            return False
        for name in digests:
            self.read_file(job, name, digests)
        return True

    def marked_files(self, job: Job) -> dict[str, str] | None:
        """Return the SHA-256 of each file of a job's result from its mark; None without a mark.

        Raises:
            DamagedError: the mark is damaged or belongs to another job.
        """
        path = self.mark_path(job)
        if not path.exists():
            return None
        data = _read_bytes(path)
        check_seal(data, path)
        try:
            mark = json.loads(data)
            name, files = mark["job"], mark["files"]
        except (KeyError, RecursionError, TypeError, ValueError) as error:
            raise DamagedError(f"{path} is damaged: {error}") from error
        if name != job.name:
            raise DamagedError(f"{path} is damaged: expected the result of job {job.name}, got that of {name}")
        if not isinstance(files, dict) or not all(isinstance(value, str) for value in files.values()):
            raise DamagedError(f"{path} is damaged: expected the SHA-256 of each file by its name, got {files!r:.200}")
        # The seal is not a signature: a mark from another folder may contain any path.
        for file in files:
            try:
                self._path_of(job, file)
            except ValueError as error:
                raise DamagedError(f"{path} is damaged: {error}") from error
        return files

    def _path_of(self, job: Job, name: str) -> Path:
        """Return the path of a file of a job's result, by its name in the mark.

        Raises:
            ValueError: the job has no file with this name.
        """
        if job.kind == "train":
            return path_inside(Path(job.folder), name)
        if name in FILM_PHASES:
            return self.film_paths(job)[name]
        if name not in PARTS:
            raise ValueError(f"expected files of {[*PARTS, *FILM_PHASES]}, got {name!r}")
        return self.part_path(name, job)

    def read_file(self, job: Job, name: str, digests: Mapping[str, str]) -> bytes:
        """Return the bytes of a file of a job's result.

        Args:
            job: the job.
            name: a part (a key of PARTS), a phase of FILM_PHASES or, for a training, a path in the learner's folder.
            digests: result of `marked_files`.

        Raises:
            DamagedError: the file is missing or altered.
        """
        path = self._path_of(job, name)
        data = _read_bytes(path)
        if sha256_of(data) != digests[name]:
            raise DamagedError(f"{path} is damaged: its SHA-256 is not the one in {self.mark_path(job)}")
        return data

    def discard_damaged(self, job: Job) -> None:
        """Prepare a damaged job to be done again: rename a damaged learner, remove the mark of a damaged run.

        The mark of a damaged training is kept until the training is done again. After a kill in between, the training
        thus still counts as damaged and is done again, even if no run needs it.
        """
        if job.kind == "protocol":
            self.mark_path(job).unlink(missing_ok=True)
        elif os.path.lexists(job.folder):
            rename_damaged(Path(job.folder))

    def write_outcome(self, outcome: Outcome) -> None:
        """Write the files of a job's result and then its mark, or write its error."""
        job = outcome.job
        if outcome.error:
            write_file(self.error_path(job), outcome.error.encode())
            return
        folder = Path(job.folder)
        if job.kind == "train":
            if outcome.folder and not folder.is_dir():
                write_folder(folder, outcome.folder)
            files = read_folder(folder)
        else:
            files = self._files_of_run(outcome)
            for name, data in files.items():
                write_file(self._path_of(job, name), data)
        digests = {name: sha256_of(data) for name, data in files.items()}
        mark = {"job": job.name, "files": digests, "seal": UNSEALED}
        write_file(self.mark_path(job), seal((json.dumps(mark, indent=1) + "\n").encode()))
        self.error_path(job).unlink(missing_ok=True)

    def _files_of_run(self, outcome: Outcome) -> dict[str, bytes]:
        """Return the contents of the films of a run, by phase, and of its tables, by part."""
        costs = [{"metric": metric, "value": value} for metric, value in sorted(outcome.cost.items())]
        files = dict(outcome.films)
        for part, rows in {"trials": outcome.rows, "costs": costs, "traces": outcome.traces}.items():
            if rows:
                frame = formats.rows_frame([{**row, **whose_of(outcome.job)} for row in rows], PARTS[part])
                files[part] = formats.parquet_bytes(frame.drop(columns=list(WHOSE)))
        return files

    def copy_from(self, other: Store, original: Job, job: Job) -> None:
        """Copy the result of job `original` from another study's folder, mark last, as the result of `job`.

        Raises:
            DamagedError: the result is damaged.
        """
        digests = other.marked_files(original) or {}
        files = {name: other.read_file(original, name, digests) for name in digests}
        if job.kind == "train":
            self.discard_damaged(job)
            write_folder(Path(job.folder), files)
        else:
            for name, data in files.items():
                write_file(self._path_of(job, name), data)
        write_file(self.mark_path(job), other.mark_path(original).read_bytes())

    def read(self, part: str, jobs: Iterable[Job]) -> pd.DataFrame:
        """Return a part (a key of PARTS) of all finished runs among `jobs`, in the order of `jobs`.

        Raises:
            DamagedError: a file is damaged; the message says how to do its run again.
        """
        tables = []
        for job in self.finished_runs(jobs):
            try:
                digests = self.marked_files(job) or {}
                if part in digests:
                    data = self.read_file(job, part, digests)
                    tables.append((formats.table_from(data, self.part_path(part, job)), whose_of(job)))
            except DamagedError as error:
                raise DamagedError(f"{error}; {REDO}") from error
        return formats.one_table(part, tables)

    def read_jobs(self) -> pd.DataFrame:
        """Return the present jobs in order, with the columns of `jobs.COLUMNS`; empty without a table.

        Raises:
            DamagedError: the file is damaged, or is not a table of jobs.
        """
        try:
            present = [row for row in read_rows(self.jobs_path).values() if row["present"]]
            return pd.DataFrame(present, columns=list(COLUMNS)).astype(dict.fromkeys(TIMES, "float64"))
        except (OSError, TypeError, ValueError) as error:
            raise DamagedError(
                f"{self.jobs_path} holds no table of jobs that can be read ({error}); repeat the command of the study "
                "to write it again; the results are kept"
            ) from error

    def write_tables(self, jobs: Sequence[Job]) -> pd.DataFrame:
        """Write trials.parquet, traces.parquet and costs.parquet of the finished runs; return the trials."""
        finished = self.finished_runs(jobs)
        notes = {MERGED_JOBS: digest([job.name for job in finished])}
        trials = self.read("trials", finished)
        for part in PARTS:
            frame = trials if part == "trials" else self.read(part, finished)
            write_file(self.folder / f"{part}.parquet", formats.parquet_bytes(frame, notes))
        return trials

    def finished_runs(self, jobs: Iterable[Job]) -> list[Job]:
        """Return the runs among `jobs` that have a mark."""
        return [job for job in jobs if job.kind == "protocol" and self.mark_path(job).is_file()]

    def write_summary(self, summary: pd.DataFrame, pairs: pd.DataFrame) -> None:
        """Write summary.json and summary.csv, and pairs.csv with the paired differences."""
        write_file(self.summary_path, formats.summary_bytes(summary))
        write_file(self.summary_csv_path, formats.csv_bytes(summary))
        write_file(self.pairs_path, formats.csv_bytes(pairs))

    def other_results(self, jobs: Iterable[Job]) -> int:
        """Return the number of results in the folder that belong to none of `jobs`."""
        known = {self.mark_path(job) for job in jobs}
        return sum(mark not in known for mark in self.folder.glob("done/[!.]*.json"))


def whose_of(job: Job) -> dict[str, Any]:
    """Return the values of WHOSE, which identify the rows of a job."""
    return {"learner": job.learner, "protocol": job.protocol, "seed": job.seed}


def load(path: str | Path, part: str = "trials") -> pd.DataFrame:
    """Return the results of a study as a table; while the study runs, those of the finished runs.

    Args:
        path: the study's folder, or a file such as its trials.parquet.
        part: "trials" (a row per trial), "traces" (the remaining error within a reach, by block) or "costs".

    Raises:
        FileNotFoundError: there are no results.
        DamagedError: a file is damaged; the message names it.
        ValueError: the part is unknown.
    """
    path = Path(path)
    if part not in PARTS:
        raise ValueError(f"part: expected one of {list(PARTS)}, got {part!r}")
    if path.is_file():
        return read_whole(path)
    store = Store(path)
    present = store.read_jobs()
    whole = path / f"{part}.parquet"
    if present.empty and whole.is_file():
        return read_whole(whole)
    rows = present[present["kind"] == "protocol"].to_dict("records")
    try:
        runs = [Job(folder="", factory="", **{name: row[name] for name in IDENTITY}) for row in rows]
    except ValueError as error:
        raise DamagedError(f"{store.jobs_path} is damaged: {error}") from error
    finished = store.finished_runs(runs)
    if whole.is_file():
        try:
            table = formats.table_from(_read_bytes(whole), whole)
            if table.schema.metadata.get(MERGED_JOBS) == digest([job.name for job in finished]).encode():
                return formats.frame_of(table)
        except DamagedError as error:
            warnings.warn(f"{error}; the files of single runs are read instead", stacklevel=2)
    if not finished:
        raise FileNotFoundError(f"expected a folder with results, written by scripts/compare.py --out, got {path}")
    return store.read(part, finished)


def read_whole(file: Path) -> pd.DataFrame:
    """Return the table in a sealed Parquet file.

    Raises:
        DamagedError: the file is damaged, or was not written by this version.
    """
    try:
        return formats.frame_of(formats.table_from(_read_bytes(file), file))
    except DamagedError as error:
        raise DamagedError(f"{error}; repeat the command that wrote it") from error


def _read_bytes(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        DamagedError: the file is missing or cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DamagedError(f"{path} is damaged: {error.strerror}") from error


@dataclass(frozen=True)
class Shard:
    """Shard `number` of `of` shards, counted from 1."""

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise ValueError(f"shard: expected 1/{self.of} to {self.of}/{self.of}, got {self.number}/{self.of}")

    @classmethod
    def read(cls, text: str) -> Shard:
        """Return the shard for a text "K/N"."""
        match = SHARD.fullmatch(text)
        if match is None:
            raise ValueError(f"shard: expected K/N, such as 1/8, got {text!r}")
        return cls(int(match[1]), int(match[2]))

    def folder(self, out: Path) -> Path:
        """Return the folder of this shard of the study in `out`."""
        return out / f"shard-{self.number}-of-{self.of}"

    def of_jobs(self, jobs: Sequence[Job]) -> list[Job]:
        """Return this shard's jobs in order; a training and all its runs are in the same shard."""
        units = {unit: place for place, unit in enumerate(dict.fromkeys((job.learner, job.seed) for job in jobs))}
        return [job for job in jobs if units[job.learner, job.seed] % self.of == self.number - 1]


def shard_folders(out: Path) -> list[Path]:
    """Return the folders of shards in a study's folder."""
    return sorted(path for path in out.glob("shard-*-of-*") if path.is_dir())


def merge(store: Store, jobs: Iterable[Job], folders: Iterable[Path]) -> int:
    """Copy finished results of `jobs` from other studies' folders; return the number of copied jobs.

    The other folders are not changed, and studies in them may still be running. Damaged results are skipped with a
    warning. Results of another definition, which have another fingerprint, are skipped too.
    """
    jobs, copied = list(jobs), 0
    for folder in folders:
        other = Store(folder)
        for job in jobs:
            original = replace(job, folder=str(folder / "baseline" / Path(job.folder).name))
            if not store.is_done(job) and other.is_done(original):
                store.copy_from(other, original, job)
                copied += 1
    return copied
