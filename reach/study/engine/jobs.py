"""What is to be computed, one job per training and per run through a protocol, and how each job ended.

A job is a value that can be sent to another process as JSON. Its fingerprint is a hash of everything that can change
its result: the learner's name, the seed, the protocol's full definition, the factory that makes the learner, the code
of all modules that the job imports, and the versions of the libraries. Comments, docstrings and layout of the code do
not count. Results are kept under that fingerprint, so those of another definition are never mixed in. This module knows
a learner only as a name and a factory "module:function"; it never imports one.

The table of jobs (`jobs.jsonl`) says which jobs wait, run, are done or failed, and how long each took. It has one JSON
object a line, each with its own seal; the last line of a job counts. Only the engine's process writes it, so workers
need no common disk, and it may be read at any time. Only the results in the store say which jobs are done: a table
that is lost or damaged is made again from them, without the seconds of earlier jobs. Seconds are kept here and not
beside the results because they differ on every rerun.

Workers import this module, so it must not import pandas or pyarrow, which start threads that no fork survives.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import os
import platform
import re
import time
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from importlib import metadata
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np

from reach.arguments import require_name, require_whole
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
from reach.sources import file_digest, sources_of

Kind = Literal["train", "protocol"]
FINGERPRINT_DIGITS = 12
# Libraries whose version can change a result's last bits, imported by name or by another library.
NUMERICAL_LIBRARIES = ("numpy", "numba", "gymnasium", "torch", "stable-baselines3", "sb3-contrib")
# The module that performs a job.
RUN = "reach.study.engine.worker"
# Modules that a job imports and that change no result: they show, film or export.
CHANGES_NO_RESULT = re.compile(r"reach\.(render(\..*)?|notebook|scene|snapshot|study)")
FINGERPRINT = re.compile(r"[0-9a-f]+")


@dataclass(frozen=True)
class Job:
    """One piece of work for one process.

    Attributes:
        kind: "train" trains a learner without a perturbation; "protocol" runs a trained one through a protocol.
        learner: its name.
        seed: of the training, or of the protocol's cups and noise.
        factory: "module:function" that makes the learner.
        folder: of the trained learner, which a training writes and a run reads.
        fingerprint: hexadecimal hash of all that can change the result.
        protocol: its name; "" for a training.
        needs: name of the job that must be done first; "" for none.
        film: write films beside the rows; this changes no row and is not in the fingerprint.
        protocol_file: that the protocol is read from; "" for a protocol that is known by its name.
        protocol_digest: `protocol_digest` of that file when the study was planned.
        context: number of lamps on the table, in training and protocol.
    """

    kind: Kind
    learner: str
    seed: int
    factory: str
    folder: str
    fingerprint: str
    protocol: str = ""
    needs: str = ""
    film: bool = False
    protocol_file: str = ""
    protocol_digest: str = ""
    context: int = 0

    def __post_init__(self) -> None:
        # These become parts of paths.
        require_name("learner", self.learner)
        if self.kind == "protocol":
            require_name("protocol", self.protocol)
        require_whole("seed", self.seed, 0)
        if not isinstance(self.fingerprint, str) or not FINGERPRINT.fullmatch(self.fingerprint):
            raise ValueError(f"fingerprint: expected hexadecimal digits, got {self.fingerprint!r}")

    @property
    def name(self) -> str:
        """Return a file name made of learner, protocol, seed and fingerprint."""
        return "-".join([self.learner, self.protocol or self.kind, str(self.seed), self.fingerprint])

    @property
    def title(self) -> str:
        """Return a title of the job for messages."""
        training = "baseline training" + (f" with {self.context} lamps" if self.context else "")
        return f"{self.learner}, {self.protocol or training}, seed {self.seed}"

    def to_json(self) -> str:
        """Return the job as JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Job:
        """Return the job that `to_json` has written."""
        return cls(**json.loads(text))


