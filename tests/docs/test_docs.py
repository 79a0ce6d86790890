"""What README and docs say can be done as it stands there: code blocks run, and links lead somewhere."""

from __future__ import annotations

import os
import re
import runpy
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from agents.networks.registry import NETWORKS
from agents.rules.registry import RULES
from reach.perturbations import PERTURBATIONS
from reach.study import measures
from reach.study.report import metrics

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMANDS = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# A block that the reader saves as a file.
FILE = re.compile(r"# (my_\w+\.py)\n")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
# Folders whose pages are made from the code when the site is built.
MADE = ("environments/", "perturbations/", "protocols/", "measures/", "rules/", "learners.md")


@pytest.fixture
def at_the_root() -> Iterator[None]:
    """Run blocks where a user does who has just cloned the repository, and forget what they register."""
    before = Path.cwd()
    registries: list[Any] = [NETWORKS, RULES, PERTURBATIONS]
    lists: list[Any] = [measures.MEASURES, metrics.MEASURES]
    kept, listed = [dict(registry) for registry in registries], [list(registry) for registry in lists]
    os.chdir(ROOT)
    yield
    os.chdir(before)
    for registry, entries in zip(registries, kept, strict=True):
        registry.clear()
        registry.update(entries)
    for registry, entries in zip(lists, listed, strict=True):
        registry[:] = entries


@pytest.mark.usefixtures("at_the_root")
@pytest.mark.parametrize("page", [page for page in PAGES if BLOCK.search(page.read_text())], ids=lambda page: page.name)
def test_code_blocks_run_one_after_the_other(page: Path) -> None:
    names: dict[str, object] = {"__name__": "page"}
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for block in BLOCK.findall(page.read_text()):
            exec(compile(block, page.name, "exec", dont_inherit=True), names)
    assert [str(one.message) for one in warned] == []


def test_the_commands_of_the_tutorial_run_one_after_the_other(
    tmp_path: Path, run_here: Callable[..., CompletedProcess[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "tutorial.md").read_text()
    for block in BLOCK.findall(page):
        if (file := FILE.match(block)) is not None:
            (tmp_path / file[1]).write_text(block)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
    monkeypatch.syspath_prepend(str(tmp_path))
    commands = [line for block in COMMANDS.findall(page) for line in block.splitlines()]
    assert len(commands) >= 4
    for command in commands:
        python, script, *words = command.replace("runs/tutorial", str(tmp_path / "runs")).split()
        assert python == "python"
        done = run_here(script, *words)
        assert done.returncode == 0, f"{command}: {done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_to_files(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        if target.startswith(("http", "#")) or target.startswith(MADE):
            continue
        assert (page.parent / target.partition("#")[0]).exists(), f"{page.name} links to {target}"


TABLES = runpy.run_path(str(ROOT / "docs" / "tables.py"))


@pytest.mark.parametrize("page", TABLES["PAGES"], ids=lambda page: f"{page.parent.name}-{page.name}")
def test_tables_of_results_are_those_of_the_results(page: Path) -> None:
    text = page.read_text()
    assert TABLES["PLACE"].search(text)
    assert TABLES["with_tables"](text) == text
