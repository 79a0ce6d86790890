"""The preset protocols, each after a published study, and the reader of protocol files.

Presets begin with 20 baseline reaches; those with perturbations within a reach begin with 10, those with lamps with 60.
Most presets use the same cups, so that results of a learner can be compared between them. Sizes of perturbations are
those of the studies. Numbers of trials are those of the studies or smaller, because a learner does not tire or lose
attention.
"""

from __future__ import annotations

import os
import runpy
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from reach.arguments import require_fields
from reach.perturbations import (
    CupJump,
    CupMark,
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
    OTHER,
    PERTURBED,
    PROBED,
    RELEARNED,
    SCALE_SCHEDULES,
    TARGET_BEARINGS_DEGREES,
    UNSEEN,
    WASHOUT,
    Abrupt,
    Block,
    Cup,
    Flipping,
    Parity,
    Protocol,
    Random,
    ScaleSchedule,
    cup_at,
)
from reach.registration import ENVIRONMENTS, OWN_PREFIX
from reach.sim.setup import cup_place

FIRST = Block(BASELINE, 20)
TURN = (Rotation(30.0),)
NO_CURSOR = (HideHand(),)
REVERSED = Abrupt(-1.0)
# Hides the hand during the reach, as in throwing through prisms, so that vision cannot correct the reach itself.
HIDDEN_UNDER_WAY = HideHand(until_s=0.8)
# The hand cannot push a mark away, as it can a cup.
MARK = CupMark()
CURL = (CurlField(13.0), MARK)
# Marks at 10 cm as in the study: over 20 cm the field pushes the hand 15 cm aside.
CURL_CUPS = tuple(cup_at(bearing, 0.10) for bearing in TARGET_BEARINGS_DEGREES)
# One of five trials is a channel trial.
CHANNELS: dict[str, Any] = {"probe": (ForceChannel(), MARK), "probe_every": 4}
# (number of trials between two flips, number of runs of that length), slow to fast.
SWITCHES = ((32, 3), (16, 4), (8, 6), (4, 8), (2, 12), (1, 16))
TRAINED_DEGREES = 65.0
FAN = tuple(cup_at(bearing) for bearing in (65.0, 80.0, 95.0, 110.0, 125.0))
# Onset of perturbations within a reach: about the middle of the movement, which follows 0.2 s of preparation and takes
# 0.6 s.
MID_REACH_S = 0.34
GRAB = "reach/CupGrab-v1"

# Rotations of the preset `continual`, each cued by its own lamp.
CONTINUAL_DEGREES = (30.0, -30.0, 20.0, -20.0, 40.0, -40.0)

RUTTLE = "Ruttle, 't Hart and Henriques 2021, Sci Rep 11:2001"


def context_protocol(lamps: int = 4, reaches: int = 1500, name: str = "context") -> Protocol:
    """Return a protocol in which the XOR of two lamps determines the direction of a visual rotation.

    Args:
        lamps: number of lamps, 2..32; lamps after the first two carry no information.
        reaches: number of perturbed reaches, 1 to 100,000.
        name: name of the protocol.
    """
    return Protocol(
        name=name,
        title=f"rotation to either side, cued by two of {lamps} lamps",
        blocks=(Block(BASELINE, 60), Block(PERTURBED, reaches, TURN, Parity(2))),
        source="Minsky and Papert 1969, Perceptrons (XOR, the smallest problem that needs a hidden layer); Osu et al. "
        "2004, Nat Neurosci 7:111 (opposite perturbations, each with a cue)",
        context=lamps,
    )


def _cued(name: str, number: int) -> Block:
    lamps = tuple(int(k == number) for k in range(len(CONTINUAL_DEGREES)))
    return Block(name, 80, TURN, Abrupt(CONTINUAL_DEGREES[number] / TURN[0].degrees), context=lamps)


