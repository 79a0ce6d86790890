"""Find a learner and a recorded trial in a study's folder, and compare a replayed trial with the recorded one."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from reach.protocols import Protocol
from reach.study.engine.jobs import Job, plan
from reach.study.engine.store import Store, read_whole

# Measures that must be equal to the last bit.
COMPARED = ("launch_error_deg", "endpoint_error_cm", "duration_s", "reward", "success", "tipped")


def trained_learner(study: Path, learner: str, seed: int, factories: Iterable[str]) -> tuple[Path, bool]:
    """Return the folder of a learner trained in a study, and whether it was trained by the current code.

    Args:
        study: folder of the study.
        learner: its name.
        seed: of its training.
        factories: "module:function" of each that may have made it.

    Raises:
        DamagedError: a file of the learner has changed since it was written.
        ValueError: the study has no such learner, or several of other versions and none of the current one.
    """
    for factory in factories:
        (job,) = plan([learner], {}, [seed], factory=factory, out=study)
        if Path(job.folder).is_dir():
            Store(study).check(job)
            return Path(job.folder), True
    folders = sorted((study / "baseline").glob(f"{learner}-{seed}-{'[0-9a-f]' * 12}"))
    if len(folders) == 1:
        fingerprint = folders[0].name.rpartition("-")[2]
        Store(study).check(Job("train", learner, seed, "", str(folders[0]), fingerprint))
        return folders[0], False
    known = sorted({folder.name.rsplit("-", 1)[0] for folder in (study / "baseline").glob("*-*-*")})
    if not folders:
        raise ValueError(f"{study} has no learner {learner!r} with seed {seed}; its learners are {known}")
    raise ValueError(
        f"{study} has {learner!r} with seed {seed} from {len(folders)} other versions of the code, none from this one"
    )


def recorded_row(study: Path, learner: str, protocol: Protocol, seed: int, trial: int) -> dict[str, Any] | None:
    """Return the recorded row of reach `trial`; None if there is none.

    Raises:
        DamagedError: the file of trials has changed since it was written.
        ValueError: the study has no trials.
    """
    path = study / "trials.parquet"
    if not path.is_file():
        raise ValueError(f"study: expected a folder written by compare.py, got {study} without trials.parquet")
    trials = read_whole(path)
    wanted = {"learner": learner, "protocol": protocol.name, "seed": seed, "trial": trial, "probe": False}
    for column, value in wanted.items():
        trials = trials[trials[column] == value]
    return None if trials.empty else {str(name): value for name, value in trials.iloc[0].items()}


def differences(recorded: dict[str, Any], replayed: dict[str, Any]) -> list[str]:
    """Return the differences between a replayed and the recorded trial, in words; [] if there are none."""
    return [
        f"{name} {replayed[name]} instead of {recorded[name]}"
        for name in COMPARED
        if name in recorded and not _is_same(recorded[name], replayed[name])
    ]


def _is_same(a: Any, b: Any) -> bool:
    """Return whether two values are equal; NaN equals NaN."""
    return bool(a == b or (isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b)))
