"""The registry of learners: their names, parts, defaults and descriptions.

A learner is a teacher, a network and a rule. Its name joins these parts, as in `error-mlp-dfa`. Settings may follow the
name, as in `error-mlp-dfa,hidden_rate=0.5`. This module imports neither torch nor Stable-Baselines3: the class of a
learner is imported when `agents.learner` makes or loads a learner.

To add a learner, call `register`. To add a rule or a network, call `register` of `agents.rules.registry` or
`agents.networks.registry`; the learners that combine it with all matching networks or rules then exist too.
"""

from __future__ import annotations

import json
from ast import literal_eval
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Literal

from agents.networks.registry import NETWORKS
from agents.rules.registry import RULES, rules_for, rules_from_reward

# Which synapses learn: all, or all but those of the read-out.
Plastic = Literal["all", "hidden"]
NONE = "none"
# Ending of a name that stands for `plastic=hidden`.
HIDDEN = "-hidden"
POSTURE = "posture"
GRAB, REACH = "reach/CupGrab-v1", "reach/CupReach-v1"
BASELINE_ENV = GRAB
# Functions that prepare learners for a study, by control of the joints.
FACTORIES = {
    POSTURE: "agents.learner:prepare",
    "torque": "agents.learner:prepare_torque",
    "muscle": "agents.learner:prepare_muscle",
}
# Settings found by `scripts/tune.py`, by learner.
TUNED = Path(__file__).with_name("tuned.json")

# Trials of unperturbed training. More with a fixed read-out: feedback and forward weights have to align first.
ERROR_TRIALS, HIDDEN_TRIALS, REWARDED_TRIALS = 1000, 2000, 5000
# Default settings of an error learner without tuned settings.
LEARNING_RATE = 0.8
HIDDEN_RATE = 1.0
PRACTICE_RATE = 0.004
EXACT = "exact"
PLAIN, TWO_STATE = "plain", "two-state"

# The classes of learners.
ERROR_LEARNER = "agents.error.learner:ErrorLearner"
PPO = "agents.reward.on_policy:RewardPPO"
RECURRENT_PPO = "agents.reward.on_policy:RewardLSTM"
SAC = "agents.reward.off_policy:RewardSAC"
TD3 = "agents.reward.off_policy:RewardTD3"
TQC = "agents.reward.off_policy:RewardTQC"
SPIKING_ACTOR_CRITIC = "agents.reward.spiking:RewardSpikingLearner"

