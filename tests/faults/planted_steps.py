"""Faults of the steps: rate, schedule, batch, optimizer, clipping, decay, loss."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.optim import SGD, Adam

from faults.case import Case, sgd
from faults.gan import Adversarial, saturating
from faults.healthy import RECIPES, adam, adamw, warm_up_cosine


def to_nothing(over: float) -> float:
    """Down to a thousandth after each tenth of the run."""
    return float(1e-3 ** (over / 0.1))


def without_warm_up(over: float) -> float:
    return warm_up_cosine(max(over, 0.1))


def of_probabilities(outputs: Tensor, targets: Tensor) -> Tensor:
    return cross_entropy(outputs.softmax(-1), targets)


def climbed(outputs: Tensor, targets: Tensor) -> Tensor:
    return -cross_entropy(outputs, targets)


summed = functools.partial(cross_entropy, reduction="sum")


def rates() -> Iterator[Case]:
    def case(name: str, twin: str, cause: str, rate: float, momentum: float = 0.0) -> Case:
        optimizer = functools.partial(sgd, rate=rate, momentum=momentum)
        return Case(name, replace(RECIPES[twin], optimizer=optimizer), twin, cause)

    yield case("rate_to_nan", "regression", "rate too high", 5.0)
    yield case("rate_swinging", "momentum", "rate too high", 1.0, 0.9)
    yield case("rate_at_the_edge", "curves_momentum", "rate too high", 0.12, 0.9)
    yield case("rate_too_low", "sgd", "rate too low", 1e-2)
    yield case("rate_too_low_with_momentum", "cnn_batchnorm_decay", "rate too low", 1e-5, 0.9)
    yield case("momentum_0.999", "momentum", "momentum too high", 0.05, 0.999)
    for name, twin, rate in (("adam_rate_too_high", "adam", 0.3), ("decoder_rate_too_high", "decoder", 0.3)):
        recipe = replace(RECIPES[twin], optimizer=functools.partial(adam, rate=rate))
        yield Case(name, recipe, twin, "rate too high")
    low = functools.partial(adam, rate=1e-5)
    yield Case("adam_rate_too_low", replace(RECIPES["autoencoder"], optimizer=low), "autoencoder", "rate too low")


def schedules() -> Iterator[Case]:
    for twin in ("curves", "lstm"):
        yield Case(f"{twin}_decayed_to_nothing", replace(RECIPES[twin], schedule=to_nothing), twin, "decayed too early")
    twin = "decoder_normalised_after"
    yield Case("warm_up_left_out", replace(RECIPES[twin], schedule=without_warm_up), twin, "no warm-up")


def optimizers() -> Iterator[Case]:
    def unfit(name: str, twin: str, rate: float = 3e-3, **constants: object) -> Case:
        def optimizer(net: nn.Module) -> torch.optim.Optimizer:
            return Adam(net.parameters(), rate, **constants)  # type: ignore[arg-type]

        return Case(name, replace(RECIPES[twin], optimizer=optimizer), twin, "optimizer constants")

    yield unfit("adam_eps_1", "adam", eps=1.0)
    yield unfit("adam_eps_1_regression", "regression_adam", eps=1.0)
    yield unfit("adam_beta2_0.5", "curves", 1e-2, betas=(0.9, 0.5))
    single = replace(RECIPES["sgd"], batch_size=1, steps=1_200)
    yield Case("batch_of_one", single, "sgd", "batch too small")
    lost = replace(RECIPES["sgd"], settings={"gradient_clip_val": 0.1})
    yield Case("always_clipped", lost, "sgd", "clipping too strong")
    decayed = replace(RECIPES["sgd"], optimizer=lambda net: SGD(net.parameters(), 0.1, weight_decay=0.1))
    yield Case("decay_of_sgd", decayed, "sgd", "weight decay too strong")
    for twin in ("residual", "decoder"):
        strong = replace(RECIPES[twin], optimizer=functools.partial(adamw, rate=3e-3, decay=30.0))
        yield Case(f"decay_of_adamw_{twin}", strong, twin, "weight decay too strong")


def losses() -> Iterator[Case]:
    def case(name: str, twin: str, cause: str, loss: object) -> Case:
        return Case(name, replace(RECIPES[twin], loss=loss), twin, cause)  # type: ignore[arg-type]

    yield case("softmax_before_cross_entropy", "sgd", "probabilities as logits", of_probabilities)
    yield case("wrong_sign", "sgd", "wrong sign", climbed)
    yield case("wrong_sign_adam", "autoencoder", "wrong sign", lambda outputs, targets: -mse_loss(outputs, targets))
    yield case("sum_for_mean", "sgd", "loss not a mean", summed)
    kept = replace(RECIPES["sgd"], zeroing=False)
    yield Case("gradients_never_zeroed", kept, "sgd", "gradients not zeroed")
    kept = replace(RECIPES["curves"], zeroing=False)
    yield Case("gradients_never_zeroed_adam", kept, "curves", "gradients not zeroed")
    sure = Adversarial(generator_loss=saturating, generator_rate=2e-4, discriminator_rate=1e-2, discriminator_steps=3)
    yield Case("discriminator_won", sure, "gan", "discriminator won", ("discriminator",))
