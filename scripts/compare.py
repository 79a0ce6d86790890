"""Compare learners by how fast they correct a perturbed reach.

It runs learners x protocols x seeds in parallel, saves every result as it comes in, and ends with a table,
OUT/trials.parquet, OUT/summary.json and OUT/report.html. Run again after an interruption, it does only what is missing.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import command
import tyro
from rich.console import Console
from rich.table import Table

from agents.networks.registry import NETWORKS
from agents.registry import FACTORIES, TUNED, find, is_learner
from agents.rules.registry import rules_for
from reach.files import make_folder
from reach.protocols import PROTOCOLS, Protocol, protocol_table, read_protocol
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
from reach.study.measures import per_seed
from reach.study.people.game import append_persons, read_person
from reach.study.people.human_data import read_curves
from reach.study.report import headline_metrics, print_table, write_report
from reach.study.statistics import paired_differences, summarise

# What a study's folder holds once its first job has ended; its table of jobs is there before.
STUDY_FOLDERS = ("trials", "baseline", "logs")
PROTOCOL_FILES = (".toml", ".py")
# A place in a traceback: file, line and function.
FRAME = re.compile(r'^ *File "(.+)", line (\d+), in (.+)$', re.MULTILINE)


class Grid(NamedTuple):
    """Every one of some learners in every one of some protocols.

    Attributes:
        learners: names; `none` is the reference for the others.
        protocols: names; the report opens with the first one of a comparison and shows films of it.
        seeds: number of seeds.
    """

    learners: tuple[str, ...]
    protocols: tuple[str, ...]
    seeds: int


STANDARD = ("none", "error-shallow", "error-bp", "error-dfa", "error-stdp")
RULES = ("error-shallow", "error-bp", "error-fa", "error-dfa", "error-ifa", "error-lstm-bp")
MEMORY = ("error-memory-bp", "error-memory-shallow", "error-paced-bp")
SPIKING = ("error-stdp", "error-sparse-stdp", "error-structural-stdp")
PAPER_PROTOCOLS = (
    "rotation30", "prism", "curl", "savings", "interference", "retention", "switching", "jump", "generalisation",
)  # fmt: skip
STEPS = tuple(
    f"error-{rule},rate={rate}" for rule in ("shallow", "bp", "fa", "dfa", "stdp") for rate in (0.1, 0.2, 0.4, 0.8, 1.6)
)
CONTINUAL = (
    "error-shallow", "error-bp", "error-fa", "error-dfa", "error-snn-shallow", "error-snn-bp", "error-stdp",
    "error-sparse-stdp", "error-structural-stdp",
)  # fmt: skip
MAPS = tuple(
    f"error-{network}-{rule},body_map={body_map}"
    for network in ("mlp", "snn")
    for rule in rules_for(NETWORKS[network])
    if rule != "hebb"  # it takes no error
    for body_map in ("exact", "babbled", "random")
)
DEPTHS = tuple(
    f"error-mlp-{rule},depth={depth}" for rule in ("bp", "fa", "dfa", "ifa", "shallow") for depth in (2, 4, 8)
)
DEEP_RULES = tuple(f"error-mlp-{rule},depth=4" for rule in rules_for(NETWORKS["mlp"]))
SPIKING_RULES, TIMED_RULES = (
    tuple(f"error-{network}-{rule}" for rule in rules_for(NETWORKS[network])) for network in ("snn", "timed")
)
Preset = Literal["standard", "quick", "paper", "switching", "steps", "rules", "spikes", "maps", "depth", "continual"]
PRESETS: dict[Preset, tuple[Grid, ...]] = {
    # The rotation, which the read-out alone can learn, and the lamps, which need hidden cells that learn.
    "standard": (Grid(STANDARD, ("context",), 3), Grid(STANDARD, ("rotation30", "prism"), 10)),
    # From training to report in minutes; five seeds give intervals, but are too few for a claim.
    "quick": (Grid(("none", "error-bp", "error-dfa"), ("prism",), 5),),
    "paper": (Grid(("none", *RULES, *MEMORY, "error-stdp"), PAPER_PROTOCOLS, 10),),
    # Which memory follows a switching perturbation: synapses, activity of cells, or structural plasticity.
    "switching": (Grid(("none", "error-bp", *MEMORY, *SPIKING), ("switching",), 10),),
    # Speed against the step size. L30 of the rotation follows the step, so rules are compared where it is equal.
    "steps": (Grid(("none", *STEPS), ("rotation30", "context"), 3),),
    # How the seen error becomes one of the joints.
    "maps": (Grid(("none", *MAPS), ("rotation30",), 5),),
    # The number of hidden layers.
    "depth": (Grid(("none", *DEPTHS), ("context",), 5),),
    # What is kept of the first of six rotations, by rule and network, with and without structural plasticity.
    "continual": (Grid(("none", *CONTINUAL), ("continual",), 10),),
    # Every rule where hidden cells must learn: four hidden layers and 16 lamps, and the spiking network with 4.
    "rules": (Grid(("none", *DEEP_RULES), ("context16",), 10), Grid(("none", *SPIKING_RULES), ("context",), 10)),
    # The same cells where spike times alone tell the lamps, and where the read-out can learn alone.
    "spikes": (Grid(("none", *TIMED_RULES), ("context",), 10), Grid(("none", *SPIKING_RULES), ("rotation30",), 10)),
}


@dataclass
class Compare:
    """Compare learners by how fast they correct a perturbed reach."""

    out: Path = Path("runs/compare")
    """Folder of the results; give the same one again to continue."""
    preset: Preset = "standard"
    """What to compare.
    standard: five learners under lamps, a rotation and a prism.
    quick: three learners under a prism, in minutes.
    paper: eleven learners in nine protocols.
    switching: kinds of memory.
    steps: five step sizes.
    rules: every rule where hidden layers must learn.
    spikes: spiking rules where spike times alone tell the lamps.
    maps: three body maps.
    depth: two to eight hidden layers.
    continual: six rotations, one after another.
    The next three flags change it; standard then leaves out the lamps."""
    learners: tuple[str, ...] | None = None
    """Learners to compare; settings may follow a name, such as error-mlp-bp,rate=0.5.
    The others are compared with none, which belongs in every comparison."""
    protocols: tuple[str, ...] | None = None
    """Protocols, by name or as TOML or Python files; a Python file is executed.
    The report opens with the first one and has films of it."""
    seeds: int | None = None
    """Number of seeds: 0, 1, ... Below 5 there is no interval; a claim needs 10."""
    list: bool = False
    """Print the learners and the protocols."""
    jobs: Annotated[int, tyro.conf.arg(aliases=["-j"])] = field(default_factory=usable_cores)
    """Jobs at a time, one thread each; with --address, as many as the cluster has cores."""
    engine: Literal["local", "ray"] = "local"
    """Where jobs run: processes on this machine, or tasks of Ray, which listens on loopback alone, behind a token."""
    address: str | None = None
    """Address of a running Ray cluster, "auto" for this machine's; without it --engine ray starts its own.
    Your own settings of Ray's authentication apply."""
    shard: str | None = None
    """K/N: do the K-th of N parts, into OUT/shard-K-of-N.
    The command without --shard merges them and reports."""
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
    """Source of the learners that this project does not know, as "module:function".
    The module is imported, so its code is executed."""

    def __post_init__(self) -> None:
        grids = PRESETS[self.preset]
        if self.learners is not None or self.protocols is not None:
            if len({grid.learners for grid in grids}) > 1 and None in (self.learners, self.protocols):
                raise SystemExit(
                    f"--preset {self.preset}: expected --learners and --protocols together, got one of them"
                )
            *_, last = grids
            learners = last.learners if self.learners is None else self.learners
            grids = (Grid(learners, last.protocols if self.protocols is None else self.protocols, last.seeds),)
        if self.seeds is not None:
            grids = tuple(grid._replace(seeds=self.seeds) for grid in grids)
        self.grids = grids
        self.learners = tuple(dict.fromkeys(name for grid in grids for name in grid.learners))
        self.protocols = tuple(name for grid in grids for name in grid.protocols)
        if not self.learners or not self.protocols:
            raise SystemExit("--learners and --protocols: expected one or more of each, got none")
        # Named before --factory is imported: what it registers is made by its own function.
        self.ours = [name for name in self.learners if self.factory is None or is_learner(name)]
        command.require_learners("--learners", self.ours)
        if self.control != Compare.control and not self.ours:
            raise SystemExit(f"--control: expected a learner of this project in --learners, got {self.control} without")
        if self.seeds is not None:
            command.require_at_least(1, self, "seeds")
        command.require_at_least(1, self, "jobs")
        if self.address is not None and self.engine != "ray":
            raise SystemExit(f"--address: expected --engine ray with it, got --engine {self.engine}")
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
        present = {path.name for path in self.out.iterdir() if path.name[0] != "."} if self.out.is_dir() else set()
        is_study = Store(self.out).jobs_path.exists() or not present.isdisjoint(STUDY_FOLDERS)
        if present and not is_study and not shard_folders(self.out):
            raise SystemExit(f"--out: expected a new folder or that of a study, got {self.out}, which has other files")


