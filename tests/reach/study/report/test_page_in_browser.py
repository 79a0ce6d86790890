"""The laws of the report in headless Chromium: it sorts, plays films, shows values on hover and asks no network."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up import costs_of, traces_of, trials_of, tuning_of, with_rows, write_human_files

from reach.render.film import film_bytes
from reach.study import Job, Outcome, Store
from reach.study.engine.store import FILM_PHASES
from reach.study.measures import per_seed
from reach.study.report import write_report
from reach.study.statistics import summarise

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")

Page = Any
LEARNERS = {"none": 0.0, "error-a-learner-with-a-very-long-name-hidden": 0.05, "error-bp": 0.2, "error-dfa": 0.1}
PROTOCOLS = {"rotation30": 30.0, "prism": -12.0}
FILMED = ("none", "error-bp")
FILMS = 3 * len(FILMED)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a report with every section, films among them."""
    folder = tmp_path_factory.mktemp("study")
    store = Store(folder)
    trials = trials_of(LEARNERS, seeds=5, misses=PROTOCOLS)
    jobs = [Job("protocol", learner, 0, "a:b", "", "0123", "rotation30", film=True) for learner in FILMED]
    rng = np.random.default_rng(0)
    for job in jobs:
        frames = {phase: rng.integers(0, 255, (5, 120, 120, 3), dtype=np.uint8) for phase in FILM_PHASES}
        made = {phase: film_bytes(list(film), 25) for phase, film in frames.items()}
        store.write_outcome(Outcome(job, films=made))
    metrics = {"savings": {"error-bp": 0.3, "error-dfa": 0.1}, "T_c": {"error-bp": 0.3, "none": 0.6}}
    measured = per_seed(trials)
    metrics |= {f"generalisation_{angle}": {"error-bp": 1.0 - angle / 90} for angle in (0, 45, 90)}
    write_report(
        store,
        jobs,
        trials.assign(alignment_hidden_deg=40.0 + trials["trial"] / 10),
        with_rows(summarise(trials, measured), "prism", metrics),
        descriptions=dict.fromkeys(LEARNERS, "learns"),
        command="python scripts/compare.py --out runs/a-rather-long-name-of-a-folder --learners " + " ".join(LEARNERS),
        failures={"error-x, prism, seed 0": "Traceback: " + "x" * 300},
        human=write_human_files(folder / "people"),
        tuning=tuning_of("error-bp", "error-dfa"),
        traces=traces_of({"error-bp": 0.2, "none": 0.3}, "prism"),
        costs=costs_of({"error-bp": 1e6, "error-dfa": 2e6}, {}, trials),
        measured=measured,
    )
    return store.report_path


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Any, report: Path) -> Iterator[Page]:
    """Open the report in a desktop window; afterwards, check its requests and its console."""
    tab = chromium.new_page(viewport={"width": 1200, "height": 900})
    requests: list[str] = []
    complaints: list[str] = []
    tab.on("request", lambda request: requests.append(request.url[:200]))
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.goto(report.as_uri())
    yield tab
    tab.close()
    assert complaints == []
    assert requests[0].startswith("file:")
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []


def test_the_page_is_small_and_has_every_section(page: Page, report: Path) -> None:
    assert report.stat().st_size < 10e6
    assert page.locator("h2").count() == 12


def test_a_click_on_a_column_header_sorts_and_another_reverses_the_order(page: Page) -> None:
    table = page.locator("#measures ~ .scroll table").first
    by_number, by_name = (table.locator(f"thead th:nth-child({column})") for column in (2, 1))
    values = "rows => rows.map(row => Number(row.cells[1].dataset.value))"
    by_number.locator("button").click()
    rising = table.locator("tbody tr").evaluate_all(values)
    assert len(rising) == len(LEARNERS)
    assert rising == sorted(rising)
    assert by_number.get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Enter")  # the header has the focus
    assert table.locator("tbody tr").evaluate_all(values) == rising[::-1]
    assert by_number.get_attribute("aria-sort") == "descending"
    by_name.locator("button").click()
    assert table.locator("tbody th").all_text_contents() == sorted(LEARNERS)
    assert table.locator("[aria-sort]").count() == 1


