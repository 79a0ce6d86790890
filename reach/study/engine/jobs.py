"""What is to be computed: one job per training and per run through a protocol, each with a fingerprint.

A job is a value that can be sent to another process as JSON. Its fingerprint is a hash of everything that can
change its result: the learner's name, the seed, the protocol's full definition, the factory that makes the
learner, the code of all modules that the job imports, and the versions of the libraries. Comments, docstrings and
layout of the code do not count. Results are kept under that fingerprint, so those of another definition are never
mixed in. This module knows a learner only as a name and a factory "module:function"; it never imports one.
"""

from __future__ import annotations

import base64
import hashlib
import json
import platform
import re
import resource
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import numpy as np

from reach.arguments import require_name, require_whole
from reach.sim.sources import file_digest, sources_of

Kind = Literal["train", "protocol"]
FINGERPRINT_DIGITS = 12
# Libraries whose version can change a result's last bits, imported by name or by another library.
NUMERICAL_LIBRARIES = ("numpy", "numba", "gymnasium", "torch", "stable-baselines3", "sb3-contrib")
# The module that performs a job.
RUN = "reach.study.perform"
# What a job imports that shows, films or keeps results, and so changes none.
CHANGES_NO_RESULT = re.compile(r"reach\.(render(\..*)?|notebook|scene|snapshot|study|study\.filming)")
FINGERPRINT = re.compile(r"[0-9a-f]+")


@dataclass(frozen=True)
class Job:
    """One piece of work for one process.

    kind: "train" trains a learner at baseline and keeps it in `folder`; "protocol" runs the learner kept in
    `folder` through `protocol`. `needs` is the name of the job that must be done first ("" = none).
    `film` asks for films beside the trial rows; it changes no row and so is not in the fingerprint. `protocol_file` is
    where the protocol is read from, "" for one that is known by its name; `protocol_digest` is its `protocol_digest`
    when the study was planned.
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

    def __post_init__(self) -> None:
        # All of these become parts of paths.
        require_name("learner", self.learner)
        if self.protocol:
            require_name("protocol", self.protocol)
        require_whole("seed", self.seed, 0)
        if not isinstance(self.fingerprint, str) or not FINGERPRINT.fullmatch(self.fingerprint):
            raise ValueError(f"fingerprint is {self.fingerprint!r}; hexadecimal digits are allowed")

    @property
    def name(self) -> str:
        """A file name: what the job is, then its fingerprint."""
        parts = [self.learner, self.protocol or self.kind, str(self.seed), self.fingerprint]
        return "-".join(parts)

    @property
    def title(self) -> str:
        """What a person calls the job."""
        return f"{self.learner}, {self.protocol or 'baseline training'}, seed {self.seed}"

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Job:
        return cls(**json.loads(text))


def canonical(value: Any) -> Any:
    """`value` as plain JSON data that is the same in every process (dataclasses carry their class name)."""
    if is_dataclass(value) and not isinstance(value, type):
        named = {f.name: canonical(getattr(value, f.name)) for f in fields(value)}
        return {"class": type(value).__name__, **named}
    if isinstance(value, Mapping):
        return {str(key): canonical(item) for key, item in sorted(value.items(), key=lambda kv: str(kv[0]))}
    if isinstance(value, np.ndarray):
        return canonical(value.tolist())
    if isinstance(value, np.generic):
        return canonical(value.item())
    if isinstance(value, (list, tuple)):
        return [canonical(item) for item in value]
    if isinstance(value, float):
        return repr(value)
    if value is None or isinstance(value, (str, int, bool)):
        return value
    if callable(value):
        return f"{value.__module__}.{value.__qualname__}"
    raise TypeError(
        f"a protocol may hold numbers, text, lists, mappings, arrays, functions and dataclasses; "
        f"got {value!r} of type {type(value).__name__}"
    )


def digest(value: Any) -> str:
    """The first hexadecimal digits of the SHA-256 of a value's canonical JSON."""
    text = json.dumps(canonical(value), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:FINGERPRINT_DIGITS]


def protocol_digest(protocol: Any, file: str | Path) -> str:
    """Hash of a protocol from a file: of its definition and, if the file is Python, of the file's code."""
    return digest({"protocol": protocol, "code": file_digest(Path(file)) if Path(file).suffix == ".py" else ""})