_PRESETS = (
    Protocol(
        name="rotation30",
        title="30° rotation of the seen hand",
        blocks=(FIRST, Block(PERTURBED, 100, TURN, probe=NO_CURSOR), Block(WASHOUT, 20)),
        source=f"Krakauer et al. 2000, J Neurosci 20:8916 (30 degrees, centre-out); no-cursor probes as in {RUTTLE}",
    ),
    Protocol(
        name="rotation45",
        title="45° rotation of the seen hand",
        blocks=(FIRST, Block(PERTURBED, 100, (Rotation(45.0),), probe=NO_CURSOR), Block(WASHOUT, 20)),
        source="'t Hart 2024, data set ExplicitTimeCourse (45 degrees, four targets, a reach without a cursor after "
        f"each); probes as in {RUTTLE}",
    ),
    Protocol(
        name="prism",
        title="prism shift",
        blocks=(
            Block(BASELINE, 20, (HIDDEN_UNDER_WAY,)), Block(PERTURBED, 60, (Prism(0.06), HIDDEN_UNDER_WAY)),
            Block(WASHOUT, 40, (HIDDEN_UNDER_WAY,)),
        ),
        source="Martin et al. 1996, Brain 119:1183 (throwing while looking through prisms)",
    ),
    Protocol(
        name="curl",
        title="curl force field",
        blocks=(
            Block(BASELINE, 20, (MARK,), **CHANNELS), Block(PERTURBED, 80, CURL, **CHANNELS),
            Block(WASHOUT, 20, (MARK,), **CHANNELS),
        ),
        source="Shadmehr and Mussa-Ivaldi 1994, J Neurosci 14:3208 (13 N s/m, 10 cm); channel trials of Scheidt et al. "
        "2000, J Neurophysiol 84:853, one in five",
        cups=CURL_CUPS,
    ),
    Protocol(
        name="savings",
        title="savings protocol (the same rotation twice)",
        blocks=(FIRST, Block(PERTURBED, 60, TURN), Block(WASHOUT, 60), Block(RELEARNED, 60, TURN)),
        source="Zarahn et al. 2008, J Neurophysiol 100:2537 (learned, washed out, learned again)",
    ),
    Protocol(
        name="interference",
        title="interference protocol (a rotation, its opposite, the rotation again)",
        blocks=(FIRST, Block(PERTURBED, 60, TURN), Block(OPPOSITE, 60, TURN, REVERSED), Block(RELEARNED, 60, TURN)),
        source="Brashers-Krug, Shadmehr and Bizzi 1996, Nature 382:252 (A, B, A); with rotations Krakauer, Ghez and "
        "Ghilardi 2005, J Neurosci 25:473",
    ),
    Protocol(
        name="recovery",
        title="recovery protocol (a rotation, its opposite for a few reaches, a clamp)",
        blocks=(
            # B is about as long as it takes to undo A: one reach for each cup.
            FIRST, Block(PERTURBED, 100, TURN), Block(OPPOSITE, 4, TURN, REVERSED),
            Block(CLAMP, 40, (ErrorClamp(0.0),)),
        ),
        source="Smith, Ghazizadeh and Shadmehr 2006, PLoS Biol 4:e179 (long A, short B, error clamp)",
    ),
    Protocol(
        name="switching",
        title="switching protocol (a rotation that changes its sign)",
        blocks=(FIRST, *(Block(PERTURBED, every * flips, TURN, Flipping(every)) for every, flips in SWITCHES)),
        source="Karniel and Mussa-Ivaldi 2002, Exp Brain Res 143:520 (a perturbation that alternates), swept from slow "
        "to fast",
    ),
    Protocol(
        name="retention",
        title="retention protocol (a rotation, then reaches without sight of the hand)",
        blocks=(FIRST, Block(PERTURBED, 60, TURN), Block(UNSEEN, 40, NO_CURSOR)),
        source="Kitago et al. 2013, Front Hum Neurosci 7:307 (errors removed: reaches without a cursor)",
    ),
    # Learning is off in the next two presets: the measures compare the path of the hand with that of the same reach
    # without the perturbation.
    Protocol(
        name="jump",
        title="cup jump (within the reach)",
        blocks=(
            Block(BASELINE, 10, learning=False),
            Block(PERTURBED, 40, (CupJump(right_m=0.05, onset_s=MID_REACH_S),), Random((-1.0, 1.0)), learning=False),
        ),
        source="Paulignan et al. 1991, Exp Brain Res 83:502 (the object to be grasped is displaced as the hand "
        "sets out)",
        env_id=GRAB,
    ),
    Protocol(
        name="nudge",
        title="nudge of the arm (within the reach)",
        blocks=(
            Block(BASELINE, 10, learning=False),
            Block(PERTURBED, 40, (Nudge(right_n=4.0, onset_s=MID_REACH_S),), Random((-1.0, 1.0)), learning=False),
        ),
        source="Pruszynski and Scott 2012, Exp Brain Res 218:341 (a pulse of force under way)",
        env_id=GRAB,
    ),
    Protocol(
        name="generalisation",
        title="generalisation protocol (one direction trained, others probed)",
        blocks=(
            FIRST, Block(PERTURBED, 60, TURN, cups=(cup_at(TRAINED_DEGREES),)),
            Block(PROBED, 20, NO_CURSOR, learning=False),
        ),
        source="Krakauer et al. 2000, J Neurosci 20:8916 (one direction trained, the others probed)",
        cups=FAN,
    ),
    context_protocol(),
    context_protocol(16, 5000, "context16"),
    Protocol(
        name="continual",
        title="continual protocol (six rotations, each cued by a lamp, the first again)",
        blocks=(
            Block(BASELINE, 60), _cued(PERTURBED, 0), *(_cued(OTHER, k) for k in range(1, len(CONTINUAL_DEGREES))),
            _cued(RELEARNED, 0),
        ),
        source="McCloskey and Cohen 1989, Psychol Learn Motiv 24:109 (what a network forgets when it learns something "
        "else); cued contexts as in Heald, Lengyel and Wolpert 2021, Nature 600:489",
        context=len(CONTINUAL_DEGREES),
    ),
)  # fmt: skip

PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in _PRESETS}


def find_protocol(protocol: Protocol | str) -> Protocol:
    """Return the preset with a name, or a given `Protocol` unchanged.

    Raises:
        ValueError: the value is neither a `Protocol` nor the name of a preset.
    """
    chosen = PROTOCOLS.get(protocol) if isinstance(protocol, str) else protocol
    if not isinstance(chosen, Protocol):
        raise ValueError(f"protocol: expected a Protocol or one of {sorted(PROTOCOLS)}, got {protocol!r}")
    return chosen


def describe_block(block: Block) -> str:
    """Describe a block: name, number of trials, perturbations, schedule, probes, and whether learning is off."""
    details = [_kind_and_size(perturbation) for perturbation in block.perturbation]
    if block.has_size and block.scale.describe():
        details.append(block.scale.describe())
    if block.context:
        details.append("lamps " + "".join(map(str, block.context)))
    if block.probe is not None:
        kinds = "+".join(perturbation.kind for perturbation in block.probe) or "plain"
        details.append(f"{kinds} probe after {'each' if block.probe_every == 1 else f'every {block.probe_every}th'}")
    if not block.learning:
        details.append("no learning")
    return f"{block.name} {block.trials}" + (f" ({', '.join(details)})" if details else "")


def _kind_and_size(perturbation: Perturbation) -> str:
    """Return kind and size of a perturbation, such as "rotation degrees=30"."""
    names = (*perturbation.sizes, *perturbation.factors)
    sizes = [f"{name}={getattr(perturbation, name):g}" for name in names if getattr(perturbation, name)]
    return " ".join([perturbation.kind, *sizes])


def protocol_table() -> list[tuple[str, str, str]]:
    """Return name, description of the blocks and source of every preset."""
    return [(name, "; ".join(_parts(protocol)), protocol.source) for name, protocol in PROTOCOLS.items()]


def _parts(protocol: Protocol) -> list[str]:
    lamps = [f"{protocol.context} lamps"] if protocol.context else []
    return lamps + [describe_block(block) for block in protocol.blocks]


SUFFIXES = (".toml", ".py")
PYTHON_NAME = "PROTOCOL"
NO_SOURCE = "a protocol of the user"


