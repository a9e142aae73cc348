"""More faults of single layers, in more kinds of networks: too few of the first are kept aside to judge places."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace

from torch.optim import SGD, Adam, AdamW, Optimizer

from faults import networks
from faults.case import Case
from faults.gan import Adversarial, saturating
from faults.healthy import RECIPES
from faults.planted_layers import Change, Make, biased, cut, faster, frozen, grown, without

SALT = 4
"""The first number with which a third of these is kept aside, chosen before any of them was run."""


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
    def forgotten(name: str, twin: str, layer: str, make: Make) -> Case:
        return _in_layers(name, twin, "layer not trained", f"net.{layer}", optimizer=make)

    yield forgotten("curves_left_out", "curves", "5", without("5", 1e-2))
    yield forgotten("autoencoder_left_out", "autoencoder", "2", without("2", 3e-3))
    yield forgotten("decoder_embedding_left_out", "decoder", "embedding", without("embedding", 1e-2, AdamW))
    yield forgotten("narrow_mlp_rate_zero", "narrow_mlp", "2", faster("2", 1e-2, 0.0, Adam))
    cause = "layer not trained"
    yield _in_layers("narrow_mlp_frozen", "narrow_mlp", cause, "net.4", prepare=frozen("4"))
    detached = cut(networks.autoencoder, 3)
    yield _in_layers("autoencoder_detached", "autoencoder", cause, "net.0", "net.2", network=detached)


def rates_of_layers() -> Iterator[Case]:
    def case(twin: str, layer: str, rate: float, kind: Callable[..., Optimizer], part: str = "layer") -> Case:
        make = faster(layer, rate, 100.0, kind)
        return _in_layers(f"{twin}_{part}_at_100_times", twin, "layer rate too high", f"net.{layer}", optimizer=make)

    yield case("lstm", "head", 1e-2, Adam, "head")
    yield case("regression", "0", 0.02, SGD)
    yield case("curves_batchnorm", "4", 0.03, functools.partial(SGD, momentum=0.9))
    yield case("tanh_mlp", "2", 0.1, SGD)
    yield case("narrow_mlp", "0", 1e-2, Adam)


def adversaries() -> Iterator[Case]:
    sure = Adversarial(generator_loss=saturating, discriminator_steps=10)
    yield Case("discriminator_won_by_steps", sure, "gan", "discriminator won", ("discriminator",), SALT)
