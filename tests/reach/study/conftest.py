"""What the tests of a study share."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _no_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out flushing files to the disk, which takes most of the time and which no test can observe."""
    monkeypatch.setattr(os, "fsync", lambda file: None)


@pytest.fixture
def fake_learner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `fake_learner` importable here and in every process started from here."""
    here = str(Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([here, os.environ.get("PYTHONPATH", "")]))
    importlib.import_module("fake_learner")
