"""The file that a script of one picture writes."""

from __future__ import annotations

from pathlib import Path

FORMATS = (".png", ".svg", ".pdf")


def require_picture_file(out: Path) -> None:
    """Refuse an --out to which no picture can be written.

    Raises:
        SystemExit: its name ends in none of FORMATS, or it is a folder.
    """
    if out.suffix not in FORMATS or out.is_dir():
        raise SystemExit(f"--out {out}: a file whose name ends in {', '.join(FORMATS)} is allowed")
