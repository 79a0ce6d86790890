"""The protocols of the laboratory, by name, each after the study it follows.

All share the fan of cups and begin with 20 baseline reaches, so that one learner's numbers can be laid beside each
other. Sizes are those of the studies; numbers of trials are theirs, or fewer where theirs serve fatigue and attention.
"""

from __future__ import annotations

import runpy
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from reach import ENVIRONMENTS, OWN_PREFIX
from reach.perturbations import (
    CupJump,
    CurlField,
    ErrorClamp,
    ForceChannel,
    HideHand,
    Nudge,
    Perturbation,
    Prism,
    Rotation,
    as_perturbations,
)
from reach.protocols.blocks import (
    BASELINE,
    CLAMP,
    OPPOSITE,
    PERTURBED,
    PROBED,
    RELEARNED,
    TARGET_BEARINGS_DEGREES,
    UNSEEN,
    WASHOUT,
    Block,
    Protocol,
    cup_at,
)
from reach.protocols.schedules import SCALE_SCHEDULES, Abrupt, Flipping, Random, ScaleSchedule

TURN = (Rotation(30.0),)
NO_CURSOR = (HideHand(),)
OTHER_SIDE = Abrupt(-1.0)
# The arm is unseen under way, as in throwing through prisms, else the reach is corrected before it ends.
UNDER_WAY = HideHand(until_s=0.8)
CURL = (CurlField(13.0),)
# As far as in the study of the field: over 20 cm it throws the hand 15 cm aside, and into the cup on its way back.
CURL_CUPS = tuple(cup_at(bearing, 0.10) for bearing in TARGET_BEARINGS_DEGREES)
# A channel trial after each fourth reach is one trial in five.
CHANNEL, REACHES_BETWEEN_CHANNELS = (ForceChannel(),), 4
# Trials between two flips and how many flips, slow to fast.
SWITCHES = ((32, 3), (16, 4), (8, 6), (4, 8), (2, 12), (1, 16))
TRAINED_DEGREES = 65.0
FAN = tuple(cup_at(bearing) for bearing in (65.0, 80.0, 95.0, 110.0, 125.0))
# The hand is well on its way: a reach is prepared in 0.2 s and takes 0.6 s.
UNDER_WAY_S = 0.34
GRASP = "reach/CupGrab-v0"

RUTTLE = "Ruttle, 't Hart and Henriques 2021, Sci Rep 11:2001"

