"""A watcher as a program strikes the keys of the real window, on a screen that nobody sees."""

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
from agents.learner import BASELINE_ENV, make_learner
from reach.protocols import PROTOCOLS
from reach.render import Window
from reach.study.watching_live import Live
from reach.study.watching import Watching, indices_of

protocol, saves = PROTOCOLS["rotation30"], Path(sys.argv[1])
model = make_learner("error-stdp", gym.make(BASELINE_ENV), seed=0)
window = Window(1280, 720, 60)
assert window.is_seen
# More reaches than pass until the last stroke, however few pictures a busy computer shows of each.
watching = Watching([("error-stdp", model)], protocol, 0, indices_of(protocol, 0, 1, 100))
live = Live(watching, window, saves)
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
print(json.dumps({"prism": first.wish.prism, "field": first.wish.field, "learning": first.learning,
    "speed": live.speed, "paused": live.paused, "help": watching.help_shown, "steps": said,
    "saved": sorted(path.name for path in saves.iterdir())}))
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
