"""A real window on a screen that nobody sees."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def at_a_window() -> Callable[..., Any]:
    """Runs a program with words at a window of its own; gives what its last line of JSON says."""
    if shutil.which("xvfb-run") is None:
        pytest.skip("xvfb-run is not installed")

    def run(program: str, *words: str) -> Any:
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        env.pop("SDL_VIDEODRIVER", None)
        command = ["xvfb-run", "-a", sys.executable, "-c", program, *words]
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run
