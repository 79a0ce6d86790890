"""The folder of a study: results are written whole, as each job ends, and by one process at a time.

A file is written under a temporary name in its own folder, flushed to the disk and then renamed, so a kill at
any moment leaves either the old file or the new one. Each job ends with its mark of completion: a file with the job's
name and the SHA-256 of every file that the job gave, sealed by its own SHA-256. The mark of a run is its file of
trials, that of a training its .done file. So damage is noticed when a result is read, and its job is done again.
Layout of a study's folder:

    trials/          a row a trial: learner=<name>/protocol=<name>/seed=<n>/<fingerprint>.parquet, one a finished run
    traces/, costs/  the remaining error within a reach, and what was counted while learning, in the same layout
    baseline/        learners trained without a perturbation, one folder each, and <folder>.done, its mark
    films/           <job>-<phase>.mp4
    jobs.sqlite      the table of jobs: state, tries, seconds, traceback
    logs/            what each worker printed; <job>.error.txt if it failed
    trials.parquet   all trials of the present definition in one file; traces.parquet and costs.parquet likewise
    summary.json     rows of protocol, learner, metric, value, low, high, seeds, failed; summary.csv the same
    report.html      the page

Links below this folder are not followed when results are written.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import socket
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from reach.files import below, open_regular, set_aside, write_file, write_folder
from reach.study.engine.formats import (
    PARTS,
    UNSEALED,
    WHOSE,
    DamagedError,
    check_seal,
    frame_from,
    notes_of,
    parquet_bytes,
    rows_frame,
    seal,
    sha256_of,
    summary_bytes,
    summary_csv_bytes,
    table_from,
)
from reach.study.engine.jobs import Job, Outcome, digest
from reach.study.engine.ledger import read_ledger

State = Literal["absent", "damaged", "done"]
FILM_PHASES = ("before", "during", "after")
FOLDERS = (*PARTS, "baseline", "films", "logs")
HELD_JOBS = "reach.jobs"  # in a file of all trials: of which jobs it was made
# In a file of trials, which is the mark of its run: the job's name, and the SHA-256 of its other files as JSON.
MARKED_JOB, MARKED_FILES = "reach.job", "reach.files"
UNFINISHED = ".*.part-*"  # temporary names of `reach.files`
REDO = "the command that made the study, given again, does this job again"


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
        with os.fdopen(open_regular(self.folder / ".lock"), "r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = file.read().strip() or "unknown"
                raise FolderInUseError(
                    f"{self.folder} is being written by process {holder}; wait for it to end, or give another --out"
                ) from None
            file.truncate(0)
            file.write(f"{os.getpid()} on {socket.gethostname()}")
            file.flush()
            self._refuse_linked_folders()
            self._remove_parts()
            yield

    def _refuse_linked_folders(self) -> None:
        for folder in FOLDERS:
            below = [self.folder / folder]
            below += [Path(at) / name for at, names, _ in os.walk(below[0]) for name in names]
            for path in below:
                if path.is_symlink():
                    raise OSError(f"{path} is a link, and results would be written where it leads; remove it")

    def _remove_parts(self) -> None:
        for name in ("", *FOLDERS):
            # Also those of other machines: nobody else writes here now.
            pattern = f"*/*/*/{UNFINISHED}" if name in PARTS else UNFINISHED
            for part in (self.folder / name).glob(pattern):
                if part.is_dir() and not part.is_symlink():
                    shutil.rmtree(part, ignore_errors=True)
                else:
                    part.unlink(missing_ok=True)

    def part_path(self, part: str, job: Job) -> Path:
        """Where a run's table of this part (a key of PARTS) lies."""
        whose = self.folder / part / f"learner={job.learner}" / f"protocol={job.protocol}" / f"seed={job.seed}"
        return whose / f"{job.fingerprint}.parquet"

    def result_path(self, job: Job) -> Path:
        """The mark of completion: the file that is there when the job is done."""
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
        """Return whether all the job was asked for is there, undamaged."""
        return self.state(job) == "done"

    def state(self, job: Job) -> State:
        """Return whether a job is done; warn of damage, and name the file."""
        try:
            return "done" if self._is_whole(job) else "absent"
        except DamagedError as error:
            warnings.warn(f"{error}; its job is done again", stacklevel=1)
            return "damaged"

    def check(self, job: Job) -> None:
        """Check what a job gave against its mark; a job without a mark passes.

        Raises:
            DamagedError: a file is missing, altered or that of another job.
        """
        self._is_whole(job)

    def _is_whole(self, job: Job) -> bool:
        digests = self.marked_files(job)
        if digests is None:
            return False
        if job.kind == "train" and not Path(job.folder).is_dir():
            return False
        if job.film and not all(phase in digests for phase in FILM_PHASES):
            return False
        for name in digests:
            self.read_file(job, name, digests)
        return True

    def marked_files(self, job: Job) -> dict[str, str] | None:
        """Return the SHA-256 of each file that a job gave, as its mark says; None without a mark.

        Raises:
            DamagedError: the mark is damaged, or that of another job.
        """
        path = self.result_path(job)
        if not path.exists():
            return None
        data = _bytes_of(path)
        if job.kind == "protocol":
            notes = notes_of(data, path)
            name, files = notes.get(MARKED_JOB), _json_of(notes.get(MARKED_FILES, "{}"), path)
        else:
            check_seal(data, path)
            mark = _json_of(data, path)
            name, files = (mark.get("job"), mark.get("files")) if isinstance(mark, dict) else (None, None)
        if name != job.name:
            raise DamagedError(f"{path} is damaged: it is the result of job {name}, not of {job.name}")
        if not isinstance(files, dict) or not all(isinstance(value, str) for value in files.values()):
            raise DamagedError(f"{path} is damaged: {files!r:.200} is no list of files with the SHA-256 of each")
        # The seal has no key: a mark from another folder may name any path.
        for file in files:
            self._check_file_name(job, file, path)
        return files

    def _check_file_name(self, job: Job, name: str, mark: Path) -> None:
        """Refuse a name in a mark that is no file of the job.

        Raises:
            DamagedError: the message names the mark.
        """
        if job.kind == "protocol":
            if name not in (*PARTS, *FILM_PHASES):
                raise DamagedError(f"{mark} is damaged: it names {name!r}; {[*PARTS, *FILM_PHASES]} are allowed")
            return
        try:
            below(Path(job.folder), name)
        except ValueError as error:
            raise DamagedError(f"{mark} is damaged: {error}") from error

    def read_file(self, job: Job, name: str, digests: Mapping[str, str]) -> bytes:
        """Return the bytes of a file that a job gave.

        Args:
            job: that gave it.
            name: a part (a key of PARTS), a phase of FILM_PHASES or, of a training, a path in the learner's folder.
            digests: what `marked_files` returned.

        Raises:
            DamagedError: the file is missing or altered.
        """
        if job.kind == "train":
            path = below(Path(job.folder), name)
        else:
            path = self.film_paths(job)[name] if name in FILM_PHASES else self.part_path(name, job)
        data = _bytes_of(path)
        if sha256_of(data) != digests[name]:
            raise DamagedError(f"{path} is damaged: its SHA-256 is not the one in {self.result_path(job)}")
        return data

    def make_way(self, job: Job) -> None:
        """Have a damaged job start again: rename a damaged learner, remove the mark of a damaged run.

        The mark of a damaged training is kept until the training is done again, so that a kill in between leaves it to
        be done even where no run needs it.
        """
        if job.kind == "protocol":
            self.result_path(job).unlink(missing_ok=True)
        elif os.path.lexists(job.folder):
            set_aside(Path(job.folder))

    def write_outcome(self, outcome: Outcome) -> None:
        """Keep what a job gave, and last its mark; or keep its error."""
        job = outcome.job
        if outcome.error:
            write_file(self.error_path(job), outcome.error.encode())
            return
        if job.kind == "train":
            folder = Path(job.folder)
            if outcome.folder and not folder.is_dir():
                write_folder(folder, outcome.folder)
            self._write_training_mark(job)
        else:
            digests = {}
            for phase, data in outcome.films.items():
                write_file(self.film_paths(job)[phase], data)
                digests[phase] = sha256_of(data)
            costs = [{"metric": metric, "value": value} for metric, value in sorted(outcome.cost.items())]
            for part, rows in (("costs", costs), ("traces", outcome.traces)):
                if rows:
                    digests[part] = self._write_part(part, job, rows)
            self._write_part("trials", job, outcome.rows, {MARKED_FILES: json.dumps(digests, sort_keys=True)})
        self.error_path(job).unlink(missing_ok=True)

    def _write_training_mark(self, job: Job) -> None:
        folder = Path(job.folder)
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        digests = {file.relative_to(folder).as_posix(): sha256_of(file.read_bytes()) for file in files}
        for name in digests:
            below(folder, name)
        mark = {"job": job.name, "files": digests, "seal": UNSEALED}
        write_file(self.result_path(job), seal((json.dumps(mark, indent=1) + "\n").encode()))

    def _write_part(
        self, part: str, job: Job, rows: Sequence[Mapping[str, Any]], notes: Mapping[str, str] | None = None
    ) -> str:
        frame = rows_frame([{**row, **whose_of(job)} for row in rows], PARTS[part])
        data = parquet_bytes(frame.drop(columns=list(WHOSE)), {MARKED_JOB: job.name, **(notes or {})})
        write_file(self.part_path(part, job), data)
        return sha256_of(data)

    def take(self, job: Job, other: Store, there: Job) -> None:
        """Copy what a job gave from another study's folder, where it is called `there`; its mark last.

        Raises:
            DamagedError: something of it is damaged there.
        """
        digests = other.marked_files(there) or {}
        files = {name: other.read_file(there, name, digests) for name in digests}
        if job.kind == "train":
            self.make_way(job)
            write_folder(Path(job.folder), files)
        else:
            for name, data in files.items():
                write_file(self.film_paths(job)[name] if name in FILM_PHASES else self.part_path(name, job), data)
        write_file(self.result_path(job), other.result_path(there).read_bytes())

    def read(self, part: str, jobs: Iterable[Job]) -> pd.DataFrame:
        """Return a part (a key of PARTS) of all finished runs among `jobs`, in the order of `jobs`.

        Raises:
            DamagedError: a file is damaged; the message says how its run is done again.
        """
        found = [(self._read_part(part, job), whose_of(job)) for job in jobs if job.kind == "protocol"]
        return one_table(part, [(table, whose) for table, whose in found if table is not None])

    def _read_part(self, part: str, job: Job) -> pa.Table | None:
        try:
            digests = self.marked_files(job)
            if digests is None or (part != "trials" and part not in digests):
                return None
            path = self.part_path(part, job)
            return table_from(_bytes_of(path) if part == "trials" else self.read_file(job, part, digests), path)
        except DamagedError as error:
            raise DamagedError(f"{error}; {REDO}") from error

    def read_trials(self, jobs: Iterable[Job]) -> pd.DataFrame:
        """The trials of all finished runs among `jobs`, in the order of `jobs`."""
        return self.read("trials", jobs)

    def read_jobs(self) -> pd.DataFrame:
        """The table of the present jobs: state, tries, cpu_seconds, wall_seconds, started, ended, traceback."""
        return read_ledger(self.ledger_path)

    def write_tables(self, jobs: Sequence[Job]) -> pd.DataFrame:
        """Write trials.parquet, traces.parquet and costs.parquet of the finished runs; gives the trials."""
        held = [job for job in jobs if job.kind == "protocol" and self.result_path(job).is_file()]
        notes = {HELD_JOBS: digest([job.name for job in held])}
        trials = self.read("trials", held)
        for part in PARTS:
            frame = trials if part == "trials" else self.read(part, held)
            write_file(self.folder / f"{part}.parquet", parquet_bytes(frame, notes))
        return trials

    def write_summary(self, summary: pd.DataFrame) -> None:
        write_file(self.summary_path, summary_bytes(summary))
        write_file(self.summary_csv_path, summary_csv_bytes(summary))

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
    """Return a study's results as a table; while it runs, those of the runs that are finished.

    Args:
        path: the study's folder, or a file such as its trials.parquet.
        part: "trials" (a row a trial), "traces" (the remaining error within a reach, by block) or "costs".

    Raises:
        FileNotFoundError: there are no results.
        DamagedError: a file is damaged; the message names it.
        ValueError: an unknown part.
    """
    path = Path(path)
    if part not in PARTS:
        raise ValueError(f"part is {part!r}; {list(PARTS)} are allowed")
    if path.is_file():
        return read_whole(path)
    store = Store(path)
    present = store.read_jobs()
    whole = path / f"{part}.parquet"
    if present.empty and whole.is_file():
        return read_whole(whole)
    rows: list[dict[str, Any]] = [{str(k): v for k, v in row.items()} for row in present.to_dict("records")]
    try:
        runs = [
            Job("protocol", row["learner"], row["seed"], "", "", row["fingerprint"], row["protocol"])
            for row in rows
            if row["kind"] == "protocol" and row["state"] == "done"
        ]
    except ValueError as error:
        raise DamagedError(f"{store.ledger_path} is damaged: {error}") from error
    if whole.is_file():
        try:
            data = _bytes_of(whole)
            if notes_of(data, whole).get(HELD_JOBS) == digest([job.name for job in runs]):
                return frame_from(data, whole)
        except DamagedError as error:
            warnings.warn(f"{error}; the files of single runs are read instead", stacklevel=2)
    if not any(store.result_path(run).is_file() for run in runs):
        raise FileNotFoundError(f"{path} holds no results; make some with scripts/compare.py --out {path}")
    return store.read(part, runs)


