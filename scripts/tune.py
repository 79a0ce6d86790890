"""Find each learner's step size with the same number of trials: `python scripts/tune.py --out runs/tuning`.

Every learner gets as many trials of the same search (Sobol points of its range, pruned by the median) on the same
tuning perturbations and seeds, which no comparison uses. Learners from reward are judged by the cups that they miss
during a training. The best settings of all learners, with the whole history, are written to one file; the learners read
theirs from agents/tuned.json. All learners take hours; `--learners` selects some.
"""

from __future__ import annotations

import io
import json
import os
import sqlite3
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import as_completed
from dataclasses import dataclass, field
from itertools import cycle, repeat
from pathlib import Path
from typing import Annotated, Any

import command
import optuna
import torch
import tuning
import tyro
from rich.console import Console
from rich.table import Table
from tqdm import tqdm
from tuning import SearchSpace, criterion_of, read_settings, search_space

from agents.networks.registry import NETWORKS
from agents.registry import FACTORIES, HIDDEN, POSTURE, find, learners
from agents.rules.registry import rules_for
from reach.files import check_regular, make_folder, write_file
from reach.render.palette import learner_colour
from reach.study import FolderInUseError, Store, usable_cores
from reach.study.engine.jobs import code_digest


def has_step_size(learner: str) -> bool:
    """Return whether a learner has a step size to find.

    No step size makes Hebbian synapses correct an error, and a network that practises for one finds its own.
    """
    spec = find(learner).spec
    practises = NETWORKS[spec.network].practises if spec.teacher == "error" else None
    return spec.rule not in ("", "hebb") and practises != "rate"


LEARNERS = (
    *filter(has_step_size, learners()),
    *(f"error-mlp-{rule}{HIDDEN}" for rule in rules_for(NETWORKS["mlp"]) if rule != "shallow"),
    f"error-snn-stdp{HIDDEN}",
)
SAMPLER_SEED = 20260101
# Trials that are run to the end before any is pruned.
UNPRUNED_TRIALS = 4
# States of finished trials.
OVER = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)


@dataclass
class Tune:
    """Find each learner's step size with the same number of trials. With --list alone, print the learners."""

    out: Path
    """Folder of the search; give the same one with the same settings to continue."""
    learners: tuple[str, ...] = LEARNERS
    """Learners to tune."""
    trials: int = 12
    """Trials of the search for each learner."""
    seeds: int = 2
    """Tuning seeds of one trial."""
    baseline_trials: int | None = None
    """Unperturbed trials of each training of an error learner; None for as many as in a comparison."""
    lamps: int = tuning.LAMPS
    """Lamps on the table, for error learners; two of them tell the side of the perturbation."""
    reaches: int = tuning.REACHES
    """Perturbed reaches of an error learner."""
    training_share: float = tuning.TRAINING_SHARE
    """Share of its usual training in which a learner from reward is judged."""
    settings: Path | None = None
    """File for the best settings, such as agents/tuned.json; learners that are not tuned keep theirs."""
    jobs: Annotated[int, tyro.conf.arg(aliases=["-j"])] = field(default_factory=usable_cores)
    """Learners at a time, one thread each."""

    def __post_init__(self) -> None:
        command.require_learners("--learners", self.learners)
        # Learners look for their settings under these.
        self.learners = tuple(str(find(name).spec) for name in self.learners)
        untuned = [name for name in self.learners if not has_step_size(name)]
        if untuned or not self.learners:
            names = " ".join(untuned) or "(none)"
            raise SystemExit(f"--learners {names}: expected learners with a step size to find: {' '.join(LEARNERS)}")
        if not 0.0 < self.training_share <= 1.0:
            raise SystemExit(f"--training-share {self.training_share}: expected above 0, up to 1")
        command.require_at_least(1, self, "trials", "seeds", "jobs", "baseline_trials", "reaches")
        command.require_at_least(2, self, "lamps")
        if self.settings is not None:
            try:
                read_settings(self.settings)
            except (OSError, ValueError) as error:
                raise SystemExit(f"--settings {self.settings}: {error}") from error


def searched_with(learner: str, given: Tune) -> dict[str, float]:
    """Return the flags on which the result of a search depends, besides the number of trials."""
    if find(learner).spec.teacher == "reward":
        return {"seeds": given.seeds, "training-share": given.training_share}
    trials = given.baseline_trials or find(learner).trials
    return {"seeds": given.seeds, "baseline-trials": trials, "lamps": given.lamps, "reaches": given.reaches}