def canonical(value: Any) -> Any:
    """Return `value` as JSON data that are the same in every process; a dataclass has its class name in them.

    Raises:
        TypeError: a type that a protocol may not hold.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {"class": type(value).__name__} | {f.name: canonical(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): canonical(item) for key, item in sorted(value.items(), key=lambda kv: str(kv[0]))}
    if isinstance(value, np.ndarray | np.generic):
        return canonical(value.tolist())
    if isinstance(value, (list, tuple)):
        return [canonical(item) for item in value]
    if isinstance(value, float):
        return repr(value)
    if value is None or isinstance(value, (str, int, bool)):
        return value
    if callable(value):
        return f"{value.__module__}.{value.__qualname__}"
    expected = "numbers, text, lists, mappings, arrays, functions and dataclasses"
    raise TypeError(f"a protocol: expected {expected}, got {value!r} of type {type(value).__name__}")


def digest(value: Any) -> str:
    """Return the first hexadecimal digits of the SHA-256 of a value's canonical JSON."""
    text = json.dumps(canonical(value), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:FINGERPRINT_DIGITS]


def protocol_digest(protocol: Any, file: str | Path) -> str:
    """Return the hash of a protocol from a file: of its definition and, if the file is Python, of its code."""
    return digest({"protocol": protocol, "code": file_digest(Path(file)) if Path(file).suffix == ".py" else ""})


def library_versions(imported: Iterable[str] = ()) -> dict[str, str]:
    """Return versions of Python, of the numerical libraries, and of other packages, given by the names of imports."""
    versions = {"python": platform.python_version()}
    for library in dict.fromkeys((*NUMERICAL_LIBRARIES, *(name.replace("_", "-") for name in sorted(imported)))):
        try:
            versions[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            if library not in NUMERICAL_LIBRARIES:
                holders = metadata.packages_distributions().get(library.replace("-", "_"), ())
                versions |= {holder: metadata.version(holder) for holder in holders}
    return versions


def parts_of(factory: str) -> tuple[str, str]:
    """Return the module and the function of a factory, "module:function".

    Raises:
        ValueError: the name has another form.
    """
    module, _, function = factory.partition(":")
    if not module or not function:
        raise ValueError(f"factory: expected 'module:function', such as 'agents.learner:prepare', got {factory!r}")
    return module, function


def definition(factory: str, more: Iterable[str | Path] = (RUN,)) -> dict[str, Any]:
    """Return hashes of the code that a job runs, and the versions of the libraries that it uses.

    Args:
        factory: "module:function".
        more: names of further modules that the job runs, and Python files.

    Raises:
        ValueError: factory is not "module:function".
        ModuleNotFoundError: its module cannot be found.
    """
    sources = sources_of((parts_of(factory)[0], *more), leave_out=CHANGES_NO_RESULT.fullmatch)
    return {"factory": factory, "sources": sources.digests(), "versions": library_versions(sources.libraries)}


def code_digest(factory: str, more: Iterable[str | Path] = (RUN,)) -> str:
    """Return a hash of the code that a job runs and of the libraries; arguments and errors as in `definition`."""
    return digest(definition(factory, more))


def plan(
    learners: Iterable[str],
    protocols: Mapping[str, Any],
    seeds: Iterable[int],
    *,
    factory: str,
    out: Path,
    filmed: Iterable[tuple[str, int]] = (),
    protocol_files: Mapping[str, str] | None = None,
) -> list[Job]:
    """Return all jobs of a study in a fixed order: first every training, then every run through a protocol.

    A learner is trained once for each number of lamps that the protocols have.

    Args:
        learners: their names.
        protocols: name -> `reach.protocols.Protocol`.
        seeds: of trainings and runs.
        factory: "module:function" that makes a learner.
        out: folder of the study.
        filmed: (protocol, seed) of the runs that are filmed.
        protocol_files: name -> file, of the protocols that workers read from a file.

    Raises:
        ValueError: a name that cannot name a file, or a factory that is not "module:function".
        ModuleNotFoundError: the factory's module cannot be found.
    """
    learners, seeds = list(dict.fromkeys(learners)), list(dict.fromkeys(seeds))
    filmed, files = set(filmed), protocol_files or {}
    training_code = definition(factory, ())
    run_code = {"": definition(factory)} if protocols else {}
    for file in files.values():
        run_code[file] = definition(factory, (RUN, Path(file))) if Path(file).suffix == ".py" else run_code[""]
    trainings: list[Job] = []
    runs: list[Job] = []
    contexts = dict.fromkeys(protocol.context for protocol in protocols.values()) or (0,)
    for learner, seed, context in product(learners, seeds, contexts):
        identity = {"learner": learner, "seed": seed}
        lamps = {"context": context} if context else {}
        fingerprint = digest({"kind": "train", **identity, **training_code, **lamps})
        folder = str(out / "baseline" / f"{learner}-{seed}-{fingerprint}")
        training = Job("train", learner, seed, factory, folder, fingerprint, context=context)
        trainings.append(training)
        for name, protocol in protocols.items():
            if protocol.context != context:
                continue
            file = files.get(name, "")
            definitions = {"kind": "protocol", "name": name, "protocol": protocol, **identity, **run_code[file]}
            run = Job("protocol", learner, seed, factory, folder, digest(definitions), name, training.name)
            content = protocol_digest(protocol, file) if file else ""
            is_filmed = (name, seed) in filmed
            runs.append(replace(run, film=is_filmed, protocol_file=file, protocol_digest=content, context=context))
    return trainings + runs


@dataclass(frozen=True)
class Outcome:
    """How a job ended: with results, or with an error.

    Attributes:
        job: that ended.
        rows: of a run, one a trial.
        traces: the remaining error within a reach, one row a moment of a block.
        cost: what was counted while learning, name -> count; the same on every rerun.
        films: phase -> bytes of an MP4 film.
        folder: files of the trained learner, path -> bytes, where the worker has no disk in common with the engine.
        error: why there are no results; "" for success.
        tries: how often the job was started.
        cpu_seconds, wall_seconds: of the last try; NaN where it died.
    """

    job: Job
    rows: list[dict[str, Any]] = field(default_factory=list)
    traces: list[dict[str, Any]] = field(default_factory=list)
    cost: dict[str, float] = field(default_factory=dict)
    films: dict[str, bytes] = field(default_factory=dict)
    folder: dict[str, bytes] = field(default_factory=dict)
    error: str = ""
    tries: int = 1
    cpu_seconds: float = float("nan")
    wall_seconds: float = float("nan")


def plain(value: Any) -> Any:
    """Return a NumPy number as a Python one, for JSON.

    Raises:
        TypeError: any other value.
    """
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"a trial row: expected numbers, text and truth values, got {value!r}")


