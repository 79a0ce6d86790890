"""Do one job of a study in this process: prepare its learner, then put it through its protocol."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

from reach.protocols import PROTOCOLS, read_protocol
from reach.protocols import Protocol as ReachProtocol
from reach.study.engine.jobs import Job, protocol_digest
from reach.study.run import Model, Result, run_measured

Factory = Callable[[str, int, Path, Callable[[float], None] | None], Model]


def load_factory(name: str) -> Factory:
    """The function that "module:function" names."""
    module, _, function = name.partition(":")
    if not module or not function:
        raise ValueError(f"factory={name!r} must read 'module:function', such as 'agents.learner:prepare'")
    factory = getattr(importlib.import_module(module), function, None)
    if not callable(factory):
        raise ValueError(f"factory={name!r}: module {module!r} has no function {function!r}")
    made: Factory = factory
    return made


def perform(job: Job, on_progress: Callable[[float], None] | None = None) -> Result:
    """Do a job here and now. Training ends with the learner kept in the job's folder by its factory."""
    # First of all: the module may make protocols known.
    prepare = load_factory(job.factory)
    if job.kind == "train":
        _prepared(prepare, job, on_progress)
        return Result()
    protocol = protocol_of(job)
    model = _prepared(prepare, job)
    return run_measured(model, protocol, job.seed, film=job.film, on_progress=on_progress)


def _prepared(prepare: Factory, job: Job, on_progress: Callable[[float], None] | None = None) -> Model:
    """The learner of a job, from its folder where that is there."""
    folder = Path(job.folder)
    is_kept = folder.exists()
    try:
        return prepare(job.learner, job.seed, folder, on_progress)
    except Exception as error:
        if not is_kept:
            raise
        raise RuntimeError(
            f"the learner kept in {folder} cannot be taken up ({error}); delete that folder, and the same command "
            "trains it anew"
        ) from error


def protocol_of(job: Job) -> ReachProtocol:
    """The protocol of a job: a preset, or that of a file of the user's.

    Raises:
        ValueError: neither, or the file holds another protocol than the study was planned with.
    """
    file = getattr(job, "protocol_file", "")
    if file:
        protocol = read_protocol(file)
        if protocol_digest(protocol, file) != job.protocol_digest:
            raise ValueError(
                f"{file} has changed since the study was planned; the same command again plans it with what the file "
                "holds now"
            )
        return protocol
    if job.protocol not in PROTOCOLS:
        raise ValueError(f"protocol={job.protocol!r} is not known; known are {sorted(PROTOCOLS)}")
    return PROTOCOLS[job.protocol]
