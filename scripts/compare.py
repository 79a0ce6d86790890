"""Compare learners by how fast they correct a perturbed reach.

It runs learners x protocols x seeds in parallel, saves every result as it comes in, and ends with a table,
OUT/trials.parquet, OUT/summary.json and OUT/report.html. Run again after an interruption, it does only what is missing.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import command
import tyro
from presets import PRESETS
from rich.console import Console
from rich.table import Table

from agents.registry import FACTORIES, TUNED, find, is_learner
from reach.files import make_folder
from reach.protocols import PROTOCOLS, protocol_table, read_protocol
from reach.study import (
    FolderInUseError,
    Job,
    Outcome,
    Shard,
    Store,
    complete,
    merge,
    missing_jobs,
    plan,
    shard_folders,
    usable_cores,
)
from reach.study.engine.scheduler import MakeWorkers, TensorBoard, Throttle, on_this_machine
from reach.study.engine.worker import load_factory
from reach.study.people.game import append_persons, read_person
from reach.study.people.human_data import read_curves
from reach.study.report import print_table, write_report
from reach.study.run.measures import per_seed
from reach.study.statistics import summarise

# What a study's folder holds once its first job has ended; its table of jobs is there before.
OWN_FOLDERS = ("trials", "baseline", "logs")
PROTOCOL_FILES = (".toml", ".py")


@dataclass
class Compare:
    """Compare learners by how fast they correct a perturbed reach."""

    out: Path = Path("runs/compare")
    """Folder of the results; give the same one again to continue."""
    preset: Literal["standard", "quick", "paper", "switching"] = "standard"
    """What to compare: `quick` takes minutes, `paper` is the whole grid; the next three flags change it."""
    learners: tuple[str, ...] | None = None
    """Learners to compare, with settings if you like, such as error-mlp-bp,rate=0.5; `none` is the reference of the
    others and belongs in every comparison."""
    protocols: tuple[str, ...] | None = None
    """Protocols, by name or as TOML or Python files; the report opens with the first, which is filmed. A Python file is
    executed."""
    seeds: int | None = None
    """Seeds for each learner and protocol: 0, 1, ... Below 5 there is no interval; a claim needs 10."""
    list: bool = False
    """Print the learners and the protocols."""
    jobs: Annotated[int, tyro.conf.arg(aliases=["-j"])] = field(default_factory=usable_cores)
    """Jobs at a time, one thread each; with --address, as many as the cluster has cores."""
    engine: Literal["local", "ray"] = "local"
    """Where jobs run: processes on this machine, or tasks of Ray, which listens on loopback alone, behind a token."""
    address: str | None = None
    """Address of a running Ray cluster, "auto" for this machine's; without it --engine ray starts its own. Your own
    settings of Ray's authentication apply."""
    shard: str | None = None
    """K/N: do the K-th of N parts, into OUT/shard-K-of-N. The command without --shard merges them and reports."""
    films: bool = True
    """Film each learner's first seed in the first protocol."""
    human: Path | None = None
    """Folder of people's curves (CSV) to draw beside the learners'."""
    person: tuple[Path, ...] = ()
    """Folders of play.py: their persons are compared too, as seeds of a learner `person`."""
    tensorboard: Path | None = None
    """Folder for TensorBoard: progress, and measures by seed."""
    control: Literal["posture", "torque", "muscle"] = "posture"
    """Control of the joints of this project's learners, in training and in the protocols."""
    factory: str | None = None
    """Source of further learners, as "module:function": of those names in --learners that this project does not know.
    The module is imported, from the current directory or as Python finds it, so its code is executed."""

    def __post_init__(self) -> None:
        preset = PRESETS[self.preset]
        self.learners = preset.learners if self.learners is None else self.learners
        self.protocols = preset.protocols if self.protocols is None else self.protocols
        self.seeds = preset.seeds if self.seeds is None else self.seeds
        if not self.learners:
            raise SystemExit("--learners: expected at least one learner")
        # Named before --factory is imported: what it registers is made by its own function.
        self.ours = [name for name in self.learners if self.factory is None or is_learner(name)]
        command.require_learners("--learners", self.ours)
        if self.control != Compare.control and not self.ours:
            raise SystemExit(f"--control {self.control}: it is for this project's learners, and --learners names none")
        if self.seeds < 1 or self.jobs < 1:
            raise SystemExit(f"--seeds {self.seeds} --jobs {self.jobs}: expected 1 or more of both")
        if self.address is not None and self.engine != "ray":
            raise SystemExit(f"--address {self.address}: expected --engine ray with it")
        if self.human is not None:
            with named(f"--human {self.human}"):
                read_curves(self.human)
        for folder in self.person:
            with named(f"--person {folder}"):
                read_person(folder)
        try:
            str(self.out).encode()
        except UnicodeEncodeError:
            raise SystemExit(f"--out {str(self.out)!r}: expected a name in UTF-8, which Parquet needs") from None
        held = {path.name for path in self.out.iterdir() if path.name[0] != "."} if self.out.is_dir() else set()
        own = Store(self.out).jobs_path.exists() or not held.isdisjoint(OWN_FOLDERS)
        if held and not own and not shard_folders(self.out):
            raise SystemExit(f"--out {self.out} holds other files; give another folder")