# Descriptions by "network-rule", "kind of cells-rule" or rule; the first of these keys that exists is used.
ERROR_DESCRIPTIONS = {
    "bp": "back-propagation of the seen error",
    "fa": "feedback alignment: the seen error is propagated back through fixed random weights",
    "dfa": "direct feedback alignment: fixed random weights send the seen error to every layer",
    "ifa": "indirect feedback alignment: fixed random weights send the seen error to the first layer; forward weights "
    "carry its effect to the layers above",
    "sign": "sign symmetry: the seen error is propagated back through weights with the signs of the forward weights "
    "and random magnitudes",
    "kp": "Kolen-Pollack: the seen error is propagated back through weights that receive the same changes as the "
    "forward weights",
    "weight-mirror": "weight mirror: the seen error is propagated back through weights that learn the forward weights "
    "from noise",
    "node": "node perturbation: hidden cells learn from the effect of noise in their activity on the seen error",
    "rls": "recursive least squares: back-propagation of the seen error with a second-order step in each layer",
    "shallow": "control: only the read-out learns from the seen error; hidden weights keep their initial values",
    "stdp": "spiking cells; spike-timing-dependent plasticity gated by the broadcast error",
    "hebb": "spiking cells; control: spike-timing-dependent plasticity without an error signal",
    "spiking-bp": "spiking cells; back-propagation of the seen error through time, with a surrogate derivative of "
    "spikes",
    "spiking-eprop": "spiking cells; e-prop: fixed random weights broadcast the seen error, which multiplies the "
    "eligibility trace of each synapse",
    "spiking-shallow": "spiking cells; control: only synapses of the read-out learn, by spike-timing-dependent "
    "plasticity gated by the error; hidden weights keep their initial values",
    "rate": "spiking cells; weights change by the product of pre- and postsynaptic firing rates, gated by the "
    "broadcast error",
    "pre": "spiking cells; weights change by the presynaptic firing rate, gated by the broadcast error",
    "lstm-bp": "LSTM cells with memory within a reach; back-propagation of the seen error through time",
    "lstm-eprop": "LSTM cells with memory within a reach; e-prop: fixed random weights broadcast the seen error, which "
    "multiplies the eligibility trace of each synapse",
    "lstm-shallow": "LSTM cells with memory within a reach; control: only the read-out learns from the seen error; "
    "LSTM weights keep their initial values",
    "memory-bp": "all weights are fixed after training; LSTM cells with memory across reaches correct the posture, "
    "trained by back-propagation through time on imagined perturbations",
    "memory-shallow": "all weights are fixed after training; LSTM cells with initial weights and memory across reaches "
    "correct the posture through a read-out trained on imagined perturbations",
}
SPIKING_REWARD_DESCRIPTIONS = {
    "stdp": "a spiking actor and critic without visual feedback; spike-timing-dependent plasticity gated by reward "
    "minus expected reward",
    "hebb": "a spiking actor without visual feedback; control: spike-timing-dependent plasticity without a reward "
    "signal",
}
# Cells that a rule is defined for, in words.
KINDS_OF_CELLS = {
    "layers": "layers of rate cells", "recurrent": "cells with a state", "spiking": "cells that fire",
}  # fmt: skip
HIDDEN_DESCRIPTION = "; under the perturbation only hidden weights learn, and the read-out is fixed"


@dataclass(frozen=True)
class Spec:
    """The parts of a learner's name.

    Attributes:
        teacher: "none", "error" or "reward"; for a registered learner, its whole name.
        network: name of the network, such as "mlp"; "" for no network.
        rule: name of the rule, such as "dfa"; "" for no rule.
        algorithm: algorithm of a learner from reward, such as "sac"; "" for PPO and for spiking cells.
        plastic: weights that learn after unperturbed training: "all", or "hidden" for a fixed read-out.
        settings: further keyword arguments of `make_learner`.
    """

    teacher: str
    network: str = ""
    rule: str = ""
    algorithm: str = ""
    plastic: Plastic = "all"
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def name(self) -> str:
        """Return the full name without settings."""
        parts = (self.teacher, self.algorithm, self.network, self.rule)
        return "-".join(part for part in parts if part) + (HIDDEN if self.plastic == "hidden" else "")

    def __str__(self) -> str:
        return ",".join([self.name, *(f"{setting}={value}" for setting, value in self.settings.items())])


