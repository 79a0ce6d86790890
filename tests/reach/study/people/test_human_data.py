"""The laws of what stands beside people: the same read-out for both, cited intervals, files told apart by columns."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up import trials_of, write_human_files

from reach.study.measures import per_seed
from reach.study.people import human_data
from reach.study.people.human_data import read_curves
from reach.study.report.beside_people import adaptation, beside_people, channel_indices, inside_table
from reach.study.report.charts import Look

LOOKS = {"none": Look("#7f7f7f"), "slow": Look("#0072b2"), "fast": Look("#d55e00")}


def rate_for(tau_reaches: float) -> float:
    return 1.0 - math.exp(-1.0 / tau_reaches)


def test_human_curves_rise_and_carry_a_citation() -> None:
    for curve in human_data.CURVES:
        assert len(curve.blocks) == len(curve.index)
        assert curve.index[-1] > curve.index[0]
        assert "n = 37" in curve.citation


def test_every_fit_lies_in_its_own_intervals_and_every_fact_is_cited() -> None:
    for fit in human_data.FITS:
        assert human_data.place(fit.asymptote, fit.asymptote_interval) == "inside"
        assert human_data.place(fit.tau_reaches, fit.tau_interval) == "inside"
        assert fit.citation
    assert all(fact.text and fact.citation for fact in human_data.FACTS)
    assert {fact.metric for fact in human_data.facts("jump")} >= {"t50_s", "t90_s"}


def test_a_rate_of_learning_becomes_the_tau_of_the_same_curve() -> None:
    fit = human_data.fit_of_rate("whole reach", 30.0, (20.0, 10.0, 30.0), (15.0, 12.0, 18.0), "a paper")
    reach = np.arange(20)
    np.testing.assert_allclose(1.0 - np.exp(-reach / fit.tau_reaches), 1.0 - 0.8**reach)
    assert fit.tau_interval[0] < fit.tau_reaches < fit.tau_interval[1]
    assert (fit.asymptote, fit.asymptote_interval) == (0.5, (0.4, 0.6))


def test_a_value_lies_inside_below_or_above_an_interval() -> None:
    places = [human_data.place(value, (1.0, 2.0)) for value in (0.5, 1.0, 1.5, 2.5, math.inf, math.nan)]
    assert places == ["below", "inside", "inside", "above", "above", ""]


def test_reach_one_of_a_learner_is_the_first_perturbed_one_and_nothing_learned_is_index_zero() -> None:
    trials = trials_of({"none": 0.0, "slow": 0.1}, noise=0.0, misses={"rotation30": -30.0})
    reach, index = adaptation(trials, "rotation30", LOOKS)["slow"]
    assert reach[0] == 1.0
    np.testing.assert_allclose(index, np.broadcast_to(1.0 - 0.9 ** (reach - 1.0), index.shape), atol=1e-9)


def test_a_learner_with_peoples_tau_and_asymptote_is_inside_their_intervals_and_a_faster_one_below() -> None:
    rates = {"none": 0.0, "slow": rate_for(7.3), "fast": rate_for(2.0)}
    trials = trials_of(rates, noise=0.0, misses={"rotation45": 45.0})
    table = inside_table(per_seed(trials), ["slow", "fast"], human_data.fits(45.0))
    labels = [label for label, _ in table.header]
    rows = {learner: dict(zip(labels, cells, strict=True)) for learner, cells in table.rows}
    assert rows["slow"]["tau, whole reach"].text == "inside"
    assert rows["fast"]["tau, whole reach"].text == "below"
    assert rows["slow"]["A, implicit part"].text == "above"
    assert float(rows["slow"]["tau"].text) == pytest.approx(7.3, abs=0.1)


def test_channel_trials_are_numbered_from_the_first_perturbed_one_and_less_their_baseline() -> None:
    trials = trials_of({"none": 0.0, "slow": 0.1}, noise=0.0, misses={"curl": 10.0})
    channel = (trials["trial"] % 5 == 0) & (trials["block"] != "washout")
    force = np.where(trials["block"] == "perturbed", 0.1 + 0.01 * trials["trial_in_block"], 0.1)
    trials = trials.assign(channel_index=np.where(channel, force, np.nan), probe=channel)
    number, index = channel_indices(trials, "curl", LOOKS)["slow"]
    np.testing.assert_allclose(number, np.arange(1, 13))
    np.testing.assert_allclose(index[0], 0.05 * number)
    (beside,) = beside_people(trials, per_seed(trials), LOOKS)
    assert "channel" in beside.notes[0]


def test_files_of_people_are_told_apart_by_their_columns(tmp_path: Path) -> None:
    curves = read_curves(write_human_files(tmp_path))
    assert [curve.kind for curve in curves].count("clamp") == 2
    assert {curve.kind for curve in curves} == {"rotation", "force", "clamp"}
    (curve,) = (curve for curve in curves if curve.file == "rot30_someone_total.csv")
    assert (curve.people, curve.reach[0], len(curve.reach)) == (20, 1.0, 100)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("a,b\n1,2\n", "expected the columns trial_after_onset, .* got a, b"),
        ("trial_after_onset,n,ai_mean,ai_sem\n1,20,half,0.1\n", "ai_mean in row 1: expected a number, got 'half'"),
        (
            "trial_after_onset,n,ai_mean,ai_sem\n1,5,0.1,0.1\n2,0,0.2,0.1\n",
            r"people\.csv: n in row 2: expected 1 or more, got 0",
        ),
        (
            "trial_after_onset,n,ai_mean,ai_sem\n1,5,0.1,-0.1\n",
            "ai_sem in row 1: expected 0 or more, or nothing, got -0.1",
        ),
        ("trial_after_onset,n,ai_mean,ai_sem\n1,5,0.1,wide\n", "ai_sem in row 1: expected 0 or more, .* got 'wide'"),
        (
            "trial_after_onset,n,ai_mean,ai_sem\n2.5,5,0.1,\n",
            "trial_after_onset in row 1: expected a whole number .* 2.5",
        ),
        ("trial_after_onset,n,ai_mean,ai_sem\n2,20,0.1,0.1\n1,20,0.2,0.1\n", "increase from row to row"),
        ("trial_after_onset,n,ai_mean,ai_sem\n1,20,12.0,0.1\n", "1 is fully corrected"),
        ("trial_after_onset,n,ai_mean,ai_sem\n", "expected one row or more, got none"),
        ("", "expected a CSV file, got .*people.csv"),
        ("topic,quantity,value\nx,y,1\n", "expected a curve with the columns"),
    ],
)
def test_a_wrong_file_is_an_error_that_says_what_is_wrong(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "people.csv").write_text(text)
    with pytest.raises(ValueError, match=match):
        read_curves(tmp_path)


def test_a_folder_without_files_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="without any"):
        read_curves(tmp_path)
    with pytest.raises(FileNotFoundError, match="human: expected a folder"):
        read_curves(tmp_path / "nowhere")
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(ValueError, match=r"expected a CSV file, got .*a\.csv .*[Dd]irectory"):
        read_curves(tmp_path)


def test_a_study_without_an_arm_that_does_not_learn_is_not_laid_beside_people_but_numbers_are_cited() -> None:
    prism = trials_of({"slow": 0.1}, misses={"prism": 12.0})
    (beside,) = beside_people(prism, per_seed(prism), LOOKS)
    assert beside.charts == ()
    assert any("10 to 30 throws" in fact for fact in beside.facts)
    alone: pd.DataFrame = trials_of({"slow": 0.1}, misses={"rotation45": 45.0})
    assert all(not one.charts for one in beside_people(alone, per_seed(alone), LOOKS))