@contextmanager
def named(flag: str) -> Iterator[None]:
    """Name the flag in the message about a wrong file."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise SystemExit(f"{flag}: {error}") from error


def chosen_protocols(given: Compare) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the protocols by name, and the files of those that come from files."""
    chosen, files = {}, {}
    for name in given.protocols or ():
        if Path(name).suffix in PROTOCOL_FILES:
            protocol = read_protocol(name)
            files[protocol.name] = str(Path(name).resolve())
        elif name in PROTOCOLS:
            protocol = PROTOCOLS[name]
        else:
            raise SystemExit(
                f"--protocols {name}: known are {' '.join(sorted(PROTOCOLS))}, and files ending in "
                f"{' or '.join(PROTOCOL_FILES)}"
            )
        if protocol.name in chosen:
            raise SystemExit(f"--protocols {name}: there are two of the name {protocol.name!r}")
        chosen[protocol.name] = protocol
    if not chosen:
        raise SystemExit(f"--protocols (none): known are {' '.join(sorted(PROTOCOLS))}")
    return chosen, files


def print_protocols() -> None:
    """Print the protocols that are known by name, with their schedules and sources."""
    table = Table("protocol", "schedule", "source")
    for row in protocol_table():
        table.add_row(*row)
    Console().print(table)


def workers_for(given: Compare) -> MakeWorkers:
    """Return what runs the jobs."""
    if given.engine == "local":
        return on_this_machine
    from reach.study.engine.ray_tasks import on_ray

    return on_ray(given.address, given.jobs)


def factory_of(learner: str, given: Compare) -> str:
    """Return where a learner comes from: this project for those it knows, else --factory."""
    if given.factory is None or learner in given.ours:
        return FACTORIES[given.control]
    return given.factory


def planned(given: Compare, out: Path) -> list[Job]:
    """Return all jobs of the comparison, trainings first; their learners are saved below `out`."""
    chosen, files = chosen_protocols(given)
    assert given.learners is not None
    assert given.seeds is not None
    first = next(iter(chosen))
    names = list(dict.fromkeys(given.learners))
    jobs: list[Job] = []
    for factory in dict.fromkeys(factory_of(name, given) for name in names):
        try:
            jobs += plan(
                [name for name in names if factory_of(name, given) == factory],
                chosen,
                range(given.seeds),
                factory=factory,
                out=out,
                filmed=[(first, 0)] if given.films else [],
                protocol_files=files,
            )
        except ModuleNotFoundError as error:
            raise SystemExit(
                f"--factory {factory}: {error}, neither in the current directory nor on PYTHONPATH"
            ) from error
    return sorted(jobs, key=lambda job: (job.kind != "train", names.index(job.learner)))


def make_folders(given: Compare) -> None:
    """Make the folders for results, the study's own last."""
    if given.tensorboard is not None:
        make_folder(given.tensorboard, "--tensorboard")
    make_folder(given.out, "--out")


def do_jobs(given: Compare, store: Store, jobs: list[Job], keep: Throttle | None) -> dict[Job, str]:
    """Do what is missing, and report progress; return the failures."""
    missing = len(missing_jobs(jobs, store))
    if missing < len(jobs):
        print(f"{len(jobs) - missing} of {len(jobs)} jobs are done already")
    board = None if given.tensorboard is None else TensorBoard(given.tensorboard, missing)

    def on_end(outcome: Outcome) -> None:
        if board is not None:
            board.on_end(outcome)
        if keep is not None and outcome.job.kind == "protocol" and not outcome.error:
            keep()

    failures = complete(jobs, store, processes=given.jobs, on_end=on_end, workers=workers_for(given))
    if board is not None:
        board.close()
    for job, error in failures.items():
        print(f"Failed: {job.title}: {error.strip().splitlines()[-1]} (all of it: {store.error_path(job)})")
    return failures