def read_protocol(path: str | Path) -> Protocol:
    """Read a protocol from a file.

    A TOML file holds the fields of `Protocol`, and for each block a table `[[blocks]]` with the fields of `Block`.
    Perturbations and `scale` are tables with a "kind". A Python file assigns a `Protocol` to the name PROTOCOL. It is
    executed with the permissions of this process, so read only files that you trust.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file holds no valid protocol; the message names the file and the field.
    """
    file = Path(path)
    if file.suffix not in SUFFIXES:
        raise ValueError(f"protocol file: expected a name that ends in {' or '.join(SUFFIXES)}, got {_short(file)}")
    # `os.path.isfile` returns False for a name that is too long; `Path.is_file` may raise an error.
    if not os.path.isfile(file):
        raise FileNotFoundError(f"protocol file: expected a file that exists, got {_short(file)}")
    try:
        if file.suffix == ".py":
            protocol = _run(file.resolve(), file.read_bytes())
            if not isinstance(protocol, Protocol):
                raise ValueError(f"{PYTHON_NAME}: expected a reach.protocols.Protocol, got {protocol!r}")
        else:
            protocol = _protocol_from(tomllib.loads(file.read_text(encoding="utf-8")))
        if protocol.env_id.removeprefix(OWN_PREFIX) not in ENVIRONMENTS:
            raise ValueError(f"env_id: expected one of {list(ENVIRONMENTS)}, got {protocol.env_id!r}")
    except (OverflowError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"protocol file {file}: {error}") from error
    return protocol


def _short(file: Path) -> str:
    """Return a path for a message, shortened in the middle if it is very long."""
    text = str(file)
    return text if len(text) <= 200 else f"{text[:80]}...{text[-80:]} ({len(text)} characters)"


@cache
def _run(file: Path, content: bytes) -> Any:
    """Execute a Python file and return the value of PROTOCOL.

    The same content is executed once per process, because a kind that it registers cannot be registered twice.
    """
    try:
        return runpy.run_path(str(file)).get(PYTHON_NAME)
    except (Exception, SystemExit) as error:
        raise ValueError(f"running it raises {type(error).__name__}: {error}".removesuffix(": ")) from error


def _protocol_from(table: Mapping[str, Any]) -> Protocol:
    """Return a protocol from a table of a TOML file.

    Raises:
        ValueError: a key is unknown or missing, or a value is invalid.
    """
    table = {"source": NO_SOURCE, **table}
    require_fields("the protocol", Protocol, table)
    blocks = table["blocks"]
    if not isinstance(blocks, list) or not all(isinstance(block, Mapping) for block in blocks):
        raise ValueError(f"blocks: expected a table [[blocks]] for each block, got {blocks!r}")
    values = {**table, "blocks": tuple(_block_from(number, block) for number, block in enumerate(blocks, start=1))}
    for name in ("name", "source", "env_id", "title"):
        if not isinstance(values.get(name, ""), str):
            raise ValueError(f"{name}: expected text, got {values[name]!r}")
    if "cups" in values:
        values["cups"] = _cups_from(values["cups"])
    return Protocol(**values)


def _block_from(number: int, table: Mapping[str, Any]) -> Block:
    try:
        require_fields("the table", Block, table)
        values = dict(table)
        read = {"perturbation": as_perturbations, "probe": as_perturbations, "scale": _scale_from, "cups": _cups_from}
        for name in [name for name in read if name in values]:
            values[name] = read[name](values[name])
        return Block(**values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"block {number}: {error}") from error


def _scale_from(value: Any) -> ScaleSchedule:
    """Return a schedule from a table with a "kind", or from the name of its kind."""
    table = dict(value) if isinstance(value, Mapping) else {"kind": value}
    kind = table.pop("kind", None)
    if not isinstance(kind, str) or kind not in SCALE_SCHEDULES:
        raise ValueError(f"scale kind: expected one of {list(SCALE_SCHEDULES)}, got {kind!r}")
    require_fields(f"scale {kind!r}", SCALE_SCHEDULES[kind], table)
    schedule: ScaleSchedule = SCALE_SCHEDULES[kind](**table)
    return schedule


def _cups_from(value: Any) -> tuple[Cup, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"cups: expected 1 or more places [x, y] in m, got {value!r}")
    places = [cup_place(cup).tolist() for cup in value]
    return tuple((x, y) for x, y in places)
