"""A study cut into shards for batch queues, each into a folder of its own, and gathered again.

A shard holds every run of its share of the learners and seeds, and the trainings these need, so no shard waits for
another and no two write to one folder. Shard 2 of 8 of a study in OUT lies in OUT/shard-2-of-8. The study itself,
completed in OUT, first takes over what is finished there, and does only what is missing.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reach.study.frames import PARTS
from reach.study.jobs import Job
from reach.study.store import Store
from reach.study.whole_files import sync_folder, write_whole

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
    """Take over what is finished of `jobs` in other studies' folders; gives how many jobs were taken.

    Nothing in those folders is changed, and one that is still being written may be read: a result is there whole or not
    at all. Results of another definition have another fingerprint and are left.
    """
    jobs, taken = list(jobs), 0
    for folder in folders:
        other = Store(folder)
        for job in jobs:
            there = replace(job, folder=str(folder / "baseline" / Path(job.folder).name))
            if store.is_done(job) or not other.is_done(there):
                continue
            _take(store, job, other, there)
            taken += 1
    return taken


def _take(store: Store, job: Job, other: Store, there: Job) -> None:
    if job.kind == "train":
        target = Path(job.folder)
        if not target.is_dir():
            arriving = target.with_name(f"{target.name}.arriving")
            shutil.rmtree(arriving, ignore_errors=True)
            shutil.copytree(there.folder, arriving)
            os.replace(arriving, target)
            sync_folder(target.parent)
    else:
        pairs = [(other.part_path(part, there), store.part_path(part, job)) for part in PARTS if part != "trials"]
        if job.film:
            pairs += [(path, store.film_paths(job)[phase]) for phase, path in other.film_paths(there).items()]
        for source, target in pairs:
            if source.is_file():
                write_whole(target, source.read_bytes())
    # Last, for it says that the job is done.
    write_whole(store.result_path(job), other.result_path(there).read_bytes())