def one_shard(given: Compare, shard: Shard) -> int:
    """Do one part of the comparison, in its own folder."""
    out = shard.folder(given.out)
    store, jobs = Store(out), shard.of_jobs(planned(given, out))
    make_folders(given)
    with store.only_writer():
        failures = do_jobs(given, store, jobs, None)
    print(f"Shard {shard.number} of {shard.of} is done. When all are, the same command without --shard reports:")
    print(f"  {without_shard(given)}")
    return 1 if failures else 0


def without_shard(given: Compare) -> str:
    """Return the command that was given, without --shard."""
    words = ["python", *sys.argv]
    for at, word in enumerate(words):
        if word == "--shard":
            del words[at : at + 2]
            break
        if word.startswith("--shard="):
            del words[at]
            break
    return shlex.join(words)


def descriptions_of(given: Compare, store: Store, jobs: list[Job]) -> dict[str, str]:
    """Return a line on each of this project's learners and its training."""
    descriptions = {}
    for name in given.ours:
        learner = find(name)
        folders = [job.folder for job in jobs if job.kind == "train" and job.learner == name and store.is_done(job)]
        trials = [json.loads((Path(folder) / "config.json").read_text())["trials"] for folder in folders]
        descriptions[name] = learner.describe(trials, given.control)
    return {name: line for name, line in descriptions.items() if line}


def tuning_for(given: Compare) -> dict[str, Any]:
    """Return how the step sizes of this project's learners were found; {} without any of them."""
    if not given.ours:
        return {}
    tuning: dict[str, Any] = json.loads(TUNED.read_text())
    return tuning


def print_cpu_time(store: Store) -> None:
    """Print the CPU time of a run; it differs each time, so it is not in the report."""
    jobs = store.read_jobs()
    runs = jobs[(jobs["kind"] == "protocol") & jobs["cpu_seconds"].notna()]
    medians = runs.groupby("learner", sort=False)["cpu_seconds"].median()
    if not medians.empty:
        shown = ", ".join(f"{learner} {seconds:.1f} s" for learner, seconds in medians.items())
        print(f"CPU time of a run, median: {shown}")


def main(given: Compare) -> int:
    """Plan, compute, report; return the exit code."""
    if given.list:
        command.print_learners()
        print_protocols()
        return 0
    if given.factory is not None or any(Path(name).suffix == ".py" for name in given.protocols or ()):
        sys.path.insert(0, str(Path.cwd()))  # as in the processes that do the jobs
    if given.shard is not None:
        return one_shard(given, Shard.read(given.shard))
    store, jobs = Store(given.out), planned(given, given.out)
    if given.factory is not None:
        with named("--factory"):
            load_factory(given.factory)  # the module may register measures
    make_folders(given)
    assert given.learners is not None
    with store.only_writer():
        left_aside = store.other_results(jobs)
        if left_aside:
            print(f"Left aside: {left_aside} results in {given.out} of other settings, versions or learners")
        gathered = merge(store, jobs, shard_folders(given.out))
        if gathered:
            print(f"Gathered {gathered} jobs from {len(shard_folders(given.out))} shards")

        def write() -> Mapping[str, Any]:
            """Write tables and report of the results so far; a continued study ends with the same bytes."""
            trials = append_persons(store.write_tables(jobs), given.person)
            measured = per_seed(trials)
            summary = summarise(trials, measured)
            store.write_summary(summary)
            return {"trials": trials, "summary": summary, "measured": measured}

        failures = do_jobs(given, store, jobs, Throttle(write))
        tables = write()
        if tables["trials"].empty:
            return 1
        write_report(
            store,
            jobs,
            **tables,
            notes=descriptions_of(given, store, jobs),
            command=shlex.join(["python", *sys.argv]),
            failures={job.title: error for job, error in failures.items()},
            human=given.human,
            tuning=tuning_for(given),
        )
    print_table(tables["summary"])
    print_cpu_time(store)
    print(f"Written: {store.report_path}, {store.summary_path.name} and {store.trials_path.name}")
    runs = [job for job in jobs if job.kind == "protocol"]
    show = [job for job in runs if job.protocol == runs[0].protocol and job.seed == 0 and store.is_done(job)]
    if show and not show[-1].protocol_file:
        words = ["--learner", show[-1].learner, "--protocol", show[-1].protocol, "--checkpoint", show[-1].folder]
        print("Watch a learner do it:")
        print("  python scripts/watch.py", shlex.join(words))
    return 1 if failures else 0


if __name__ == "__main__":
    command.run(
        main,
        Compare,
        expected=(FolderInUseError, ModuleNotFoundError),
        interrupted="Stopped. Finished jobs are saved: the same command continues.",
    )
