"""Means of squares over a Gaussian, for functions with kinks, jumps and steep places anywhere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import quad_vec

Numbers = NDArray[np.float64]

REACH = 38.0  # standard deviations; the density beyond is below the smallest float64
TARGET = 1e-7  # relative error that the quadrature works towards
SUBDIVISIONS = 400


def gaussian_mean_square(function: Callable[[Numbers], Numbers], std: float) -> tuple[float, float]:
    """Mean of f(z)^2 over z ~ N(0, std^2), and its error: the quadrature's own, and what lies beyond the ends."""
    # The line is cut into panels that grow geometrically away from 0, since activations have their features near it;
    # among the cuts are all multiples of 1/2 and of 1 up to 4 and of 2 up to 8. The panels are laid on top of each
    # other, and SciPy's adaptive Gauss-Kronrod rule integrates their sum, which evaluates all panels in one call. It
    # bisects where a kink or a jump falls inside a panel.
    edges = _panel_edges(std)
    widths = np.diff(edges)

    def density(points: Numbers) -> Numbers:
        # the weight's root goes inside of the square: an exponential's square alone would overflow far out
        with np.errstate(over="ignore", invalid="ignore"):  # an infinite mean is told by the error
            weighted = np.square(function(points) * np.exp(-np.square(points / (2.0 * std))))
        return np.asarray(weighted / (std * np.sqrt(2.0 * np.pi)))

    def folded(place: float) -> float:
        return float(np.dot(widths, density(edges[:-1] + place * widths)))

    value, error = quad_vec(folded, 0.0, 1.0, epsrel=TARGET, limit=SUBDIVISIONS)
    return float(value), float(error) + std * float(density(edges[[0, -1]]).sum())


def _panel_edges(std: float) -> Numbers:
    """Cuts from -38 to 38 standard deviations: quarters of octaves, the smallest far below 1 and below ``std``."""
    octaves = np.arange(np.floor(np.log2(min(1.0, std))) - 20, np.ceil(np.log2(REACH * std)))
    cuts = np.outer(2.0**octaves, [1.0, 1.25, 1.5, 1.75]).ravel()
    cuts = np.append(cuts[cuts < REACH * std], REACH * std)
    return np.concatenate([-cuts[::-1], [0.0], cuts])
