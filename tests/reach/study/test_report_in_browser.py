"""The laws of the report as a reader meets it, in headless Chromium: it sorts, plays, tells values, asks no network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from chromium import Page, browser, executable
from made_up import costs_of, traces_of, trials_of, tuning_of, with_rows, write_human_files

from reach.study import Job, Outcome, Store
from reach.study.engine.store import FILM_PHASES
from reach.study.filming import film_bytes
from reach.study.report import write_report
from reach.study.statistics import summarise

pytestmark = pytest.mark.skipif(executable() is None, reason="no Chromium here")

LEARNERS = {"none": 0.0, "error-a-learner-with-a-very-long-name-hidden": 0.05, "error-bp": 0.2, "error-dfa": 0.1}
PROTOCOLS = {"rotation30": 30.0, "prism": -12.0}
FILMED = ("none", "error-bp")
FILMS = 3 * len(FILMED)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with every section, films among them."""
    folder = tmp_path_factory.mktemp("study")
    store = Store(folder)
    trials = trials_of(LEARNERS, seeds=5, misses=PROTOCOLS)
    jobs = [Job("protocol", learner, 0, "a:b", "", "0123", "rotation30", film=True) for learner in FILMED]
    rng = np.random.default_rng(0)
    for job in jobs:
        drawn = {phase: rng.integers(0, 255, (5, 120, 120, 3), dtype=np.uint8) for phase in FILM_PHASES}
        made = {phase: film_bytes(list(frames), 25) for phase, frames in drawn.items()}
        store.write_outcome(Outcome(job, films=made))
    metrics = {"savings": {"error-bp": 0.3, "error-dfa": 0.1}, "T_c": {"error-bp": 0.3, "none": 0.6}}
    metrics |= {f"generalisation_{angle}": {"error-bp": 1.0 - angle / 90} for angle in (0, 45, 90)}
    write_report(
        store,
        jobs,
        trials.assign(alignment_hidden_deg=40.0 + trials["trial"] / 10),
        with_rows(summarise(trials), "prism", metrics),
        notes=dict.fromkeys(LEARNERS, "learns"),
        command="python scripts/compare.py --out runs/a-rather-long-name-of-a-folder --learners " + " ".join(LEARNERS),
        failures={"error-x, prism, seed 0": "Traceback: " + "x" * 300},
        human=write_human_files(folder / "people"),
        tuning=tuning_of("error-bp", "error-dfa"),
        traces=traces_of({"error-bp": 0.2, "none": 0.3}, "prism"),
        costs=costs_of({"error-bp": 1e6, "error-dfa": 2e6}, {}, trials),
    )
    return store.report_path


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(chromium: Page, report: Path) -> Iterator[Page]:
    """The report in a window of a desk, then what it asked for and complained of while it was used."""
    chromium.requests.clear()
    chromium.complaints.clear()
    chromium.open(report)
    yield chromium
    assert chromium.complaints == []
    assert [one for one in chromium.requests if not one.startswith(("file:", "data:"))] == []


def test_the_page_is_small_and_opens_from_disk_without_a_request_or_a_complaint(page: Page, report: Path) -> None:
    assert report.stat().st_size < 10e6
    assert page.ask("document.querySelectorAll('h2').length") == 12
    assert any(one.startswith("file:") for one in page.requests)


def test_a_click_on_a_head_sorts_and_another_turns_the_order_round(page: Page) -> None:
    page.ask("document.querySelector('#measures ~ .scroll table').id = 'sorted'")
    numbers = "[...document.querySelectorAll('#sorted tbody tr')].map(r => Number(r.cells[1].dataset.value))"
    page.click("#sorted thead th:nth-child(2) button")
    rising = page.ask(numbers)
    assert len(rising) == len(LEARNERS)
    assert rising == sorted(rising)
    assert page.ask("document.querySelector('#sorted th:nth-child(2)').getAttribute('aria-sort')") == "ascending"
    page.press("Enter")  # the head has the focus
    assert page.ask(numbers) == rising[::-1]
    assert page.ask("document.querySelector('#sorted th:nth-child(2)').getAttribute('aria-sort')") == "descending"
    page.click("#sorted thead th:nth-child(1) button")
    names = page.ask("[...document.querySelectorAll('#sorted tbody th')].map(h => h.textContent)")
    assert names == sorted(LEARNERS)
    assert page.ask("document.querySelectorAll('#sorted [aria-sort]').length") == 1


def test_what_has_no_number_is_sorted_last_and_never_after_every_number(page: Page) -> None:
    page.ask(
        "document.querySelector('#measures ~ .scroll table').id = 'sorted';"
        "['', '2', 'Infinity', '1'].forEach((v, k) => {"
        " document.querySelectorAll('#sorted tbody tr')[k].cells[1].dataset.value = v; })"
    )
    for order in (["1", "2", "Infinity", ""], ["Infinity", "2", "1", ""]):
        page.click("#sorted thead th:nth-child(2) button")
        found = page.ask("[...document.querySelectorAll('#sorted tbody tr')].map(r => r.cells[1].dataset.value)")
        assert found == order


