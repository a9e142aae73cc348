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
    """Quantities of N topologies of the same depth of k hidden layers; NaN where one has no value.

    Attributes:
        multiplicity: ln W, in nats, shape ``[N]``.
        disorder: ln W relative to the most even spread, shape ``[N]``.
        temperatures: Of each hidden layer, in connections per nat, shape ``[N, k]``.
        temperature: Their mean T, shape ``[N]``.
        efficiency: 1 - coldest/hottest, shape ``[N]``.
        free_energy: E - T ln W, in connections, shape ``[N]``.
        stability: Smallest second difference of the free energy, in connections, shape ``[N]``.
        lowest_move: Smallest change of the free energy that a move makes, in connections, shape ``[N]``.
    """

    multiplicity: Numbers
    disorder: Numbers
    temperatures: Numbers
    temperature: Numbers
    efficiency: Numbers
    free_energy: Numbers
    stability: Numbers
    lowest_move: Numbers


def quantities(shapes: npt.NDArray[np.generic]) -> Quantities:
    """Quantities of topologies of the same depth.

    Args:
        shapes: Widths from the input to the output, positive whole numbers, shape ``[N, k + 2]``.

    Returns:
        The quantities.
    """
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
    """ln(M! / prod n_l!) of hidden widths n_l, M their sum.

    Args:
        hidden: Widths of the hidden layers, shape ``[N, k]``.

    Returns:
        The logarithms, shape ``[N]``, with a rounding error of about 1e-16 M ln M.
    """
    ordered = np.sort(hidden, axis=1)  # layers are summed in one order: to permute them changes no bit
    return np.asarray(special.gammaln(hidden.sum(axis=1) + 1.0) - special.gammaln(ordered + 1.0).sum(axis=1))


def even_spread(neurons: Numbers, depth: int) -> Numbers:
    """Neurons spread over layers as evenly as whole numbers allow.

    Args:
        neurons: Their numbers M, shape ``[N]``.
        depth: Number k of layers, at least 1.

    Returns:
        Widths that differ by one at most, shape ``[N, k]``.
    """
    share, rest = np.divmod(neurons, depth)
    return np.asarray(share[:, None] + (np.arange(depth) < rest[:, None]))


def entropy_gains(hidden: Numbers) -> Numbers:
    """Entropy ln((M + 1)/(n_l + 1)) that one more neuron in layer l brings, in nats.

    Args:
        hidden: Widths of the hidden layers, shape ``[N, k]``.

    Returns:
        The entropies, same shape; 0 for a single layer.
    """
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
