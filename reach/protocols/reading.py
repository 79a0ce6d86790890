"""A protocol from a file of its user's: TOML, or Python that makes a `Protocol` of the name PROTOCOL.

What is wrong in the file is an error that names it and lists what is right.
"""

from __future__ import annotations

import runpy
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from reach import ENVIRONMENTS, OWN_PREFIX
from reach.perturbations import as_perturbations
from reach.protocols.blocks import Block, Protocol
from reach.protocols.courses import COURSES, Course

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


def _course(given: Any) -> Course:
    kind = given.get("kind") if isinstance(given, Mapping) else given
    if not isinstance(kind, str) or kind not in COURSES:
        raise ValueError(f'course "kind" is {kind!r}; {list(COURSES)} are allowed')
    values = {name: value for name, value in given.items() if name != "kind"} if isinstance(given, Mapping) else {}
    _require_keys(f"course {kind!r}", COURSES[kind], values)
    return COURSES[kind](**values)


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
    from reach.simulation import cup_place

    x, y = cup_place(given).tolist()
    return x, y