def library_versions(imported: Iterable[str] = ()) -> dict[str, str]:
    """Versions of Python, of the numerical libraries that are installed, and of packages by the names of imports."""
    versions = {"python": platform.python_version()}
    for library in dict.fromkeys((*NUMERICAL_LIBRARIES, *(name.replace("_", "-") for name in sorted(imported)))):
        try:
            versions[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            if library not in NUMERICAL_LIBRARIES:
                holders = metadata.packages_distributions().get(library.replace("-", "_"), ())
                versions |= {holder: metadata.version(holder) for holder in holders}
    return versions


def definition(
    factory: str, more: Iterable[str | Path] = (RUN,), *, path: Sequence[str] | None = None
) -> dict[str, Any]:
    """The code that a job runs, and the versions of the libraries that it uses.

    Args:
        factory: "module:function".
        more: what is run beside the factory's module: names of modules, and Python files.
        path: folders in which modules are found; None: those of an import statement.

    Raises:
        ValueError: factory does not read "module:function".
        ModuleNotFoundError: its module cannot be found.
    """
    module, _, function = factory.partition(":")
    if not module or not function:
        raise ValueError(f"factory={factory!r} must read 'module:function', such as 'agents.learner:prepare'")
    sources = sources_of((module, *more), leave_out=CHANGES_NO_RESULT.fullmatch, path=path)
    return {"factory": factory, "sources": sources.digests(), "versions": library_versions(sources.libraries)}


def code_digest(factory: str, more: Iterable[str | Path] = (RUN,)) -> str:
    """Hash of the code that a job runs and of the versions of the libraries; arguments and errors of `definition`."""
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
    """All jobs of a study in a fixed order: first every training, then every run through a protocol.

    protocols: name -> definition (any dataclass). filmed: (protocol, seed) pairs of which films are made.
    protocol_files: name -> file, of the protocols that workers have to read from one.
    """
    learners, seeds = list(dict.fromkeys(learners)), list(dict.fromkeys(seeds))
    for kind, names in (("learner", learners), ("protocol", list(protocols))):
        for name in names:
            require_name(kind, name)
    filmed, files = set(filmed), protocol_files or {}
    training = definition(factory, ())
    running = {"": definition(factory)}
    for file in files.values():
        running[file] = definition(factory, (RUN, Path(file))) if Path(file).suffix == ".py" else running[""]
    trainings: list[Job] = []
    runs: list[Job] = []
    for learner in learners:
        for seed in seeds:
            who = {"learner": learner, "seed": seed}
            mark = digest({"kind": "train", **who, **training})
            folder = str(out / "baseline" / f"{learner}-{seed}-{mark}")
            trained = Job("train", learner, seed, factory, folder, mark)
            trainings.append(trained)
            for name, protocol in protocols.items():
                film, file = (name, seed) in filmed, files.get(name, "")
                mark = digest({"kind": "protocol", "name": name, "protocol": protocol, **who, **running[file]})
                read = protocol_digest(protocol, file) if file else ""
                runs.append(Job("protocol", learner, seed, factory, folder, mark, name, trained.name, film, file, read))
    return trainings + runs


@dataclass(frozen=True)
class Outcome:
    """How a job ended: with what a run gave, or with an error text.

    Attributes:
        job: which.
        rows: one a trial.
        traces: one a moment of a block, the remaining error within a reach.
        cost: what was spent while learning, counted and therefore the same on every rerun: name -> count.
        films: phase -> bytes of an MP4 film.
        folder: the trained learner's files by name, where the worker has no disk in common with the engine.
        error: why there is none of this; empty for success.
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


def cpu_seconds() -> float:
    """Processor time this process has used, in user and system mode, s."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def plain(value: Any) -> Any:
    """A NumPy number as a Python one, for JSON."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"a trial row may hold numbers, text and truth values; got {value!r}")


def answer(result: Any) -> dict[str, Any]:
    """What a worker tells of a `reach.study.run.Result`, ready for JSON with `plain`."""
    return {
        "rows": result.rows,
        "traces": getattr(result, "traces", []),
        "cost": getattr(result, "cost", {}),
        "films": {phase: base64.b64encode(data).decode() for phase, data in result.films.items()},
    }


def outcome_of(job: Job, message: Mapping[str, Any], **measured: Any) -> Outcome:
    """The outcome that a worker's last message tells; `measured` are the other fields of `Outcome`."""
    if "error" in message:
        return Outcome(job, error=str(message["error"]), **measured)
    return Outcome(
        job,
        rows=message["rows"],
        traces=message["traces"],
        cost=message["cost"],
        films={phase: base64.b64decode(data) for phase, data in message["films"].items()},
        **measured,
    )
