"""Compare learners by how fast they correct a perturbed reach.

Runs learners x protocols x seeds in parallel, keeps every result as it comes in, and ends with a table,
OUT/trials.parquet, OUT/summary.json and OUT/report.html. Run again after an interruption, it does only what
is missing.
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from reach.protocols import PROTOCOLS
from reach.study import FolderInUseError, Store, complete, missing_jobs, plan, usable_cores
from reach.study.report import write_report
from reach.study.statistics import summarise
from reach.study.tables import print_table

# What a study's folder holds from its first moments on.
OWN_FOLDERS = ("jobs", "baseline", "logs")


@dataclass
class Compare:
    """Compare learners by how fast they correct a perturbed reach."""

    out: Path
    """Folder of the results; give the same one again to take up where it stopped."""
    learners: tuple[str, ...] = ("none", "error-shallow", "error-bp", "error-dfa", "error-stdp")
    """Learners to compare; `none` is the measure of the others and belongs in every comparison."""
    protocols: tuple[str, ...] = ("rotation30", "prism")
    """Protocols to put each through; the first is the one the report opens with and films."""
    seeds: int = 5
    """Seeds for each learner and protocol: 0, 1, ... No interval is given below 5; a claim wants 10."""
    jobs: Annotated[int, tyro.conf.arg(aliases=["-j"])] = field(default_factory=usable_cores)
    """Processes at a time, one thread each."""
    films: bool = True
    """Film each learner's first seed in the first protocol."""
    factory: str = "agents.learner:prepare"
    """Where learners come from, as "module:function"."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.protocols if name not in PROTOCOLS]
        if unknown or not self.protocols:
            raise SystemExit(f"--protocols {' '.join(unknown) or '(none)'}: known are {' '.join(sorted(PROTOCOLS))}")
        if not self.learners:
            raise SystemExit("--learners must name at least one learner")
        if self.factory == Compare.factory:
            from agents.learner import LEARNERS, is_learner

            strangers = [name for name in self.learners if not is_learner(name)]
            if strangers:
                raise SystemExit(f"--learners {' '.join(strangers)}: known are {' '.join(LEARNERS)}")
        held = {path.name for path in self.out.iterdir() if path.name[0] != "."} if self.out.is_dir() else set()
        if held and held.isdisjoint(OWN_FOLDERS):
            raise SystemExit(f"--out {self.out} holds other files, which a report could replace; give another folder")
        if self.seeds < 1 or self.jobs < 1:
            raise SystemExit(f"--seeds {self.seeds} --jobs {self.jobs}: both must be at least 1")


def main(given: Compare) -> int:
    from agents.notes import note_on

    store = Store(given.out)
    jobs = plan(
        given.learners,
        {name: PROTOCOLS[name] for name in given.protocols},
        range(given.seeds),
        factory=given.factory,
        out=given.out,
        filmed=[(given.protocols[0], 0)] if given.films else [],
    )
    with store.only_writer():
        left_aside = store.other_results(jobs)
        if left_aside:
            print(f"Left aside: {left_aside} results in {given.out} of other settings, versions or learners")
        missing = len(missing_jobs(jobs, store))
        if missing < len(jobs):
            print(f"{len(jobs) - missing} of {len(jobs)} jobs are done already")

        def keep() -> None:
            """What there is so far, whole; a run after a kill ends with the same bytes."""
            trials = store.read_trials(jobs)
            store.write_trials(trials)
            store.write_summary(summarise(trials))

        failures = complete(jobs, store, processes=given.jobs, on_result=keep)
        for job, error in failures.items():
            print(f"Failed: {job.title}: {error.strip().splitlines()[-1]} (all of it: {store.error_path(job)})")
        trials = store.read_trials(jobs)
        if trials.empty:
            return 1
        summary = summarise(trials)
        store.write_trials(trials)
        store.write_summary(summary)
        write_report(
            store,
            jobs,
            trials,
            summary,
            notes={name: note for name in given.learners if (note := note_on(name))},
            command=shlex.join(["python", *sys.argv]),
            failures={job.title: error for job, error in failures.items()},
        )
    print_table(summary)
    print(f"Written: {store.report_path}, {store.summary_path.name} and {store.trials_path.name}")
    show = [job for job in jobs if job.protocol == given.protocols[0] and job.seed == 0 and store.is_done(job)]
    if show:
        words = ["--learner", show[-1].learner, "--protocol", show[-1].protocol, "--checkpoint", show[-1].folder]
        print("Watch a learner do it:")
        print("  python scripts/watch.py", shlex.join(words))
    return 1 if failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main(tyro.cli(Compare)))
    except KeyboardInterrupt:
        sys.exit("Stopped. What is finished is kept: the same command goes on from there.")
    except (FolderInUseError, ModuleNotFoundError, OSError, ValueError) as error:
        sys.exit(f"compare.py: {error}")
