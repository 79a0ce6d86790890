"""Pages made from the code itself: one for each environment, perturbation, protocol, measure and rule."""

from __future__ import annotations

import inspect

import mkdocs_gen_files

from agents.registry import learners
from agents.rules.registry import RULES
from reach.env import CupEnv
from reach.perturbations import PERTURBATIONS
from reach.protocols import PROTOCOLS
from reach.protocols.presets import describe_block
from reach.study.report.metrics import MEASURES

ENVIRONMENTS = {
    "CupReach-v1": "Bring the open hand to the cup and stop.",
    "CupGrab-v1": "Reach, close the fingers, and hold the cup for 0.2 s.",
}


def write(path: str, text: str) -> None:
    """A page."""
    with mkdocs_gen_files.open(path, "w") as page:
        page.write(text)


def environment(name: str, task: str) -> str:
    """The page of an environment."""
    made = f'```python\nimport gymnasium as gym\nimport reach\n\nenv = gym.make("reach/{name}")\n```'
    return f"# reach/{name}\n\n{task}\n\n{made}\n\n{inspect.getdoc(CupEnv)}\n"


def protocol(name: str) -> str:
    """The page of a protocol."""
    preset = PROTOCOLS[name]
    blocks = "\n".join(f"{number}. {describe_block(block)}" for number, block in enumerate(preset.blocks, start=1))
    lamps = f" {preset.context} lamps are on the table." if preset.context else ""
    command = f"python scripts/compare.py --out runs/{name} --protocols {name}"
    reaches = f"{preset.reaches} reaches in `{preset.env_id}`, probes not counted; each round visits all cups."
    return f"# {name}\n\n{reaches}{lamps}\n\n{blocks}\n\nSource: {preset.source}.\n\n```sh\n{command}\n```\n"


def main() -> None:
    """All pages."""
    for name, task in ENVIRONMENTS.items():
        write(f"environments/{name}.md", environment(name, task))
    for cls in PERTURBATIONS.values():
        write(f"perturbations/{cls.__name__}.md", f"# {cls.__name__}\n\n::: {cls.__module__}.{cls.__name__}\n")
    for name in PROTOCOLS:
        write(f"protocols/{name}.md", protocol(name))
    for measure in MEASURES:
        better = {"low": "Lower is better.", "high": "Higher is better.", "": ""}[measure.better]
        write(
            f"measures/{measure.metric}.md",
            f"# {measure.label}\n\n{measure.meaning}\n\nUnit: {measure.unit}. {better}\n",
        )
    for name in dict.fromkeys(rule.name for rule in RULES.values()):
        classes = dict.fromkeys(type(rule) for rule in RULES.values() if rule.name == name)
        text = "\n".join(f"::: {cls.__module__}.{cls.__name__}\n" for cls in classes)
        write(f"rules/{name}.md", f"# {name}\n\n{text}")
    rows = "\n".join(f"| `{name}` | {learner.describe()} |" for name, learner in learners().items())
    write("learners.md", f"# Learners\n\n| learner | |\n|---|---|\n{rows}\n")


main()
