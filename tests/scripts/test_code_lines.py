"""Lines of code are counted without blank lines, comments and docstrings."""

from __future__ import annotations

from pathlib import Path

import code_lines
import pytest

SOURCE = '''"""A module.

Two paragraphs.
"""

# A comment.
VALUE = """text
that is no docstring"""


def function() -> int:
    """Return."""
    return (
        1
    )  # the end
'''


def test_only_lines_with_code_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "module.py").write_text(SOURCE)
    code_lines.main([str(tmp_path)])
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()] == ["6", "6"]


def test_a_folder_that_does_not_exist_is_named() -> None:
    with pytest.raises(SystemExit, match=r"existing folders, got \['nowhere'\]"):
        code_lines.main(["nowhere"])
