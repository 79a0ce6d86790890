"""What a study tells while it runs: it costs a small share of the time, and says what has come in."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from reach.study import Job, Outcome
from reach.study.engine.scheduler import WRITING_SHARE, TensorBoard, Throttle


def test_writing_now_and_then_takes_a_small_share_of_the_time_however_long_it_takes() -> None:
    clock = {"s": 0.0, "spent": 0.0}

    def write() -> None:
        # The more there is, the longer it takes.
        clock["spent"] += 0.001 * clock["s"]
        clock["s"] += 0.001 * clock["s"]

    keep = Throttle(write, clock=lambda: clock["s"])
    for _ in range(10_000):
        clock["s"] += 1.0
        keep()
    assert 0.0 < clock["spent"] < WRITING_SHARE * clock["s"]


def test_the_first_result_is_written_at_once() -> None:
    written: list[int] = []
    Throttle(lambda: written.append(1))()
    assert written == [1]


def run(seed: int, learner: str = "halving") -> Outcome:
    """A run whose miss of 30 degrees is halved every four reaches."""
    error = [0.0] * 20 + [-30.0 * 0.5 ** (k / 4.0) for k in range(40)] + [0.0] * 10
    blocks = ["baseline"] * 20 + ["perturbed"] * 40 + ["washout"] * 10
    other = {"endpoint_error_cm": 1.0, "time_to_success_s": 1.0, "success": True, "attempts": 1, "tipped": False}
    rows = [
        other
        | {"trial": k + 1, "block": block, "trial_in_block": k + 1, "probe": False, "cup_x": 0.1, "cup_y": 0.5}
        | {"launch_error_deg": launch, "unlearned_launch_error_deg": -30.0 if block == "perturbed" else 0.0}
        | {"reward": 0.0, "duration_s": 1.0}
        for k, (block, launch) in enumerate(zip(blocks, error, strict=True))
    ]
    return Outcome(Job("protocol", learner, seed, "somewhere:prepare", "", "0123456789ab", "rotation30"), rows=rows)


def test_tensorboard_gets_measures_by_learner_and_seed_and_the_share_that_is_done(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    board = TensorBoard(tmp_path, jobs=4)
    for seed in (0, 1):
        board.on_end(run(seed))
    board.on_end(Outcome(run(2).job, error="it failed"))
    board.close()
    learner, study = (EventAccumulator(str(tmp_path / name)).Reload() for name in ("halving", "study"))
    l30 = {event.step: float(make_ndarray(event.tensor_proto)) for event in learner.Tensors("rotation30/L30")}
    assert l30 == pytest.approx(dict.fromkeys((0, 1), sum(0.5 ** (k / 4.0) for k in range(30)) / 30.0), rel=1e-5)
    assert all(math.isfinite(value) for value in l30.values())
    done = [float(make_ndarray(event.tensor_proto)) for event in study.Tensors("jobs/done")]
    assert done == pytest.approx([0.25, 0.5, 0.75])