@contextmanager
def named(flag: str) -> Iterator[None]:
    """Name the flag in the message about a wrong file."""
    try:
        yield
    except (ImportError, OSError, ValueError) as error:
        raise SystemExit(f"{flag}: {error}") from error


def chosen_protocols(options: Compare) -> tuple[dict[str, Protocol], dict[str, str]]:
    """Return the protocols by the names given, and by their own names the files of those that come from files."""
    chosen: dict[str, Protocol] = {}
    files: dict[str, str] = {}
    for name in options.protocols or ():
        is_file = Path(name).suffix in PROTOCOL_FILES
        if not is_file and name not in PROTOCOLS:
            known = f"{' '.join(sorted(PROTOCOLS))}, or a file that ends in {' or '.join(PROTOCOL_FILES)}"
            raise SystemExit(f"--protocols: expected one of {known}, got {name}")
        protocol = read_protocol(name) if is_file else PROTOCOLS[name]
        if protocol.name in [other.name for other in chosen.values()]:
            raise SystemExit(f"--protocols: expected different names, got {protocol.name!r} twice")
        chosen[name] = protocol
        if is_file:
            files[protocol.name] = str(Path(name).resolve())
    return chosen, files


def planned(options: Compare, out: Path) -> list[Job]:
    """Return all jobs of the comparison, trainings first; their learners are saved below `out`."""
    chosen, files = chosen_protocols(options)
    filmed = [(next(iter(chosen.values())).name, 0)] if options.films else []
    ours = FACTORIES[options.control]
    names = options.learners or ()
    factories = {name: ours if name in options.ours else options.factory or ours for name in names}
    jobs: dict[str, Job] = {}
    for grid, factory in product(options.grids, dict.fromkeys(factories.values())):
        learners = [name for name in dict.fromkeys(grid.learners) if factories[name] == factory]
        protocols = {chosen[name].name: chosen[name] for name in grid.protocols}
        seeds = range(grid.seeds)
        parts = plan(learners, protocols, seeds, factory=factory, out=out, filmed=filmed, protocol_files=files)
        jobs |= {job.name: job for job in parts}
    return sorted(jobs.values(), key=lambda job: (job.kind != "train", names.index(job.learner)))


