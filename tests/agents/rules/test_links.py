"""A rule inside a real network: what a rule uses of the forward pass is what the forward pass computed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.checkpoint import checkpoint

from agents.networks.registry import NETWORKS
from agents.rules.assign import alignment_degrees, assign_rule
from agents.rules.layers import RuledLayer, RuledNetwork
from agents.rules.registry import rules_for

LAYER_RULES = rules_for(NETWORKS["cnn"])
BATCH, SIDE, OUTPUTS = 6, 8, 3
# What may stand between layers, by a number of channels or cells.
BETWEEN_CONVOLUTIONS: list[Callable[[int], nn.Module]] = [
    lambda n: nn.ReLU(inplace=True),
    lambda n: nn.Tanh(),
    lambda n: nn.SiLU(),
    lambda n: nn.Dropout(0.4),
    lambda n: nn.Dropout2d(0.3),
    lambda n: nn.BatchNorm2d(n, affine=False),
    lambda n: nn.MaxPool2d(2, stride=1),
    lambda n: nn.AvgPool2d(3, stride=1, padding=1),
]
BETWEEN_CELLS: list[Callable[[int], nn.Module]] = [
    lambda n: nn.ReLU(inplace=True),
    lambda n: nn.Tanh(),
    lambda n: nn.GELU(),
    lambda n: nn.Dropout(0.4, inplace=True),
    lambda n: nn.RReLU(),
    lambda n: nn.BatchNorm1d(n, affine=False),
    lambda n: nn.LayerNorm(n, elementwise_affine=False),
]
KEEPING_CELLS = [make for make in BETWEEN_CONVOLUTIONS if not isinstance(make(1), nn.MaxPool2d)]


@st.composite
def networks(draw: Any, between: list[Callable[[int], nn.Module]] = BETWEEN_CONVOLUTIONS) -> nn.Sequential:
    """Convolutions, then linear layers, any of them frozen."""
    torch.manual_seed(draw(st.integers(0, 99)))
    modules: list[nn.Module] = []
    value = torch.zeros(2, 2, SIDE, SIDE)
    for _ in range(draw(st.integers(0, 2))):
        cells = draw(st.integers(2, 4))
        modules += [nn.Conv2d(value.shape[1], cells, 3, padding=1), *(m(cells) for m in draw(some(between)))]
        value = nn.Sequential(*modules)(torch.zeros(2, 2, SIDE, SIDE))
    modules.append(nn.Flatten())
    cells_below = value[0].numel()
    for _ in range(draw(st.integers(1, 3))):
        cells = draw(st.integers(4, 9))
        modules += [nn.Linear(cells_below, cells), *(m(cells) for m in draw(some(BETWEEN_CELLS)))]
        cells_below = cells
    net = nn.Sequential(*modules, nn.Linear(cells_below, OUTPUTS))
    for below, module in pairwise(net):
        if not isinstance(below, nn.Linear | nn.Conv2d) and hasattr(module, "inplace"):
            module.inplace = False  # torch's own gradient may need what it would overwrite
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.reset_running_stats()
        if isinstance(module, nn.Linear | nn.Conv2d):
            module.weight.requires_grad_(draw(st.sampled_from([True, True, False])))
    net[-1].weight.requires_grad_(True)
    return net


def some(of: list[Callable[[int], nn.Module]]) -> st.SearchStrategy[list[Callable[[int], nn.Module]]]:
    return st.lists(st.sampled_from(of), max_size=3)


def ruled(net: nn.Sequential, rule: str) -> tuple[nn.Sequential, RuledNetwork]:
    made = copy.deepcopy(net)
    example = torch.zeros(1, 2, SIDE, SIDE) if isinstance(made[0], nn.Conv2d | nn.Flatten) else None
    generator = torch.Generator().manual_seed(1)
    (network,) = assign_rule(
        made, rule, {"output": [made]}, generator=generator, example=example, updates_feedback=True
    )
    return made, network


def batch() -> torch.Tensor:
    return torch.randn(BATCH, 2, SIDE, SIDE, generator=torch.Generator().manual_seed(5))


def mlp(*between: Callable[[int], nn.Module], layers: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    modules: list[nn.Module] = [nn.Flatten(), nn.Linear(2 * SIDE * SIDE, 8)]
    for _ in range(layers - 1):
        modules += [*(make(8) for make in between), nn.Linear(8, 8)]
    return nn.Sequential(*modules, nn.Tanh(), nn.Linear(8, OUTPUTS))


def learned(
    net: nn.Module, forward: Callable[[torch.Tensor], torch.Tensor] | None = None, low: bool = False
) -> dict[str, torch.Tensor]:
    """Output, gradients, buffers and random state after one pass."""
    net.zero_grad()
    torch.manual_seed(11)
    with torch.autocast("cpu", torch.bfloat16, enabled=low):
        output = (forward or net)(batch())
    (output.float() ** 2).sum().backward()
    by_name = {name: value.grad for name, value in net.named_parameters() if value.grad is not None}
    buffers = {name: value.clone() for name, value in net.named_buffers() if "feedback" not in name}
    return {**by_name, **buffers, "output": output.detach(), "random state": torch.get_rng_state()}


def assert_same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor], tolerance: float = 1e-6) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert ours[name].dtype == value.dtype
        largest = float(value.abs().max())
        torch.testing.assert_close(ours[name], value, rtol=tolerance, atol=tolerance * largest, msg=name)


def hidden_that_learn(network: RuledNetwork) -> set[str]:
    return {
        name for name, layer in network.layers.items() if layer.place.head is None and layer.weight.grad is not None
    }


@settings(max_examples=25, deadline=None)
@given(networks(), st.booleans())
def test_bp_is_torch_s_own_in_any_network(net: nn.Sequential, low: bool) -> None:
    ours, network = ruled(net, "bp")
    assert_same(learned(ours, low=low), learned(net, low=low))
    buffers, state = {name: value.clone() for name, value in ours.named_buffers()}, torch.get_rng_state()
    angles = alignment_degrees([network])
    assert angles.keys() <= hidden_that_learn(network)
    assert all(angle < 0.1 for angle in angles.values()), angles
    assert all(torch.equal(value, buffers[name]) for name, value in ours.named_buffers())
    assert torch.equal(torch.get_rng_state(), state)


@settings(max_examples=15, deadline=None)
@given(networks(), st.booleans())
def test_fa_with_the_weights_as_feedback_is_torch_s_own_in_any_network(net: nn.Sequential, low: bool) -> None:
    ours, network = ruled(net, "fa")
    for layer in list(network.layers.values())[1:]:
        layer.feedback_matrix().copy_(layer.weight.detach())
    assert_same(learned(ours, low=low), learned(net, low=low))


@settings(max_examples=20, deadline=None)
@given(networks(KEEPING_CELLS), st.sampled_from(["dfa", "ifa"]))
def test_freezing_layers_leaves_the_steps_of_the_others_as_they_were(net: nn.Sequential, rule: str) -> None:
    ours, _ = ruled(net, rule)
    steps = learned(ours)
    other = copy.deepcopy(net).requires_grad_(True)
    whole = learned(ruled(other, rule)[0])
    assert_same(steps, {name: whole[name] for name in steps})


@settings(max_examples=20, deadline=None)
@given(networks(KEEPING_CELLS))
def test_ifa_carries_the_change_through_what_the_forward_pass_computed(net: nn.Sequential) -> None:
    net.requires_grad_(True)
    ours, network = ruled(net, "ifa")
    outputs: dict[nn.Module, torch.Tensor] = {}
    states: dict[nn.Module, torch.Tensor] = {}
    signals: dict[nn.Module, torch.Tensor] = {}

    def keep(layer: nn.Module, value: tuple[torch.Tensor], output: torch.Tensor) -> None:
        outputs[layer], states[layer] = output.detach().clone(), torch.get_rng_state()
        if value[0].requires_grad:
            value[0].register_hook(lambda signal: signals.__setitem__(layer, signal))

    layers = list(network.layers.values())
    for layer in layers:
        layer.register_forward_hook(keep)
    output = learned(ours)["output"]
    signal = 2.0 * output @ layers[1].get_buffer("feedback_output")
    for below, above in pairwise(layers):
        modulator = signals[above]
        torch.testing.assert_close(modulator, signal.reshape(modulator.shape), rtol=1e-4, atol=1e-5)
        link = nn.Sequential(*(copy.deepcopy(module) for module in above.place.link))
        for module in link:
            module._forward_pre_hooks.clear()
        torch.set_rng_state(states[below])
        start = outputs[below]
        _, change = torch.autograd.functional.jvp(
            lambda x, act=link: act(x.clone()), start, modulator.reshape(start.shape)
        )
        with torch.no_grad():
            signal = above.forward(change) - above.forward(torch.zeros_like(change))


def test_a_drawn_mask_is_the_same_in_the_pass_and_in_the_angle() -> None:
    class Noisy(nn.Module):
        def forward(self, value: torch.Tensor) -> torch.Tensor:
            return value * (torch.rand_like(value) < 0.5)

    ours, network = ruled(mlp(lambda n: nn.ReLU(), lambda n: Noisy(), lambda n: nn.Dropout(0.5)), "fa")
    plain = copy.deepcopy(ours)
    by_rule = learned(ours)
    for layer in plain.modules():
        if isinstance(layer, RuledLayer):
            layer.placed = None
    exact = learned(plain)
    ours.eval()  # as Stable-Baselines3 does after each training
    angles = alignment_degrees([network])
    assert len(angles) == 3
    for name, angle in angles.items():
        cosine = torch.nn.functional.cosine_similarity(
            *(steps[f"{name}.weight"].flatten() for steps in (by_rule, exact)), 0
        )
        assert angle == pytest.approx(float(torch.rad2deg(torch.arccos(cosine.clamp(-1, 1)))), abs=0.1)
    assert not any(module.training for module in ours.modules())


def test_the_angle_of_one_head_s_pass_takes_nothing_from_an_earlier_pass_of_another() -> None:
    torch.manual_seed(0)
    trunk, heads = nn.Linear(4, 6), nn.ModuleDict({"a": nn.Linear(6, 2), "b": nn.Linear(6, 2)})
    root = nn.ModuleList([trunk, heads])
    networks_of = assign_rule(root, "dfa", {name: [trunk, nn.Tanh(), head] for name, head in heads.items()})

    def pass_of(head: str, size: int) -> dict[str, float]:
        value = torch.randn(size, 4, generator=torch.Generator().manual_seed(size))
        heads[head](torch.tanh(trunk(value))).sum().backward()
        return alignment_degrees(networks_of)

    alone = pass_of("b", 7)
    pass_of("a", 5)
    assert pass_of("b", 7) == alone


@pytest.mark.parametrize("rule", LAYER_RULES)
def test_activation_checkpointing_changes_no_step(rule: str) -> None:
    net = mlp(lambda n: nn.Tanh(), lambda n: nn.Dropout(0.3))
    ours, plain = ruled(net, rule)[0], ruled(net, rule)[0]

    def in_parts(value: torch.Tensor) -> torch.Tensor:
        for k in range(0, len(ours), 3):
            value = checkpoint(ours[k : k + 3], value, use_reentrant=False)
        return value

    assert_same(learned(ours, in_parts), learned(plain))


@pytest.mark.parametrize("rule", ["dfa", "ifa"])
def test_checkpointing_that_cuts_the_graph_is_refused(rule: str) -> None:
    ours, _ = ruled(mlp(lambda n: nn.Tanh()), rule)

    def in_parts(value: torch.Tensor) -> torch.Tensor:
        return ours[5:](checkpoint(ours[3:5], ours[:3](value), use_reentrant=True))

    with pytest.raises(ValueError, match=r"use_reentrant=False|recorded graph in between"):
        learned(ours, in_parts)


def hook_tensor(names: list[str], module: nn.Module, value: Any, output: torch.Tensor) -> None:
    output.register_hook(lambda error: names.append("tensor"))


@pytest.mark.parametrize("rule", LAYER_RULES)
def test_hooks_are_called_as_in_torch_s_own_layers(rule: str) -> None:
    called: dict[bool, list[str]] = {}
    for is_ruled in (True, False):
        net = mlp(lambda n: nn.Tanh(), layers=2)
        names = called[is_ruled] = []

        def note(name: str, result: Any = None, names: list[str] = names) -> Callable[..., Any]:
            return lambda *arguments: (names.append(name), result)[1]

        for k, module in enumerate(net):
            module.register_forward_pre_hook(note(f"before {k}"))
            module.register_forward_hook(note(f"after {k}"))
            if k != 0:
                module.register_full_backward_hook(note(f"backward {k}"))
            module._register_state_dict_hook(note(f"state {k}"))
        net[2].register_forward_hook(partial(hook_tensor, names))
        before = list(net)
        if is_ruled:
            assign_rule(net, rule, {"output": [net]}, example=torch.zeros(1, 2, SIDE, SIDE), updates_feedback=True)
            assert list(net) == before
        assert names == []
        learned(net)
        net.state_dict()
    own, theirs = called[True], called[False]
    if rule == "shallow":
        theirs = [name for name in theirs if name in own]
    assert own == theirs


def test_a_shared_weight_stays_shared_and_a_layer_in_two_places_is_one() -> None:
    net = mlp(lambda n: nn.Tanh())
    net[5].weight = net[3].weight
    root = nn.ModuleDict({"net": copy.deepcopy(net)})
    root["alias"] = root["net"][3]
    assign_rule(root, "bp", {"output": [root["net"]]})
    ours = root["net"]
    assert root["alias"] is ours[3]
    assert ours[5].weight is ours[3].weight
    assert_same(learned(ours), learned(net))


def parametrized(module: nn.Module) -> nn.Module:
    return nn.utils.parametrizations.weight_norm(module)


def with_weight_norm(module: nn.Module) -> nn.Module:
    return nn.utils.weight_norm(module)


def with_spectral_norm(module: nn.Module) -> nn.Module:
    return nn.utils.spectral_norm(module)


def with_own_forward(module: nn.Module) -> nn.Module:
    module.forward = lambda value: value
    return module


class Scaled(nn.Linear):
    """A layer with a forward pass of its own."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return 2.0 * super().forward(input)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (parametrized, "layer 3 .* got ParametrizedLinear"),
        (with_weight_norm, r"layer 3 .* got \['bias', 'weight_g', 'weight_v'\]"),
        (with_spectral_norm, r"layer 3 .* got \['bias', 'weight_orig'\]"),
        (with_own_forward, "layer 3 .* got one set on the object"),
        (lambda module: Scaled(8, 8), "layer 3 .* got Scaled"),
    ],
)
def test_a_layer_whose_forward_pass_a_rule_would_change_is_refused(
    change: Callable[[nn.Module], nn.Module], message: str
) -> None:
    net = mlp(lambda n: nn.Tanh())
    net[3] = change(net[3])
    with pytest.raises(ValueError, match=message):
        assign_rule(net, "bp", {"output": [net]})


