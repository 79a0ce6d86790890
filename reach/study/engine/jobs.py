"""The jobs of a study, one per training and one per run through a protocol, and their outcomes.

A job is a value that can be sent to another process as JSON. Its fingerprint is a hash of everything that can change
its result: the learner's name, the seed, the full definition of the protocol, the factory that makes the learner, the
code of all modules that the job imports (without comments, docstrings and formatting), and the versions of the
libraries. Results are stored by fingerprint, so results of different definitions are never mixed. In this module a
learner is only a name and a factory "module:function"; no learner is imported.

The table of jobs (`jobs.jsonl`) records which jobs wait, run, are done or failed, and their durations. It has one JSON
object per job and line, and a last line with the seal. Only the engine's process writes the table, as a whole, so
workers need no common disk, and it may be read at any time. Whether a job is done is decided by the results in the
store: a lost or damaged table is made again from them, without the durations of earlier jobs. Durations are stored here
and not with the results, because they differ in every rerun.

Workers import this module, so it must not import pandas or pyarrow: they start threads, and a process with threads
cannot be forked safely.
"""

from __future__ import annotations

import base64
import hashlib
import json
import platform
import re
import time
import warnings
from collections.abc import Container, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from importlib import metadata
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np

from reach.arguments import require_name, require_whole
from reach.files import UNSEALED, DamagedError, check_regular, check_seal, rename_damaged, seal, write_file
from reach.sources import file_digest, sources_of

Kind = Literal["train", "protocol"]
FINGERPRINT_DIGITS = 12
# Libraries whose version can change the last bits of a result, even if only another library imports them.
NUMERICAL_LIBRARIES = ("numpy", "numba", "gymnasium", "torch", "stable-baselines3", "sb3-contrib")
# The module that performs a job.
RUN = "reach.study.engine.worker"
# Modules that a job imports and that do not change results: they show, film or export.
CHANGES_NO_RESULT = re.compile(r"reach\.(render(\..*)?|notebook|scene|snapshot|study)")
FINGERPRINT = re.compile(r"[0-9a-f]+")


@dataclass(frozen=True)
class Job:
    """One piece of work for one process.

    Attributes:
        kind: "train" to train a learner without perturbations; "protocol" to run a trained learner through a protocol.
        learner: name of the learner.
        seed: seed of the training, or of the protocol's cups and noise.
        factory: "module:function" that makes the learner.
        folder: folder of the trained learner, which a training writes and a run reads.
        fingerprint: hexadecimal hash of everything that can change the result.
        protocol: name of the protocol; "" for a training.
        needs: name of the job that must be done first; "" for none.
        film: whether to film the run; this does not change rows and is not in the fingerprint.
        protocol_file: file that defines the protocol; "" for a preset.
        protocol_digest: `protocol_digest` of the file when the study was planned.
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
        """Return the job from the result of `to_json`."""
        return cls(**json.loads(text))


def plain(value: Any) -> Any:
    """Return NumPy numbers and arrays, dataclasses and functions as data that `json.dumps` accepts.

    The data are the same in every process; those of a dataclass include its class name.

    Raises:
        TypeError: the value has another type.
    """
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if is_dataclass(value) and not isinstance(value, type):
        return {"class": type(value).__name__} | {f.name: getattr(value, f.name) for f in fields(value)}
    if callable(value):
        return f"{value.__module__}.{value.__qualname__}"
    expected = "numbers, text, lists, mappings, arrays, functions and dataclasses"
    raise TypeError(f"expected {expected}, got {value!r} of type {type(value).__name__}")


def digest(value: Any) -> str:
    """Return the first hexadecimal digits of the SHA-256 of a value's JSON, see `plain`."""
    text = json.dumps(value, sort_keys=True, default=plain)
    return hashlib.sha256(text.encode()).hexdigest()[:FINGERPRINT_DIGITS]


def protocol_digest(protocol: Any, file: str | Path) -> str:
    """Return the hash of a protocol from a file: of its definition and, if the file is Python, of its code."""
    return digest({"protocol": protocol, "code": file_digest(Path(file)) if Path(file).suffix == ".py" else ""})


def library_versions(imported: Iterable[str] = ()) -> dict[str, str]:
    """Return the versions of Python, the numerical libraries and other packages, the latter given by import names."""
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
    """Return the hashes of the code that a job runs, and the versions of the libraries that it uses.

    Args:
        factory: "module:function".
        more: names of further modules that the job runs, and Python files.

    Raises:
        ValueError: the factory is not "module:function".
        ModuleNotFoundError: the module of the factory cannot be found.
    """
    files, libraries = sources_of((parts_of(factory)[0], *more), leave_out=CHANGES_NO_RESULT.fullmatch)
    sources = {name: file_digest(file) for name, file in files.items()}
    return {"factory": factory, "sources": sources, "versions": library_versions(libraries)}


