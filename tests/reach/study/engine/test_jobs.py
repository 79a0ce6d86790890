"""A job's fingerprint follows all code that can change its result, and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import agents
import reach
from reach.protocols import read_protocol
from reach.study.engine.jobs import definition, plan
from reach.study.engine.worker import perform

FACTORY = "agents.learner:prepare"
PROTOCOL = """
from dataclasses import dataclass
from reach.perturbations import Rotation
from reach.protocols import Block, Protocol
{imported}

@dataclass(frozen=True)
class Shrinking:
    def scale(self, trial, trials, rng):
        return {factor}

PROTOCOL = Protocol(name="mine", blocks=(Block("baseline", 2),), source="made for tests")
"""
MODULE = '''
def prepare(learner, seed, folder, on_progress=None):
    """Make a learner."""
    {imported}
    return helper.VALUE
'''


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with copies of both packages."""
    folder = tmp_path_factory.mktemp("copied")
    for package in (reach, agents):
        source = Path(next(iter(package.__path__)))
        shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def definitions(folder: Path) -> tuple[Any, Any]:
    """Of a training and of a run, with the packages in a folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        return definition(FACTORY, ()), definition(FACTORY)


@contextmanager
def added(folder: Path, texts: dict[str, str]) -> Iterator[None]:
    """Append text to files, name -> text, and take it away again."""
    before = {name: (folder / name).read_bytes() for name in texts}
    for name, text in texts.items():
        (folder / name).write_bytes(before[name] + text.encode() + b"\n")
    yield
    for name, data in before.items():
        (folder / name).write_bytes(data)


def test_changed_code_repeats_the_jobs_that_import_it_and_no_others(copied: Path) -> None:
    before = definitions(copied)
    code = "ADDED = 1"
    for file, text, trains_anew in [
        ("agents/rules/layer_rules.py", code, True),
        ("agents/tuned.json", " ", True),
        ("reach/sim/dynamics.py", code, True),
        ("reach/env.py", code, True),  # named as text alone
        ("reach/measures/reach.py", code, False),
        ("reach/protocols/presets.py", code, False),
        ("reach/study/run.py", code, False),
    ]:
        with added(copied, {file: text}):
            training, run = definitions(copied)
        assert (training != before[0], run != before[1]) == (trains_anew, True), file
    no_effect = dict.fromkeys(
        (
            "reach/render/bodies.py",
            "reach/study/report/page.py",
            "reach/study/watch/session.py",
            "reach/study/engine/store.py",
            "reach/study/engine/scheduler.py",
            "reach/study/measures.py",
        ),
        code,
    )
    with added(copied, {**no_effect, "reach/sim/dynamics.py": "# A comment."}):
        assert definitions(copied) == before


def test_docstrings_and_layout_do_not_count(copied: Path) -> None:
    before = definitions(copied)
    file = copied / "agents" / "rules" / "layer_rules.py"
    text = file.read_text()
    assert text.startswith('"""')
    file.write_text(text.replace('"""', '"""Other words. ', 1).replace("    ", "  ").replace("\n\n\n", "\n"))
    assert definitions(copied) == before
    file.write_text(text)


def test_the_version_of_a_library_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    before = definition(FACTORY)["versions"]
    version = metadata.version
    for library in ("sb3-contrib", "numba", "torch"):
        monkeypatch.setattr(metadata, "version", lambda name, own=library: "0.0" if name == own else version(name))
        assert definition(FACTORY)["versions"] == before | {library: "0.0"}


@pytest.mark.parametrize(
    "imported",
    [
        "import helper",
        "from package import helper",
        "from package.helper import VALUE; import package.helper as helper",
        "import importlib; helper = importlib.import_module('helper')",
        "import importlib; helper = importlib.import_module('package.helper')",
        "import importlib; helper = [importlib.import_module(name) for name in ('helper',)][0]",
        "names = {'one': 'package.helper:VALUE'}; from registry import load; helper = load(names['one'])",
    ],
)
def test_what_a_factory_imports_counts_however_it_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, imported: str
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "my_factory.py").write_text(MODULE.format(imported=imported))
    (tmp_path / "stranger.py").write_text("VALUE = 1\n")
    helper = tmp_path / ("package/helper.py" if "package" in imported else "helper.py")

    def mark() -> str:
        return plan(["none"], {}, [0], factory="my_factory:prepare", out=tmp_path)[0].fingerprint

    helper.write_text("VALUE = 1\n")
    before = mark()
    helper.write_text("VALUE = 1  # for a reason\n")
    (tmp_path / "stranger.py").write_text("VALUE = 20\n")
    assert mark() == before
    helper.write_text("VALUE = 2  # for a reason\n")
    assert mark() != before


def test_relative_imports_and_the_packages_that_hold_a_factory_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    files = {
        "lab/__init__.py": "",
        "lab/deep/__init__.py": "",
        "lab/deep/factory.py": "from ..rates import RATE\nfrom . import noise\ndef prepare(*given): ...\n",
        "lab/rates.py": "RATE = 1\n",
        "lab/deep/noise.py": "NOISE = 1\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    before = definition("lab.deep.factory:prepare")
    for name, text in files.items():
        (tmp_path / name).write_text(text + "ADDED = 1\n")
        assert definition("lab.deep.factory:prepare") != before, name
        (tmp_path / name).write_text(text)


def test_the_code_of_a_python_protocol_and_what_it_imports_count_for_its_runs_alone(tmp_path: Path) -> None:
    file, helper = tmp_path / "mine.py", tmp_path / "beside_mine.py"
    helper.write_text("FACTOR = 1.0\n")

    def marks(factor: str = "0.5", comment: str = "", imported: str = "") -> list[str]:
        file.write_text(PROTOCOL.format(factor=factor, imported="") + comment)
        protocols, files = {"mine": read_protocol(file)}, {"mine": str(file)}
        file.write_text(PROTOCOL.format(factor=factor, imported=imported) + comment)
        jobs = plan(["none"], protocols, [0], factory="json:loads", out=tmp_path, protocol_files=files)
        return [job.fingerprint for job in jobs]

    trained, ran = marks()
    assert marks(comment="# A comment.\n") == [trained, ran]
    assert marks(factor="0.6") == [trained, marks(factor="0.6")[1]]
    assert marks(factor="0.6")[1] != ran
    with_helper = marks(imported="import beside_mine")
    helper.write_text("FACTOR = 2.0\n")
    assert marks(imported="import beside_mine")[1] != with_helper[1]
    assert marks(imported="import beside_mine")[0] == trained


def test_a_python_protocol_whose_code_has_changed_since_the_study_was_planned_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(PROTOCOL.format(factor="0.5", imported=""))
    jobs = plan(
        ["none"],
        {"mine": read_protocol(file)},
        [0],
        factory="json:loads",
        out=tmp_path,
        protocol_files={"mine": str(file)},
    )
    file.write_text(PROTOCOL.format(factor="0.6", imported=""))
    with pytest.raises(ValueError, match=r"mine\.py has changed since the study was planned"):
        perform(jobs[-1])


def test_a_factory_that_cannot_be_found_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match="'no_such_module'"):
        plan(["none"], {}, [0], factory="no_such_module:prepare", out=tmp_path)
