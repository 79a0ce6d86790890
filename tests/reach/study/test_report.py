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
from rich.console import Console

from reach.study import Job, Store, people
from reach.study.measures import per_seed
from reach.study.report import answer, page, towards_the_miss, warnings
from reach.study.statistics import summarise
from reach.study.store import FILM_PHASES
from reach.study.tables import MEASURES, interval, number, print_table

BLOCKS = (("baseline", 20), ("perturbed", 60), ("washout", 20))
MISS_DEG = {"rotation30": 30.0, "prism": -12.0}


def made_up(rates: dict[str, float], seeds: int = 6, noise: float = 0.5) -> pd.DataFrame:
    """Trials of learners that keep (1 - rate) of their error from reach to reach."""
    rows = []
    for learner, rate in rates.items():
        for protocol, miss in MISS_DEG.items():
            for seed in range(seeds):
                rng = np.random.default_rng(seed)
                learned, trial = 0.0, 0
                for block, trials in BLOCKS:
                    for place in range(1, trials + 1):
                        trial += 1
                        error = (miss if block == "perturbed" else 0.0) - learned
                        learned += rate * error
                        row = {"learner": learner, "protocol": protocol, "seed": seed, "trial": trial, "block": block}
                        row |= {"trial_in_block": place, "probe": False, "cup_x": 0.1, "cup_y": 0.1 * (trial % 4)}
                        row |= {"launch_error_deg": error + rng.normal(0.0, noise), "endpoint_error_cm": abs(error) / 5}
                        row |= {"time_to_success_s": 1.0, "success": True, "attempts": 1, "tipped": False}
                        row |= {"reward": 0.0, "duration_s": 1.0}
                        rows.append(row)
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def trials() -> pd.DataFrame:
    return made_up({"none": 0.0, "error-bp": 0.2, "error-dfa": 0.1})


@pytest.fixture
def whole(trials: pd.DataFrame, tmp_path: Path) -> str:
    store = Store(tmp_path)
    job = Job("protocol", "error-bp", 0, "a:b", "", "0123", "rotation30", film=True)
    for path in store.film_paths(job).values():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"a film")
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

    VOID = ("meta", "link", "br", "img", "path", "use")

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
    trials = made_up({"none": 0.0, "error-bp": 0.2}, seeds=2)
    (said,) = warnings(trials, {})
    assert "Only 2 seeds: no interval" in said
    rotation, _ = answer(summarise(trials), per_seed(trials))
    assert "[" not in rotation


def test_a_study_without_the_unlearning_arm_still_has_a_page(tmp_path: Path) -> None:
    trials = made_up({"error-bp": 0.2})
    made = page(Store(tmp_path), [], trials, summarise(trials), notes={}, command="", failures={})
    assert "no error to measure the others by" in made


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


def test_human_curves_rise_and_carry_a_citation() -> None:
    for curve in people.CURVES:
        assert len(curve.blocks) == len(curve.index)
        assert curve.index[-1] > curve.index[0]
        assert "n = 37" in curve.citation
    assert people.curve("people, whole reach").asymptote == 0.91
    with pytest.raises(KeyError, match="known are"):
        people.curve("apes")
