"""How a job ended, and the lines of JSON in which a worker tells it to the engine."""

from __future__ import annotations

import base64
import resource
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reach.study.jobs import Job


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


def outcome(job: Job, message: Mapping[str, Any], **measured: Any) -> Outcome:
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
