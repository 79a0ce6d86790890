"""A program presses the keys of the real window, on a virtual screen."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
WATCHER = """
import json, sys
from pathlib import Path
import gymnasium as gym
import pygame
from agents.learner import make_learner
from agents.registry import BASELINE_ENV
from reach.protocols import PROTOCOLS
from reach.render import Window
from reach.study.watch.live import LiveSession
from reach.study.watch.session import WatchSession, trial_indices

protocol, save_folder = PROTOCOLS["rotation30"], Path(sys.argv[1])
model = make_learner("error-stdp", gym.make(BASELINE_ENV), seed=0)
window = Window(1280, 720, 60)
assert window.is_visible
# More reaches than pass until the last stroke, however few pictures a busy computer shows of each.
watching = WatchSession([("error-stdp", model)], protocol, 0, trial_indices(protocol, 0, 1, 100))
live = LiveSession(watching, window, save_folder)
strokes = {10: "p", 20: "f", 30: "l", 40: "v", 60: "up", 80: "s", 90: "space", 100: "right", 110: "h", 150: "q"}
shown = window.show
said = {}

def show(frame):
    if live.shown in strokes:
        key = pygame.key.key_code(strokes[live.shown])
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key, window=window._window))
    said[live.shown] = live.steps
    return shown(frame)

window.show = show
live.run()
first = watching.first
print(json.dumps({"prism": first.overrides.prism, "field": first.overrides.field, "learning": first.learning,
    "speed": live.speed, "paused": live.paused, "help": watching.help_shown, "steps": said,
    "saved": sorted(path.name for path in save_folder.iterdir())}))
"""


@pytest.mark.slow
def test_the_keys_of_the_window_do_what_the_help_says(at_a_window: Callable[..., Any], tmp_path: Path) -> None:
    told = at_a_window(WATCHER, str(tmp_path))
    assert (told["prism"], told["field"], told["learning"]) == (True, True, False)
    assert (told["speed"], told["paused"], told["help"]) == (2.0, True, True)
    assert told["saved"] == ["watch-001.mp4", "watch-001.png"]
    # While it is paused, the one step is all that goes on.
    assert told["steps"]["149"] - told["steps"]["95"] == 1


@pytest.mark.slow
def test_pictures_with_all_panels_keep_up_with_the_screen_on_one_core(tmp_path: Path) -> None:
    words = [sys.executable, "scripts/benchmark.py", "watch", "--rounds", "3", "--json", str(tmp_path / "watch.json")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row["value"] for row in json.loads((tmp_path / "watch.json").read_text())}
    assert min(value for name, value in rows.items() if name.startswith("pictures") and "1280 x 720" in name) >= 60.0
    assert min(value for name, value in rows.items() if name.startswith("world in real time")) >= 0.98