def read_whole(file: Path) -> pd.DataFrame:
    """Return the table that a sealed Parquet file holds.

    Raises:
        DamagedError: the file is damaged, or was not written by this version.
    """
    try:
        return frame_from(_bytes_of(file), file)
    except DamagedError as error:
        raise DamagedError(f"{error}; the command that made it, given again, writes it again") from error


def _json_of(text: str | bytes, path: Path) -> Any:
    """Return the value that JSON text in a file stands for.

    Raises:
        DamagedError: it is no JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except (RecursionError, ValueError) as error:
        raise DamagedError(f"{path} is damaged: {error}") from error


def _bytes_of(path: Path) -> bytes:
    """Return what a file holds.

    Raises:
        DamagedError: it is missing or cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DamagedError(f"{path} is damaged: {error.strerror}") from error


PATTERN = re.compile(r"(\d+)/(\d+)")


@dataclass(frozen=True)
class Shard:
    """Shard `number` of `of`, counted from 1."""

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise ValueError(f"shard is {self.number}/{self.of}; 1/{self.of} to {self.of}/{self.of} are allowed")

    @classmethod
    def read(cls, text: str) -> Shard:
        """The shard that "K/N" names."""
        found = PATTERN.fullmatch(text)
        if found is None:
            raise ValueError(f"shard is {text!r}; K/N is allowed, such as 1/8")
        return cls(int(found[1]), int(found[2]))

    def folder(self, out: Path) -> Path:
        """Where this shard of the study in `out` lies."""
        return out / f"shard-{self.number}-of-{self.of}"

    def of_jobs(self, jobs: Sequence[Job]) -> list[Job]:
        """This shard's jobs, in their order: a training and all its runs are in the same one."""
        units = {unit: place for place, unit in enumerate(dict.fromkeys((job.learner, job.seed) for job in jobs))}
        return [job for job in jobs if units[job.learner, job.seed] % self.of == self.number - 1]


def shard_folders(out: Path) -> list[Path]:
    """The folders of shards that lie in a study's folder."""
    return sorted(path for path in out.glob("shard-*-of-*") if path.is_dir())


def merge(store: Store, jobs: Iterable[Job], folders: Iterable[Path]) -> int:
    """Copy what is finished of `jobs` from other studies' folders; return how many jobs were copied.

    Nothing in those folders is changed, and one that is still being written may be read: a result is there whole or not
    at all. Damaged results are named in a warning and left, as are those of another definition, which have another
    fingerprint.
    """
    jobs, taken = list(jobs), 0
    for folder in folders:
        other = Store(folder)
        for job in jobs:
            there = replace(job, folder=str(folder / "baseline" / Path(job.folder).name))
            if store.is_done(job) or not other.is_done(there):
                continue
            store.take(job, other, there)
            taken += 1
    return taken
