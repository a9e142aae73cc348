"""Faults of layers: dead, saturated, badly made, not trained, trained too fast."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import nn
from torch.optim import SGD, Adam, Optimizer

from faults import networks
from faults.case import Case
from faults.healthy import RECIPES

Change = Callable[[nn.Module], object]
Make = Callable[[nn.Module], Optimizer]


def biased(layer: str, bias: float) -> Change:
    return lambda net: nn.init.constant_(net.get_submodule(layer).bias, bias)  # type: ignore[arg-type]


def grown(layer: str, factor: float) -> Change:
    def change(net: nn.Module) -> None:
        with torch.no_grad():
            net.get_submodule(layer).weight.mul_(factor)  # type: ignore[operator]

    return change


def frozen(*layers: str) -> Change:
    def change(net: nn.Module) -> None:
        for layer in layers:
            net.get_submodule(layer).requires_grad_(False)

    return change


def without(*layers: str, rate: float) -> Make:
    """Adam of all parameters but those of some layers."""
    left_out = tuple(f"{layer}." for layer in layers)

    def optimizer(net: nn.Module) -> Optimizer:
        return Adam([p for name, p in net.named_parameters() if not name.startswith(left_out)], rate)

    return optimizer


def faster(layer: str, rate: float, times: float, kind: Callable[..., Optimizer]) -> Make:
    """An optimizer that gives one layer many times the rate of the others."""

    def optimizer(net: nn.Module) -> Optimizer:
        own = list(net.get_submodule(layer).parameters())
        others = [p for p in net.parameters() if not any(p is mine for mine in own)]
        return kind([{"params": others, "lr": rate}, {"params": own, "lr": times * rate}], lr=rate)

    return optimizer


def cut(whole: Callable[[], nn.Sequential], after: int) -> Callable[[], nn.Module]:
    """A network, detached after one of its modules."""

    def network() -> nn.Module:
        modules = list(whole())
        modules[after] = nn.Sequential(modules[after], networks.Detached())
        return nn.Sequential(*modules)

    return network


def units() -> Iterator[Case]:
    def case(name: str, twin: str, cause: str, change: Change, *layers: str) -> Case:
        return Case(name, replace(RECIPES[twin], prepare=change), twin, cause, layers)

    yield case("dead_relus", "sgd", "dead units", biased("2", -20.0), "net.2", "net.3")
    yield case("dead_relus_first", "adam", "dead units", biased("0", -20.0), "net.0", "net.1")
    yield case("dead_relus_deep", "deep_relu", "dead units", biased("10", -20.0), "net.10", "net.11")
    yield case("saturated_sigmoids", "sigmoid_mlp", "saturated units", biased("2", 12.0), "net.2", "net.3")
    yield case("saturated_tanhs", "tanh_mlp", "saturated units", grown("2", 1_000.0), "net.2", "net.3")


def depth() -> Iterator[Case]:
    def case(twin: str, kind: str, activation: Callable[[], nn.Module], gain: float) -> Case:
        network = functools.partial(networks.deep, activation, gain)
        return Case(f"{twin}_{kind}", replace(RECIPES[twin], network=network), twin, f"{kind} signal")

    yield case("deep_tanh", "vanishing", nn.Tanh, 0.3)
    yield case("deep_relu", "vanishing", nn.ReLU, 0.3)
    yield case("deep_relu", "exploding", nn.ReLU, 8.0)
    yield case("deep_tanh", "exploding", nn.Tanh, 6.0)


def untrained() -> Iterator[Case]:
    twin, cause = "narrow_mlp", "layer not trained"
    yield Case(
        "layer_detached", replace(RECIPES[twin], network=cut(networks.narrow, 3)), twin, cause, ("net.0", "net.2")
    )
    yield Case("layer_left_out", replace(RECIPES[twin], optimizer=without("0", rate=1e-2)), twin, cause, ("net.0",))
    twin = "decoder"
    stuck = replace(RECIPES[twin], prepare=frozen("embedding", "blocks"))
    yield Case("blocks_frozen", stuck, twin, cause, ("net.embedding", "net.blocks.0", "net.blocks.1", "net.blocks"))
    twin = "lstm"
    yield Case(
        "lstm_left_out", replace(RECIPES[twin], optimizer=without("lstm", rate=1e-2)), twin, cause, ("net.lstm",)
    )
    twin = "curves"
    yield Case("layer_frozen", replace(RECIPES[twin], prepare=frozen("3")), twin, cause, ("net.3",))


def rates_of_layers() -> Iterator[Case]:
    with_momentum = functools.partial(SGD, momentum=0.9)
    for twin, layer, rate, kind in (
        ("momentum", "2", 0.05, with_momentum),
        ("curves", "8", 1e-2, Adam),
        ("autoencoder", "2", 3e-3, Adam),
        ("decoder", "blocks.0", 1e-2, Adam),
    ):
        recipe = replace(RECIPES[twin], optimizer=faster(layer, rate, 100.0, kind))
        yield Case(f"{twin}_layer_at_100_times", recipe, twin, "layer rate too high", (f"net.{layer}",))
