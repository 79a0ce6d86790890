"""A perturbation of one's own is one class: it works in an environment, in its twin, in a protocol and in TOML."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pytest

from reach import Rotation, twin
from reach.perturbations import PERTURBATIONS, Perturbation, VisualMap, as_perturbations, register, scaled
from reach.protocols import Block, ProtocolWrapper, read_protocol


@dataclass(frozen=True)
class MirrorReversal(VisualMap):
    """The seen hand is mirrored at the line straight ahead of the start."""

    onset_s: float | None = None
    kind: str = field(default="mirror-reversal", init=False)

    def matrix(self) -> Any:
        return (-1.0, 0.0), (0.0, 1.0)


@dataclass(frozen=True)
class CupMirror(VisualMap):
    """The seen hand is mirrored at the line from the start to the cup."""

    onset_s: float | None = None
    kind: str = field(default="cup-mirror", init=False)
    depends_on_cup: ClassVar[bool] = True

    def matrix(self) -> Any:
        return (1.0, 0.0), (0.0, -1.0)


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    before = dict(PERTURBATIONS)
    register(MirrorReversal)
    register(CupMirror)
    yield
    PERTURBATIONS.clear()
    PERTURBATIONS.update(before)


def test_a_mirror_reversal_mirrors_the_seen_hand_and_not_its_twin() -> None:
    env = gym.make("reach/CupReach-v1", perturbation=MirrorReversal(onset_s=0.1))
    _, info = env.reset(seed=0)
    start = info["truth"]["hand"]
    for _ in range(30):
        *_, info = env.step(np.array([0.5, -0.2, 0.0, 0.2]))
    truth, unperturbed = info["truth"], twin(env)._step_result(twin(env)._simulation.moment())[2]["truth"]
    assert abs((truth["hand"] - start)[0]) > 0.01
    np.testing.assert_allclose(truth["seen_hand"] - start, (truth["hand"] - start) * [-1.0, 1.0])
    np.testing.assert_array_equal(unperturbed["hand"], truth["hand"])
    np.testing.assert_array_equal(unperturbed["seen_hand"], unperturbed["hand"])


def mirrored(truth: dict[str, Any], start: Any, cup: Any) -> Any:
    """Return the true hand, mirrored at the line from the start to the cup."""
    ahead = (cup - start) / np.linalg.norm(cup - start)
    hand = truth["hand"] - start
    return start + 2.0 * (hand @ ahead) * ahead - hand


def test_a_map_that_depends_on_the_cup_follows_it_from_trial_to_trial() -> None:
    env = gym.make("reach/CupReach-v1", perturbation=CupMirror())
    for cup in ((0.15, 0.55), (0.02, 0.52), (0.25, 0.5), None):
        _, info = env.reset(seed=0, options={"cup": cup} if cup else {})
        start, place = info["truth"]["hand"], info["truth"]["cup"]
        for _ in range(20):
            *_, info = env.step(np.array([0.5, -0.2, 0.0, 0.2]))
        np.testing.assert_allclose(info["truth"]["seen_hand"], mirrored(info["truth"], start, place), atol=1e-12)


def test_a_map_that_depends_on_the_cup_follows_it_in_a_vector() -> None:
    def positions(**perturbation: Any) -> Any:
        envs = gym.make_vec("reach/CupReach-v1", 3, "vector_entry_point", **perturbation)
        _, infos = envs.reset(seed=0)
        start = infos["truth"]["hand"].copy()
        for _ in range(170):
            *_, infos = envs.step(np.tile([0.5, -0.2, 0.0, 0.2], (3, 1)))
        return start, infos["truth"]

    start, truth = positions(perturbation=CupMirror())
    for index in range(3):
        one = {"hand": truth["hand"][index]}
        seen = mirrored(one, start[index], truth["cup"][index])
        np.testing.assert_allclose(truth["seen_hand"][index], seen, atol=1e-12)


def test_it_composes_survives_json_and_is_read_from_toml(tmp_path: Path) -> None:
    mirror = MirrorReversal()
    assert as_perturbations(asdict(mirror)) == (mirror,)
    assert scaled(mirror, -1.0) == mirror
    gym.make("reach/CupReach-v1", perturbation=(mirror, Rotation(20.0))).reset(seed=0)
    file = tmp_path / "mirror.toml"
    blocks = '[[blocks]]\nname = "baseline"\ntrials = 1\n[[blocks]]\nname = "perturbed"\ntrials = 1\n'
    file.write_text(f'name = "mirror"\n{blocks}perturbation = [{{ kind = "mirror-reversal" }}]\n')
    protocol = read_protocol(file)
    assert protocol.blocks == (Block("baseline", 1), Block("perturbed", 1, (mirror,)))
    env = ProtocolWrapper(gym.make("reach/CupReach-v1"), protocol)
    env.reset()
    while not any(env.step(np.zeros(4))[2:4]):
        pass
    env.reset()
    assert env.unwrapped._simulation.perturbations[0] == (mirror,)  # type: ignore[attr-defined]


def test_what_cannot_be_registered_is_refused_by_name() -> None:
    @dataclass(frozen=True)
    class Nameless(Perturbation):
        pass

    @dataclass(frozen=True)
    class Taken(VisualMap):
        onset_s: float | None = None
        kind: str = field(default="rotation", init=False)

    @dataclass(frozen=True)
    class Unsized(Perturbation):
        kind: str = field(default="unsized", init=False)
        sizes: ClassVar[tuple[str, ...]] = ("degrees",)

    for wrong, message in ((Nameless, "kind"), (Taken, "'rotation'"), (Unsized, "degrees"), (int, "dataclass")):
        with pytest.raises(ValueError, match=rf"{wrong.__name__}.*{message}|{message}.*{wrong.__name__}"):
            register(wrong)  # type: ignore[type-var]
    with pytest.raises(ValueError, match="Nameless"):
        gym.make("reach/CupReach-v1", perturbation=Nameless())