def test_one_button_plays_all_films_and_stops_them(page: Page) -> None:
    films = "[...document.querySelectorAll('video')]"
    assert page.ask(f"{films}.length") == FILMS
    assert page.ask("document.querySelectorAll('#play').length") == 1
    page.click("#play")
    played = f"Promise.all({films}.map(f => f.paused ? 0 : new Promise(r => f.ontimeupdate = () => r(f.videoWidth))))"
    assert page.ask(played) == [120] * FILMS
    assert page.ask("document.getElementById('play').textContent") == "Pause all"
    page.click("#play")
    assert page.ask(f"{films}.every(f => f.paused)")
    assert page.ask("document.getElementById('play').textContent") == "Play all"


def test_a_chart_tells_its_values_under_the_pointer_and_by_the_arrow_keys(page: Page) -> None:
    page.ask("document.querySelector('#reaches ~ .grid .plot').id = 'here'")
    shown = "document.querySelector('#here .tip').innerText"
    page.point("#here", 0.5, 0.5)
    assert page.ask("document.querySelector('#here .tip').hidden") is False
    under = page.ask(shown)
    assert under.startswith("reach: ")
    assert all(learner in under for learner in LEARNERS)
    page.point("h1")
    assert page.ask("document.querySelector('#here .tip').hidden") is True
    page.ask("document.getElementById('here').focus()")
    page.press("ArrowRight")
    first = page.ask(shown)
    page.press("ArrowRight")
    assert page.ask(shown) != first


def test_a_row_of_values_tells_its_seeds(page: Page) -> None:
    page.point(".plot .row:nth-of-type(2) .hit")
    told = page.ask("[...document.querySelectorAll('.tip')].filter(t => !t.hidden).map(t => t.innerText)")
    assert len(told) == 1
    assert "seeds: " in told[0]


def test_a_phone_scrolls_in_one_direction_only_and_its_text_is_large_enough(page: Page, report: Path) -> None:
    for width in (320, 375):
        page.open(report, width=width, height=640, phone=True)
        page.ask("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        assert page.ask("document.documentElement.scrollWidth") <= width
        assert page.ask("document.body.scrollWidth") <= width
        sizes = page.ask(
            "[...document.querySelectorAll('svg.chart')].map(s => parseFloat(getComputedStyle(s).fontSize)"
            " * s.getBoundingClientRect().width / s.viewBox.baseVal.width)"
        )
        assert min(sizes) > 9.0
        names = "[...document.querySelectorAll('tbody th:first-child')].map(h => h.getBoundingClientRect().width)"
        assert min(page.ask(names)) > 70.0


def test_a_screen_reader_finds_a_name_for_every_chart_table_and_film(page: Page) -> None:
    assert page.ask("[...document.querySelectorAll('svg[role=img]')].every(s => s.querySelector('title').textContent)")
    assert page.ask("[...document.querySelectorAll('table')].every(t => t.caption && t.caption.textContent.trim())")
    assert page.ask("[...document.querySelectorAll('th')].every(h => h.scope)")
    assert page.ask("[...document.querySelectorAll('video')].every(v => v.getAttribute('aria-label'))")
    assert page.ask("[...document.querySelectorAll('img')].every(i => i.alt)")
    assert page.ask("document.documentElement.lang") == "en"


def test_every_link_leads_somewhere_on_the_page(page: Page) -> None:
    assert page.ask("[...document.querySelectorAll('a')].every(a => document.querySelector(a.getAttribute('href')))")


def test_on_paper_every_fold_is_open_and_films_are_stills(page: Page) -> None:
    page.call("Emulation.setEmulatedMedia", media="print")
    try:
        page.ask("dispatchEvent(new Event('beforeprint'))")
        assert page.ask("[...document.querySelectorAll('details')].every(d => d.open)")
        visible = "[...document.querySelectorAll('{}')].filter(e => e.getBoundingClientRect().height > 0).length"
        assert page.ask(visible.format(".still")) == FILMS
        assert page.ask(visible.format("video")) == 0
        assert page.ask(visible.format("#play")) == 0
        page.ask("dispatchEvent(new Event('afterprint'))")
        assert not page.ask("[...document.querySelectorAll('details')].some(d => d.open)")
        assert page.printed().startswith(b"%PDF")
    finally:
        page.call("Emulation.setEmulatedMedia", media="")


def test_a_page_of_one_learner_and_one_seed_opens_without_a_complaint(chromium: Page, tmp_path: Path) -> None:
    store = Store(tmp_path)
    trials = trials_of({"none": 0.0}, seeds=1, misses={"prism": 12.0})
    write_report(store, [], trials, summarise(trials))
    chromium.complaints.clear()
    chromium.open(store.report_path)
    assert chromium.complaints == []
