"""States of a classifier and of a regression whose transition temperature is known, and a metric that has seen them."""

from __future__ import annotations

import math
from typing import Any

import torch
from oracles import normal
from torch import Tensor
from torch.nn.functional import cross_entropy

from thermo_callbacks.metrics import TransitionTemperature

STATES = ("initial", "final")


def calibrated(samples: int, sharpness: float, seed: int) -> tuple[Tensor, Tensor]:
    """Losses and logits of a classifier whose labels are drawn from its own predictions."""
    logits = sharpness * normal(samples, 5, seed=seed)
    labels = torch.multinomial(logits.softmax(1), 1, generator=torch.Generator().manual_seed(seed + 1)).squeeze(1)
    return cross_entropy(logits, labels, reduction="none"), logits


def classifier(samples: int = 200_000, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    return [calibrated(samples, sharpness, seed + 10 * i) for i, sharpness in enumerate((0.3, 2.0))]


def regression(samples: int = 4000, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    """Squared losses and residuals of standard deviations 1.5 and 0.5."""
    residuals = [scale * normal(samples, seed=seed + i) for i, scale in enumerate((1.5, 0.5))]
    return [(r.square(), r) for r in residuals]


GAUSSIAN = 2.0 * (1.5**2 - 0.5**2) / math.log(1.5**2 / 0.5**2)
PAIRS = {"classifier": lambda seed: classifier(1000, seed), "regression": lambda seed: regression(1000, seed)}


def fed(states: Any, *, batches: int = 1, mean: bool = False, metric: Any = None, **options: Any) -> Any:
    metric = TransitionTemperature(**options) if metric is None else metric
    for state, (losses, outputs) in zip(STATES, states, strict=True):
        for loss, output in zip(losses.tensor_split(batches), outputs.tensor_split(batches), strict=True):
            metric.update(state, loss.mean() if mean else loss, output)
    return metric
