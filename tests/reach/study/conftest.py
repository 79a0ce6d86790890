"""Let the tests of a study, and the processes that they start, import `fake_learner`."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import pytest


@pytest.fixture
def fake_learner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `fake_learner` importable here and in every process started from here."""
    here = str(Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([here, os.environ.get("PYTHONPATH", "")]))
    importlib.import_module("fake_learner")
