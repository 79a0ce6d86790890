"""The laws of the report: one file without a network, findings that follow from the numbers, the same bytes twice."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up import costs_of, traces_of, trials_of, tuning_of, with_rows, write_human_files

from reach.study import DamagedError, Job, Outcome, Store
from reach.study.engine.store import FILM_PHASES
from reach.study.measures import per_seed
from reach.study.report import print_table, towards_the_miss, write_report
from reach.study.report.charts import looks
from reach.study.report.figures import learning_curve, step_sizes
from reach.study.report.metrics import (
    MEASURES,
    cost_per_trial,
    cost_table,
    format_interval,
    format_value,
    layer_tables,
)
from reach.study.report.page import controls_in_words, films, findings, in_short, sentence, warnings
from reach.study.statistics import summarise


@pytest.fixture(scope="module")
def trials() -> pd.DataFrame:
    return trials_of({"none": 0.0, "error-bp": 0.2, "error-dfa": 0.1})


@pytest.fixture(scope="module")
def measured(trials: pd.DataFrame) -> pd.DataFrame:
    return per_seed(trials)


@pytest.fixture(scope="module")
def summary(trials: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    return summarise(trials, measured)


@pytest.fixture(scope="module")
def whole(
    trials: pd.DataFrame,
    measured: pd.DataFrame,
    summary: pd.DataFrame,
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    """Return a page with every section."""
    folder = tmp_path_factory.mktemp("study")
    store = Store(folder)
    job = Job("protocol", "error-bp", 0, "a:b", "", "0123", "rotation30", film=True)
    store.write_outcome(Outcome(job, films=dict.fromkeys(FILM_PHASES, b"a film")))
    write_report(
        store,
        [job],
        trials.assign(alignment_hidden_deg=40.0),
        with_rows(summary, "prism", {"savings": {"error-bp": 0.3, "error-dfa": 0.1}}),
        descriptions={"error-bp": "carries <errors> back"},
        command="python scripts/compare.py --out 'a & b'",
        failures={"error-x, prism, seed 0": "Traceback: x < y"},
        human=write_human_files(folder / "people"),
        tuning=tuning_of("error-bp", "error-dfa"),
        traces=traces_of({"error-bp": 0.2, "none": 0.3}, "rotation30"),
        costs=costs_of({"error-bp": 1e6, "error-dfa": 2e6}, {}, trials),
        measured=measured,
    )
    return store.report_path.read_text()


def small(**learners: float) -> pd.DataFrame:
    return trials_of({name.replace("_", "-"): rate for name, rate in learners.items()}, seeds=1, misses={"prism": 12.0})


def written(trials: pd.DataFrame, folder: Path, summary: pd.DataFrame | None = None) -> str:
    store = Store(folder)
    write_report(store, [], trials, summarise(trials) if summary is None else summary)
    return store.report_path.read_text()


def headings(page: str) -> list[str]:
    return re.findall(r"<h2[^>]*>([^<]*)</h2>", page)


class Links(HTMLParser):
    """Collects what a page refers to, its ids and its tags in balance."""

    VOID = ("meta", "link", "br", "img")

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href", "data", "poster", "action")]
        self.ids += [v or "" for k, v in attrs if k == "id"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_page_asks_for_nothing_from_any_network(whole: str) -> None:
    links = Links()
    links.feed(whole)
    assert all(link.startswith(("data:", "#")) for link in links.links)
    assert not re.search(r"@import|url\((?!['\"]?(#|data:))", whole)


def test_the_page_is_well_formed_and_every_reference_in_it_is_met_once(whole: str) -> None:
    links = Links()
    links.feed(whole)
    assert links.open == []
    assert len(links.ids) == len(set(links.ids))
    inside = set(re.findall(r'(?:href="|url\()#([^")]+)', whole))
    assert inside <= set(links.ids)


def test_text_from_outside_is_escaped(whole: str) -> None:
    assert "carries &lt;errors&gt; back" in whole
    assert "&#39;a &amp; b&#39;" in whole
    assert "Traceback: x &lt; y" in whole


def test_the_page_holds_films_of_each_phase_and_stays_small(whole: str) -> None:
    assert whole.count("data:video/mp4;base64,") == len(FILM_PHASES)
    assert len(whole.encode()) < 10e6


def test_every_section_is_there_once_its_data_are(whole: str) -> None:
    assert headings(whole) == [
        "Protocol by protocol", "Reach by reach", "Measures", "Comparison of learners", "Within a reach", "Memory",
        "Cost", "Speed against step size", "Layers", "Films", "Comparison with people", "How this was made",
    ]  # fmt: skip


def test_a_study_of_one_learner_and_one_seed_has_a_page_without_empty_sections_and_twice_the_same(
    tmp_path: Path,
) -> None:
    for study in (small(none=0.0), small(error_bp=0.2)):
        page = written(study, tmp_path)
        sections = ["Reach by reach", "Comparison with people", "How this was made"]
        assert [heading for heading in headings(page) if heading != "Measures"] == sections
        assert re.findall(r'href="#(\w+)"', page) == re.findall(r'<h2 id="(\w+)"', page)
        assert page == written(study, tmp_path)
    assert "performance without learning is not shown" in page


def test_the_first_sentence_names_the_fastest_learner_its_number_and_its_lead(
    summary: pd.DataFrame, measured: pd.DataFrame
) -> None:
    results = findings(summary, measured)
    rotation, prism = map(sentence, results)
    l30 = summary.query("metric == 'L30' and protocol == 'rotation30'").set_index("learner")["value"]
    assert rotation.startswith("Under the 30° rotation of the seen hand, error-bp corrected fastest")
    assert f"{100 * l30['error-bp']:.0f}\N{NO-BREAK SPACE}% [" in rotation
    assert "Its lead over error-dfa is" in rotation
    assert prism.startswith("Under the prism shift, error-bp")
    assert in_short(results) == f"{rotation} error-bp was also the fastest under the prism shift."
    assert in_short([]) == ""


def test_a_difference_whose_interval_covers_zero_is_called_none(trials: pd.DataFrame) -> None:
    trials = trials[trials["protocol"] == "rotation30"]
    odd = trials["seed"] % 2 == 1
    swapped = trials["learner"].replace({"error-bp": "error-dfa", "error-dfa": "error-bp"})
    either = trials.assign(learner=trials["learner"].where(~odd, swapped))
    measured = per_seed(either)
    rotation = sentence(findings(summarise(either, measured), measured)[0])
    assert "no learner is shown to be the fastest" in rotation
    assert "No difference shown between error-" in rotation
    assert "by 6 seeds" in rotation


@pytest.mark.parametrize("learners", [{"fixed": 0.0}, {"fixed": 0.0, "worse": -0.1}])
@pytest.mark.parametrize("seeds", [1, 6])
def test_a_learner_that_corrects_nothing_is_not_called_the_fastest(learners: dict[str, float], seeds: int) -> None:
    trials = trials_of({"none": 0.0, **learners}, seeds=seeds, misses={"prism": 12.0})
    of_none = trials["learner"] == "none"
    trials["launch_error_deg"] = trials["launch_error_deg"].where(of_none, 1.05 * trials["launch_error_deg"])
    measured = per_seed(trials)
    results = findings(summarise(trials, measured), measured)
    assert "no learner is shown to correct the miss: over the first 30 perturbed reaches, " in sentence(results[0])
    assert "fastest" not in in_short(results)


def test_a_control_says_where_hidden_layers_must_learn(trials: pd.DataFrame) -> None:
    measured = per_seed(trials)
    summary = summarise(trials, measured)
    results = findings(summary, measured)
    must = controls_in_words(measured, results, {"none": ["error-bp", "error-dfa"]})
    assert must.count("there hidden layers must learn.") == len(results)
    learned = measured.assign(value=measured["value"].where(measured["metric"] != "L30", 0.3))
    enough = controls_in_words(learned, results, {"error-dfa": ["error-bp"]})
    assert enough.count("there learning in the read-out is enough.") == len(results)
    for controls in ({"unknown": ["error-bp"]}, {"none": []}, {"none": ["unknown"]}):
        assert controls_in_words(measured, results, controls) == ""


def test_few_seeds_are_warned_of_and_give_no_interval() -> None:
    trials = trials_of({"none": 0.0, "error-bp": 0.2}, seeds=2, misses={"prism": 12.0})
    (warning,) = warnings(trials, {})
    assert "Only 2 seeds: no intervals" in warning
    measured = per_seed(trials)
    assert "[" not in sentence(findings(summarise(trials, measured), measured)[0])


def test_protocols_within_the_reach_are_judged_by_their_mean_correction_time(
    summary: pd.DataFrame, measured: pd.DataFrame
) -> None:
    times = {"error-bp": 0.3, "error-dfa": 0.5, "none": 0.6}
    seeds = [
        {"learner": learner, "protocol": "jump", "seed": seed, "metric": "T_c", "value": value + 0.001 * seed}
        for learner, value in times.items()
        for seed in range(6)
    ]
    finding = findings(with_rows(summary, "jump", {"T_c": times}), pd.concat([measured, pd.DataFrame(seeds)]))[-1]
    assert (finding.protocol, finding.metric, finding.best, finding.sure) == ("jump", "T_c", "error-bp", True)
    assert "its mean correction time was 0.30\N{NO-BREAK SPACE}s" in sentence(finding)
    assert "200 ms [200, 200]" in sentence(finding)


def test_curves_are_positive_to_the_side_of_the_perturbation(trials: pd.DataFrame) -> None:
    turned = towards_the_miss(trials)
    first = turned.query("block == 'perturbed' and trial_in_block == 1").groupby("protocol")["launch_error_deg"].mean()
    assert first["rotation30"] == pytest.approx(30.0, abs=1.5)
    assert first["prism"] == pytest.approx(12.0, abs=1.5)


def test_the_printed_table_shows_every_learner_and_interval(
    summary: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    print_table(summary)
    text = capsys.readouterr().out
    for word in ("none", "error-bp", "error-dfa", "L30", "never", "rotation", "prism"):
        assert word in text
    assert re.search(r"\[\d+, \d+\]", text)


def test_more_learners_than_fit_beside_each_other_are_in_further_tables(
    summary: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    learners = [f"a-learner-of-number-{number}" for number in range(12)]
    many = pd.concat([summary.query("learner == 'error-bp'").assign(learner=name) for name in learners])
    monkeypatch.setenv("COLUMNS", "80")
    print_table(many)
    text = capsys.readouterr().out
    assert all(name in text for name in learners), "no name is broken"
    assert all(len(line) <= 80 for line in text.splitlines())


def test_numbers_are_shown_with_their_digits_and_intervals_where_there_are_some() -> None:
    measures = {measure.metric: measure for measure in MEASURES}
    shown = {("L30", 0.271): "27", ("N63", np.inf): "never", ("tau", np.nan): "\N{EN DASH}"}
    shown |= {("after_effect", -0.756): "\N{MINUS SIGN}0.76", ("after_effect", -0.001): "0.00"}
    for (metric, value), text in shown.items():
        assert format_value(measures[metric], value) == text
    assert format_interval(measures["L30"], 0.2, 0.3) == "[20, 30]"
    assert format_interval(measures["L30"], np.nan, np.nan) == ""


def test_learners_that_never_get_there_are_shown_as_never(tmp_path: Path) -> None:
    trials = small(none=0.0, error_bp=0.2)
    summary = summarise(trials)
    here = (summary["metric"] == "N63") & (summary["learner"] == "none")
    assert set(summary["failed"][here]) == {1.0}
    assert 'data-value="Infinity">never</td>' in written(trials, tmp_path, summary)
    half = summary.assign(failed=summary["failed"].where(~here, 0.5))
    assert "never in 50 %" in written(trials, tmp_path, half)


def test_times_within_the_reach_are_drawn_over_peoples(tmp_path: Path) -> None:
    jump = trials_of({"none": 0.0, "error-bp": 0.2}, seeds=1, misses={"jump": 5.0})
    summary = with_rows(summarise(jump), "jump", {"t50_s": {"error-bp": 0.33}, "t90_s": {"error-bp": np.inf}})
    page = written(jump, tmp_path, summary)
    assert page.count(">people</text>") == 2
    assert "Cup jump: t50" in page


def test_costs_are_per_trial_and_energy_is_per_operation(trials: pd.DataFrame) -> None:
    costs = costs_of({"error-bp": 1e6, "none": 0.0}, {"error-dfa": 1e6}, trials)
    by_learner = cost_per_trial(trials, costs)
    assert by_learner["error-bp"]["energy_pj"] == pytest.approx(4.6 * 1e6 / 100)
    assert by_learner["error-dfa"]["energy_pj"] == pytest.approx(0.9 * 1e6 / 100)
    assert by_learner["error-bp"]["parameters"] == 4864.0
    learning = costs.assign(metric=costs["metric"].replace({"effective_macs": "learning_macs"}))
    assert cost_per_trial(trials, learning)["error-bp"]["energy_to_learn_pj"] == pytest.approx(4.6 * 1e6 / 100)
    assert cost_table(by_learner, list(by_learner)) is not None
    assert cost_table({}, list(by_learner)) is None


def test_movements_and_angles_to_the_gradient_are_shown_by_layer(trials: pd.DataFrame) -> None:
    costs = costs_of({"error-bp": 1e6}, {}, trials)
    assert layer_tables(costs) == layer_tables(pd.DataFrame()) == []
    one = costs[(costs["metric"] == "parameters") & (costs["learner"] == "error-bp")]
    readings = {"movement_hidden 1": 0.25, "alignment_hidden 1_degrees": 41.0}
    tables = layer_tables(pd.concat([costs, *(one.assign(metric=name, value=readings[name]) for name in readings)]))
    assert [table.header for table in tables] == [(("hidden 1", "% of their norm"),), (("hidden 1", "degrees"),)]
    assert [[(learner, cells[0].text) for learner, cells in table.rows] for table in tables] == [
        [("error-bp", "25.0")],
        [("error-bp", "41")],
    ]


def test_step_sizes_are_drawn_without_the_tries_that_were_stopped_early() -> None:
    (chart,) = step_sizes(tuning_of("error-bp"), {})
    assert chart.rows == (("error-bp", "0.4", "30", "0.1\N{EN DASH}0.8"),)
    assert step_sizes({"error-bp": {"settings": {"rate": 1.0}}}, {}) == []


def test_films_that_do_not_fit_are_named_and_a_film_that_cannot_be_read_has_no_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    jobs = [Job("protocol", name, 0, "a:b", "", "0123", "rotation30", film=True) for name in ("one", "two")]
    for job in jobs:
        store.write_outcome(Outcome(job, films=dict.fromkeys(FILM_PHASES, b"no film" * 100)))
    kept, left_out = films(store, jobs)
    assert [film.learner for film in kept] == ["one", "two"]
    assert all(clip.still == "" for film in kept for clip in film.clips)
    monkeypatch.setattr("reach.study.report.page.MAX_FILM_BYTES", 4000)
    kept, left_out = films(store, jobs)
    assert ([film.learner for film in kept], left_out) == (["one"], ["two"])
    damaged = store.film_paths(jobs[0])["during"]
    damaged.write_bytes(b"no film" * 99)
    with pytest.raises(DamagedError, match=f"{damaged} is damaged"):
        films(store, jobs)


def test_where_lamps_tell_the_side_learners_are_judged_by_what_is_left_and_drawn_in_windows(tmp_path: Path) -> None:
    trials = trials_of({"none": 0.0, "error-bp": 0.2}, misses={"context": 30.0})
    scale = np.where(trials["block"] == "perturbed", np.where(trials["trial"] % 3, 1.0, -1.0), 0.0)
    trials = trials.assign(context="0110", perturbation_scale=scale, block_number=trials["block"].factorize()[0] + 1)
    trials["launch_error_deg"] *= np.where(scale < 0.0, -1.0, 1.0)
    measured = per_seed(trials)
    summary = summarise(trials, measured)
    (finding,) = findings(summary, measured)
    assert finding.metric == "late_error"
    assert ", over the last tenth of the perturbed reaches, error-bp left " in sentence(finding)
    curve = learning_curve(trials[~trials["probe"]], "context", looks(["none", "error-bp"], lambda name: "#000"))
    assert curve is not None
    unlearned, learned = (dict(zip(curve.header, row, strict=True)) for row in curve.rows)
    first = "perturbed, 21\N{EN DASH}70"
    # Of 60 reaches the last ten are a window of their own, whose middle lies outside the first 50.
    assert float(unlearned[first]) == pytest.approx(30.0, abs=0.5)
    assert float(learned[first]) == pytest.approx(30.0 * np.mean(0.8 ** np.arange(50)), abs=1.0)
    assert "50 reaches" in written(trials, tmp_path, summary)