_ALL = (
    Protocol(
        name="rotation30",
        blocks=(Block(BASELINE, 20), Block(PERTURBED, 100, TURN, probe=NO_CURSOR), Block(WASHOUT, 20)),
        source=f"Krakauer et al. 2000, J Neurosci 20:8916 (30 degrees, centre-out); no-cursor probes as in {RUTTLE}",
    ),
    Protocol(
        name="rotation45",
        blocks=(Block(BASELINE, 20), Block(PERTURBED, 100, (Rotation(45.0),), probe=NO_CURSOR), Block(WASHOUT, 20)),
        source="'t Hart 2024, data set ExplicitTimeCourse (45 degrees, four targets, a reach without a cursor after "
        f"each); probes as in {RUTTLE}",
    ),
    Protocol(
        name="prism",
        blocks=(
            Block(BASELINE, 20, (UNDER_WAY,)),
            Block(PERTURBED, 60, (Prism(0.06), UNDER_WAY)),
            Block(WASHOUT, 40, (UNDER_WAY,)),
        ),
        source="Martin et al. 1996, Brain 119:1183 (throwing while looking through prisms)",
    ),
    Protocol(
        name="curl",
        blocks=(
            Block(BASELINE, 20, probe=CHANNEL, probe_every=REACHES_BETWEEN_CHANNELS),
            Block(PERTURBED, 80, CURL, probe=CHANNEL, probe_every=REACHES_BETWEEN_CHANNELS),
            Block(WASHOUT, 20, probe=CHANNEL, probe_every=REACHES_BETWEEN_CHANNELS),
        ),
        source="Shadmehr and Mussa-Ivaldi 1994, J Neurosci 14:3208 (13 N s/m, 10 cm); channel trials of Scheidt et al. "
        "2000, J Neurophysiol 84:853, one in five",
        cups=CURL_CUPS,
    ),
    Protocol(
        name="savings",
        blocks=(
            Block(BASELINE, 20),
            Block(PERTURBED, 60, TURN),
            Block(WASHOUT, 60),
            Block(RELEARNED, 60, TURN),
        ),
        source="Zarahn et al. 2008, J Neurophysiol 100:2537 (learned, washed out, learned again)",
    ),
    Protocol(
        name="interference",
        blocks=(
            Block(BASELINE, 20),
            Block(PERTURBED, 60, TURN),
            Block(OPPOSITE, 60, TURN, OTHER_SIDE),
            Block(RELEARNED, 60, TURN),
        ),
        source="Brashers-Krug, Shadmehr and Bizzi 1996, Nature 382:252 (A, B, A); with rotations Krakauer, Ghez and "
        "Ghilardi 2005, J Neurosci 25:473",
    ),
    Protocol(
        name="recovery",
        blocks=(
            Block(BASELINE, 20),
            Block(PERTURBED, 100, TURN),
            # About as many as undo A: one for each cup.
            Block(OPPOSITE, 4, TURN, OTHER_SIDE),
            Block(CLAMP, 40, (ErrorClamp(0.0),)),
        ),
        source="Smith, Ghazizadeh and Shadmehr 2006, PLoS Biol 4:e179 (long A, short B, error clamp)",
    ),
    Protocol(
        name="switching",
        blocks=(
            Block(BASELINE, 20),
            *(Block(PERTURBED, every * flips, TURN, Flipping(every)) for every, flips in SWITCHES),
        ),
        source="Karniel and Mussa-Ivaldi 2002, Exp Brain Res 143:520 (a perturbation that alternates), swept from slow "
        "to fast",
    ),
    Protocol(
        name="retention",
        blocks=(Block(BASELINE, 20), Block(PERTURBED, 60, TURN), Block(UNSEEN, 40, NO_CURSOR)),
        source="Kitago et al. 2013, Front Hum Neurosci 7:307 (errors removed: reaches without a cursor)",
    ),
    # The hand's own course is measured, against the same reach without the perturbation: learning would blur it.
    Protocol(
        name="jump",
        blocks=(
            Block(BASELINE, 10, learning=False),
            Block(PERTURBED, 40, (CupJump(right_m=0.05, onset_s=UNDER_WAY_S),), Random((-1.0, 1.0)), learning=False),
        ),
        source="Paulignan et al. 1991, Exp Brain Res 83:502 (the object to be grasped is displaced as the hand "
        "sets out)",
        env_id=GRASP,
    ),
    Protocol(
        name="nudge",
        blocks=(
            Block(BASELINE, 10, learning=False),
            Block(
                PERTURBED, 40, (Nudge(right_n=4.0, onset_s=UNDER_WAY_S),), Random((-1.0, 1.0)), learning=False
            ),
        ),
        source="Pruszynski and Scott 2012, Exp Brain Res 218:341 (a pulse of force under way)",
        env_id=GRASP,
    ),
    Protocol(
        name="generalisation",
        blocks=(
            Block(BASELINE, 20),
            Block(PERTURBED, 60, TURN, cups=(cup_at(TRAINED_DEGREES),)),
            Block(PROBED, 20, NO_CURSOR, learning=False),
        ),
        source="Krakauer et al. 2000, J Neurosci 20:8916 (one direction trained, the others probed)",
        cups=FAN,
    ),
)  # fmt: skip

PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in _ALL}


def size_in_words(perturbation: Perturbation) -> str:
    """A perturbation's kind and size, such as "rotation degrees=30"."""
    names = (*perturbation.sizes, *perturbation.factors)
    sizes = [f"{name}={getattr(perturbation, name):g}" for name in names if getattr(perturbation, name)]
    return " ".join([perturbation.kind, *sizes])


def in_words(block: Block) -> str:
    """A block as a few words: its name and trials, how large its perturbation is, what is seen, what probes it has."""
    said = [f"{block.name} {block.trials}", *(size_in_words(one) for one in block.perturbation)]
    if block.has_size and block.course.in_words():
        said.append(block.course.in_words())
    if block.probe is not None:
        probes = "+".join(one.kind for one in block.probe) or "plain"
        said.append(f"{probes} probe after {'each' if block.probe_every == 1 else f'every {block.probe_every}th'}")
    if not block.learning:
        said.append("no learning")
    return said[0] if len(said) == 1 else f"{said[0]} ({', '.join(said[1:])})"


def protocol_table() -> list[tuple[str, str, str]]:
    """The presets as rows of a table: name, schedule in words, source."""
    return [
        (name, "; ".join(in_words(block) for block in protocol.blocks), protocol.source)
        for name, protocol in PROTOCOLS.items()
    ]


SUFFIXES = (".toml", ".py")
IN_PYTHON = "PROTOCOL"
UNSOURCED = "of its user's own"


