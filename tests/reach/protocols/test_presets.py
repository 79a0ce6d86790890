"""A user's own protocol is a short file; what is wrong in it is named, and what is right is listed."""

from __future__ import annotations

from pathlib import Path

import pytest

from reach import CurlField, HideHand, Rotation
from reach.protocols import PROTOCOLS, Block, Gradual, Protocol, read_protocol

GOOD = """
name = "gradual-20"
source = "a pilot"
env_id = "reach/CupGrab-v1"
cups = [[0.12, 0.56], [0.05, 0.52]]

[[blocks]]
name = "baseline"
trials = 8

[[blocks]]
name = "perturbed"
trials = 40
perturbation = [{ kind = "rotation", degrees = 20.0 }, { kind = "curl-field" }]
scale = { kind = "gradual", trials = 30 }
probe = [{ kind = "hide-hand" }]
probe_every = 5
learning = true
cups = [[0.12, 0.56]]
"""
BLOCKS = '[[blocks]]\nname = "baseline"\ntrials = 4\n'


def written(folder: Path, text: str, name: str = "own.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_toml_file_gives_the_protocol_it_says(tmp_path: Path) -> None:
    assert read_protocol(written(tmp_path, GOOD)) == Protocol(
        name="gradual-20",
        blocks=(
            Block("baseline", 8),
            Block(
                "perturbed",
                40,
                (Rotation(20.0), CurlField()),
                Gradual(30),
                probe=(HideHand(),),
                probe_every=5,
                cups=((0.12, 0.56),),
            ),
        ),
        source="a pilot",
        env_id="reach/CupGrab-v1",
        cups=((0.12, 0.56), (0.05, 0.52)),
    )


def test_a_short_file_is_enough(tmp_path: Path) -> None:
    found = read_protocol(written(tmp_path, f'name = "short"\n{BLOCKS}'))
    assert found.blocks == (Block("baseline", 4),)
    assert found.cups == PROTOCOLS["rotation30"].cups


def test_a_python_file_makes_its_protocol(tmp_path: Path) -> None:
    text = "from dataclasses import replace\nfrom reach.protocols import PROTOCOLS\n"
    path = written(tmp_path, text + 'PROTOCOL = replace(PROTOCOLS["prism"], name="mine")\n', "own.py")
    assert read_protocol(path).name == "mine"
    with pytest.raises(ValueError, match=r"none\.py: PROTOCOL: expected a reach\.protocols\.Protocol, got None"):
        read_protocol(written(tmp_path, text, "none.py"))


def test_a_python_file_that_registers_something_can_be_read_again(tmp_path: Path) -> None:
    text = (
        "from reach.protocols import PROTOCOLS\nfrom reach.study.report.metrics import Measure, register\n"
        'register(Measure("only_here", "", "", 1, "", ""))\nPROTOCOL = PROTOCOLS["prism"]\n'
    )
    path = written(tmp_path, text, "registers.py")
    assert read_protocol(path) == read_protocol(path) == PROTOCOLS["prism"]


WRONG = [
    (f'name = "x"\ncup = [[0.1, 0.5]]\n{BLOCKS}', r"the protocol: .*'cups'.*got \['cup'\]"),
    ('name = "x"\n', r"the protocol: .*missing: \['blocks'\]"),
    (BLOCKS, r"the protocol: .*missing: \['name'\]"),
    (f'name = "a/b"\n{BLOCKS}', "name.*'a/b'"),
    (f'name = "{"a" * 101}"\n{BLOCKS}', "100"),
    (f"name = 3\n{BLOCKS}", "name: expected text, got 3"),
    (f'name = "x"\nenv_id = "CartPole-v1"\n{BLOCKS}', "env_id: .*CupGrab-v1.*'CartPole-v1'"),
    (f'name = "x"\nenv_id = "theirs:reach/CupGrab-v1"\n{BLOCKS}', "env_id: .*'theirs:reach/CupGrab-v1'"),
    (f'name = "x"\ncups = [[0.1]]\n{BLOCKS}', r"cup.*\[0.1\]"),
    (f'name = "x"\ncups = []\n{BLOCKS}', r"cups: .*got \[\]"),
    ('name = "x"\nblocks = 4\n', "blocks: .*table.*got 4"),
    (f'name = "x"\n{BLOCKS}trails = 4\n', r"block 1: .*'trials'.*got \['trails'\]"),
    ('name = "x"\n[[blocks]]\nname = "baseline"\n', r"block 1: .*missing: \['trials'\]"),
    (f'name = "x"\n{BLOCKS}[[blocks]]\nname = "training"\ntrials = 1\n', "block 2: .*'training'"),
    (f'name = "x"\n{BLOCKS}perturbation = [{{ kind = "turn" }}]\n', "'turn'.*import the module that registers it"),
    (f'name = "x"\n{BLOCKS}perturbation = [{{ kind = "rotation", degree = 3 }}]\n', r"\['degree'\]"),
    (f'name = "x"\n{BLOCKS}perturbation = [{{ kind = ["rotation"] }}]\n', r"\['rotation'\]"),
    (f'name = "x"\n{BLOCKS}scale = {{ kind = "slow" }}\n', "scale kind: .*'gradual'.*'slow'"),
    (f'name = "x"\n{BLOCKS}scale = {{ kind = "gradual", over = 3 }}\n', r"scale 'gradual': .*'trials'.*\['over'\]"),
    (f'name = "x"\n{BLOCKS}scale = {{ kind = "gradual" }}\n', r"scale 'gradual': .*missing: \['trials'\]"),
    (f'name = "x"\n{BLOCKS}scale = [1]\n', r"scale kind: .*'gradual'.*\[1\]"),
    ('name = "x"\n[[blocks]]\nname = "baseline"\ntrials = 1000000000000\n', "Block trials.*1000000000000"),
    ('name = "x', "Unterminated"),
    ("name = " + "[" * 100_000, ""),
]


def test_an_invalid_file_is_an_error_that_names_the_file_and_the_field(tmp_path: Path) -> None:
    for text, message in WRONG:
        with pytest.raises(ValueError, match=rf"own\.toml: .*{message}"):
            read_protocol(written(tmp_path, text))


def test_a_name_that_is_too_long_for_a_file_is_an_error_in_a_short_line(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="expected a file that exists") as caught:
        read_protocol(tmp_path / f"{'a' * 5_000}.toml")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def f(:\n", r"SyntaxError: .*line 1"),
        ("1 / 0\n", "ZeroDivisionError: division by zero"),
        ("import nothing_of_the_kind\n", "ModuleNotFoundError: No module named 'nothing_of_the_kind'"),
        ("raise SystemExit\n", "SystemExit$"),
    ],
)
def test_what_a_python_file_raises_is_told_with_its_name(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"own\.py: running it raises {message}"):
        read_protocol(written(tmp_path, text, "own.py"))


def test_a_file_of_another_kind_or_none_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected a name that ends in \.toml or \.py, got .*own\.json"):
        read_protocol(written(tmp_path, "{}", "own.json"))
    with pytest.raises(FileNotFoundError, match=r"nothing\.toml"):
        read_protocol(tmp_path / "nothing.toml")


def test_the_example_can_be_read() -> None:
    found = read_protocol(Path(__file__).parents[3] / "examples" / "gradual_rotation.toml")
    assert [block.name for block in found.blocks] == ["baseline", "perturbed", "washout"]
    assert found.blocks[1].scale == Gradual(60)


def test_an_environment_may_be_named_with_the_prefix_of_this_project(tmp_path: Path) -> None:
    text = f'name = "x"\nenv_id = "reach:reach/CupGrab-v1"\n{BLOCKS}'
    assert read_protocol(written(tmp_path, text)).env_id == "reach:reach/CupGrab-v1"