def test_what_has_no_number_is_sorted_last_and_never_after_every_number(page: Page) -> None:
    table = page.locator("#measures ~ .scroll table").first
    table.locator("tbody tr").evaluate_all(
        "rows => ['', '2', 'Infinity', '1'].forEach((v, k) => { rows[k].cells[1].dataset.value = v; })"
    )
    for order in (["1", "2", "Infinity", ""], ["Infinity", "2", "1", ""]):
        table.locator("thead th:nth-child(2) button").click()
        values = table.locator("tbody tr").evaluate_all("rows => rows.map(row => row.cells[1].dataset.value)")
        assert values == order


def test_one_button_plays_all_films_and_stops_them(page: Page) -> None:
    films, button = page.locator("video"), page.locator("#play")
    assert films.count() == FILMS
    button.click()
    played = "f => Promise.all(f.map(f => f.paused ? 0 : new Promise(r => f.ontimeupdate = () => r(f.videoWidth))))"
    assert films.evaluate_all(played) == [120] * FILMS
    assert button.text_content() == "Pause all"
    button.click()
    assert films.evaluate_all("films => films.every(film => film.paused)")
    assert button.text_content() == "Play all"


def test_a_chart_shows_its_values_under_the_pointer_and_by_the_arrow_keys(page: Page) -> None:
    chart = page.locator("#reaches ~ .grid .plot").first
    tip = chart.locator(".tip")
    chart.hover()
    assert tip.inner_text().startswith("reach: ")
    assert all(learner in tip.inner_text() for learner in LEARNERS)
    page.locator("h1").hover()
    assert tip.is_hidden()
    chart.focus()
    page.keyboard.press("ArrowRight")
    first = tip.inner_text()
    page.keyboard.press("ArrowRight")
    assert tip.inner_text() != first


def test_a_row_of_values_shows_its_seeds(page: Page) -> None:
    page.locator(".plot").first.hover()
    assert "seeds: " in page.locator(".tip:not([hidden])").inner_text()


def test_a_phone_scrolls_in_one_direction_only_and_its_text_is_large_enough(page: Page) -> None:
    for width in (320, 375):
        page.set_viewport_size({"width": width, "height": 640})
        page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        sizes = page.locator("svg.chart").evaluate_all(
            "charts => charts.map(svg => parseFloat(getComputedStyle(svg.querySelector('text')).fontSize)"
            " * svg.getBoundingClientRect().width / svg.viewBox.baseVal.width)"
        )
        assert min(sizes) > 9.0
        names = page.locator("tbody th:first-child")
        assert min(names.evaluate_all("names => names.map(name => name.getBoundingClientRect().width)")) > 70.0


def test_a_screen_reader_finds_a_name_for_every_chart_table_and_film(page: Page) -> None:
    for selector, name in (
        ("svg.chart", "e.role === 'img' && e.ariaLabel"),
        ("table", "e.caption && e.caption.textContent.trim()"),
        ("th", "e.scope"),
        ("video", "e.ariaLabel"),
        ("img", "e.alt"),
        ("html", "e.lang === 'en'"),
    ):
        assert page.locator(selector).evaluate_all(f"all => all.length && all.every(e => {name})"), selector


def test_every_link_leads_somewhere_on_the_page(page: Page) -> None:
    assert page.evaluate(
        "[...document.querySelectorAll('a')].every(a => document.querySelector(a.getAttribute('href')))"
    )


def test_charts_and_numbers_are_there_without_javascript(chromium: Any, report: Path) -> None:
    page = chromium.new_page(java_script_enabled=False)
    page.goto(report.as_uri())
    assert page.locator("svg.chart").first.bounding_box()["height"] > 50
    assert page.locator("#reaches ~ .grid").first.get_by_text("launch error, degrees").first.is_visible()
    page.close()


def test_on_paper_all_details_are_open_and_films_are_stills(page: Page) -> None:
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    for selector, count in ((".still", FILMS), ("video", 0), ("#play", 0)):
        assert sum(element.is_visible() for element in page.locator(selector).all()) == count
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0
    assert page.pdf().startswith(b"%PDF")
