"""Activations written out in NumPy with their slopes, and a slow, obvious mean over a Gaussian."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, expit, ndtr
from torch import nn

Numbers = NDArray[np.float64]

SCALE, ALPHA = 1.0507009873554805, 1.6732632423543772  # of SELU


class Oracle(NamedTuple):
    module: nn.Module
    value: Callable[[Numbers], Numbers]
    slope: Callable[[Numbers], Numbers]
    work: float  # at unit variance, to four digits
    learning: float
    engine: str


def density(z: Numbers) -> Numbers:
    return np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi)


def mish_slope(z: Numbers) -> Numbers:
    gate = np.tanh(np.log1p(np.exp(z)))
    return gate + z * (1.0 - gate * gate) * expit(z)


def hardswish_slope(z: Numbers) -> Numbers:
    return np.where(z <= -3.0, 0.0, np.where(z >= 3.0, 1.0, (2.0 * z + 3.0) / 6.0))


ORACLES = {
    "Identity": Oracle(nn.Identity(), lambda z: z, np.ones_like, 1.0, 1.0, "passive"),
    "ReLU": Oracle(nn.ReLU(), lambda z: np.maximum(z, 0.0), lambda z: np.heaviside(z, 0.5), 0.5, 0.5, "passive"),
    "LeakyReLU": Oracle(
        nn.LeakyReLU(),
        lambda z: np.where(z > 0, z, 0.01 * z),
        lambda z: np.where(z > 0, 1.0, 0.01),
        0.50005,
        0.50005,
        "passive",
    ),
    "Tanh": Oracle(nn.Tanh(), np.tanh, lambda z: 1.0 - np.tanh(z) ** 2, 0.3943, 0.4644, "passive"),
    "GELU": Oracle(
        nn.GELU(),
        lambda z: 0.5 * z * (1.0 + erf(z / np.sqrt(2.0))),
        lambda z: ndtr(z) + z * density(z),
        0.4252,
        0.4559,
        "passive",
    ),
    "SiLU": Oracle(
        nn.SiLU(),
        lambda z: z * expit(z),
        lambda z: expit(z) * (1.0 + z * expit(-z)),
        0.3558,
        0.3795,
        "passive",
    ),
    "ELU": Oracle(
        nn.ELU(),
        lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0.0))),
        lambda z: np.exp(np.minimum(z, 0.0)),
        0.6449,
        0.6681,
        "passive",
    ),
    "Mish": Oracle(nn.Mish(), lambda z: z * np.tanh(np.log1p(np.exp(z))), mish_slope, 0.4523, 0.4791, "passive"),
    "SELU": Oracle(
        nn.SELU(),
        lambda z: SCALE * np.where(z > 0, z, ALPHA * np.expm1(np.minimum(z, 0.0))),
        lambda z: SCALE * np.where(z > 0, 1.0, ALPHA * np.exp(np.minimum(z, 0.0))),
        1.0,
        1.0716,
        "driven",
    ),
    "Sigmoid": Oracle(nn.Sigmoid(), expit, lambda z: expit(z) * expit(-z), 0.2934, 0.0448, "driven"),
    "Softplus": Oracle(nn.Softplus(), lambda z: np.logaddexp(0.0, z), expit, 0.9212, 0.2934, "driven"),
    "Hardtanh": Oracle(
        nn.Hardtanh(), lambda z: np.clip(z, -1.0, 1.0), lambda z: (np.abs(z) < 1.0) * 1.0, 0.5161, 0.6827, "passive"
    ),
    "Softsign": Oracle(
        nn.Softsign(), lambda z: z / (1.0 + np.abs(z)), lambda z: (1.0 + np.abs(z)) ** -2.0, 0.1830, 0.2277, "passive"
    ),
    "Hardswish": Oracle(
        nn.Hardswish(),
        lambda z: z * np.clip(z + 3.0, 0.0, 6.0) / 6.0,
        hardswish_slope,
        0.3316,
        0.3585,
        "passive",
    ),
}


def gaussian_sum(function: Callable[[Numbers], Numbers], std: float = 1.0, cells: int = 1_000_000) -> float:
    """Mean of function(z)^2 over N(0, std^2), by the midpoint rule on a million cells up to 12 deviations."""
    edges = np.linspace(-12.0, 12.0, cells + 1)
    middle = 0.5 * (edges[1:] + edges[:-1])
    return float(np.sum(function(std * middle) ** 2 * density(middle)) * (edges[1] - edges[0]))
