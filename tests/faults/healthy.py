"""Runs with which nothing is wrong, of as many kinds as people have."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from optimizer_zoo import Lion
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.optim import SGD, Adam, AdamW, RMSprop

from faults import networks
from faults.case import Case, Recipe, named, sgd
from faults.data import diabetes, digits, first, images, skewed, text, waves
from faults.gan import Adversarial

momentum = functools.partial(sgd, rate=0.05, momentum=0.9)


def adam(net: nn.Module, rate: float = 3e-3) -> torch.optim.Optimizer:
    return Adam(net.parameters(), rate)


def adamw(net: nn.Module, rate: float = 3e-3, decay: float = 0.01) -> torch.optim.Optimizer:
    return AdamW(net.parameters(), rate, weight_decay=decay)


def trained_only(net: nn.Module) -> torch.optim.Optimizer:
    return Adam([parameter for parameter in net.parameters() if parameter.requires_grad], 3e-3)


def warm_up(over: float) -> float:
    return min(1.0, 0.02 + over / 0.1)


def cosine(over: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * over))


def warm_up_cosine(over: float) -> float:
    return warm_up(over) * cosine(over)


def steps_down(over: float) -> float:
    return 1.0 if over < 0.5 else 0.1 if over < 0.8 else 0.01


def scaled_loss(outputs: torch.Tensor, targets: torch.Tensor, scale: float) -> torch.Tensor:
    return scale * cross_entropy(outputs, targets)


smoothed = functools.partial(cross_entropy, label_smoothing=0.1)

OF_MLP = Recipe()
OF_WAVES = Recipe(data=waves, network=networks.curves, optimizer=functools.partial(adam, rate=1e-2), steps=600)
OF_REGRESSION = Recipe(
    data=diabetes, network=functools.partial(networks.perceptron, 10, 16, 1), loss=mse_loss,
    optimizer=functools.partial(sgd, rate=0.02),
)  # fmt: skip
OF_IMAGES = Recipe(data=images, network=networks.autoencoder, loss=mse_loss, optimizer=adam)
OF_TEXT = Recipe(
    data=text, network=networks.Decoder, optimizer=functools.partial(adamw, rate=1e-2), schedule=warm_up_cosine
)

RECIPES = {
    "sgd": OF_MLP,
    "momentum": replace(OF_MLP, optimizer=momentum),
    "nesterov": replace(OF_MLP, optimizer=lambda net: SGD(net.parameters(), 0.03, momentum=0.9, nesterov=True)),
    "adam": replace(OF_MLP, optimizer=adam),
    "adamw": replace(OF_MLP, optimizer=adamw),
    "rmsprop": replace(OF_MLP, optimizer=lambda net: RMSprop(net.parameters(), 1e-3)),
    "lion": replace(OF_MLP, optimizer=lambda net: Lion(net.parameters(), 1e-3)),
    "tanh_mlp": replace(OF_MLP, network=functools.partial(networks.perceptron, 64, 32, 32, 10, activation=nn.Tanh)),
    "sigmoid_mlp": replace(
        OF_MLP,
        network=functools.partial(networks.perceptron, 64, 32, 32, 10, activation=nn.Sigmoid),
        optimizer=functools.partial(sgd, rate=0.3, momentum=0.9),
    ),
    "narrow_mlp": replace(OF_MLP, network=networks.narrow, optimizer=functools.partial(adam, rate=1e-2), steps=500),
    "deep_tanh": replace(
        OF_MLP, network=lambda: networks.deep(nn.Tanh, 1.1), optimizer=functools.partial(sgd, rate=0.03)
    ),
    "deep_relu": replace(
        OF_MLP, network=lambda: networks.deep(nn.ReLU, 2**0.5), optimizer=functools.partial(adam, rate=2e-3)
    ),
    "cnn_batchnorm_decay": Recipe(
        network=networks.convolutions,
        optimizer=lambda net: SGD(net.parameters(), 0.05, momentum=0.9, weight_decay=5e-4),
        steps=200,
    ),
    "curves": OF_WAVES,
    "curves_momentum": replace(OF_WAVES, optimizer=functools.partial(sgd, rate=0.03, momentum=0.9)),
    "curves_batchnorm": replace(
        OF_WAVES,
        network=networks.normalised_curves,
        optimizer=functools.partial(sgd, rate=0.03, momentum=0.9),
        steps=400,
    ),
    "residual": replace(OF_MLP, network=networks.residual, optimizer=functools.partial(adamw, rate=1e-3), steps=200),
    "decoder": OF_TEXT,
    "decoder_normalised_after": replace(
        OF_TEXT,
        network=functools.partial(networks.Decoder, blocks=5, norm_first=False),
        optimizer=functools.partial(adamw, rate=2e-2),
    ),
    "lstm": replace(OF_TEXT, network=networks.Recurrent, optimizer=functools.partial(adam, rate=1e-2), schedule=None),
    "autoencoder": OF_IMAGES,
    "regression": OF_REGRESSION,
    "regression_adam": replace(OF_REGRESSION, optimizer=adam),
    "warm_up": replace(OF_MLP, optimizer=momentum, schedule=warm_up),
    "cosine": replace(OF_WAVES, schedule=cosine),
    "step_decay": replace(OF_MLP, optimizer=momentum, schedule=steps_down),
    "accumulation": replace(OF_MLP, batch_size=8, settings={"accumulate_grad_batches": 4}),
    "clipping": replace(
        OF_TEXT,
        network=networks.Recurrent,
        optimizer=functools.partial(adam, rate=1e-2),
        schedule=None,
        settings={"gradient_clip_val": 1.0},
    ),
    "bf16": replace(OF_MLP, optimizer=adam, settings={"precision": "bf16-mixed"}),
    "loss_times_1e-3": replace(
        OF_MLP, optimizer=functools.partial(sgd, rate=100.0), loss=functools.partial(scaled_loss, scale=1e-3)
    ),
    "loss_times_1e3": replace(OF_MLP, optimizer=adam, loss=functools.partial(scaled_loss, scale=1e3)),
    "small_batches": replace(OF_MLP, batch_size=4, optimizer=functools.partial(sgd, rate=0.02), steps=1_000),
    "large_batches": replace(OF_MLP, batch_size=640, optimizer=functools.partial(sgd, rate=0.5)),
    "still_learning": replace(OF_WAVES, steps=120),
    "converged": replace(OF_MLP, optimizer=momentum, steps=1_200),
    "backbone_frozen_on_purpose": replace(OF_MLP, network=networks.on_principal_components, optimizer=trained_only),
    "class_imbalance": replace(OF_MLP, data=skewed, optimizer=adam),
    "label_smoothing": replace(OF_MLP, optimizer=momentum, loss=smoothed),
    "dropout": replace(
        OF_MLP, network=functools.partial(networks.perceptron, 64, 64, 64, 10, dropout=0.3), optimizer=adam
    ),
    "few_samples": replace(
        OF_MLP, data=lambda: first(digits(), 320), optimizer=functools.partial(adamw, rate=1e-3), steps=150
    ),
    "gan": Adversarial(),
}
"""How each healthy run is made, by its name."""


def healthy() -> Iterator[Case]:
    for name, recipe in RECIPES.items():
        yield Case(name, recipe)


HEALTHY = named(healthy())
