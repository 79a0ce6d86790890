"""A protocol is run honestly: the twin of a reach differs by its perturbation alone, and measuring changes nothing."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from fake_learner import Fake
from stable_baselines3 import PPO, SAC

from reach import CupJump, HideHand, Nudge, Rotation
from reach.protocols import PROTOCOLS, Block, Flipping, Parity, Protocol, Random, read_protocol
from reach.protocols.blocks import schedule_of
from reach.study import run as running
from reach.study.engine.formats import trials_frame
from reach.study.engine.jobs import plan
from reach.study.engine.store import Store
from reach.study.engine.worker import perform
from reach.study.measures import per_seed
from reach.study.report import write_report
from reach.study.run import launch_errors_without_learning, run_measured, run_protocol
from reach.study.statistics import summarise

SEEN_CUP = slice(3, 5)
JUMP = Protocol(
    name="jump",
    blocks=(
        Block("baseline", 2, learning=False),
        Block("perturbed", 6, (CupJump(right_m=0.05, onset_s=0.3),), Random((-1.0, 1.0)), learning=False),
    ),
    source="these tests",
)


class Resting(Fake):
    """Stays where it is, whatever it sees. Counts what it does."""

    def __init__(self) -> None:
        super().__init__("resting", 0)
        self.counts: dict[str, float] = defaultdict(float)
        self.calls: list[str] = []

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        if state is None:
            self.calls.append("trial by predict")
            state = observation
        self.counts["steps"] += 1
        return self.answer(observation, state), state

    def answer(self, observation: Any, first: Any) -> Any:
        return np.zeros(4, dtype=np.float32)

    def learn(self, total_timesteps: int, callback: Any = None, *, reset_num_timesteps: bool = True) -> Fake:
        self.calls.append("learn")
        self.counts["weight_updates"] += 1
        return super().learn(total_timesteps, callback, reset_num_timesteps=reset_num_timesteps)

    def cost(self) -> dict[str, float]:
        return {**self.counts, "parameters": 12.0}


class Looking(Resting):
    """Turns its shoulder after a cup that is seen to go aside."""

    def answer(self, observation: Any, first: Any) -> Any:
        aside = float(observation[SEEN_CUP][0] - first[SEEN_CUP][0])
        turn = -0.9 * aside if abs(aside) > 0.02 else 0.0
        return np.array([turn, 0.0, 0.0, 0.0], dtype=np.float32)


def test_a_learner_that_does_not_look_never_corrects_a_jump() -> None:
    rows = [row for row in run_protocol(Resting(), JUMP, 0).rows if row["block"] == "perturbed"]
    for row in rows:
        assert row["onset_s"] == 0.3
        assert row["correction_time_s"] == pytest.approx(1.0)
        assert math.isnan(row["correction_onset_s"])
        assert row["t50_s"] == row["t90_s"] == math.inf


def test_a_learner_that_looks_answers_no_sooner_than_it_can_see() -> None:
    rows = [row for row in run_protocol(Looking(), JUMP, 0).rows if row["block"] == "perturbed"]
    for row in rows:
        # Vision takes 0.10 s, and each reach begins to differ in a whole control step.
        assert row["correction_onset_s"] == pytest.approx(0.1)
        assert row["correction_time_s"] < 1.0


def test_only_reaches_in_which_something_sets_in_are_measured_within() -> None:
    rows = run_protocol(Looking(), JUMP, 0).rows
    measured = [not math.isnan(row["correction_time_s"]) for row in rows]
    assert measured == [False] * 2 + [True] * 6
    assert [math.isnan(row["onset_s"]) for row in rows] == [True] * 2 + [False] * 6


def test_traces_are_the_mean_course_of_a_block_every_20_ms() -> None:
    result = run_protocol(Looking(), JUMP, 0)
    assert [trace["time_s"] for trace in result.traces] == pytest.approx(np.arange(51) * 0.02)
    assert {(trace["block"], trace["trials"]) for trace in result.traces} == {("perturbed", 6)}
    assert result.traces[0]["remaining"] == pytest.approx(1.0)
    assert result.traces[-1]["remaining"] < 0.9
    mean = np.mean([row["correction_time_s"] for row in result.rows[2:]])
    course = np.array([trace["remaining"] for trace in result.traces])
    assert np.trapezoid(course, dx=0.02) == pytest.approx(mean, abs=0.05)
    plain = Protocol("plain", (Block("perturbed", 2, (Rotation(30.0),)),), "these tests")
    assert run_protocol(Resting(), plain, 0).traces == []


def test_measuring_within_a_reach_changes_nothing_of_it() -> None:
    """The same trials with an onset too late to be met are the same rows, so no twin leaves a mark."""
    standing = Protocol("a", (Block("perturbed", 3, (Rotation(20.0),), learning=False),), "these tests")
    both = Protocol(
        "b", (Block("perturbed", 3, (Rotation(20.0), Nudge(0.0, 0.0, 0.3)), learning=False),), "these tests"
    )
    plain, twinned = (run_protocol(Fake("reaching", 0), one, 5).rows for one in (standing, both))
    for ours, theirs in zip(plain, twinned, strict=True):
        for name in ("launch_error_deg", "endpoint_error_cm", "reward", "duration_s"):
            assert ours[name] == theirs[name]
        assert math.isnan(theirs["correction_time_s"])


def test_a_standing_perturbation_is_in_the_twin_too() -> None:
    """What is there from before the reach is no part of what sets in within it."""
    turned = Protocol(
        "turned",
        (Block("perturbed", 4, (Rotation(40.0), CupJump(right_m=0.05, onset_s=0.3)), learning=False),),
        "these tests",
    )
    for row in run_protocol(Resting(), turned, 0).rows:
        assert row["correction_time_s"] == pytest.approx(1.0)


def test_where_learning_is_on_the_twin_comes_first_and_by_predict() -> None:
    taught = Protocol("taught", (Block("baseline", 2), Block("perturbed", 2, (CupJump(onset_s=0.3),))), "these tests")
    model = Looking()
    run_protocol(model, taught, 0)
    assert model.calls == ["learn", "trial by predict", "learn", "trial by predict", "learn"]
    assert model.learned_trials == 4


def test_cost_is_what_was_counted_in_this_protocol_without_its_twins() -> None:
    model = Resting()
    first, again = run_protocol(model, JUMP, 0), run_protocol(model, JUMP, 0)
    assert first.cost == again.cost
    steps = round(sum(row["duration_s"] for row in first.rows) / 0.02)
    assert first.cost == {"steps": steps, "parameters": 12.0}
    assert run_protocol(Fake("still", 0), JUMP, 0).cost == {}


def test_launches_without_learning_are_those_of_whole_reaches_and_probes_have_none() -> None:
    mixed = Protocol(
        "mixed",
        (
            Block("baseline", 3, learning=False),
            Block("perturbed", 4, (Rotation(30.0),), probe=(HideHand(),), probe_every=2, learning=False),
        ),
        "these tests",
    )
    rows = run_protocol(Fake("reaching", 0), mixed, 7).rows
    found = launch_errors_without_learning(Fake("reaching", 0), mixed, 7)
    assert [math.isnan(one) for one in found] == [row["probe"] for row in rows]
    for row, error in zip(rows, found, strict=True):
        assert row["probe"] or row["launch_error_deg"] == error


CHANNEL = {f"channel_{what}" for what in ("index_early", "index_late", "reaches_to_63", "asymptote", "tau")}
OF_SPEED = {"L30", "N63", "A", "tau", "late_error", "endpoint_early_cm", "endpoint_late_cm", "seconds_lost"}
OF_SPEED |= {"time_to_success_s", "on_target", "success"}
OF_TWO_STATES = {"rebound", "fast_retention", "fast_rate", "slow_retention", "slow_rate"}
WITHIN = {
    "T_c",
    "correction_onset_s",
    "t50_s",
    "t90_s",
    "overshoot",
    "attempts",
    "tips",
    "time_to_success_s",
    "success",
}
OF_PRESETS = {
    "rotation30": OF_SPEED | {"after_effect"},
    "rotation45": OF_SPEED | {"after_effect"},
    "prism": OF_SPEED | {"after_effect"},
    "curl": OF_SPEED | {"after_effect"} | CHANNEL,
    "savings": OF_SPEED | {"after_effect", "savings"},
    "interference": OF_SPEED | {"interference", "kept"},
    "recovery": OF_SPEED | OF_TWO_STATES,
    "switching": {"fastest_switch", *(f"switching_{every}" for every in (32, 16, 8, 4, 2, 1))},
    "retention": OF_SPEED | {"retention"},
    "jump": WITHIN,
    "nudge": WITHIN,
    "generalisation": OF_SPEED | {f"generalisation_{angle}" for angle in (15, 30, 45, 60)},
    "context": OF_SPEED - {"L30", "N63", "A", "tau"} | {"halving_reaches"},
    "continual": OF_SPEED | {"interference", "kept"},
}


@pytest.mark.parametrize("name", OF_PRESETS)
def test_every_preset_can_be_run_and_has_the_measures_it_is_for(name: str) -> None:
    preset = PROTOCOLS[name]
    # As many reaches as its measures need at least: two flips, every cup, one probe.
    blocks = tuple(
        replace(block, trials=2 * block.scale.every if isinstance(block.scale, Flipping) else min(block.trials, 10))
        for block in preset.blocks
    )
    short = replace(preset, blocks=blocks)
    model = Fake("wandering", 0)
    unlearned = launch_errors_without_learning(model, short, 0)
    trials = pd.DataFrame(run_protocol(model, short, 0).rows)
    trials = trials.assign(learner="wandering", protocol=name, seed=0, unlearned_launch_error_deg=unlearned)
    assert set(per_seed(trials)["metric"]) == OF_PRESETS[name]


def test_where_lamps_tell_the_side_the_first_reaches_tell_the_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = (Block("baseline", 4), Block("perturbed", 16, (Rotation(30.0),), Parity()))
    cued = Protocol("cued", blocks, "these tests", context=2)
    monkeypatch.setattr(running, "PARITY_MISS_REACHES", 12)
    rows = run_measured(Fake("reaching", 0), cued, 1).rows
    trials = trials_frame([{"learner": "reaching", "protocol": "cued", "seed": 0, **row} for row in rows])
    assert trials["unlearned_launch_error_deg"].notna().tolist() == [True] * 16 + [False] * 4
    assert {row["context"] for row in rows} == {"00", "01", "10", "11"}
    assert dict(per_seed(trials)[["metric", "value"]].to_numpy())["late_error"] == pytest.approx(1.0, abs=0.3)


def test_a_study_of_learners_that_never_move_has_a_report(tmp_path: Path) -> None:
    """Neither launches nor misses are known, so that a table has the measures that need none."""
    unlearned = replace(PROBED, blocks=tuple(replace(block, learning=False) for block in PROBED.blocks))
    rows = run_measured(Resting(), unlearned, 0).rows
    study = pd.concat(
        [pd.DataFrame(rows).assign(learner=learner, protocol="probed", seed=0) for learner in ("none", "resting")],
        ignore_index=True,
    )
    assert study["launch_error_deg"].isna().all()
    summary = summarise(study)
    known = summary[summary["value"].notna()]
    assert set(known["metric"]) == {"on_target", "success"}
    write_report(Store(tmp_path), [], study, summary)
    assert "on target at first" in (tmp_path / "report.html").read_text()


PROBED = Protocol(
    name="probed",
    blocks=(
        Block("baseline", 2),
        Block("perturbed", 4, (Rotation(30.0),), probe=(HideHand(),)),
        Block("clamp", 2, learning=False),
        Block("washout", 2),
    ),
    source="these tests",
)


def schedule_and_rows(model: Any) -> list[dict[str, Any]]:
    rows = run_protocol(model, PROBED, 0).rows
    planned = [(trial.block, trial.probe) for trial in schedule_of(PROBED, 0)]
    assert [(row["block"], row["probe"]) for row in rows] == planned
    return rows


def test_probes_do_not_interrupt_the_rollouts_of_an_on_policy_learner() -> None:
    # Longer than a reach, so that one is never full before the next probe.
    model = PPO("MlpPolicy", "reach/CupReach-v1", n_steps=256, batch_size=64, n_epochs=1, seed=1, device="cpu")
    before = model.policy.action_net.weight.detach().clone()
    schedule_and_rows(model)
    assert model._n_updates > 0
    assert not torch.equal(model.policy.action_net.weight, before)


def test_the_end_of_every_trial_is_kept_for_replay() -> None:
    model = SAC("MlpPolicy", "reach/CupReach-v1", learning_starts=10_000, buffer_size=3_000, seed=1, device="cpu")
    rows = schedule_and_rows(model)
    learned = [row for row in rows if not row["probe"] and row["block"] != "clamp"]
    buffer: Any = model.replay_buffer
    # The last one ends the learning before it can be kept.
    assert buffer.dones[: buffer.pos].sum() == len(learned) - 1
    steps = [round(row["duration_s"] / 0.02) for row in learned]
    assert buffer.pos == sum(steps) - 1


def test_a_protocol_file_that_has_changed_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    text = 'name = "mine"\n[[blocks]]\nname = "baseline"\ntrials = {trials}\n'
    file.write_text(text.format(trials=2))
    protocols, files = {"mine": read_protocol(file)}, {"mine": str(file)}
    jobs = plan(["still"], protocols, [0], factory="fake_learner:prepare", out=tmp_path, protocol_files=files)
    assert len(perform(jobs[-1]).rows) == 2
    file.write_text(text.format(trials=3))
    with pytest.raises(ValueError, match=r"mine\.toml has changed since the study was planned"):
        perform(jobs[-1])


def test_a_kept_learner_that_cannot_be_read_is_named_with_what_to_do(tmp_path: Path) -> None:
    protocols = {"prism": PROTOCOLS["prism"]}
    run = plan(["none"], protocols, [0], factory="agents.learner:prepare", out=tmp_path)[-1]
    Path(run.folder).mkdir(parents=True)
    (Path(run.folder) / "config.json").write_text("junk")
    with pytest.raises(RuntimeError, match=rf"{run.folder} cannot be loaded .*delete that folder"):
        perform(run)