def code_digest(factory: str, more: Iterable[str | Path] = (RUN,)) -> str:
    """Return a hash of the code that a job runs and of its libraries; arguments and errors as in `definition`."""
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
    """Return all jobs of a study in a fixed order: all trainings, then all runs through protocols.

    A learner is trained once for each number of lamps that the protocols have.

    Args:
        learners: names of the learners.
        protocols: `reach.protocols.Protocol` by name.
        seeds: seeds of trainings and runs.
        factory: "module:function" that makes a learner.
        out: folder of the study.
        filmed: (protocol, seed) of the runs to film.
        protocol_files: files by name, for protocols that workers read from a file.

    Raises:
        ValueError: a name cannot be the name of a file, or the factory is not "module:function".
        ModuleNotFoundError: the module of the factory cannot be found.
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
    """The outcome of a job: results or an error.

    Attributes:
        job: the job.
        rows: rows of a run, one per trial.
        traces: remaining error within a reach, one row per block and time.
        cost: counts during learning, by name; the same in every rerun.
        films: bytes of an MP4 film, by phase.
        folder: files of the trained learner, by path, if worker and engine have no common disk.
        error: error message; "" for success.
        tries: number of times that the job was started.
        cpu_seconds, wall_seconds: durations of the last try; NaN if the worker died.
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


def answer(result: Any) -> dict[str, Any]:
    """Return a worker's message for a `reach.study.run.Result`, to be encoded as JSON with `plain`."""
    films = {phase: base64.b64encode(data).decode() for phase, data in result.films.items()}
    return {"rows": result.rows, "traces": result.traces, "cost": result.cost, "films": films}


def outcome_of(job: Job, message: Mapping[str, Any], **others: Any) -> Outcome:
    """Return the outcome from a worker's last message; `others` are the other fields of `Outcome`."""
    if "error" in message:
        return Outcome(job, error=str(message["error"]), **others)
    films = {phase: base64.b64decode(data) for phase, data in message["films"].items()}
    return Outcome(job, message["rows"], message["traces"], message["cost"], films, **others)


# Entries of a row of the table. `present` is false for a job of an earlier definition; `state` is waiting, running,
# done or failed; `started` and `ended` are seconds since 1970.
TIMES = ("cpu_seconds", "wall_seconds", "started", "ended")
IDENTITY = ("kind", "learner", "protocol", "seed", "fingerprint")
COLUMNS = ("name", "present", *IDENTITY, "state", "tries", *TIMES, "traceback")
Row = dict[str, Any]


class JobTable:
    """The table of jobs, for its only writer."""

    def __init__(self, path: Path, jobs: Iterable[Job], done: Container[str]) -> None:
        """Write the present jobs to the table at `path`, in order, and then those that it has of earlier definitions.

        A damaged table is renamed, with a warning.

        Args:
            path: path of the table.
            jobs: the present jobs.
            done: names of the jobs whose results exist.

        Raises:
            DiskFullError: the disk is full.
        """
        self._path = path
        try:
            earlier = read_rows(path)
        except DamagedError as error:
            renamed = rename_damaged(path)
            warnings.warn(f"{error}; it is made again, and the old one is kept as {renamed}", stacklevel=2)
            earlier = {}
        self._rows: dict[str, Row] = {}
        for job in jobs:
            row = earlier.pop(job.name, dict.fromkeys(COLUMNS) | {"tries": 0, "traceback": ""})
            state = "done" if job.name in done else "failed" if row["state"] == "failed" else "waiting"
            identity = {key: getattr(job, key) for key in IDENTITY}
            self._rows[job.name] = row | {"name": job.name, "present": True, "state": state} | identity
        self._rows |= {name: row | {"present": False} for name, row in earlier.items()}
        self._lines = {name: json.dumps(row, allow_nan=False) for name, row in self._rows.items()}
        self._write()

    def begin(self, job: Job) -> None:
        """Record that a job has started."""
        self._change(job, state="running", started=time.time())

    def end(self, outcome: Outcome) -> None:
        """Record that a job has failed, or is done with its result written."""
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
        row = self._rows[job.name]
        row |= {name: None if value != value else value for name, value in changes.items()}  # JSON has no NaN
        self._lines[job.name] = json.dumps(row, allow_nan=False)
        self._write()

    def _write(self) -> None:
        lines = [*self._lines.values(), json.dumps({"seal": UNSEALED}), ""]
        write_file(self._path, seal("\n".join(lines).encode()))


def read_rows(path: Path) -> dict[str, Row]:
    """Return the rows of a table of jobs, by name of the job; an empty dictionary if the table does not exist.

    Raises:
        DamagedError: the table is not as it was written.
    """
    check_regular(path)
    if not path.exists():
        return {}
    data = path.read_bytes()
    check_seal(data, path)
    try:
        *rows, _ = map(json.loads, data.splitlines())
        return {row["name"]: {name: row[name] for name in COLUMNS} for row in rows}
    except (KeyError, RecursionError, TypeError, ValueError) as error:
        raise DamagedError(f"{path} is damaged: it holds no rows of a table of jobs ({error})") from error
