"""Widths of a chain of linear layers, read off networks of many kinds; and no widths where there is no chain."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from torch.utils.checkpoint import checkpoint

from thermo_callbacks.probes.topology import read_order, read_topology


class Sequence(nn.Sequential):
    """Keeps the forward pass."""


class Shortcut(nn.Sequential):
    """Has one of its own."""

    def forward(self, input: Tensor) -> Tensor:
        return input + super().forward(input)


class Holder(nn.Module):
    """A network inside a module, among things without weights."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.loss, self.net = nn.CrossEntropyLoss(), net


def perceptron(*widths: int) -> nn.Sequential:
    layers = [(nn.Linear(*pair), nn.ReLU()) for pair in itertools.pairwise(widths)]
    return nn.Sequential(*(module for pair in layers for module in pair))


def lazy() -> nn.Module:
    net = nn.Sequential(nn.LazyLinear(6), nn.Tanh(), nn.LazyLinear(2))
    net(torch.ones(3, 5))
    return net


KNOWN: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "one layer": (lambda: nn.Linear(3, 2), (3, 2)),
    "perceptron": (lambda: perceptron(5, 4, 4, 2), (5, 4, 4, 2)),
    "inside modules": (lambda: Holder(Holder(perceptron(5, 4, 2))), (5, 4, 2)),
    "nested, norms and dropout": (
        lambda: nn.Sequential(
            nn.Flatten(),
            nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6), nn.PReLU()),
            nn.Sequential(nn.LayerNorm(6), nn.Dropout(), nn.Sequential(nn.Linear(6, 3, bias=False)), nn.GELU()),
        ),
        (8, 6, 3),
    ),
    "a subclass": (lambda: Sequence(nn.Linear(5, 4), nn.Linear(4, 2)), (5, 4, 2)),
    "lazy, initialised": (lazy, (5, 6, 2)),
    "compiled": (lambda: torch.compile(perceptron(5, 4, 2), backend="eager"), (5, 4, 2)),  # type: ignore[dict-item]
    "frozen": (lambda: perceptron(5, 4, 2).requires_grad_(False), (5, 4, 2)),
    "tied weights": (lambda: tied(), (4, 4, 4)),
}


def tied() -> nn.Sequential:
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    net[1].weight = net[0].weight
    return net


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")  # torch.compile's own import
@pytest.mark.parametrize("kind", KNOWN)
def test_widths_of_a_sequence_are_known(kind: str) -> None:
    make, widths = KNOWN[kind]
    reading = read_topology(make())
    assert reading.widths == widths
    assert reading.reason == ""
    assert not reading.open


def lstm() -> nn.Module:
    return nn.ModuleDict({"recurrent": nn.LSTM(3, 3), "head": nn.Linear(3, 1)})


def pruned() -> nn.Module:
    net = perceptron(4, 3, 2)
    prune.random_unstructured(net[0], "weight", 0.5)
    return net


def own_parameter() -> nn.Module:
    net = Holder(perceptron(4, 3, 2))
    net.scale = nn.Parameter(torch.ones(()))
    return net


NONE: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "convolution": (
        lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2)),
        "it has weights in a Conv2d (0), which is no fully connected layer",
    ),
    "attention": (
        lambda: nn.Sequential(nn.Linear(4, 4), nn.TransformerEncoderLayer(4, 2, 8)),
        "it has weights in a MultiheadAttention (1.self_attn), which is no fully connected layer",
    ),
    "embedding": (
        lambda: nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 2)),
        "it has weights in a Embedding (0), which is no fully connected layer",
    ),
    "recurrent": (lstm, "it has weights in a LSTM (recurrent), which is no fully connected layer"),
    "own parameter": (own_parameter, "it has weights in a Holder (root), which is no fully connected layer"),
    "pruned": (pruned, "the weights of 0 are pruned or computed from others"),
    "weight norm": (
        lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(2, 2))),
        "the weights of 0 are pruned or computed from others",
    ),
    "not initialised": (lambda: nn.Sequential(nn.LazyLinear(2)), "0 is not initialised yet"),
    "nothing": (lambda: nn.Sequential(nn.ReLU()), "it has no fully connected layer"),
    "cut": (
        lambda: nn.Sequential(nn.Linear(4, 6), nn.Unflatten(1, (2, 3)), nn.Linear(3, 1)),
        "0 gives 6 values and 2 takes 3",
    ),
}


@pytest.mark.parametrize("kind", NONE)
def test_what_is_no_chain_of_linear_layers_has_no_topology(kind: str) -> None:
    make, reason = NONE[kind]
    reading = read_topology(make())
    assert (reading.widths, reading.reason, reading.open) == ((), reason, False)
    assert read_order(reading, torch.ones((), requires_grad=True)) is reading


class Free(nn.Module):
    """Layers whose order and use is in the forward pass alone, defined backwards."""

    def __init__(self, forward: Callable[[Any, Tensor], Tensor], **sizes: tuple[int, int]) -> None:
        super().__init__()
        for name, size in sizes.items():
            self.add_module(name, nn.Linear(*size))
        self._forward = forward

    def forward(self, x: Tensor) -> Tensor:
        return self._forward(self, x)


SQUARE = {"c": (4, 2), "b": (4, 4), "a": (4, 4)}


def attention(net: Any, x: Tensor) -> Tensor:
    return net.c((net.a(x) @ net.b(x).T).softmax(1) @ x)


def checkpointed(net: Any, x: Tensor) -> Tensor:
    inner = checkpoint(lambda y: net.b(net.a(y).tanh()), x.requires_grad_(), use_reentrant=True)
    return net.c(inner)


