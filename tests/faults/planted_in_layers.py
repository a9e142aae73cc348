"""More faults of single layers, in more kinds of networks: too few of the first are kept aside to judge places."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from torch.optim import SGD, Adam, Optimizer

from faults import networks
from faults.case import Case
from faults.gan import Adversarial, saturating
from faults.healthy import RECIPES
from faults.planted_layers import Change, biased, cut, faster, frozen, grown, without

SALT = 4
"""The first number with which a third of these is kept aside, chosen before any of them was run. Of the eighteen there
were then eight did not hurt: four were made to, by their scores alone, and four left out, three of those with a layer
at 100 times the rate."""


def _in_layers(name: str, twin: str, cause: str, *layers: str, **fault: object) -> Case:
    return Case(name, replace(RECIPES[twin], **fault), twin, cause, layers, SALT)  # type: ignore[arg-type]


def units() -> Iterator[Case]:
    def case(name: str, twin: str, cause: str, change: Change, layer: int) -> Case:
        return _in_layers(name, twin, cause, f"net.{layer}", f"net.{layer + 1}", prepare=change)

    yield case("narrow_mlp_dead_relus", "narrow_mlp", "dead units", biased("4", -20.0), 4)
    yield case("curves_dead_relus", "curves", "dead units", biased("3", -20.0), 3)
    yield case("dropout_dead_relus", "dropout", "dead units", biased("3", -20.0), 3)
    yield case("autoencoder_saturated_tanhs", "autoencoder", "saturated units", grown("2", 1_000.0), 2)
    yield case("deep_tanh_saturated", "deep_tanh", "saturated units", grown("10", 1_000.0), 10)
    yield case("sigmoid_mlp_saturated", "sigmoid_mlp", "saturated units", grown("0", 1_000.0), 0)


def untrained() -> Iterator[Case]:
    def case(name: str, twin: str, *layers: str, **fault: object) -> Case:
        return _in_layers(name, twin, "layer not trained", *layers, **fault)

    yield case("curves_left_out", "curves", "net.3", "net.5", optimizer=without("3", "5", rate=1e-2))
    yield case("autoencoder_left_out", "autoencoder", "net.0", "net.2", optimizer=without("0", "2", rate=3e-3))
    yield case("narrow_mlp_rate_zero", "narrow_mlp", "net.0", optimizer=faster("0", 1e-2, 0.0, Adam))
    yield case("narrow_mlp_frozen", "narrow_mlp", "net.2", "net.4", prepare=frozen("2", "4"))
    yield case("autoencoder_detached", "autoencoder", "net.0", "net.2", network=cut(networks.autoencoder, 3))


def rates_of_layers() -> Iterator[Case]:
    def case(twin: str, rate: float, kind: Callable[..., Optimizer]) -> Case:
        make = faster("0", rate, 100.0, kind)
        return _in_layers(f"{twin}_layer_at_100_times", twin, "layer rate too high", "net.0", optimizer=make)

    yield case("regression", 0.02, SGD)
    yield case("narrow_mlp", 1e-2, Adam)


def adversaries() -> Iterator[Case]:
    sure = Adversarial(generator_loss=saturating, discriminator_steps=10)
    yield Case("discriminator_won_by_steps", sure, "gan", "discriminator won", ("discriminator",), SALT)