def do_jobs(options: Compare, store: Store, jobs: list[Job], write: Callable[[], object]) -> dict[Job, str]:
    """Do what is missing, report progress, and call `write` after runs; return the failures."""
    missing = len(missing_jobs(jobs, store))
    if missing < len(jobs):
        print(f"{len(jobs) - missing} of {len(jobs)} jobs are done already")
    board = None
    if options.tensorboard is not None:
        make_folder(options.tensorboard, "--tensorboard")
        board = TensorBoard(options.tensorboard, missing)

    def on_end(outcome: Outcome) -> None:
        if board is not None:
            board.on_end(outcome)
        if outcome.job.kind == "protocol" and not outcome.error:
            write()

    workers: MakeWorkers = on_this_machine
    if options.engine == "ray":
        from reach.study.engine.ray_tasks import on_ray

        workers = on_ray(options.address, options.jobs)
    failures = complete(jobs, store, processes=options.jobs, on_end=on_end, workers=workers)
    if board is not None:
        board.close()
    for job, error in failures.items():
        print(f"Failed: {job.title}: {last_of_traceback(error)} (all of it: {store.error_path(job)})")
    return failures


def last_of_traceback(error: str) -> str:
    """Return the last line of a traceback, and before it the last place outside installed packages."""
    places = [place for place in FRAME.findall(error) if "site-packages" not in place[0]]
    where = [f"{Path(file).name}, line {line}, in {function}" for file, line, function in places[-1:]]
    return ": ".join([*where, error.strip().splitlines()[-1]])


def one_shard(options: Compare, shard: Shard) -> int:
    """Do one part of the comparison, in its own folder."""
    out = shard.folder(options.out)
    store, jobs = Store(out), shard.of_jobs(planned(options, out))
    make_folder(options.out, "--out")
    with store.only_writer():
        failures = do_jobs(options, store, jobs, lambda: None)
    print(f"Shard {shard.number} of {shard.of} is done. When all are, the same command without --shard reports:")
    print(" ", re.sub(r" --shard[= ]\S+", "", shlex.join(["python", *sys.argv])))
    return 1 if failures else 0


