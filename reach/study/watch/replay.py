"""Finding what a study has kept of a trial: the learner as it was trained, and the row that was recorded."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from reach.protocols import Protocol
from reach.study.engine.jobs import Job, plan
from reach.study.engine.store import Store, read_whole

# What must be the same to the last bit for a trial to be the one that was recorded.
COMPARED = ("launch_error_deg", "endpoint_error_cm", "duration_s", "reward", "success", "tipped")


def kept_learner(study: Path, learner: str, seed: int, factories: Iterable[str]) -> tuple[Path, bool]:
    """Return the folder of a learner trained in a study, and whether it was made by the present code.

    Args:
        study: folder of the study.
        learner: its name.
        seed: of its training.
        factories: each a "module:function" that may have made it.

    Raises:
        DamagedError: a file of the learner is not as it was written.
        ValueError: the study has kept no such learner, or several of other versions and none of this one.
    """
    for factory in factories:
        (job,) = plan([learner], {}, [seed], factory=factory, out=study)
        if Path(job.folder).is_dir():
            Store(study).check(job)
            return Path(job.folder), True
    found = sorted((study / "baseline").glob(f"{learner}-{seed}-{'[0-9a-f]' * 12}"))
    if len(found) == 1:
        fingerprint = found[0].name.rpartition("-")[2]
        Store(study).check(Job("train", learner, seed, "", str(found[0]), fingerprint))
        return found[0], False
    known = sorted({one.name.rsplit("-", 1)[0] for one in (study / "baseline").glob("*-*-*")})
    if not found:
        raise ValueError(f"{study} has kept no learner {learner!r} with seed {seed}; its learners are {known}")
    raise ValueError(
        f"{study} has kept {learner!r} with seed {seed} of {len(found)} other versions, and none of this one"
    )


def recorded_row(study: Path, learner: str, protocol: Protocol, seed: int, trial: int) -> dict[str, Any] | None:
    """Return the row of reach `trial` as it was recorded; None where there is none.

    Raises:
        DamagedError: the file of trials is not as it was written.
        ValueError: the study has no trials.
    """
    path = study / "trials.parquet"
    if not path.is_file():
        raise ValueError(f"{study} holds no trials.parquet; a folder that compare.py wrote is allowed")
    trials = read_whole(path)
    wanted = {"learner": learner, "protocol": protocol.name, "seed": seed, "trial": trial, "probe": False}
    for column, value in wanted.items():
        trials = trials[trials[column] == value]
    return None if trials.empty else {str(name): value for name, value in trials.iloc[0].items()}


def differences(recorded: dict[str, Any], replayed: dict[str, Any]) -> list[str]:
    """In what a trial differs from the one that was recorded; [] for the very same."""
    return [
        f"{name} {replayed[name]} instead of {recorded[name]}"
        for name in COMPARED
        if name in recorded and not _same(recorded[name], replayed[name])
    ]


def _same(one: Any, other: Any) -> bool:
    both_missing = isinstance(one, float) and isinstance(other, float) and math.isnan(one) and math.isnan(other)
    return bool(both_missing or one == other)
