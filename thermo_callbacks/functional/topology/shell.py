"""All feed-forward topologies of one number of connections."""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from thermo_callbacks.functional.topology.primes import prime_factors


def whole_number(name: str, value: int, least: int = 1) -> int:
    """An argument of any integer type as an int, after a check that it is whole and at least ``least``."""
    try:
        number = operator.index(value)
    except TypeError as fault:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}") from fault
    if number < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
    return number


_FARTHEST = 1_000  # numbers of connections that are looked at to either side of an empty shell


@dataclass(frozen=True)
class Shell:
    """An isoenergetic shell: the topologies with given ends, depth and number of connections.

    Attributes:
        n_in: Width of the input.
        n_out: Width of the output.
        depth: Number k of hidden layers, at least 1.
        connections: Number E of connections.
        tolerance: Relative: all numbers of connections from E (1 - tolerance) to E (1 + tolerance) count, ends
            included.

    Raises:
        ValueError: If a number isn't whole and at least 1, or ``tolerance`` isn't from 0 to below 1.
    """

    n_in: int
    n_out: int
    depth: int
    connections: int
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        for name in ("n_in", "n_out", "depth", "connections"):
            object.__setattr__(self, name, whole_number(name, getattr(self, name)))
        if not 0.0 <= self.tolerance < 1.0:
            raise ValueError(f"tolerance must be a share from 0 to below 1 such as 0.01, got {self.tolerance!r}")

    @cached_property
    def least(self) -> int:
        """Fewest connections within the tolerance."""
        return math.ceil(self.connections * (1 - self._share))

    @cached_property
    def most(self) -> int:
        """Most connections within the tolerance."""
        return math.floor(self.connections * (1 + self._share))

    @property
    def smallest(self) -> int:
        """Connections of the smallest topology there is, all hidden layers one neuron wide."""
        return self.n_in + self.depth - 1 + self.n_out

    @property
    def _share(self) -> Fraction:
        return Fraction(str(float(self.tolerance)))  # 0.3 as written: its binary neighbour is below it

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        return _complete((self.n_in,), self, self.least, self.most)


def isoenergetic(
    n_in: int, n_out: int, depth: int, connections: int, tolerance: float = 0.0
) -> Iterator[tuple[int, ...]]:
    r"""All feed-forward topologies with a given number of connections, found one after another.

    .. math:: E = \sum_{l=1}^{k+1} n_{l-1} n_l

    is solved in whole numbers :math:`n_1, \dots, n_k \ge 1`. Layers up to the third last are tried within the bound
    that the connections still to place set them; the last two then follow from the divisors of one number, since

    .. math:: (n_{k-1} + n_{k+1})(n_k + n_{k-2}) = E - \sum_{l=1}^{k-2} n_{l-1} n_l + n_{k-2} n_{k+1}

    With a tolerance, the last width runs through an interval instead, or the divisors of several numbers are taken,
    whichever is less work. Exact for whole numbers of any size; nothing is kept but the place in the search.

    Their number grows about as :math:`E^{(k-1)/2}`: with 784 inputs and 10 outputs, E = 1e6 has 6 topologies of 2
    hidden layers, 5,367 of 3, some 2e7 of 4, 1e10 of 5 and 1e13 of 6. One takes some microseconds at E = 1e6, for the
    most part to find divisors; their time grows as the fourth root of E at worst. From some 1e6 topologies on
    :func:`sample_isoenergetic` serves better.

    Source: Chinea Manrique de Lara 2020, "On the Theory of Deep Learning: A Theoretical Physics Perspective (Part I)",
    for topologies as states of an energy. The way to find them is this project's own.

    Args:
        n_in: Width :math:`n_0` of the input.
        n_out: Width :math:`n_{k+1}` of the output.
        depth: Number k of hidden layers, at least 1.
        connections: Connections E.
        tolerance: Relative: all numbers of connections from :math:`E(1 - \mathrm{tolerance})` to
            :math:`E(1 + \mathrm{tolerance})` count, ends included. It is taken as the decimal number that it prints as.

    Returns:
        An iterator over widths :math:`(n_0, n_1, \dots, n_k, n_{k+1})`, in ascending order and each once; it is empty
        where no topology has these connections.

    Raises:
        ValueError: If a number isn't whole and at least 1, or ``tolerance`` isn't from 0 to below 1.

    Example:
        >>> list(isoenergetic(4, 2, 2, 40))  # 4 x 4 + 4 x 4 + 4 x 2 = 40
        [(4, 1, 12, 2), (4, 2, 8, 2), (4, 4, 4, 2), (4, 6, 2, 2)]
        >>> next(isoenergetic(784, 10, 3, 10**6))
        (784, 1, 7, 58777, 10)
    """
    return iter(Shell(n_in, n_out, depth, connections, tolerance))


def nearest_connections(shell: Shell) -> tuple[int | None, int | None]:
    """Find the numbers of connections next to an empty shell that some topology has.

    Args:
        shell: The shell; its ends and depth count.

    Returns:
        The next one below its least connections, None if there is none, and the next one above its most. They lie
        within n_in + 1 steps, since the first hidden layer takes n_in + 1 connections a neuron where the second is one
        neuron wide; None as well if none is among the first 1,000.
    """

    def some(connections: int) -> bool:
        return next(isoenergetic(shell.n_in, shell.n_out, shell.depth, connections), None) is not None

    down = range(shell.least - 1, shell.smallest - 1, -1)[:_FARTHEST]
    first = max(shell.most + 1, shell.smallest)
    up = range(first, first + _FARTHEST)
    below, above = (next((energy for energy in way if some(energy)), None) for way in (down, up))
    return below, above


def _complete(widths: tuple[int, ...], shell: Shell, least: int, most: int) -> Iterator[tuple[int, ...]]:
    """All ways on from the first widths, with from least to most connections still to place."""
    last, missing = widths[-1], shell.depth - len(widths) + 1
    if missing == 1:
        both = last + shell.n_out
        for width in range(max(1, -(-least // both)), most // both + 1):
            yield (*widths, width, shell.n_out)
        return
    # the layers behind, each one neuron wide, take this much besides
    widest = (most - (missing - 2) - shell.n_out) // (last + 1)
    if missing == 2 and (least == most or (most - least + 1) * math.isqrt(most) <= 2 * widest):
        for pair in _last_pairs(last, shell.n_out, least, most):
            yield (*widths, *pair, shell.n_out)
        return
    for width in range(1, widest + 1):
        yield from _complete((*widths, width), shell, least - last * width, most - last * width)


def _last_pairs(before: int, after: int, least: int, most: int) -> list[tuple[int, int]]:
    """Widths of two layers between two known ones, with from least to most connections, in ascending order."""
    return sorted(
        (factor - after, product // factor - before)
        for product in range(max(least, 1) + before * after, most + before * after + 1)
        for factor in divisors(product)
        if after < factor and before < product // factor
    )


def divisors(number: int) -> list[int]:
    """All divisors, in no order."""
    found = [1]
    for prime, count in Counter(prime_factors(number)).items():
        found = [each * prime**power for power in range(count + 1) for each in found]
    return found
