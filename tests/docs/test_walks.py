"""Pages that walk a reader through the code name files and functions that exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WALKS = [ROOT / "docs" / name for name in ("action-to-observation.md", "error-to-weight-change.md")]
MOST_LINES = 120
BLOCK = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
FILE = re.compile(r"[\w/]+\.py")
NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
# A name with the file in which it is defined; names in a list share the file after the last one.
PLACED = re.compile(r"((?:`[\w.]+`(?:, | and |,\s+|\s+and\s+))*`[\w.]+`)\s+\(`([\w/]+\.py)`\)")


@cache
def names_in(file: str) -> frozenset[str]:
    """Return the functions, classes, methods, fields and constants of a file; methods with and without their class."""
    names: set[str] = set()

    def read(body: list[ast.stmt], owner: str) -> None:
        for node in body:
            defined: list[str] = []
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                defined = [node.name]
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                defined = [part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]
            names.update(defined)
            names.update(f"{owner}{name}" for name in defined)
            if isinstance(node, ast.ClassDef):
                read(node.body, f"{node.name}.")

    read(ast.parse((ROOT / file).read_text()).body, "")
    return frozenset(names)


def text_of(page: Path) -> str:
    """Return a page without its code blocks."""
    return BLOCK.sub("", page.read_text())


@pytest.mark.parametrize("page", WALKS, ids=lambda page: page.stem)
def test_files_and_names_of_a_walk_exist(page: Path) -> None:
    spans = SPAN.findall(text_of(page))
    files = dict.fromkeys(span for span in spans if FILE.fullmatch(span))
    assert len(files) >= 8
    assert [file for file in files if not (ROOT / file).is_file()] == []
    known = frozenset[str]().union(*map(names_in, files))
    names = dict.fromkeys(span for span in spans if NAME.fullmatch(span) and span not in files)
    assert len(names) >= 30
    assert [name for name in names if name not in known] == []


@pytest.mark.parametrize("page", WALKS, ids=lambda page: page.stem)
def test_names_of_a_walk_are_in_the_file_beside_them(page: Path) -> None:
    placed = [(name, file) for listed, file in PLACED.findall(text_of(page)) for name in SPAN.findall(listed)]
    assert len(placed) >= 20
    assert [(name, file) for name, file in placed if name not in names_in(file)] == []


@pytest.mark.parametrize("page", WALKS, ids=lambda page: page.stem)
def test_a_walk_is_short_and_linked(page: Path) -> None:
    assert len(page.read_text().splitlines()) <= MOST_LINES
    assert f"]({page.name})" in (ROOT / "docs" / "index.md").read_text()
    assert f": {page.name}\n" in (ROOT / "mkdocs.yml").read_text()
