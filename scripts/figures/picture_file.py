"""The file that a picture is written to."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from reach.files import write_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg", ".pdf")


def require_picture_file(out: Path) -> None:
    """Check that a picture can be written to --out.

    Raises:
        SystemExit: its name ends in none of FORMATS, or it is a folder.
    """
    if out.suffix not in FORMATS or out.is_dir():
        raise SystemExit(f"--out {out}: expected a file whose name ends in {', '.join(FORMATS)}")


def write_figure(figure: Figure, path: Path, dpi: int) -> None:
    """Write a figure atomically, in the format that the file's name ends in."""
    data = io.BytesIO()
    figure.savefig(data, format=path.suffix.removeprefix("."), dpi=dpi)
    write_file(path, data.getvalue())