def storage_in(path: Path) -> optuna.storages.RDBStorage:
    """Return the storage in a file; its path is not part of a URL, in which "?" and "%" mean something else.

    A link, folder, pipe or device in place of the file is refused with a `DamagedError`.
    """

    def connect() -> sqlite3.Connection:
        for ending in ("", "-wal", "-shm", "-journal"):  # the file, and those that SQLite writes beside it
            check_regular(Path(f"{path}{ending}"))
        return sqlite3.connect(path, check_same_thread=False)

    return optuna.storages.RDBStorage("sqlite:///search.db", engine_kwargs={"creator": connect})


def study_of(learner: str, given: Tune) -> optuna.Study:
    """Return the stored search of a learner, or a new one.

    Raises:
        ValueError: it was made with other settings, code or libraries.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = given.out / f"{learner}.db"
    study = optuna.create_study(study_name=learner, storage=storage_in(path), load_if_exists=True)
    wanted = searched_with(learner, given)
    stored = {name: study.user_attrs.get(name, value) for name, value in wanted.items()}
    if stored != wanted:
        expected, got = (
            " ".join(f"--{name} {value}" for name, value in options.items()) for options in (stored, wanted)
        )
        raise ValueError(
            f"--out {given.out}: expected {expected}, as in its search of {learner}, got {got}; give another --out"
        )
    code = code_of_search()
    if study.trials and study.user_attrs.get("code") != code:
        raise ValueError(
            f"{path} holds a search of {learner} by other code or libraries, whose trials cannot be compared with new "
            "ones; give another --out, or delete that file to search again"
        )
    for name, value in {**wanted, "code": code}.items():
        study.set_user_attr(name, value)
    return study


def code_of_search() -> str:
    """Return a hash of the code and of the versions of libraries on which the value of a setting depends."""
    return code_digest(FACTORIES[POSTURE], ("tuning",))


def make_ready(learner: str, given: Tune) -> None:
    """Store the search settings of a learner, or raise as `study_of` does."""
    study_of(learner, given)  # which cannot be sent to another process


def search(learner: str, given: Tune) -> dict[str, Any]:
    """Continue the search of a learner; return its best setting with the history."""
    torch.set_num_threads(1)
    space = search_space(learner)
    criterion = criterion_of(learner)
    stored = study_of(learner, given)

    def worth(trial: optuna.Trial) -> float:
        settings = {space.setting: trial.suggest_float(space.setting, space.low, space.high, log=True)}
        left = float("nan")
        for step, left in enumerate(judged(learner, settings, given)):
            trial.report(left, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return left

    study = optuna.create_study(
        sampler=sobol_points(),
        # A part of a training says little.
        pruner=optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED_TRIALS, n_warmup_steps=criterion.steps - 1),
    )
    repeat_trials(stored, study, space)
    left = max(0, given.trials - len(study.trials))
    study.optimize(worth, n_trials=left, callbacks=[lambda _, trial: stored.add_trial(trial)])
    history = [
        {**trial.params, criterion.name: trial.value, "pruned": trial.state == optuna.trial.TrialState.PRUNED}
        for trial in study.get_trials(states=OVER)
    ]
    best = {"settings": study.best_params, criterion.name: study.best_value}
    return {**best, "trials": len(history), "seeds": given.seeds, "history": history}


def sobol_points() -> optuna.samplers.BaseSampler:
    """Return a sampler that covers the range evenly: few, noisy trials would lead one that follows the best astray."""
    with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
        return optuna.samplers.QMCSampler(
            scramble=True,
            seed=SAMPLER_SEED,
            independent_sampler=optuna.samplers.RandomSampler(seed=SAMPLER_SEED),  # for the first trial
            warn_independent_sampling=False,
        )


def repeat_trials(stored: optuna.Study, search: optuna.Study, space: SearchSpace) -> None:
    """Repeat the draws of a stored search without new runs, so that the next trial is drawn as if uninterrupted.

    Raises:
        ValueError: this version draws other values.
    """
    drawn: dict[str, optuna.distributions.BaseDistribution]
    drawn = {space.setting: optuna.distributions.FloatDistribution(space.low, space.high, log=True)}
    for trial in stored.get_trials(states=OVER):
        again = search.ask(drawn)
        if again.params != trial.params:
            raise ValueError(
                f"--out: expected a search of {stored.study_name} whose trial {trial.number} tries {again.params}, as "
                f"this version does, got one that tried {trial.params}; give another --out"
            )
        for step, value in trial.intermediate_values.items():
            again.report(value, step)
        is_whole = trial.state == optuna.trial.TrialState.COMPLETE
        search.tell(again, trial.value if is_whole else None, state=trial.state)


def judged(learner: str, settings: dict[str, float], given: Tune) -> Iterator[float]:
    """Judge settings step by step; lower is better."""
    if find(learner).spec.teacher != "reward":
        trained_learners = given.out / "baseline" / code_of_search()
        protocol = tuning.tuning_protocol(given.lamps, given.reaches)
        return tuning.left_uncorrected(
            learner, settings, given.seeds, given.baseline_trials, trained_learners, protocol
        )
    return tuning.missed_in_training(learner, settings, given.seeds, given.training_share)


PANELS_IN_A_ROW = 2
# Markers distinguish learners of similar colour.
MARKERS = "osD^vPX*"


def draw_tuning(searches: dict[str, dict[str, Any]], path: Path) -> None:
    """Plot what every setting in the searches leaves, in a panel for each kind of network."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    panels: dict[tuple[str, str], list[str]] = {}
    for learner in searches:
        spec = find(learner).spec
        network = " ".join(filter(None, (spec.teacher, spec.algorithm, spec.network)))
        panels.setdefault((network, search_space(learner).setting), []).append(learner)
    columns = min(len(panels), PANELS_IN_A_ROW)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(6.4 * columns, 3.6 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, ((network, setting), shown) in zip(grid, panels.items(), strict=False):
        for learner, marker in zip(shown, cycle(MARKERS), strict=False):
            complete = [trial for trial in searches[learner]["history"] if not trial["pruned"]]
            results = sorted((trial[setting], trial[criterion_of(learner).name]) for trial in complete)
            axes.plot(*zip(*results, strict=True), f"{marker}-", label=learner, color=learner_colour(learner))
        x_label = f"{setting.replace('_', ' ')} ({search_space(shown[0]).unit})"
        axes.set(xscale="log", xlabel=x_label, ylabel=criterion_of(shown[0]).axis, ylim=(0.0, 1.2))
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.legend(title=network, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize="small")
        axes.spines[["top", "right"]].set_visible(False)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    write_file(path, picture.getvalue())


def main(given: Tune) -> None:
    """Search in OUT, unless another search does."""
    make_folder(given.out, "--out")
    with Store(given.out).only_writer():
        search_all(given)


def search_all(given: Tune) -> None:
    """Search, learner by learner, and write the results."""
    os.environ["OMP_NUM_THREADS"] = "1"
    results: dict[str, dict[str, Any]] = {}
    with command.workers(given.jobs) as pool:
        # Refuse searches that cannot continue before starting any.
        list(pool.map(make_ready, given.learners, repeat(given)))
        waiting = {pool.submit(search, learner, given): learner for learner in given.learners}
        for future in tqdm(as_completed(waiting), total=len(waiting), desc="learners"):
            results[waiting[future]] = future.result()
    given_command = " ".join(["python scripts/tune.py", *sys.argv[1:]])
    drawn = {learner: results[learner] | {"command": given_command} for learner in given.learners}
    write_file(given.out / "tuned.json", (json.dumps(drawn, indent=1) + "\n").encode())
    if given.settings is not None:
        drawn = dict(sorted((read_settings(given.settings) | drawn).items()))
        write_file(given.settings, (json.dumps(drawn, indent=1) + "\n").encode())
    draw_tuning(drawn, given.out / "tuning.png")
    table = Table("learner", "setting", "best", "left, or missed")
    for learner in given.learners:
        ((name, value),) = results[learner]["settings"].items()
        table.add_row(learner, name, f"{value:.3g}", f"{results[learner][criterion_of(learner).name]:.3f}")
    Console().print(table)
    print(f"Written: {given.out / 'tuned.json'}, tuning.png" + (f", {given.settings}" if given.settings else ""))


if __name__ == "__main__":
    command.run(
        main,
        Tune,
        expected=(FolderInUseError,),
        interrupted="Stopped. Finished trials are saved: the same command continues.",
    )
