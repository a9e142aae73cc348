"""Thermodynamic quantities of many feed-forward topologies at once."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Quantities:
    """Quantities of N topologies of the same depth of k hidden layers, ``[N]``; NaN where one has no value."""

    multiplicity: Numbers  # ln W, in nats
    disorder: Numbers  # ln W relative to the most even spread
    temperatures: Numbers  # of each hidden layer, in connections per nat, [N, k]
    temperature: Numbers  # their mean T
    efficiency: Numbers  # 1 - coldest/hottest
    free_energy: Numbers  # E - T ln W, in connections
    stability: Numbers  # smallest second difference of the free energy, in connections
    lowest_move: Numbers  # smallest change of the free energy that a move makes, in connections


def quantities(shapes: npt.NDArray[np.generic]) -> Quantities:
    """Quantities of topologies of the same depth, from positive widths from input to output, ``[N, k + 2]``."""
    widths = shapes.astype(np.float64)
    hidden = widths[:, 1:-1]
    rows, depth = hidden.shape
    multiplicity = log_multiplicity(hidden)
    if depth < 2:
        nan = np.full(rows, np.nan)
        return Quantities(multiplicity, nan, np.full((rows, depth), np.nan), nan, nan, nan, nan, nan)
    connections = (widths[:, :-1] * widths[:, 1:]).sum(axis=1)
    temperatures = (widths[:, :-2] + widths[:, 2:]) / entropy_gains(hidden)
    temperature = temperatures.mean(axis=1)
    stability, lowest_move = _stability(widths, temperature)
    return Quantities(
        multiplicity=multiplicity,
        disorder=multiplicity / log_multiplicity(even_spread(hidden.sum(axis=1), depth)),
        temperatures=temperatures,
        temperature=temperature,
        efficiency=1.0 - temperatures.min(axis=1) / temperatures.max(axis=1),
        free_energy=connections - temperature * multiplicity,
        stability=stability,
        lowest_move=lowest_move,
    )


def log_multiplicity(hidden: Numbers) -> Numbers:
    """ln(M! / prod n_l!) of hidden widths n_l ``[N, k]``, M their sum, with a rounding error of about 1e-16 M ln M."""
    ordered = np.sort(hidden, axis=1)  # layers are summed in one order: to permute them changes no bit
    return np.asarray(special.gammaln(hidden.sum(axis=1) + 1.0) - special.gammaln(ordered + 1.0).sum(axis=1))


def even_spread(neurons: Numbers, depth: int) -> Numbers:
    """Neurons ``[N]`` over layers as evenly as whole numbers allow: widths ``[N, k]`` that differ by one at most."""
    share, rest = np.divmod(neurons, depth)
    return np.asarray(share[:, None] + (np.arange(depth) < rest[:, None]))


def entropy_gains(hidden: Numbers) -> Numbers:
    """Entropy ln((M + 1)/(n_l + 1)) of one more neuron in layer l, in nats, ``[N, k]``; 0 for a single layer."""
    return np.asarray(np.log1p((hidden.sum(axis=1, keepdims=True) - hidden) / (hidden + 1.0)))


def _stability(widths: Numbers, temperature: Numbers) -> tuple[Numbers, Numbers]:
    """Smallest second difference, and smallest first one, of F over the moves of a neuron between two layers."""
    costs = widths[:, :-2] + widths[:, 2:]
    hidden = widths[:, 1:-1]
    bend, lowest = np.full(len(hidden), np.inf), np.full(len(hidden), np.inf)
    for one, other in itertools.combinations(range(hidden.shape[1]), 2):
        # the product of neighbours: (n - 1)(m + 1) = nm + n - m - 1, the -1 being what the costs leave out
        beside = float(other == one + 1)
        ways = []
        for source, target in ((one, other), (other, one)):
            gain = np.log(hidden[:, source] / (hidden[:, target] + 1.0))
            change = costs[:, target] - costs[:, source] - beside - temperature * gain
            np.minimum(lowest, change, out=lowest, where=hidden[:, source] > 1.0)
            ways.append(gain)
        second = -2.0 * beside - temperature * (ways[0] + ways[1])
        np.minimum(bend, second, out=bend, where=(hidden[:, one] > 1.0) & (hidden[:, other] > 1.0))
    return np.where(np.isinf(bend), np.nan, bend), np.where(np.isinf(lowest), np.nan, lowest)