CHAINS: dict[str, tuple[Callable[[Any, Tensor], Tensor], tuple[int, ...]]] = {
    "plain": (lambda net, x: net.c(net.b(net.a(x).relu()).relu()), (4, 4, 4, 2)),
    "three dimensions": (lambda net, x: net.c(net.b(net.a(x.expand(3, 5, 4)).tanh()).tanh()).mean(1), (4, 4, 4, 2)),
    "one dimension": (lambda net, x: net.c(net.b(net.a(x[0]).tanh()).tanh()), (4, 4, 4, 2)),
    "input with a gradient": (lambda net, x: net.c(net.b(net.a(x.requires_grad_()))), (4, 4, 4, 2)),
    "a penalty on the weights": (
        lambda net, x: net.c(net.b(net.a(x).relu())) + sum(w.square().sum() for w in net.parameters()),
        (4, 4, 4, 2),
    ),
    "dropout, norm": (
        lambda net, x: net.c(nn.functional.layer_norm(nn.functional.dropout(net.b(net.a(x).relu())), (4,))),
        (4, 4, 4, 2),
    ),
}


@pytest.mark.parametrize("kind", CHAINS)
@pytest.mark.parametrize("mixed", [False, True], ids=["float32", "autocast"])
def test_order_is_that_of_the_forward_pass(kind: str, mixed: bool) -> None:
    forward, widths = CHAINS[kind]
    net = Free(forward, **SQUARE)
    reading = read_topology(net)
    assert reading.open
    assert not reading.widths
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed):
        loss = (net(torch.ones(5, 4)) - 1.0).square().mean()
    closed = read_order(reading, loss)
    assert (closed.widths, closed.reason, closed.open) == (widths, "", False)


NO_CHAINS: dict[str, tuple[Callable[[Any, Tensor], Tensor], str]] = {
    "shortcut": (
        lambda net, x: net.c((h := net.a(x)) + net.b(h)),
        "c does not follow one layer alone: there are shortcuts or layers side by side",
    ),
    "shortcut from the input": (
        lambda net, x: net.c(x + net.b(net.a(x))),
        "c does not follow one layer alone: there are shortcuts or layers side by side",
    ),
    "side by side": (
        lambda net, x: net.c(net.a(x) * net.b(x)),
        "it begins with several layers side by side: b, a",
    ),
    "attention": (attention, "it begins with several layers side by side: b, a"),
    "two heads": (
        lambda net, x: net.c(h := net.a(x)).sum(1) + net.b(h).sum(1),
        "its loss is fed by several layers: c, b",
    ),
    "loss on a hidden layer": (
        lambda net, x: net.c(h := net.b(net.a(x))).sum(1) + h.sum(1),
        "its loss is fed by several layers: c, b",
    ),
    "applied twice": (lambda net, x: net.c(net.b(net.b(net.a(x)))), "b is applied more than once in a step"),
    "not used": (
        lambda net, x: net.c(net.a(x)),
        "no product with the weights of b can be seen in the loss of the first batch",
    ),
    "hidden by a checkpoint": (
        checkpointed,
        "no product with the weights of b can be seen in the loss of the first batch",
    ),
}


@pytest.mark.filterwarnings("ignore:torch.cpu.amp", "ignore:None of the inputs")
@pytest.mark.parametrize("kind", NO_CHAINS)
def test_what_is_no_chain_in_the_forward_pass_has_no_topology(kind: str) -> None:
    forward, reason = NO_CHAINS[kind]
    net = Free(forward, **SQUARE)
    closed = read_order(read_topology(net), net(torch.ones(5, 4)).sum())
    assert (closed.widths, closed.reason, closed.open) == ((), reason, False)


def test_joined_widths_that_do_not_fit_are_no_chain() -> None:
    net = Free(lambda net, x: net.b(torch.cat([net.a(x).relu()] * 2, 1)), a=(4, 3), b=(6, 2))
    closed = read_order(read_topology(net), net(torch.ones(5, 4)).sum())
    assert closed.reason == "a gives 3 values and b takes 6"


def test_a_sequence_with_a_forward_pass_of_its_own_is_open() -> None:
    net = Shortcut(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    reading = read_topology(net)
    assert reading.open
    # the shortcut around all layers ends at the loss: the layers themselves are a chain
    assert read_order(reading, net(torch.ones(2, 3)).sum()).widths == (3, 3, 3)


def test_a_layer_that_occurs_twice_in_a_sequence_is_applied_twice() -> None:
    shared = nn.Linear(3, 3)
    net = nn.Sequential(shared, nn.ReLU(), shared)
    assert read_order(read_topology(net), net(torch.ones(2, 3)).sum()).reason == "0 is applied more than once in a step"


def test_a_loss_without_a_graph_says_so() -> None:
    net = Free(lambda net, x: net.b(net.a(x)), a=(3, 3), b=(3, 3))
    assert read_order(read_topology(net), torch.ones(())).reason == "its loss has no graph"


def test_reading_changes_nothing() -> None:
    net = Free(CHAINS["plain"][0], **SQUARE)
    before = copy.deepcopy(net.state_dict())
    random = torch.get_rng_state()
    loss = net(torch.ones(5, 4)).sum()
    read_order(read_topology(net), loss)
    loss.backward()  # the graph is still there
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert torch.equal(random, torch.get_rng_state())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_names_of_wrappers_do_not_show() -> None:
    net = nn.ModuleDict({"inner": nn.Conv1d(1, 1, 1)})
    compiled = torch.compile(net, backend="eager")
    assert re.search(r"Conv1d \(inner\)", read_topology(compiled).reason)  # type: ignore[arg-type]
