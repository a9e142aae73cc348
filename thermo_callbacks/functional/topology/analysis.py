"""The topology of a feed-forward network as a macrostate: its energy, disorder, temperatures and stability."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from thermo_callbacks.functional.topology.quantities import entropy_gains, quantities
from thermo_callbacks.functional.topology.shell import whole_number


class Addition(NamedTuple):
    r"""One neuron more in a hidden layer.

    Attributes:
        layer: Number l of the hidden layer, from 1 to k.
        connections: Connections it brings, :math:`n_{l-1} + n_{l+1}`.
        entropy: Nats it brings, :math:`\ln\frac{M + 1}{n_l + 1}`; 0 for one hidden layer.
    """

    layer: int
    connections: int
    entropy: float


class Move(NamedTuple):
    """One neuron taken from a hidden layer and put into another.

    Attributes:
        source: Number of the layer that it leaves, from 1 to k.
        target: Number of the layer that it goes to.
        connections: Change of the connections E.
        entropy: Change of ln W, in nats.
        free_energy: Change of F = E - T ln W at the topology's own temperature T, in connections.
    """

    source: int
    target: int
    connections: int
    entropy: float
    free_energy: float


@dataclass(frozen=True)
class Topology:
    r"""A feed-forward topology and what :func:`analyse` says of it.

    Attributes:
        widths: Widths :math:`(n_0, n_1, \dots, n_k, n_{k+1})` of input, k hidden layers and output.
        connections: Energy E, the number of connections: weights without biases.
        neurons: Number M of hidden neurons.
        multiplicity: :math:`\ln W`, in nats.
        disorder: :math:`\ln W` relative to that of the most even spread, above 0 and at most 1; NaN below two hidden
            layers.
        temperatures: Temperature of each hidden layer, in connections per nat; NaN for a single one.
        temperature: Their mean T; NaN below two hidden layers.
        efficiency: Thermodynamic efficiency between the hottest and the coldest layer, from 0 to below 1; NaN below two
            hidden layers.
        free_energy: :math:`F = E - T \ln W`, in connections; NaN below two hidden layers.
        stability: Smallest second difference of F, in connections; NaN where no two layers can spare a neuron.
        lowest_move: Smallest change of F that a move makes, in connections; NaN where there is no move.
    """

    widths: tuple[int, ...]
    connections: int
    neurons: int
    multiplicity: float
    disorder: float
    temperatures: tuple[float, ...]
    temperature: float
    efficiency: float
    free_energy: float
    stability: float
    lowest_move: float

    def __str__(self) -> str:
        return "-".join(map(str, self.widths))

    @property
    def hidden(self) -> tuple[int, ...]:
        """Widths of the hidden layers."""
        return self.widths[1:-1]

    @property
    def parameters(self) -> int:
        """Trainable parameters of fully connected layers with biases."""
        return self.connections + sum(self.widths[1:])

    @property
    def stable(self) -> bool | None:
        """Whether every move raises the free energy; None where there is no move."""
        return None if math.isnan(self.lowest_move) else self.lowest_move > 0.0

    @property
    def additions(self) -> tuple[Addition, ...]:
        """One neuron more in each of the hidden layers."""
        entropies = entropy_gains(np.array([self.hidden], dtype=np.float64))[0]
        ends = zip(self.widths[:-2], self.widths[2:], entropies, strict=True)
        return tuple(
            Addition(layer, before + after, float(entropy)) for layer, (before, after, entropy) in enumerate(ends, 1)
        )

    @property
    def moves(self) -> tuple[Move, ...]:
        """All moves of one neuron between two hidden layers that leave none of them empty."""
        moves = []
        for source, target in itertools.permutations(range(1, len(self.widths) - 1), 2):
            if self.widths[source] > 1:
                after = list(self.widths)
                after[source] -= 1
                after[target] += 1
                change = _connections(after) - self.connections
                entropy = math.log(self.widths[source] / after[target])
                moves.append(Move(source, target, change, entropy, change - self.temperature * entropy))
        return tuple(moves)


def analyse(widths: Sequence[int]) -> Topology:
    r"""Read the topology of a feed-forward network as a macrostate.

    The macrostate is how many of the :math:`M = \sum_{l=1}^k n_l` hidden neurons each of the k hidden layers has. Its
    energy is the number of connections, its entropy the logarithm of the number of ways to deal M neurons out so:

    .. math::

        E = \sum_{l=1}^{k+1} n_{l-1} n_l, \qquad \ln W = \ln \frac{M!}{\prod_l n_l!}, \qquad
        \mathrm{disorder} = \frac{\ln W}{\max \ln W}

    where the maximum is over all spreads of the same M over k layers, that of widths which differ by one at most. A
    neuron added to layer l brings :math:`n_{l-1} + n_{l+1}` connections and :math:`\ln\frac{M + 1}{n_l + 1}` nats;
    their ratio is the layer's temperature, what a nat costs there. The thermodynamic efficiency is Carnot's,

    .. math::

        T_l = \frac{n_{l-1} + n_{l+1}}{\ln\frac{M + 1}{n_l + 1}}, \qquad
        \mathrm{efficiency} = 1 - \frac{\min_l T_l}{\max_l T_l}

    With the mean T of the temperatures, the free energy is :math:`F = E - T \ln W`. *Stability* is the smallest second
    difference of F over pairs (a, b) of hidden layers, F after a move of one neuron from a to b plus F after the
    opposite move minus 2F. Positive, F is convex along every move:

    .. math:: T \ln\frac{(n_a + 1)(n_b + 1)}{n_a n_b} - 2\,[a, b \text{ are neighbours}]

    For wide layers of one width, ends included, T is about 2n / ln k, and the stability 4/ln k - 2: negative from k = 8
    on. *Stable* asks for more: that every single move raises F, which in wide layers takes nearly one temperature, so
    an efficiency near 0, besides a positive stability. Moves that would empty a layer count in neither, and T stays
    what it is before the move. Both look at one neuron at a time: in four or more layers, several that move together
    can lower F where no single one does.

    Connections are those of fully connected layers; biases don't count. Nothing here depends on weights or data.
    Whole numbers are exact, logarithms of multiplicities to about 1e-16 M ln M.

    Source: Chinea Manrique de Lara 2020, "On the Theory of Deep Learning: A Theoretical Physics Perspective (Part I)".
    The definitions are this project's own reading.

    Args:
        widths: Widths :math:`n_0, \dots, n_{k+1}` from the input to the output, all at least 1.

    Returns:
        Its quantities.

    Raises:
        ValueError: If there are fewer than two widths, or one isn't a whole number of at least 1.

    Example:
        >>> topology = analyse((4, 3, 3, 2))
        >>> topology.connections, topology.disorder
        (27, 1.0)
        >>> round(topology.multiplicity, 4)  # ln 20
        2.9957
        >>> [round(each, 4) for each in topology.temperatures]  # 7 and 5 connections for ln(7/4) nats
        [12.5086, 8.9347]
        >>> round(topology.efficiency, 4)  # 1 - 5/7
        0.2857
    """
    checked = _checked(widths)
    found = quantities(np.array([checked], dtype=np.float64))
    return Topology(
        widths=checked,
        connections=_connections(checked),
        neurons=sum(checked[1:-1]),
        multiplicity=float(found.multiplicity[0]),
        disorder=float(found.disorder[0]),
        temperatures=tuple(map(float, found.temperatures[0])),
        temperature=float(found.temperature[0]),
        efficiency=float(found.efficiency[0]),
        free_energy=float(found.free_energy[0]),
        stability=float(found.stability[0]),
        lowest_move=float(found.lowest_move[0]),
    )


def _connections(widths: Sequence[int]) -> int:
    return sum(itertools.starmap(operator.mul, itertools.pairwise(widths)))


def _checked(widths: Sequence[int]) -> tuple[int, ...]:
    if len(widths) < 2:
        raise ValueError(f"widths must hold at least those of the input and the output, got {widths!r}")
    return tuple(whole_number(f"widths[{place}]", width) for place, width in enumerate(widths))