def read_protocol(path: str | Path) -> Protocol:
    """The protocol that a file holds.

    Args:
        path: of a TOML file with the fields of `Protocol` and a table `[[blocks]]` for each block, whose fields are
            those of `Block` (perturbations are tables with a "kind", and so is the course); or of a Python file that
            gives a `Protocol` the name PROTOCOL. A TOML file is only read. A Python file is executed with the
            permissions of this process: read only one you trust.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: something in it is not allowed; the message names the file, what it is and what is allowed.
    """
    file = Path(path)
    if file.suffix not in SUFFIXES:
        raise ValueError(f"protocol file {file}: its name ends in {file.suffix!r}; {list(SUFFIXES)} are allowed")
    if not file.is_file():
        raise FileNotFoundError(f"protocol file {file} does not exist")
    try:
        if file.suffix == ".py":
            protocol = _run(file).get(IN_PYTHON)
            if not isinstance(protocol, Protocol):
                raise ValueError(f"{IN_PYTHON} is {protocol!r}; a reach.protocols.Protocol is allowed")
        else:
            protocol = protocol_from(tomllib.loads(file.read_text(encoding="utf-8")))
        if protocol.env_id.removeprefix(OWN_PREFIX) not in ENVIRONMENTS:
            raise ValueError(f"env_id is {protocol.env_id!r}; {list(ENVIRONMENTS)} are allowed")
    except (OverflowError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"protocol file {file}: {error}") from error
    return protocol


def _run(file: Path) -> dict[str, Any]:
    """What is named in a Python file when it has been run."""
    try:
        return runpy.run_path(str(file))
    except (Exception, SystemExit) as error:
        raise ValueError(f"running it raises {type(error).__name__}: {error}".removesuffix(": ")) from error


def protocol_from(given: Mapping[str, Any]) -> Protocol:
    """A protocol from plain values, as TOML or JSON brings them.

    Raises:
        ValueError: a key that is unknown or missing, or a value that is not allowed.
    """
    given = {"source": UNSOURCED, **given}
    _require_keys("the protocol", Protocol, given)
    blocks = given["blocks"]
    if not isinstance(blocks, list) or not all(isinstance(block, Mapping) for block in blocks):
        raise ValueError(f"blocks is {blocks!r}; a table [[blocks]] for each block is allowed")
    values = {**given, "blocks": tuple(_block(number, block) for number, block in enumerate(blocks, start=1))}
    for name in ("name", "source", "env_id"):
        if not isinstance(values.get(name, ""), str):
            raise ValueError(f"{name} is {values[name]!r}; text is allowed")
    if "cups" in values:
        values["cups"] = _cups(values["cups"])
    return Protocol(**values)


def _block(number: int, given: Mapping[str, Any]) -> Block:
    try:
        _require_keys("a block", Block, given)
        values = dict(given)
        for name in ("perturbation", "probe"):
            if name in values:
                values[name] = as_perturbations(values[name])
        if "course" in values:
            values["course"] = _course(values["course"])
        if "cups" in values:
            values["cups"] = _cups(values["cups"])
        return Block(**values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"block {number}: {error}") from error


def _course(given: Any) -> ScaleSchedule:
    kind = given.get("kind") if isinstance(given, Mapping) else given
    if not isinstance(kind, str) or kind not in SCALE_SCHEDULES:
        raise ValueError(f'course "kind" is {kind!r}; {list(SCALE_SCHEDULES)} are allowed')
    values = {name: value for name, value in given.items() if name != "kind"} if isinstance(given, Mapping) else {}
    _require_keys(f"course {kind!r}", SCALE_SCHEDULES[kind], values)
    return SCALE_SCHEDULES[kind](**values)


def _require_keys(owner: str, kind: type[Any], given: Mapping[str, Any]) -> None:
    known = [field for field in fields(kind) if field.init]
    unknown = sorted(set(given) - {field.name for field in known})
    if unknown:
        raise ValueError(f"{owner} has no {unknown}; {[field.name for field in known]} are allowed")
    needed = [f.name for f in known if f.default is MISSING and f.default_factory is MISSING]
    missing = [name for name in needed if name not in given]
    if missing:
        raise ValueError(f"{owner} lacks {missing}; it needs {needed}")


def _cups(given: Any) -> tuple[tuple[float, float], ...]:
    if not isinstance(given, list) or not given:
        raise ValueError(f"cups is {given!r}; 1 or more places [x, y] in m are allowed")
    return tuple(_place(cup) for cup in given)


def _place(given: Any) -> tuple[float, float]:
    from reach.sim.setup import cup_place

    x, y = cup_place(given).tolist()
    return x, y
