"""A study cut into shards for batch queues, each into a folder of its own, and gathered again.

A shard holds every run of its share of the learners and seeds, and the trainings these need, so no shard waits for
another and no two write to one folder. Shard 2 of 8 of a study in OUT lies in OUT/shard-2-of-8. The study itself,
completed in OUT, first takes over what is finished there, and does only what is missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reach.study.jobs import Job
from reach.study.store import Store

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