@dataclass(frozen=True)
class Learner:
    """The registry's entry of a learner.

    Attributes:
        spec: the parts of its name.
        model: its class, or "module:class".
        description: one line for the report; "" for none.
        trials: number of trials of unperturbed training; 0 for a learner whose training is counted in control steps.
        steps: number of control steps of unperturbed training; 0 for a learner whose training is counted in trials.
        env_id: the environment for training and evaluation.
        env_options: arguments of `gym.make` that the learner needs.
        defaults: settings that are used if no tuned ones exist.
    """

    spec: Spec
    model: str | type[Any]
    description: str = ""
    trials: int = 0
    steps: int = 0
    env_id: str = GRAB
    env_options: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)

    @property
    def model_class(self) -> Any:
        """Import and return the learner's class."""
        return resolve_name(self.model) if isinstance(self.model, str) else self.model

    @property
    def step(self) -> str:
        """Return the step size of an error learner as text, such as "0.80, tuned".

        Return "" for other learners, and for networks that choose their step size by practice.
        """
        if self.spec.teacher != "error" or NETWORKS[self.spec.network].practises == "rate":
            return ""
        setting = "rate" if self.spec.plastic == "all" else "hidden_rate"
        if setting in self.spec.settings:
            return f"{self.spec.settings[setting]}"
        tuned = tuned_settings(self.spec)
        return f"{tuned[setting]:.2f}, tuned" if setting in tuned else f"{self.defaults[setting]}"

    def describe(self, trials: Sequence[int] = (), control: str = POSTURE) -> str:
        """Return one line about the learner and its training; "" without a description.

        Args:
            trials: number of training trials of each seed, for a learner whose training is counted in steps.
            control: control of the joints: "posture", "torque" or "muscle".
        """
        if not self.description:
            return ""
        text = self.description + ("" if control == POSTURE else f"; it commands {control}s")
        if self.spec.teacher == NONE:
            return text
        text += f"; step {self.step}" if self.step else ""
        if self.trials:
            return f"{text}; trained in {self.trials:,} unperturbed trials"
        text = f"{text}; trained in {self.steps:,} unperturbed control steps"
        if not trials:
            return text
        fewest, most = f"{min(trials):,}", f"{max(trials):,}"
        return f"{text}, which were {fewest if fewest == most else f'{fewest} to {most}'} trials"


# Options of learners whose actions are postures, not changes of posture, which would limit the speed of a reach.
ABSOLUTE = {"command": "absolute"}
# Algorithms of learners from reward with a perceptron, for any rule: name, class, title, control steps of training.
REWARD_ALGORITHMS = (("", PPO, "PPO", 200_000), ("sac", SAC, "SAC", 150_000), ("td3", TD3, "TD3", 150_000))
REWARD_LSTM = Learner(
    Spec("reward", "lstm", "bp"),
    RECURRENT_PPO,
    "LSTM cells with memory; learns from reward alone, by PPO and back-propagation through time",
    steps=300_000,
)
REWARD_TQC = Learner(
    Spec("reward", "mlp", "bp", "tqc"),
    TQC,
    "learns from sparse reward alone, by TQC with hindsight experience replay",
    steps=50_000,
    env_id=REACH,
    env_options={"observation": "goal", **ABSOLUTE},
)
_registered: dict[str, Learner] = {}


def register(
    name: str,
    model: str | type[Any],
    *,
    description: str = "",
    trials: int = 0,
    steps: int = 0,
    env_id: str = GRAB,
    env_options: Mapping[str, Any] | None = None,
) -> Learner:
    """Add a learner, so that `make_learner`, the scripts and `prepare` accept its name.

    Args:
        name: name without a comma, and not ending in "-hidden".
        model: a class with Stable-Baselines3's model interface, or "module:class", which is imported at the first use.
            It is called as `model(name, env, seed=seed, **settings)` and loaded by `model.load(path, env)`.
        description: one line for the report.
        trials: number of trials of unperturbed training, for an `agents.trial_learner.TrialLearner`.
        steps: number of control steps of unperturbed training, for any other learner.
        env_id: the environment for training.
        env_options: arguments of `gym.make` that the learner needs.

    Returns:
        The entry of the registry.

    Raises:
        ValueError: the name is invalid or taken, or not exactly one of `trials` and `steps` is given.
    """
    if "," in name or name.endswith(HIDDEN) or not name:
        raise ValueError(f"expected a name without a comma that does not end in {HIDDEN!r}, got {name!r}")
    if is_learner(name):
        raise ValueError(f"expected a new name, got {name!r}, which is registered")
    if (trials > 0) == (steps > 0):
        raise ValueError(f"expected either trials or steps, got trials={trials!r} and steps={steps!r}")
    _registered[name] = Learner(Spec(name), model, description, trials, steps, env_id, dict(env_options or {}))
    return _registered[name]


