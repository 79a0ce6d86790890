"""Each rule for torch layers computes what its paper says, in any network."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from agents.networks.registry import NETWORKS
from agents.rules.assign import assign_rule
from agents.rules.layer_rules import KolenPollack, RecursiveLeastSquares, WeightMirror
from agents.rules.layers import RuledConv2d, RuledLayer, RuledLinear, RuledNetwork
from agents.rules.registry import rules_for

torch.set_num_threads(1)

LAYER_RULES = rules_for(NETWORKS["mlp"])
INPUTS, OUTPUTS, BATCH = 5, 3, 16
ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU, "linear": nn.Identity}


def mlp(activation: str = "tanh", hidden: tuple[int, ...] = (12, 10, 8), seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    modules: list[nn.Module] = []
    for below, above in pairwise((INPUTS, *hidden)):
        modules += [nn.Linear(below, above), ACTIVATIONS[activation]()]
    return nn.Sequential(*modules, nn.Linear(hidden[-1], OUTPUTS)).double()


def ruled(net: nn.Sequential, rule: str) -> tuple[nn.Sequential, RuledNetwork]:
    made = copy.deepcopy(net)
    (network,) = assign_rule(
        made, rule, {"output": [made]}, generator=torch.Generator().manual_seed(1), updates_feedback=True
    )
    return made, network


def batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(seed)
    drawn = torch.randn(BATCH, INPUTS + OUTPUTS, generator=source, dtype=torch.float64)
    return drawn[:, :INPUTS], drawn[:, INPUTS:]


def gradients(net: nn.Module, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    net.zero_grad()
    loss.backward()
    return {name: value.grad.clone() for name, value in net.named_parameters() if value.grad is not None}


def fitted(net: nn.Module, seed: int = 0) -> dict[str, torch.Tensor]:
    value, wanted = batch(seed)
    return gradients(net, ((net(value) - wanted) ** 2).mean())


def linears(net: nn.Module) -> list[RuledLinear]:
    return [module for module in net.modules() if isinstance(module, RuledLinear)]


def assert_same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor], tolerance: float = 1e-6) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=tolerance, atol=tolerance * float(value.abs().max()))


class TwoHeads(nn.Module):
    """A shared trunk, convolutional or not, a branch for each head."""

    def __init__(self, convolutional: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        if convolutional:
            self.example = torch.zeros(1, 2, 12, 12)
            self.trunk = nn.Sequential(
                nn.Conv2d(2, 4, 3, stride=2), nn.ReLU(), nn.Conv2d(4, 6, 3, padding=1), nn.Tanh(), nn.Flatten()
            )
            features = 150
        else:
            self.example = torch.zeros(1, INPUTS)
            self.trunk = nn.Sequential(nn.Linear(INPUTS, 12), nn.Tanh(), nn.Linear(12, 10), nn.Tanh())
            features = 10
        self.actor_branch = nn.Sequential(nn.Linear(features, 9), nn.Tanh())
        self.critic_branch = nn.Sequential(nn.Linear(features, 7), nn.ReLU())
        self.actor, self.critic = nn.Linear(9, 4), nn.Linear(7, 1)

    @property
    def chains(self) -> dict[str, list[nn.Module]]:
        return {
            "action": [self.trunk, self.actor_branch, self.actor],
            "value": [self.trunk, self.critic_branch, self.critic],
        }

    def forward(self, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.trunk(value)
        return self.actor(self.actor_branch(features)), self.critic(self.critic_branch(features))

    def losses(self, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        source = torch.Generator().manual_seed(seed)
        action, value = self(torch.randn(BATCH, *self.example.shape[1:], generator=source))
        return (action**2).sum(), (value**4).sum()


def two_heads(rule: str | None, convolutional: bool) -> TwoHeads:
    net = TwoHeads(convolutional)
    if rule is not None:
        generator = torch.Generator().manual_seed(1)
        networks = assign_rule(net, rule, net.chains, generator=generator, example=net.example, updates_feedback=True)
        assert len(networks) == 1
    return net


@pytest.mark.parametrize("convolutional", [False, True])
def test_bp_is_autograd_s_gradient_with_two_heads(convolutional: bool) -> None:
    ours, theirs = (two_heads(rule, convolutional) for rule in ("bp", None))
    assert_same(gradients(ours, sum(ours.losses())), gradients(theirs, sum(theirs.losses())))


@pytest.mark.parametrize(
    ("rule", "convolutional"),
    [(rule, False) for rule in LAYER_RULES] + [(rule, True) for rule in rules_for(NETWORKS["cnn"])],
)
def test_the_forward_pass_and_the_heads_steps_are_the_same_under_every_rule(rule: str, convolutional: bool) -> None:
    ours, theirs = (two_heads(name, convolutional) for name in (rule, None))
    by_rule, exact = gradients(ours, sum(ours.losses())), gradients(theirs, sum(theirs.losses()))
    assert [loss.item() for loss in ours.losses()] == pytest.approx([loss.item() for loss in theirs.losses()])
    for name in ("actor.weight", "actor.bias", "critic.weight", "critic.bias"):
        torch.testing.assert_close(by_rule[name], exact[name])


@pytest.mark.parametrize("rule", ["dfa", "ifa"])
def test_direct_feedback_by_the_true_products_is_backprop_in_a_linear_network(rule: str) -> None:
    net = mlp("linear", hidden=(12,) if rule == "ifa" else (12, 10, 8))
    ours, _ = ruled(net, rule)
    product = torch.eye(OUTPUTS, dtype=torch.float64)
    for layer in linears(ours)[:0:-1]:
        product = product @ layer.weight.detach()
        layer.get_buffer("feedback_output").copy_(product)
    assert_same(fitted(ours), fitted(net), 1e-12)


def test_dfa_sends_the_output_error_itself_to_every_layer() -> None:
    net, _ = ruled(mlp(), "dfa")
    value, wanted = batch()
    signals = {}
    before = value
    for module in net:
        before = module(before)
        if isinstance(module, nn.Tanh):
            before.retain_grad()
            signals[len(signals)] = before
    error = (before - wanted).detach()
    (0.5 * (before - wanted) ** 2).sum().backward()
    for k, layer in enumerate(linears(net)[1:]):
        torch.testing.assert_close(signals[k].grad, error @ layer.get_buffer("feedback_output"))


def test_ifa_broadcasts_to_the_first_layer_alone_and_carries_the_change_forward() -> None:
    net, _ = ruled(mlp(), "ifa")
    assert [name for name, _ in net.named_buffers()] == ["2.feedback_output"]
    value, wanted = batch()
    hidden, before = [], value
    for module in net:
        before = module(before)
        if isinstance(module, nn.Tanh):
            before.retain_grad()
            hidden.append(before)
    error = (before - wanted).detach()
    (0.5 * (before - wanted) ** 2).sum().backward()
    signal = error @ linears(net)[1].get_buffer("feedback_output")
    for k, layer in enumerate(linears(net)[1:]):
        torch.testing.assert_close(hidden[k].grad, signal)
        signal = (signal * (1.0 - hidden[k].detach() ** 2)) @ layer.weight.detach().T


def test_shallow_leaves_hidden_layers_as_they_were_drawn() -> None:
    net, _ = ruled(mlp(), "shallow")
    assert set(fitted(net)) == {"6.weight", "6.bias"}


@pytest.mark.parametrize("rule", LAYER_RULES)
def test_two_forward_passes_before_one_backward_pass_do_not_mix(rule: str) -> None:
    net, _ = ruled(mlp(), rule)
    apart = [fitted(net, seed) for seed in (0, 1)]
    (first, wanted), (second, other) = batch(0), batch(1)
    answers = net(first), net(second)
    with torch.no_grad():
        net(first)
    together = gradients(net, ((answers[0] - wanted) ** 2).mean() + ((answers[1] - other) ** 2).mean())
    assert_same(together, {name: apart[0][name] + apart[1][name] for name in apart[0]}, 1e-12)


@pytest.mark.parametrize("rule", ["bp", "fa", "dfa", "ifa"])
@pytest.mark.parametrize("convolutional", [False, True])
def test_each_layer_receives_the_errors_of_the_heads_that_it_feeds(rule: str, convolutional: bool) -> None:
    net = two_heads(rule, convolutional)
    action, value = (gradients(net, net.losses()[k]) for k in range(2))
    both = gradients(net, sum(net.losses()))
    assert not any(name.startswith("critic") for name in action)
    assert not any(name.startswith("actor") for name in value)
    shared = [name for name in both if name.startswith("trunk")]
    assert shared
    for name in shared:
        assert float(action[name].norm()) > 0.0
        torch.testing.assert_close(both[name], action[name] + value[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rule", LAYER_RULES)
def test_a_backward_pass_keeps_no_error_of_an_earlier_one_by_another_head(rule: str) -> None:
    net = two_heads(rule, convolutional=False)
    alone = gradients(net, net.losses()[1])
    action, value = net.losses()
    action.backward(retain_graph=True)
    assert_same(gradients(net, value), alone)


@pytest.mark.parametrize("rule", LAYER_RULES)
def test_the_gradient_by_the_network_s_input_is_exact(rule: str) -> None:
    net = mlp()
    by_input = []
    for network in (ruled(net, rule)[0], net):
        value = batch()[0].requires_grad_()
        network(value).sum().backward()
        by_input.append(value.grad)
    torch.testing.assert_close(*by_input)


def test_zero_weights_learn_by_dfa_and_stay_stuck_by_backprop() -> None:
    losses = {}
    value, _ = batch()
    wanted = torch.sin(value[:, :OUTPUTS])
    for rule in ("bp", "dfa"):
        net, _ = ruled(mlp(), rule)
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.zero_()
        optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
        for _ in range(300):
            optimizer.zero_grad()
            loss = ((net(value) - wanted) ** 2).mean()
            loss.backward()
            optimizer.step()
        losses[rule] = float(loss.detach())
    spread = float(((wanted - wanted.mean(0)) ** 2).mean())
    assert losses["bp"] == pytest.approx(spread, rel=0.05)
    assert losses["dfa"] < 0.25 * losses["bp"]


@pytest.mark.parametrize("rule", ["fa", "dfa", "ifa"])
def test_feedback_is_kept_with_the_weights_and_is_never_trained(rule: str) -> None:
    net, _ = ruled(mlp(), rule)
    fitted(net)
    kept = {name: value for name, value in net.state_dict().items() if "feedback" in name}
    assert kept
    assert not any("feedback" in name for name, _ in net.named_parameters())
    assert not any(buffer.requires_grad for buffer in net.buffers())
    other = copy.deepcopy(mlp(seed=7))
    assign_rule(other, rule, {"output": [other]}, generator=torch.Generator().manual_seed(9))
    other.load_state_dict(net.state_dict())
    assert_same(fitted(other), fitted(net), 0.0)


def test_a_modulator_has_the_root_mean_square_of_the_error() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(INPUTS, 4000), nn.Tanh(), nn.Linear(4000, 40))
    for rule, buffer in (("fa", "2.feedback"), ("dfa", "2.feedback_output")):
        made = copy.deepcopy(net)
        assign_rule(made, rule, {"output": [made]}, generator=torch.Generator().manual_seed(1))
        error = torch.randn(1, 40) * 3.0
        signal = error @ made.get_buffer(buffer)
        assert float(signal.square().mean().sqrt()) == pytest.approx(float(error.square().mean().sqrt()), rel=0.05)


def test_weights_are_the_same_tensors_and_no_random_number_is_taken() -> None:
    net = mlp()
    weights = list(net.parameters())
    before = torch.get_rng_state()
    assign_rule(net, "dfa", {"output": [net]}, generator=torch.Generator().manual_seed(1))
    assert all(ours is theirs for ours, theirs in zip(net.parameters(), weights, strict=True))
    torch.testing.assert_close(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("net", "rule", "message"),
    [
        (mlp(), "magic", r"expected a rule for layers cells.*'dfa'.*got 'magic'"),
        (nn.Sequential(nn.Tanh()), "bp", "chain .* expected an nn.Linear or nn.Conv2d, got none"),
        (nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.Linear(2, 2)), "bp", "got LayerNorm with "),
        (nn.Sequential(nn.Conv2d(1, 1, 3, padding="same"), nn.Flatten(), nn.Linear(9, 2)), "bp", "padding"),
        (
            nn.Sequential(nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 3), nn.Flatten(), nn.Linear(4, 2)),
            "dfa",
            "example: expected .* got None",
        ),
        (
            nn.Sequential(nn.Linear(2, 2), nn.Conv2d(1, 1, 3)),
            "bp",
            "head 'output': expected a linear layer, got RuledConv2d",
        ),
    ],
)
def test_a_network_that_no_rule_covers_is_refused(net: nn.Module, rule: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        assign_rule(net, rule, {"output": [net]})


def test_ifa_refuses_layers_joined_by_pooling() -> None:
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 2)
    )
    assign_rule(net, "ifa", {"output": [net]}, example=torch.zeros(1, 1, 8, 8))
    with pytest.raises(ValueError, match="rule 'ifa' requires"):
        net(torch.randn(3, 1, 8, 8)).sum().backward()


def test_a_rule_whose_feedback_changes_is_refused_where_nothing_changes_it() -> None:
    net, rule = mlp(), KolenPollack(decay=0.1)
    with pytest.raises(ValueError, match=r"updates_feedback: expected True for rule 'kp'.*'dfa'"):
        assign_rule(net, rule, {"output": [net]})
    (network,) = assign_rule(net, rule, {"output": [net]}, updates_feedback=True)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    network.follow(optimizer)
    before = [layer.feedback_matrix() - layer.weight.detach() for layer in linears(net)[1:]]
    for _ in range(3):
        fitted(net)
        optimizer.step()
    for layer, difference in zip(linears(net)[1:], before, strict=True):
        torch.testing.assert_close(layer.feedback_matrix() - layer.weight.detach(), 0.9**3 * difference)


@pytest.mark.parametrize("convolutional", [False, True])
def test_sign_symmetry_with_magnitudes_of_the_weights_is_backprop(convolutional: bool) -> None:
    ours, theirs = two_heads("sign", convolutional), two_heads(None, convolutional)
    for layer in ours.modules():
        if isinstance(layer, RuledLayer) and layer.place.below is not None:
            # Feedback has the signs of the weights, whatever its own.
            layer.feedback_matrix().copy_(-layer.weight.detach())
    assert_same(gradients(ours, sum(ours.losses())), gradients(theirs, sum(theirs.losses())), 1e-5)


def test_recursive_least_squares_keep_the_inverse_correlation_of_all_inputs() -> None:
    rule, layer = RecursiveLeastSquares(noise=0.5, drift=0.0), RuledLinear(4, 3).double()
    rule.prepare(layer)
    values = torch.randn(20, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for value in values:
        modulator = torch.randn(3, dtype=torch.float64)
        before = layer.get_buffer("covariance").clone()
        normalised, of_bias = rule.normalised_input(layer, value)
        x = torch.cat([value, torch.ones(1)])
        change = modulator * (normalised @ value + of_bias)
        # The change of the drive is the share of d that the Kalman gain has.
        torch.testing.assert_close(change, modulator * (x @ before @ x) / (0.5 + x @ before @ x))
    inputs = torch.cat([values, torch.ones(20, 1)], dim=1)
    inverse = torch.linalg.inv(torch.eye(5) + inputs.T @ inputs / 0.5)
    torch.testing.assert_close(layer.get_buffer("covariance"), inverse, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RecursiveLeastSquares(noise=-1.0), "RecursiveLeastSquares noise: expected .* got -1.0"),
        (lambda: KolenPollack(decay=2.0), "KolenPollack decay: expected .* got 2.0"),
        (lambda: WeightMirror(samples=0), "WeightMirror samples: expected .* got 0"),
        (
            lambda: RecursiveLeastSquares().prepare(RuledConv2d(2, 3, 3)),
            "rule 'rls': expected linear layers, got Ruled",
        ),
    ],
)
def test_parameters_and_layers_that_a_rule_cannot_have_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_weight_mirror_learns_the_weights_from_noise_alone() -> None:
    net = mlp()
    rule = WeightMirror(rate=0.02, samples=50)
    assign_rule(net, rule, {"output": [net]}, updates_feedback=True)
    for layer in linears(net)[1:]:
        weight = layer.weight.detach()
        for _ in range(400):
            rule.update_feedback(layer, torch.zeros_like(weight))
        # A moving average of n samples with cells below has a relative error of about sqrt(cells / n).
        error = (layer.feedback_matrix() - weight).detach().norm() / weight.norm()
        assert float(error) < 2.0 * (weight.shape[1] / (50 * 2 / 0.02)) ** 0.5


def test_node_perturbation_is_the_gradient_on_average() -> None:
    net, _ = ruled(mlp(hidden=(6, 5)), "node")
    exact, _ = ruled(mlp(hidden=(6, 5)), "bp")
    value = batch()[0][:1].repeat(20_000, 1)
    wanted = batch()[1][:1]
    # Every row has noise of its own.
    ours, theirs = (gradients(each, ((each(value) - wanted) ** 2).mean(0).sum()) for each in (net, exact))
    for name, gradient in theirs.items():
        assert float((ours[name] - gradient).norm() / gradient.norm()) < 0.1, name
    small, one = gradients(net, ((net(value[:1]) - wanted) ** 2).sum()), theirs
    assert float((small["0.weight"] - one["0.weight"]).norm() / one["0.weight"].norm()) > 0.3