def test_chains_without_names_are_refused() -> None:
    net = mlp(lambda n: nn.Tanh())
    with pytest.raises(ValueError, match=r'chains: expected a mapping such as \{"head": network\}, got list'):
        assign_rule(net, "dfa", [net])  # type: ignore[arg-type]


def test_a_layer_twice_in_a_chain_is_refused() -> None:
    net = mlp(lambda n: nn.Tanh())
    net[5] = net[3]
    with pytest.raises(ValueError, match=r"layer 3 .* expected each layer once, got it 2 times"):
        ruled(net, "dfa")


@pytest.mark.parametrize("rule", LAYER_RULES)
def test_an_example_draws_nothing_and_leaves_statistics_alone(rule: str) -> None:
    net = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3, affine=False), nn.Dropout(), nn.Conv2d(3, 2, 3), nn.Flatten(),
        nn.BatchNorm1d(32, affine=False), nn.Linear(32, OUTPUTS),
    )  # fmt: skip
    before, state = copy.deepcopy(dict(net.named_buffers())), torch.get_rng_state()
    example = torch.randn(1, 2, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(1)
    assign_rule(net, rule, {"output": [net]}, generator=generator, example=example, updates_feedback=True)
    after = dict(net.named_buffers())
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert torch.equal(torch.get_rng_state(), state)
    assert net.training


@pytest.mark.parametrize("rule", LAYER_RULES)
def test_the_default_device_is_no_part_of_a_network(rule: str) -> None:
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Tanh(), nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(32, OUTPUTS))
    ours, network = ruled(net, rule)
    expected, angles = learned(ours), alignment_degrees([network])
    value, example = batch(), torch.zeros(1, 2, SIDE, SIDE)
    made = copy.deepcopy(net)
    generator = torch.Generator().manual_seed(1)
    with torch.device("meta"):
        (network,) = assign_rule(
            made, rule, {"output": [made]}, generator=generator, example=example, updates_feedback=True
        )
        (made(value) ** 2).sum().backward()
        assert alignment_degrees([network]) == angles
    for name, parameter in made.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, expected[name])