def learners() -> dict[str, Learner]:
    """Return all learners by full name: learners from the seen error, from reward, and registered ones."""
    entries = [_error_learner(Spec(NONE), "feedback control only; nothing is learned", {})]
    for network in NETWORKS.values():
        for rule in rules_for(network):
            keys = (f"{network.name}-{rule}", f"{network.cells}-{rule}", rule)
            described = (ERROR_DESCRIPTIONS[key] for key in keys if key in ERROR_DESCRIPTIONS)
            description = next(described, "learns from its seen error")
            if network.note:
                description += f"; {network.note}"
            spec = Spec("error", network.name, rule)
            entries.append(_error_learner(spec, description, network.env_options))
    for algorithm, model, title, steps in REWARD_ALGORITHMS:
        description = f"learns from reward alone, by {title}"
        for rule in rules_from_reward(NETWORKS["mlp"]):
            spec = Spec("reward", "mlp", rule, algorithm)
            entries.append(Learner(spec, model, description, steps=steps))
    entries += [REWARD_LSTM, REWARD_TQC]
    for rule in rules_from_reward(NETWORKS["snn"]):
        spec = Spec("reward", "snn", rule)
        description = SPIKING_REWARD_DESCRIPTIONS.get(rule, "a spiking actor and critic without visual feedback")
        entry = Learner(spec, SPIKING_ACTOR_CRITIC, description, REWARDED_TRIALS, env_id=REACH, env_options=ABSOLUTE)
        entries.append(entry)
    return {entry.spec.name: entry for entry in entries} | _registered


def _error_learner(spec: Spec, description: str, env_options: Mapping[str, Any]) -> Learner:
    defaults = {
        "rate": LEARNING_RATE,
        "hidden_rate": HIDDEN_RATE,
        "practice_rate": PRACTICE_RATE,
        "body_map": body_maps(spec.network)[0],
        "synapse": synapses(spec.network)[0],
    }
    options = {**ABSOLUTE, **env_options}
    return Learner(spec, ERROR_LEARNER, description, ERROR_TRIALS, env_options=options, defaults=defaults)


def body_maps(network: str) -> tuple[str, ...]:
    """Return the body maps (`agents.error.teacher`) that a learner with this network can have, the default first.

    Only "exact" is possible without a network (""), where nothing is taught, and for a network that practises, because
    its imagined perturbations are computed by the exact map.
    """
    practises = network == "" or NETWORKS[network].practises is not None
    return (EXACT,) if practises else ("babbled", EXACT, "random")


def synapses(network: str) -> tuple[str, ...]:
    """Return the kinds of synapse (`agents.error.synapses`) that a learner with this network can have, plain first.

    Only plain ones are possible without a network (""), for a network that adapts by practised activity, and for one
    that grows and prunes synapses.
    """
    only_plain = network == "" or NETWORKS[network].practises is not None or network == "structural"
    return (PLAIN,) if only_plain else (PLAIN, TWO_STATE)


def aliases() -> dict[str, str]:
    """Return the full names of learners by alias."""
    names = {f"error-{rule}": f"error-mlp-{rule}" for rule in rules_for(NETWORKS["mlp"])}
    for network in NETWORKS.values():
        for (name, cells), rule in RULES.items():
            if cells == network.cells and name != rule.name and rule.name in rules_for(network):
                names[f"error-{network.name}-{name}"] = f"error-{network.name}-{rule.name}"
    return names | {"error-stdp": "error-snn-stdp", "reward-ppo": "reward-mlp-bp"}


