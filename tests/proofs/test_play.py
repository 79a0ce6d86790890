"""A simulated person moves the real pointer over the real window, on a virtual screen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

PLAYER = """
import json, math, sys
import numpy as np
import pandas as pd
sys.path.insert(0, "scripts")
import play
from reach.perturbations import Rotation
from reach.protocols import BASELINE, PERTURBED, WASHOUT, Block, Protocol
from reach.render import Window
from reach.render.canvas import Canvas
from reach.study.measures import per_seed
from reach.study.people.game import StraightReacher, finished_trials

tau = float(sys.argv[1])
short = Protocol("short", (Block(BASELINE, 12), Block(PERTURBED, 36, (Rotation(30.0),)), Block(WASHOUT, 4)), "a test")

def aside(view):
    n = min(view.trial - 12, 36)
    return -30.0 * (1.0 - math.exp(-(n - 1) / tau)) if tau and n >= 1 else 0.0

person = StraightReacher(aside)
window = Window(play.WIDTH, play.HEIGHT, 100_000)
assert window.is_visible
canvas = Canvas(np.zeros((play.HEIGHT, play.WIDTH, 3), np.uint8))

def move(view):
    person.observe(view)
    window.move_pointer(canvas.pixel(person.place()))

rows = play.play_in_window(window, short, 0, move)
measured = per_seed(pd.DataFrame(finished_trials(short, 0, rows))).set_index("metric")["value"]
print(json.dumps({name: measured[name] for name in ("L30", "tau")}))
"""

LEAVER = """
import json, sys
from pathlib import Path
import numpy as np
sys.path.insert(0, "scripts")
import play
from reach.render.canvas import Canvas
from reach.study.people.game import StraightReacher

played = play.play_in_window
person = StraightReacher()

def play_two_trials(window, protocol, seed, on_trial):
    canvas = Canvas(np.zeros((play.HEIGHT, play.WIDTH, 3), np.uint8))

    def move(view):
        person.observe(view)
        window.move_pointer(canvas.pixel(person.place()))
        if view.trial > 2:
            raise KeyboardInterrupt

    return played(window, protocol, seed, move, on_trial)

play.play_in_window = play_two_trials
said = []
for _ in range(2):
    try:
        play.main(play.Play(Path(sys.argv[1])))
    except SystemExit as end:
        said.append(end.code)
print(json.dumps(said))
"""


@pytest.mark.slow
@pytest.mark.parametrize("tau", [0.0, 6.0])
def test_a_person_at_the_window_is_measured_as_they_act(at_a_window: Callable[..., Any], tau: float) -> None:
    measured = at_a_window(PLAYER, str(tau))
    if tau:
        assert measured["tau"] == pytest.approx(tau, rel=0.1)
    else:
        assert measured["L30"] == pytest.approx(1.0, abs=0.05)


@pytest.mark.slow
def test_what_was_played_is_kept_of_one_who_leaves(at_a_window: Callable[..., Any], tmp_path: Path) -> None:
    out = tmp_path / "me"
    first, again = at_a_window(LEAVER, str(out))
    assert f"You left before the end; your trials are in {out / 'unfinished.parquet'}" in first
    assert "expected a folder without trials" in again
    kept = pd.read_parquet(out / "unfinished.parquet")
    assert kept["learner"].tolist() == ["person"] * 2
    assert kept["success"].all()
    assert [path.name for path in out.iterdir()] == ["unfinished.parquet"]