def answer(result: Any) -> dict[str, Any]:
    """Return the message in which a worker sends a `reach.study.run.Result`, ready for JSON with `plain`."""
    films = {phase: base64.b64encode(data).decode() for phase, data in result.films.items()}
    return {"rows": result.rows, "traces": result.traces, "cost": result.cost, "films": films}


def outcome_of(job: Job, message: Mapping[str, Any], **others: Any) -> Outcome:
    """Return the outcome that a worker's last message describes; `others` are the other fields of `Outcome`."""
    if "error" in message:
        return Outcome(job, error=str(message["error"]), **others)
    films = {phase: base64.b64decode(data) for phase, data in message["films"].items()}
    return Outcome(job, message["rows"], message["traces"], message["cost"], films, **others)


# What a row holds. `place` is the job's place among the present jobs, None for one of an earlier definition; `state` is
# waiting, running, done or failed; times are seconds since 1970.
TIMES = ("cpu_seconds", "wall_seconds", "started", "ended")
IDENTITY = ("kind", "learner", "protocol", "seed", "fingerprint")
COLUMNS = ("name", "place", *IDENTITY, "state", "tries", *TIMES, "traceback")
Rows = dict[str, dict[str, Any]]


class JobTable:
    """The table, open for its only writer; a context manager."""

    def __init__(self, path: Path) -> None:
        """Read the table at `path`, if there is one. A damaged one is renamed, with a warning, and made again."""
        self._path = path
        self._file: int | None = None
        try:
            self._rows = read_rows(path)
        except DamagedError as error:
            aside = set_aside(path)
            warnings.warn(f"{error}; it is made again, and the old one is kept as {aside}", stacklevel=2)
            self._rows = {}

    def __enter__(self) -> JobTable:
        return self

    def __exit__(self, *error: object) -> None:
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
            row |= {"name": job.name, "place": place, "state": state} | {key: getattr(job, key) for key in IDENTITY}
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


def read_rows(path: Path) -> Rows:
    """Return the last row of each job in a table by its name; a line that a kill has cut short is left out.

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