def test_feedback_is_made_where_the_weights_are() -> None:
    net = mlp(lambda n: nn.Tanh()).to(torch.bfloat16).to("meta")
    assign_rule(net, "dfa", {"output": [net]})
    feedback = [buffer for name, buffer in net.named_buffers() if "feedback" in name]
    assert len(feedback) == 3
    assert all(buffer.is_meta and buffer.dtype == torch.bfloat16 for buffer in feedback)


# The noise of node perturbation is drawn from the bits of the error.
@pytest.mark.parametrize("rule", [rule for rule in LAYER_RULES if rule != "node"])
def test_autocast_keeps_every_rule_near_its_steps_in_single_precision(rule: str) -> None:
    net = mlp(lambda n: nn.Tanh(), lambda n: nn.Dropout(0.2))
    low, single = (learned(ruled(net, rule)[0], low=low) for low in (True, False))
    assert low.keys() == single.keys()
    for name, value in single.items():
        if name not in ("random state", "output"):
            assert low[name].dtype == torch.float32
            assert float((low[name] - value).norm()) < 0.05 * float(value.norm()), name


@pytest.mark.parametrize("rule", LAYER_RULES)
def test_a_picture_without_a_batch_is_a_batch_of_one(rule: str) -> None:
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Tanh(), nn.Conv2d(3, 2, 3), nn.Flatten(-3), nn.Linear(32, OUTPUTS))
    ours, _ = ruled(net, rule)
    assert_same(learned(ours, lambda value: ours(value[0])), learned(ours, lambda value: ours(value[:1])[0]))


def test_under_ifa_the_layers_above_a_frozen_first_layer_learn() -> None:
    net = mlp(lambda n: nn.Tanh())
    net[1].requires_grad_(False)
    ours, network = ruled(net, "ifa")
    learned(ours)
    assert hidden_that_learn(network) == {"3", "5"}
    assert all(float(ours[k].weight.grad.norm()) > 0.0 for k in (3, 5, 7))
