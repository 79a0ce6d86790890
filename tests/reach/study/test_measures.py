"""Which measures a protocol has follows from its blocks and from what was recorded in them, never from its name."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from reach import HideHand, Rotation
from reach.protocols import Abrupt, Block, Flipping, Gradual, Parity, Protocol, cup_at, schedule_of
from reach.study import measures as run_measures
from reach.study.measures import Measured, Run, TwoStates, adaptation_index, per_seed, simulate, with_misses
from reach.study.report import metrics

Array = NDArray[np.float64]

MISS_DEG = 30.0
TURN = (Rotation(30.0),)
SPEED = {"L30", "N63", "A", "tau", "late_error", "endpoint_early_cm", "endpoint_late_cm", "time_to_success_s"}
SPEED |= {"seconds_lost", "on_target", "success"}


def trials_of(
    protocol: Protocol, rate: float, *, forgets: float = 0.0, side: float = 1.0, **changes: Any
) -> pd.DataFrame:
    """The trials of a learner that takes in a share of each error it sees and forgets a share of what it knows."""
    rows = []
    state = 0.0
    for trial in schedule_of(protocol, 0):
        seen = trial.block not in ("clamp", "unseen", "probed")
        size = trial.scale if seen else 0.0
        error = size - state
        rows.append(
            {
                "trial": trial.trial,
                "block": trial.block,
                "block_number": trial.block_number,
                "trial_in_block": trial.trial_in_block,
                "probe": trial.probe,
                "perturbation_scale": trial.scale,
                "cup_x": trial.cup[0],
                "cup_y": trial.cup[1],
                "launch_error_deg": side * MISS_DEG * error + 2.0,
                "unlearned_launch_error_deg": side * MISS_DEG * size + 2.0,
                "endpoint_error_cm": 10.0 * abs(error),
                "channel_index": math.nan,
                "time_to_success_s": 1.0,
                "success": True,
                "attempts": 1,
                "tipped": False,
                "onset_s": math.nan,
            }
        )
        if trial.learning and not trial.probe:
            state = (1.0 - forgets) * state + (rate * error if seen else 0.0)
    return pd.DataFrame(rows).assign(learner="one", protocol=protocol.name, seed=0)


def measured(trials: pd.DataFrame) -> dict[str, float]:
    measures = per_seed(trials)
    return dict(zip(measures["metric"], measures["value"], strict=True))


def protocol(*blocks: Block, **changes: Any) -> Protocol:
    return Protocol(name="any", blocks=(Block("baseline", 20), *blocks), source="these tests", **changes)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_perturbed_block_alone_has_the_measures_of_speed(side: float) -> None:
    measures = measured(trials_of(protocol(Block("perturbed", 60, TURN)), 0.2, side=side))
    assert set(measures) == SPEED
    assert measures["L30"] == pytest.approx(np.mean(0.8 ** np.arange(30)))
    assert measures["tau"] == pytest.approx(-1.0 / math.log(0.8), rel=1e-3)


def test_a_washout_adds_the_after_effect() -> None:
    measures = measured(trials_of(protocol(Block("perturbed", 60, TURN), Block("washout", 20)), 0.2))
    assert set(measures) == SPEED | {"after_effect"}
    assert measures["after_effect"] == pytest.approx(-1.0, abs=1e-5)


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.8])
def test_the_after_effect_does_not_depend_on_how_fast_it_is_unlearned(rate: float) -> None:
    """It is read at the first visit to each cup from the learner as it was when the washout began."""
    trials = trials_of(protocol(Block("perturbed", 60, TURN), Block("washout", 20)), rate)
    washout = trials["block"] == "washout"
    learned = 1.0 - (1.0 - rate) ** 60
    first = washout & ~trials[washout].duplicated(["cup_x", "cup_y"]).reindex(trials.index, fill_value=True)
    trials["washout_onset_launch_error_deg"] = np.where(first, 2.0 - MISS_DEG * learned, np.nan)
    assert first.sum() == 4
    assert measured(trials)["after_effect"] == pytest.approx(-learned)


def test_a_washout_before_the_perturbation_has_no_after_effect() -> None:
    washed = protocol(Block("washout", 20), Block("perturbed", 60, TURN))
    assert set(measured(trials_of(washed, 0.2))) == SPEED
    twice = protocol(Block("washout", 20), Block("perturbed", 60, TURN), Block("washout", 20))
    assert measured(trials_of(twice, 0.2))["after_effect"] == pytest.approx(-1.0, abs=1e-5)


def test_a_trial_that_is_there_twice_is_refused() -> None:
    trials = trials_of(protocol(Block("perturbed", 20, TURN)), 0.2)
    with pytest.raises(ValueError, match="trial 1 of one, any, seed 0 more than once"):
        per_seed(pd.concat([trials, trials]))


def test_a_relearned_block_has_savings_and_after_the_opposite_interference() -> None:
    washed = protocol(Block("perturbed", 60, TURN), Block("washout", 60), Block("relearned", 60, TURN))
    assert measured(trials_of(washed, 0.2))["savings"] == pytest.approx(0.0, abs=1e-4)
    left = protocol(Block("perturbed", 60, TURN), Block("washout", 4), Block("relearned", 60, TURN))
    assert measured(trials_of(left, 0.2))["savings"] == pytest.approx(0.8**4, abs=1e-4)
    between = protocol(
        Block("perturbed", 60, TURN), Block("opposite", 60, TURN, Abrupt(-1.0)), Block("relearned", 60, TURN)
    )
    measures = measured(trials_of(between, 0.2))
    assert measures["interference"] == pytest.approx(1.0, abs=1e-4)
    assert measures["kept"] == pytest.approx(-1.0, abs=1e-4)
    assert "savings" not in measures


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_an_unseen_block_has_retention(side: float) -> None:
    without = protocol(Block("perturbed", 60, TURN), Block("unseen", 40, (HideHand(),)))
    assert measured(trials_of(without, 0.2, side=side))["retention"] == pytest.approx(1.0, abs=1e-4)
    forgetful = measured(trials_of(without, 0.2, forgets=0.02, side=side))["retention"]
    assert forgetful == pytest.approx(np.mean(0.98 ** np.arange(30, 40)), abs=0.01)


def test_a_clamp_after_the_opposite_has_rebound_and_both_states() -> None:
    recovery = protocol(
        Block("perturbed", 100, TURN), Block("opposite", 20, TURN, Abrupt(-1.0)), Block("clamp", 40, learning=False)
    )
    states = TwoStates(0.59, 0.21, 0.992, 0.02)
    trials = trials_of(recovery, 0.0)
    size = trials["perturbation_scale"].to_numpy()
    pairs = [(states.fast_retention, states.fast_rate), (states.slow_retention, states.slow_rate)]
    adaptation = simulate(pairs, size, (trials["block"] != "clamp").to_numpy())
    measures = measured(trials.assign(launch_error_deg=MISS_DEG * (size - adaptation) + 2.0))
    assert measures["rebound"] == pytest.approx(np.mean(adaptation[145:165]) - max(0.0, np.mean(adaptation[140:142])))
    assert {name: measures[name] for name in vars(states)} == pytest.approx(vars(states), abs=1e-3)


def test_blocks_that_flip_have_switching_and_no_speed_of_one_correction() -> None:
    sweep = protocol(*(Block("perturbed", 8 * every, TURN, Flipping(every)) for every in (16, 8, 4, 2, 1)))
    measures = measured(trials_of(sweep, 0.5))
    assert set(measures) == {f"switching_{every}" for every in (16, 8, 4, 2, 1)} | {"fastest_switch"}
    assert measures["fastest_switch"] == 4.0
    assert measured(trials_of(sweep, 0.0))["fastest_switch"] == math.inf
    assert measured(trials_of(sweep, 0.0))["switching_8"] == pytest.approx(1.0)


def test_a_probed_block_has_generalisation_by_angle() -> None:
    fan = tuple(cup_at(65.0 + angle) for angle in (0.0, 15.0, 45.0))
    trained = protocol(
        Block("perturbed", 40, TURN, cups=fan[:1]), Block("probed", 12, (HideHand(),), learning=False), cups=fan
    )
    trials = trials_of(trained, 0.3)
    probed = trials["block"] == "probed"
    spread = trials["cup_x"].map({cup[0]: share for cup, share in zip(fan, (1.0, 0.6, 0.1), strict=True)})
    trials.loc[probed, "launch_error_deg"] = 2.0 - MISS_DEG * spread[probed]
    measures = measured(trials)
    assert {k: v for k, v in measures.items() if k.startswith("gen")} == pytest.approx(
        {"generalisation_15": 0.6, "generalisation_45": 0.1}
    )


def test_a_ramp_is_measured_against_what_is_missed_without_learning_and_has_no_time_course() -> None:
    """While the perturbation is small so is the error, which is not to be taken for a correction."""
    ramped = protocol(Block("perturbed", 60, TURN, Gradual(60)))
    still = measured(trials_of(ramped, 0.0))
    assert (still["L30"], still["late_error"]) == pytest.approx((1.0, 1.0))
    measures = measured(trials_of(ramped, 0.3))
    assert set(measures) == SPEED - {"N63", "A", "tau"}
    # On a ramp of step s a learner with rate r lags behind by (1 - (1 - r) ** n) s / r.
    n = np.arange(1, 31)
    assert measures["L30"] == pytest.approx(np.sum((1.0 - 0.7**n) / 0.3) / np.sum(n))


def test_a_force_channel_gives_channel_measures_under_names_of_their_own() -> None:
    """The launch measures stay those of the launch: here nothing of it is corrected."""
    channelled = protocol(Block("perturbed", 80, TURN, probe=(HideHand(),), probe_every=4), Block("washout", 20))
    trials = trials_of(channelled, 0.0)
    reach = trials["trial_in_block"].where(trials["probe"] & (trials["block"] == "perturbed"))
    trials["channel_index"] = 0.9 * (1.0 - np.exp(-reach / 10.0))
    measures = measured(trials)
    assert (measures["channel_asymptote"], measures["channel_tau"]) == pytest.approx((0.9, 10.0), rel=1e-3)
    n = np.arange(4, 84, 4)
    index = 0.9 * (1.0 - np.exp(-n / 10.0))
    assert measures["channel_index_early"] == pytest.approx(np.mean(index[n <= 30]))
    assert measures["channel_index_late"] == pytest.approx(np.mean(index[-5:]))
    # The median of four channel trials is the mean of the second and the third.
    medians = [np.median(1.0 - index[k - 4 : k]) for k in range(4, 21)]
    assert measures["channel_reaches_to_63"] == n[3 + int(np.flatnonzero(np.array(medians) < 0.368)[0])]
    launch = {name: measures[name] for name in ("L30", "late_error", "after_effect", "N63", "A")}
    assert launch == pytest.approx({"L30": 1.0, "late_error": 1.0, "after_effect": 0.0, "N63": math.inf, "A": 0.0})


def test_a_learner_whose_launch_the_field_does_not_turn_has_no_launch_measures() -> None:
    channelled = protocol(Block("perturbed", 80, TURN, probe=(HideHand(),), probe_every=4))
    trials = trials_of(channelled, 0.0).assign(launch_error_deg=2.0, unlearned_launch_error_deg=2.0)
    trials["channel_index"] = np.where(trials["probe"], 0.5, np.nan)
    measures = measured(trials)
    assert all(math.isnan(measures[name]) for name in ("L30", "N63", "A", "tau", "late_error"))
    assert measures["channel_index_late"] == pytest.approx(0.5)


def test_a_field_to_the_other_side_is_compensated_by_a_force_to_the_other_side() -> None:
    channelled = protocol(Block("perturbed", 80, TURN, Abrupt(-1.0), probe=(HideHand(),), probe_every=4))
    trials = trials_of(channelled, 0.0)
    trials["channel_index"] = np.where(trials["probe"], -0.7, np.nan)
    measures = measured(trials)
    assert (measures["channel_index_early"], measures["channel_index_late"]) == pytest.approx((0.7, 0.7))


def test_a_constant_lean_on_the_wall_is_no_adaptation() -> None:
    channelled = protocol(Block("perturbed", 80, TURN, probe=(HideHand(),), probe_every=4))
    trials = trials_of(channelled, 0.0).assign(channel_index=lambda t: np.where(t["probe"], 0.2, np.nan))
    trials.loc[trials["trial"].isin([4, 8, 12]), "channel_index"] = 0.2
    measures = measured(trials)
    assert measures["channel_index_early"] == pytest.approx(0.0)
    assert measures["channel_reaches_to_63"] == math.inf


def test_a_learner_that_never_moves_has_the_measures_that_need_no_launch() -> None:
    """Nothing tells how far it would miss, so that nothing tells how much of that is corrected."""
    trials = trials_of(protocol(Block("perturbed", 60, TURN), Block("washout", 20)), 0.0)
    never = {"launch_error_deg": math.nan, "unlearned_launch_error_deg": math.nan, "endpoint_error_cm": math.nan}
    measures = measured(trials.assign(**never, success=False, time_to_success_s=math.nan))
    assert set(measures) == SPEED | {"after_effect"}
    assert (measures.pop("success"), measures.pop("on_target")) == (0.0, 0.0)
    assert all(math.isnan(value) for value in measures.values())


def test_an_onset_within_the_reach_has_the_correction_within_it_and_no_learning() -> None:
    trials = trials_of(protocol(Block("perturbed", 10, TURN)), 0.0)
    within = trials["block"] == "perturbed"
    values = {"onset_s": 0.3, "correction_time_s": 0.4, "overshoot": 0.1, "t50_s": 0.3}
    trials = trials.assign(**{name: np.where(within, value, np.nan) for name, value in values.items()})
    trials["correction_onset_s"] = np.where(within & (trials["trial"] > 24), 0.12, np.nan)
    trials["t90_s"] = np.where(within, np.where(trials["trial"] > 24, np.inf, 0.4), np.nan)
    assert measured(trials) == pytest.approx(
        {
            "T_c": 0.4,
            "correction_onset_s": 0.12,
            "t50_s": 0.3,
            "t90_s": math.inf,
            "overshoot": 0.1,
            "attempts": 1.0,
            "tips": 0.0,
            "time_to_success_s": 1.0,
            "success": 1.0,
        }
    )


def test_the_launch_is_freed_of_its_baseline() -> None:
    trials = trials_of(protocol(Block("perturbed", 20, TURN)), 0.0)
    corrected = with_misses(trials)
    perturbed = corrected[corrected["block"] == "perturbed"]
    assert perturbed["launch_error_deg"].to_numpy() == pytest.approx(np.full(20, MISS_DEG))


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_the_adaptation_index_is_what_is_corrected_of_the_miss_at_each_cup(side: float) -> None:
    trials = trials_of(protocol(Block("perturbed", 20, TURN), Block("washout", 4)), 0.2, side=side)
    changing = np.where(trials["cup_x"] > trials["cup_x"].median(), 1.0, -1.0)
    for column in ("launch_error_deg", "unlearned_launch_error_deg"):
        trials[column] = changing * (trials[column] - 2.0)
    index = adaptation_index(trials).set_index("trial_in_block")["index"]
    assert index.to_numpy() == pytest.approx(1.0 - 0.8 ** np.arange(20))


def test_a_reach_is_on_target_if_its_first_movement_ends_at_the_cup() -> None:
    """A slow arm that is steered to the cup by what it sees has success in the end, and nothing was learned."""
    trials = trials_of(protocol(Block("perturbed", 20, TURN)), 0.0)
    steered = measured(trials.assign(endpoint_error_cm=7.5))
    assert (steered["on_target"], steered["success"]) == (0.0, 1.0)
    half = measured(trials.assign(endpoint_error_cm=np.where(trials["trial"] % 2, 1.9, 2.1)))
    assert half["on_target"] == 0.5


def test_without_a_measure_of_the_miss_there_are_no_measures_of_learning() -> None:
    trials = trials_of(protocol(Block("perturbed", 20, TURN)), 0.2).drop(columns="unlearned_launch_error_deg")
    assert per_seed(trials).empty
    unlearning = trials_of(protocol(Block("perturbed", 20, TURN)), 0.0).assign(learner="none")
    both = pd.concat([trials, unlearning.drop(columns="unlearned_launch_error_deg")], ignore_index=True)
    measures = per_seed(both).set_index(["learner", "metric"])["value"]
    assert measures["one", "L30"] == pytest.approx(np.mean(0.8 ** np.arange(20)))
    assert measures["none", "L30"] == pytest.approx(1.0)


def test_a_measure_of_ones_own_is_computed_and_named_and_registered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_measures, "MEASURES", list(run_measures.MEASURES))
    monkeypatch.setattr(metrics, "MEASURES", list(metrics.MEASURES))

    def reaches(run: Run) -> Measured:
        yield "reaches_made", float(len(run.reaches))

    label = metrics.Measure("reaches_made", "reaches made", "reaches", 0, "", "Reaches without probes.")
    assert (run_measures.register(reaches), metrics.register(label)) == (reaches, label)
    trials = trials_of(protocol(Block("perturbed", 20, TURN)), 0.2)
    assert per_seed(trials).set_index("metric")["value"]["reaches_made"] == len(trials)
    assert metrics.measures_in(per_seed(trials))[-1] == label
    for registry, entry in ((run_measures, reaches), (metrics, label)):
        with pytest.raises(ValueError, match=r"expected a new measure, got .*reaches"):
            registry.register(entry)


def test_where_lamps_tell_the_side_the_late_error_is_that_of_the_last_tenth() -> None:
    """A learner whose error, on either side, is a quarter of the miss after 200 of 400 reaches."""
    cued = protocol(Block("perturbed", 400, TURN, Parity()), context=4)
    trials = trials_of(cued, 0.0).assign(context="0101")
    # Launch errors count as they are: less a bias of 2 degrees at the baseline, they would be others.
    launches = ["launch_error_deg", "unlearned_launch_error_deg"]
    trials[launches] -= 2.0
    still = measured(trials)
    assert (still["late_error"], still["halving_reaches"]) == pytest.approx((1.0, math.inf))
    learned = trials["trial_in_block"].where(trials["block"] == "perturbed") > 200
    trials.loc[learned, "launch_error_deg"] *= 0.25
    trials.loc[trials["trial"] > 385, "launch_error_deg"] = 0.0
    measures = measured(trials)
    biased = trials.assign(launch_error_deg=trials["launch_error_deg"] + 9.0 * (trials["block"] == "baseline"))
    assert measured(biased)["late_error"] == pytest.approx(measures["late_error"], rel=0.5)
    assert set(measures) == SPEED - {"L30", "N63", "A", "tau"} | {"halving_reaches"}
    assert measures["late_error"] == pytest.approx(0.25 * 5 / 40)
    # 34 of 50 reaches with a quarter and 16 with all of the miss are the first mean below a half.
    assert measures["halving_reaches"] == 234
    # The miss is that of the same cup, so a few reaches of each are enough.
    few = trials["unlearned_launch_error_deg"].where(trials["trial"] <= 60)
    assert measured(trials.assign(unlearned_launch_error_deg=few)) == pytest.approx(measures)
    assert "late_error" not in measured(trials.drop(columns="context"))


def test_what_came_between_in_other_blocks_interferes() -> None:
    others = (Block("other", 60, TURN, Abrupt(-1.0)), Block("other", 60, TURN, Abrupt(0.5)))
    again = protocol(Block("perturbed", 60, TURN), *others, Block("relearned", 60, TURN))
    measures = measured(trials_of(again, 0.2))
    assert measures["interference"] == pytest.approx(-0.5, abs=1e-4)
    assert measures["kept"] == pytest.approx(0.5, abs=1e-4)