def descriptions_of(options: Compare, store: Store, jobs: list[Job]) -> dict[str, str]:
    """Return a line on each of this project's learners and its training."""
    trials: dict[str, list[int]] = {name: [] for name in options.ours}
    for job in jobs:
        if job.kind == "train" and job.learner in trials and store.is_done(job):
            trials[job.learner].append(json.loads((Path(job.folder) / "config.json").read_text())["trials"])
    descriptions = {name: find(name).describe(numbers, options.control) for name, numbers in trials.items()}
    return {name: line for name, line in descriptions.items() if line}


def controls_of(names: Sequence[str]) -> dict[str, list[str]]:
    """Return each learner whose hidden layers do not learn, with those that differ from it in their rule alone."""
    specs = {name: find(name).spec for name in names}
    return {
        control: [name for name, other in specs.items() if name != control and replace(other, rule=spec.rule) == spec]
        for control, spec in specs.items()
        if spec.rule == "shallow"
    }


def tuned_of(names: Sequence[str]) -> dict[str, Any]:
    """Return the tuning of learners, by the name under which it is stored."""
    specs = [find(name).spec for name in names]
    stored = json.loads(TUNED.read_text()) if specs else {}
    wanted = {str(spec) for spec in specs} | {spec.name for spec in specs}
    return {name: tuning for name, tuning in stored.items() if name in wanted}


def print_steps(names: Sequence[str]) -> None:
    """Print the step sizes of learners by seen error."""
    steps = {name: find(name).step for name in names}
    shown = "; ".join(f"{name} {step}" for name, step in steps.items() if step)
    if shown:
        print(f"Steps: {shown}")


def print_cpu_time(store: Store) -> None:
    """Print the CPU time of a run; it differs each time, so it is not in the report."""
    jobs = store.read_jobs()
    runs = jobs[(jobs["kind"] == "protocol") & jobs["cpu_seconds"].notna()]
    medians = runs.groupby("learner", sort=False)["cpu_seconds"].median()
    if not medians.empty:
        shown = ", ".join(f"{learner} {seconds:.1f} s" for learner, seconds in medians.items())
        print(f"CPU time of a run, median: {shown}")


def main(options: Compare) -> int:
    """Plan, compute, report; return the exit code."""
    if options.list:
        command.print_learners()
        table = Table("protocol", "schedule", "source")
        for row in protocol_table():
            table.add_row(*row)
        Console().print(table)
        return 0
    if options.factory is not None or any(Path(name).suffix == ".py" for name in options.protocols or ()):
        sys.path.insert(0, str(Path.cwd()))  # as in the processes that do the jobs
    if options.factory is not None:
        with named(f"--factory {options.factory}"):
            load_factory(
                options.factory
            )  # first, because the module may register perturbations, protocols and measures
    if options.shard is not None:
        return one_shard(options, Shard.read(options.shard))
    store, jobs = Store(options.out), planned(options, options.out)
    make_folder(options.out, "--out")
    with store.only_writer():
        left_aside = store.other_results(jobs)
        if left_aside:
            print(
                f"Left aside: {left_aside} results in {options.out} of other learners, protocols, settings, versions; "
                "tables and report will be of this command only"
            )
        gathered = merge(store, jobs, shard_folders(options.out))
        if gathered:
            print(f"Gathered {gathered} jobs from {len(shard_folders(options.out))} shards")

        def write() -> Mapping[str, Any]:
            """Write tables and report of the results so far; a continued study ends with the same bytes."""
            trials = append_persons(store.write_tables(jobs), options.person)
            measured = per_seed(trials)
            summary = summarise(trials, measured)
            pairs = paired_differences(measured, headline_metrics(summary))
            store.write_summary(summary, pairs)
            return {"trials": trials, "summary": summary, "measured": measured, "pairs": pairs}

        failures = do_jobs(options, store, jobs, Throttle(write))
        tables = write()
        if tables["trials"].empty:
            return 1
        answer = write_report(
            store,
            jobs,
            **tables,
            descriptions=descriptions_of(options, store, jobs),
            command=shlex.join(["python", *sys.argv]),
            failures={job.title: error for job, error in failures.items()},
            human=options.human,
            tuning=tuned_of(options.ours),
            controls=controls_of(options.ours),
        )
    print_table(tables["summary"])
    Console().print(answer.replace("\N{NO-BREAK SPACE}", " "), highlight=False)
    print_steps(options.ours)
    print_cpu_time(store)
    print(f"Written: {store.report_path}, {store.summary_path.name} and {store.trials_path.name}")
    runs = [job for job in jobs if job.kind == "protocol"]
    show = [job for job in runs if job.protocol == runs[0].protocol and job.seed == 0 and store.is_done(job)]
    show = [job for job in show if job.learner in options.ours]
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
