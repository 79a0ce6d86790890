"""Count lines of code without blank lines, comments and docstrings: `python scripts/code_lines.py reach agents`."""

from __future__ import annotations

import ast
import sys
import tokenize
from pathlib import Path

NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def code_lines(file: Path) -> int:
    """Return the number of lines that hold code."""
    lines: set[int] = set()
    with file.open("rb") as source:
        for token in tokenize.tokenize(source.readline):
            if token.type not in NO_CODE:
                lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            docstring = node.body[0]
            lines.difference_update(range(docstring.lineno, (docstring.end_lineno or docstring.lineno) + 1))
    return len(lines)


def main(folders: list[str]) -> None:
    """Print the count of each folder and their sum."""
    missing = [folder for folder in folders if not Path(folder).is_dir()]
    if missing or not folders:
        raise SystemExit(f"usage: code_lines.py FOLDER ...; expected existing folders, got {missing or 'none'}")
    counts = {folder: sum(map(code_lines, Path(folder).rglob("*.py"))) for folder in folders}
    for folder, count in (*counts.items(), ("total", sum(counts.values()))):
        print(f"{folder:12} {count:7,}")


if __name__ == "__main__":
    main(sys.argv[1:])
