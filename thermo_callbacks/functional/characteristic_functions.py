"""Moments and entropy of a symmetric random number from its characteristic function.

The number is the residual or the logit of a linear model: a sum over independent inputs and independent weights, so
that its characteristic function is a product.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.integrate import quad, trapezoid
from scipy.special import entr, erf

Numbers = NDArray[np.float64]
LogCharacteristic = Callable[[Numbers], Numbers]
Initialisation = Literal["normal", "uniform", "mixed"]

CUT = -40.0  # logarithm of the characteristic function beyond which it is left out


def gaussian(variance: float) -> LogCharacteristic:
    """Logarithm of the characteristic function of a Gaussian with mean 0."""
    return lambda t: -0.5 * variance * np.square(t)


def linear_output(init: Initialisation, dim: int, init_variance: float, target: float) -> LogCharacteristic:
    """Logarithm of the characteristic function of sum_i (target - w_i) x_i over inputs and initial weights."""
    # d ln E_w exp(-t^2 (target - w)^2 / 2) for d standard normal inputs

    def normal(t: Numbers) -> Numbers:
        stretch = init_variance * np.square(t)
        return -0.5 * np.log1p(stretch) - 0.5 * np.square(t * target) / (1.0 + stretch)

    def uniform(t: Numbers) -> Numbers:
        half_width = math.sqrt(3.0 * init_variance)
        # below, the moments that differ from the normal's don't count, and the difference would lose digits
        wide = half_width * np.abs(t) > 1e-3
        reach = np.where(wide, t, 1.0) / math.sqrt(2.0)
        area = erf((target + half_width) * reach) - erf((target - half_width) * reach)
        mean = np.maximum(area, np.finfo(float).tiny) * math.sqrt(math.pi) / (4.0 * half_width * reach)
        return np.where(wide, np.log(mean), normal(t))

    def mixed(t: Numbers) -> Numbers:
        first, second = normal(t), uniform(t)
        return np.maximum(first, second) + np.log1p(0.5 * np.expm1(-np.abs(first - second)))

    one_input = normal if init_variance == 0.0 else {"normal": normal, "uniform": uniform, "mixed": mixed}[init]
    return lambda t: dim * one_input(t)


def mean_by_kernel(log_characteristic: LogCharacteristic, kernel: Callable[[float], float], scale: float) -> float:
    """Mean of an even function g of the number, less g(0), as the integral of (1 - characteristic function) K."""
    # with the kernel K of g(r) - g(0) = integral of (1 - cos rt) K(t) dt; scale: where in t the integrand changes

    def integrand(u: float) -> float:
        t = u * scale
        return -float(np.expm1(log_characteristic(np.array(t)))) * kernel(t) * scale

    near, _ = quad(integrand, 0.0, 1.0, epsrel=1e-9, limit=200)
    far, _ = quad(integrand, 1.0, math.inf, epsrel=1e-9, limit=200)
    return float(near + far)


def differential_entropy(log_characteristic: LogCharacteristic, variance: float) -> float:
    """Differential entropy in nats of a symmetric density, whose variance sets the width of the grid."""
    # The density comes from a cosine transform of the characteristic function. It is smooth (it holds Gaussian noise),
    # so that the trapezoidal rule converges exponentially in both integrals.
    radius = 40.0 * math.sqrt(variance)  # an exponential tail has fallen to e^-40 there
    cutoff = 1.0 / math.sqrt(variance)
    while log_characteristic(np.array(cutoff)) > CUT:
        cutoff *= 2.0
    intervals = math.ceil(radius * cutoff / math.pi)
    step = math.pi / radius
    heights = np.exp(log_characteristic(step * np.arange(intervals + 1, dtype=np.float64)))
    density = np.maximum(dct(heights, type=1) * step / (2.0 * math.pi), 0.0)  # rounding: about -1e-16 far out
    return float(2.0 * trapezoid(entr(density), dx=radius / intervals))