def find(text: str, **settings: Any) -> Learner:
    """Return the registry's entry of a learner.

    Args:
        text: full name or alias. The name of an error learner may end in "-hidden". Settings may follow, such as
            "error-mlp-dfa,rate=0.5,plastic=hidden".
        settings: further settings, which replace those in the text.

    Raises:
        ValueError: an unknown name, a rule that cannot train the network, a setting that is not "name=value" or is
            given twice in the text, or `plastic=all` after a name that ends in "-hidden".
    """
    if not isinstance(text, str):
        raise ValueError(f"expected the name of a learner, got {text!r}")
    name, *fields = text.split(",")
    given: dict[str, Any] = {}
    for part in fields:
        setting, equals, value = part.partition("=")
        if not (setting.isidentifier() and equals):
            raise ValueError(f"expected settings of learner {text!r} as name=value, got {part!r}")
        if setting in given:
            raise ValueError(f"expected each setting of learner {text!r} once, got {setting!r} twice")
        given[setting] = _value_of(value)
    given |= settings
    known, short = learners(), name.removesuffix(HIDDEN)
    entry = known.get(aliases().get(short, short))
    if entry is None or (name.endswith(HIDDEN) and entry.spec.teacher != "error"):
        prefixes = {other.removesuffix(f"-{entry.spec.rule}") for other, entry in known.items() if entry.spec.rule}
        prefix = max((candidate for candidate in prefixes if short.startswith(f"{candidate}-")), key=len, default="")
        rule = short.removeprefix(f"{prefix}-")
        rules = [other.removeprefix(f"{prefix}-") for other in known if other.startswith(f"{prefix}-")]
        if rules and any(other.endswith(f"-{rule}") for other in known):
            reason = why_refused(rule, known[f"{prefix}-{rules[0]}"].spec)
            raise ValueError(
                f"unknown learner {name!r}: {prefix} expected one of the rules {rules}, got {rule!r}"
                + (f"; {reason}" if reason else "")
            )
        close = get_close_matches(name, [*aliases(), *known], n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"unknown learner {name!r}.{hint} See --list.")
    plastic: Any = "hidden" if name.endswith(HIDDEN) else "all"
    if entry.spec.teacher == "error":
        plastic = given.pop("plastic", plastic)
        if plastic not in ("all", "hidden"):
            raise ValueError(f"plastic: expected 'all' or 'hidden', got {plastic!r}")
        if name.endswith(HIDDEN) and plastic == "all":
            raise ValueError(f"plastic: expected 'hidden', as the name {name!r} says, got 'all'")
    is_hidden = plastic == "hidden"
    return replace(
        entry,
        spec=replace(entry.spec, plastic=plastic, settings=given),
        description=entry.description + (HIDDEN_DESCRIPTION if is_hidden else ""),
        trials=HIDDEN_TRIALS if is_hidden else entry.trials,
    )


def why_refused(rule: str, like: Spec) -> str:
    """Return why a rule cannot train the network of a learner by its teacher; "" if no reason is known."""
    cells = NETWORKS[like.network].cells
    if (rule, cells) in RULES:
        return RULES[rule, cells].refused.get("reward" if like.teacher == "reward" else like.network, "")
    kinds = [words for kind, words in KINDS_OF_CELLS.items() if (rule, kind) in RULES]
    return f"it is defined for {' and '.join(kinds)}" if kinds else ""


def is_learner(text: Any) -> bool:
    """Return whether `find` accepts a text."""
    try:
        find(text)
    except ValueError:
        return False
    return True


def split_names(text: str) -> list[str]:
    """Split names of learners at commas; a part such as "rate=0.5" belongs to the name before it."""
    names: list[str] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        if "=" in part and names:
            names[-1] += f",{part}"
        else:
            names.append(part)
    return names


def tuned_settings(spec: Spec) -> dict[str, Any]:
    """Return the settings that `scripts/tune.py` found for a learner's name with settings, or else its bare name."""
    stored = json.loads(TUNED.read_text()) if TUNED.exists() else {}
    settings: dict[str, Any] = stored.get(str(spec), stored.get(spec.name, {})).get("settings", {})
    return settings


def _value_of(text: str) -> Any:
    """Parse a number, True, False or None; return any other text unchanged."""
    try:
        return literal_eval(text)
    except (SyntaxError, ValueError):
        return text
