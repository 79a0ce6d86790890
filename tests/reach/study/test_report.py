"""The laws of the report: one file without a network, findings that follow from the numbers, the same figures twice."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up import costs_of, traces_of, trials_of, tuning_of, with_rows, write_human_files
from rich.console import Console

from reach.study import DamagedError, Job, Outcome, Store
from reach.study.engine.store import FILM_PHASES
from reach.study.report import print_table, towards_the_miss, write_report
from reach.study.report.figures import step_sizes
from reach.study.report.findings import answer, findings, in_short, warnings
from reach.study.report.metrics import MEASURES, interval, number
from reach.study.report.page import films, page
from reach.study.report.tables import alignment_table, cost_per_trial, cost_table
from reach.study.run.measures import per_seed
from reach.study.statistics import summarise


@pytest.fixture(scope="module")
def trials() -> pd.DataFrame:
    return trials_of({"none": 0.0, "error-bp": 0.2, "error-dfa": 0.1})


@pytest.fixture
def whole(trials: pd.DataFrame, tmp_path: Path) -> str:
    store = Store(tmp_path)
    job = Job("protocol", "error-bp", 0, "a:b", "", "0123", "rotation30", film=True)
    store.write_outcome(Outcome(job, films=dict.fromkeys(FILM_PHASES, b"a film")))
    return page(
        store,
        [job, replace(job, learner="none", film=False)],
        trials,
        summarise(trials),
        notes={"error-bp": "carries <errors> back"},
        command="python scripts/compare.py --out 'a & b'",
        failures={"error-x, prism, seed 0": "Traceback: x < y"},
    )


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


def test_two_pages_of_the_same_study_differ_in_their_date_at_most(trials: pd.DataFrame, tmp_path: Path) -> None:
    def once() -> str:
        made = page(Store(tmp_path), [], trials, summarise(trials), notes={}, command="", failures={})
        return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "", made)

    assert once() == once()


def test_the_first_sentence_names_the_fastest_learner_its_number_and_its_lead(trials: pd.DataFrame) -> None:
    summary = summarise(trials)
    rotation, prism = answer(summary, per_seed(trials))
    l30 = summary.query("metric == 'L30' and protocol == 'rotation30'").set_index("learner")["value"]
    assert rotation.startswith("Under the 30° rotation of the seen hand, error-bp corrected fastest")
    assert f"{100 * l30['error-bp']:.0f}\N{NO-BREAK SPACE}% [" in rotation
    assert "Its lead over error-dfa is" in rotation
    assert prism.startswith("Under the prism shift, error-bp")


def test_a_difference_whose_interval_covers_zero_is_called_none(trials: pd.DataFrame) -> None:
    odd = trials["seed"] % 2 == 1
    swapped = trials["learner"].replace({"error-bp": "error-dfa", "error-dfa": "error-bp"})
    either = trials.assign(learner=trials["learner"].where(~odd, swapped))
    rotation, _ = answer(summarise(either), per_seed(either))
    assert "no learner is shown to be the fastest" in rotation
    assert "there is no difference that 6 seeds show" in rotation


def test_few_seeds_are_warned_of_and_give_no_interval() -> None:
    trials = trials_of({"none": 0.0, "error-bp": 0.2}, seeds=2)
    (said,) = warnings(trials, {})
    assert "Only 2 seeds: no interval" in said
    rotation, _ = answer(summarise(trials), per_seed(trials))
    assert "[" not in rotation


def test_a_study_without_the_unlearning_arm_still_has_a_page(tmp_path: Path) -> None:
    trials = trials_of({"error-bp": 0.2})
    made = page(Store(tmp_path), [], trials, summarise(trials), notes={}, command="", failures={})
    assert "the arm that does not learn is not shown" in made


def test_curves_are_positive_to_the_side_of_the_perturbation(trials: pd.DataFrame) -> None:
    turned = towards_the_miss(trials)
    first = turned.query("block == 'perturbed' and trial_in_block == 1").groupby("protocol")["launch_error_deg"].mean()
    assert first["rotation30"] == pytest.approx(30.0, abs=1.5)
    assert first["prism"] == pytest.approx(12.0, abs=1.5)


def test_the_printed_table_shows_every_learner_and_interval(trials: pd.DataFrame) -> None:
    text = StringIO()
    print_table(summarise(trials), Console(file=text, width=100))
    for word in ("none", "error-bp", "error-dfa", "L30", "never", "rotation", "prism"):
        assert word in text.getvalue()
    assert re.search(r"\[\d+, \d+\]", text.getvalue())


def test_more_learners_than_fit_beside_each_other_are_in_further_tables(trials: pd.DataFrame) -> None:
    learners = [f"a-learner-of-number-{number}" for number in range(12)]
    many = pd.concat([summarise(trials).query("learner == 'error-bp'").assign(learner=name) for name in learners])
    text = StringIO()
    print_table(many, Console(file=text, width=80))
    assert all(name in text.getvalue() for name in learners), "no name is broken"
    assert all(len(line) <= 80 for line in text.getvalue().splitlines())


@pytest.mark.parametrize(
    ("metric", "value", "shown"),
    [
        ("L30", 0.271, "27"),
        ("N63", np.inf, "never"),
        ("tau", np.nan, "\N{EN DASH}"),
        ("after_effect", -0.756, "\N{MINUS SIGN}0.76"),
        ("after_effect", -0.001, "0.00"),
    ],
)
def test_numbers_are_shown_with_their_digits(metric: str, value: float, shown: str) -> None:
    (measure,) = [one for one in MEASURES if one.metric == metric]
    assert number(measure, value) == shown


def test_an_interval_is_shown_only_where_there_is_one() -> None:
    measure = MEASURES[0]
    assert interval(measure, 0.2, 0.3) == "[20, 30]"
    assert interval(measure, np.nan, np.nan) == ""


def headings(made: str) -> list[str]:
    return re.findall(r"<h2[^>]*>([^<]*)</h2>", made)


def made_of(trials: pd.DataFrame, folder: Path, summary: pd.DataFrame | None = None, **more: object) -> str:
    store = Store(folder)
    write_report(store, [], trials, summarise(trials) if summary is None else summary, **more)  # type: ignore[arg-type]
    return store.report_path.read_text()


def test_a_study_of_one_learner_and_one_seed_has_a_page_without_empty_sections(tmp_path: Path) -> None:
    for learner in ("none", "error-bp"):
        rates = {learner: 0.0 if learner == "none" else 0.2}
        made = made_of(trials_of(rates, seeds=1, misses={"prism": 12.0}), tmp_path)
        wanted = ["Reach by reach", "Beside people", "How this was made"]
        assert [one for one in headings(made) if one != "The measures"] == wanted
        assert re.findall(r'href="#(\w+)"', made) == re.findall(r'<h2 id="(\w+)"', made)


def test_every_section_is_there_once_its_data_are(trials: pd.DataFrame, tmp_path: Path) -> None:
    summary = with_rows(summarise(trials), "prism", {"savings": {"error-bp": 0.3, "error-dfa": 0.1}})
    made = made_of(
        trials.assign(alignment_hidden_deg=40.0),
        tmp_path,
        summary,
        human=write_human_files(tmp_path / "people"),
        tuning=tuning_of("error-bp", "error-dfa"),
        traces=traces_of({"error-bp": 0.2, "none": 0.3}, "rotation30"),
        costs=costs_of({"error-bp": 1e6, "error-dfa": 2e6}, {}, trials),
    )
    assert headings(made) == [
        "Protocol by protocol", "Reach by reach", "The measures", "Learner against learner", "Within a reach", "Memory",
        "Cost", "Speed against step size", "Alignment", "Beside people", "How this was made",
    ]  # fmt: skip
    links = Links()
    links.feed(made)
    assert links.open == []
    assert len(links.ids) == len(set(links.ids))


def test_protocols_within_the_reach_are_judged_by_their_mean_correction_time(trials: pd.DataFrame) -> None:
    times = {"error-bp": 0.3, "error-dfa": 0.5, "none": 0.6}
    summary = with_rows(summarise(trials), "jump", {"T_c": times})
    seeds = [
        {"learner": learner, "protocol": "jump", "seed": seed, "metric": "T_c", "value": value + 0.001 * seed}
        for learner, value in times.items()
        for seed in range(6)
    ]
    measured = pd.concat([per_seed(trials), pd.DataFrame(seeds)])
    (found,) = [one for one in findings(summary, measured) if one.protocol == "jump"]
    assert (found.metric, found.best, found.sure) == ("T_c", "error-bp", True)
    assert "its mean correction time was 0.30\N{NO-BREAK SPACE}s" in answer(summary, measured)[-1]
    assert "200 ms [200, 200]" in answer(summary, measured)[-1]


def test_the_answer_is_one_paragraph_that_names_who_was_fastest_elsewhere(trials: pd.DataFrame) -> None:
    text = in_short(findings(summarise(trials), per_seed(trials)))
    assert text.startswith("Under the 30° rotation of the seen hand, error-bp corrected fastest")
    assert text.endswith(" error-bp was also the fastest under the prism shift.")
    assert in_short([]) == ""


def test_learners_that_never_get_there_are_said_to_be_never(trials: pd.DataFrame, tmp_path: Path) -> None:
    summary = summarise(trials)
    here = (summary["metric"] == "N63") & (summary["learner"] == "none")
    assert set(summary["failed"][here]) == {1.0}
    made = made_of(trials, tmp_path, summary)
    assert 'data-value="Infinity">never</td>' in made
    assert "never in 50 %" in made_of(trials, tmp_path, summary.assign(failed=summary["failed"].where(~here, 0.5)))


def test_times_within_the_reach_are_drawn_over_peoples(trials: pd.DataFrame, tmp_path: Path) -> None:
    jump = trials_of({"none": 0.0, "error-bp": 0.2}, misses={"jump": 5.0})
    summary = with_rows(summarise(jump), "jump", {"t50_s": {"error-bp": 0.33}, "t90_s": {"error-bp": np.inf}})
    made = made_of(jump, tmp_path, summary)
    assert 'class="people"' in made
    assert "Cup jump: t50" in made
    assert 'class="people"' not in made_of(trials, tmp_path)


def test_costs_are_told_by_trial_and_energy_by_operation(trials: pd.DataFrame) -> None:
    costs = costs_of({"error-bp": 1e6, "none": 0.0}, {"error-dfa": 1e6}, trials)
    found = cost_per_trial(trials, costs)
    assert found["error-bp"]["energy_pj"] == pytest.approx(4.6 * 1e6 / 100)
    assert found["error-dfa"]["energy_pj"] == pytest.approx(0.9 * 1e6 / 100)
    assert found["error-bp"]["parameters"] == 4864.0
    learning = costs.assign(metric=costs["metric"].replace({"effective_macs": "learning_macs"}))
    assert cost_per_trial(trials, learning)["error-bp"]["energy_to_learn_pj"] == pytest.approx(4.6 * 1e6 / 100)
    assert cost_table(trials, costs) is not None
    assert cost_table(trials, None) is None


def test_angles_to_the_gradient_are_told_by_layer(trials: pd.DataFrame) -> None:
    costs = costs_of({"error-bp": 1e6}, {}, trials)
    assert alignment_table(costs) is None
    assert alignment_table(None) is None
    angles = costs[costs["metric"] == "parameters"].assign(metric="alignment_hidden_degrees", value=41.0)
    table = alignment_table(pd.concat([costs, angles[angles["learner"] == "error-bp"]]))
    assert table is not None
    assert table.heads == (("hidden", "degrees"),)
    assert [(line.learner, line.cells[0].text) for line in table.lines] == [("error-bp", "41")]


def test_step_sizes_are_drawn_without_the_tries_that_were_given_up() -> None:
    (chart,) = step_sizes(tuning_of("error-bp"), {})
    assert chart.lines == (("error-bp", "0.4", "30", "0.1\N{EN DASH}0.8"),)
    assert step_sizes({"error-bp": {"settings": {"rate": 1.0}}}, {}) == []


def test_films_that_do_not_fit_are_named_and_a_film_that_cannot_be_read_has_no_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    jobs = [Job("protocol", name, 0, "a:b", "", "0123", "rotation30", film=True) for name in ("one", "two")]
    for job in jobs:
        store.write_outcome(Outcome(job, films=dict.fromkeys(FILM_PHASES, b"no film" * 100)))
    shown, left_out = films(store, jobs)
    assert [film.learner for film in shown] == ["one", "two"]
    assert all(clip.still == "" for film in shown for clip in film.clips)
    monkeypatch.setattr("reach.study.report.page.MOST_BYTES", 4000)
    shown, left_out = films(store, jobs)
    assert ([film.learner for film in shown], left_out) == (["one"], ["two"])
    damaged = store.film_paths(jobs[0])["during"]
    damaged.write_bytes(b"no film" * 99)
    with pytest.raises(DamagedError, match=f"{damaged} is damaged"):
        films(store, jobs)
