"""What is to be computed: one job per training and per run through a protocol, each with a fingerprint.

A job is a value that can be sent to another process as JSON. Its fingerprint is a hash of everything that can
change its result: the learner's name, the seed, the protocol's full definition, the factory that makes the
learner, the source code of the world and of the learners, and the versions of the numerical libraries.
Results are kept under that fingerprint, so those of another definition are never mixed in. This module knows
a learner only as a name and a factory "module:function"; it never imports one.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import platform
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import numpy as np

Kind = Literal["train", "protocol"]

FINGERPRINT_DIGITS = 12
# Libraries whose version can change a result's last bits; those that are not installed are left out.
NUMERICAL_LIBRARIES = ("numpy", "numba", "scipy", "gymnasium", "torch", "stable-baselines3", "cup-reach")
# Parts of `reach` that only draw or read results, and so cannot change them. How a run is made (RUNS) can.
READ_ONLY_PARTS = ("study", "render")
RUNS = tuple(Path(__file__).with_name(name) for name in ("run.py", "watched.py"))
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Job:
    """One piece of work for one process.

    kind: "train" trains a learner at baseline and keeps it in `folder`; "protocol" runs the learner kept in
    `folder` through `protocol`. `needs` is the name of the job that must be done first ("" = none).
    `film` asks for films beside the trial rows; it changes no row and so is not in the fingerprint. `protocol_file` is
    where the protocol is read from, "" for one that is known by its name; the fingerprint holds what was read, and
    `protocol_digest` tells whether it is the same still.
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


def library_versions() -> dict[str, str]:
    """Versions of Python and of the numerical libraries that are installed."""
    versions = {"python": platform.python_version()}
    for library in NUMERICAL_LIBRARIES:
        try:
            versions[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return versions


def source_digest(package: str, leave_out: Iterable[str] = ()) -> str:
    """Hash of a package's (or module's) Python source and settings (JSON), found without importing it.

    package: a top-level name. leave_out: direct sub-packages that are not read.
    """
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise ModuleNotFoundError(f"no package named {package!r} can be found")
    if spec.submodule_search_locations:
        root = Path(next(iter(spec.submodule_search_locations)))
        skipped = set(leave_out)
        sources = (p for p in root.rglob("*") if p.suffix in (".py", ".json"))
        files = sorted(p for p in sources if p.relative_to(root).parts[0] not in skipped)
    elif spec.origin is not None:
        root, files = Path(spec.origin).parent, [Path(spec.origin)]
    else:
        raise ModuleNotFoundError(f"package {package!r} has no source to read")
    total = hashlib.sha256()
    for file in files:
        total.update(file.relative_to(root).as_posix().encode())
        total.update(file.read_bytes())
    return total.hexdigest()[:FINGERPRINT_DIGITS]


def definition(factory: str) -> dict[str, Any]:
    """What all jobs of a study have in common: libraries, source of the world, source of the learners."""
    module, _, function = factory.partition(":")
    if not module or not function:
        raise ValueError(f"factory={factory!r} must read 'module:function', such as 'agents.learner:prepare'")
    package = module.partition(".")[0]
    sources = {
        "reach": source_digest("reach", leave_out=READ_ONLY_PARTS),
        "runs": hashlib.sha256(b"".join(file.read_bytes() for file in RUNS)).hexdigest()[:FINGERPRINT_DIGITS],
    }
    if package != "reach":
        sources[package] = source_digest(package)
    return {"factory": factory, "sources": sources, "versions": library_versions()}


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
            if not NAME_PATTERN.fullmatch(name):
                raise ValueError(f"{kind} {name!r}: a name may hold letters, digits, '.', '_' and '-' only")
    common = definition(factory)
    filmed, files = set(filmed), protocol_files or {}
    trainings: list[Job] = []
    runs: list[Job] = []
    for learner in learners:
        for seed in seeds:
            who = {"learner": learner, "seed": seed, **common}
            mark = digest({"kind": "train", **who})
            folder = str(out / "baseline" / f"{learner}-{seed}-{mark}")
            trained = Job("train", learner, seed, factory, folder, mark)
            trainings.append(trained)
            for name, protocol in protocols.items():
                mark = digest({"kind": "protocol", "name": name, "protocol": protocol, **who})
                film, file = (name, seed) in filmed, files.get(name, "")
                read = digest(protocol) if file else ""
                runs.append(Job("protocol", learner, seed, factory, folder, mark, name, trained.name, film, file, read))
    return trainings + runs
