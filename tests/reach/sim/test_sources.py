"""Compiled kernels are taken from disk for as long as all that they are made of stays the same, and no longer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CALLED = """
from {decorators} import kernel
from pack.constants import ADDED

@kernel
def called(x):
    return 2.0 * x + ADDED
"""
CALLING = """
from {decorators} import kernel
from pack import called as c
called = c.called

@kernel
def calling(x):
    return called(x)
"""
ASKED = "from pack.calling import calling; print(calling(3.0), len(calling.stats.cache_hits))"


@pytest.mark.parametrize("decorators", ["reach.sim.compiled", "agents.networks.compiled"])
def test_a_kernel_is_compiled_anew_when_what_it_calls_changes(tmp_path: Path, decorators: str) -> None:
    package = tmp_path / "pack"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "constants.py").write_text("ADDED = 0.0\n")
    (package / "called.py").write_text(CALLED.format(decorators=decorators))
    (package / "calling.py").write_text(CALLING.format(decorators=decorators))
    paths = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    # Python's own cache tells files of the same size apart by whole seconds.
    environment = {**os.environ, "PYTHONPATH": paths, "NUMBA_DISABLE_JIT": "0", "PYTHONDONTWRITEBYTECODE": "1"}

    def asked() -> list[str]:
        done = subprocess.run([sys.executable, "-c", ASKED], env=environment, capture_output=True, text=True)
        return done.stdout.split()

    assert asked() == ["6.0", "0"]
    assert asked() == ["6.0", "1"]
    (package / "constants.py").write_text("ADDED = 1.0\n")
    assert asked() == ["7.0", "0"]
    (package / "called.py").write_text(CALLED.format(decorators=decorators).replace("2.0 *", "5.0 *"))
    assert asked() == ["16.0", "0"]
    assert asked() == ["16.0", "1"]
