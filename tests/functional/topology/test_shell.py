"""Isoenergetic shells: all of them against brute force, lazily, for whole numbers of any size."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from thermo_callbacks.functional.topology import Shell, isoenergetic, nearest_connections
from thermo_callbacks.functional.topology.shell import divisors


def energy(widths: tuple[int, ...]) -> int:
    return sum(first * second for first, second in itertools.pairwise(widths))


def brute_force(n_in: int, n_out: int, depth: int, most: int) -> dict[int, np.ndarray]:
    """All widths of up to ``most`` connections, by their number: every width is tried that could be."""
    hidden = np.arange(1, most + 1, dtype=np.int32)[:, None]
    placed = n_in * hidden[:, 0]
    for _ in range(depth - 1):
        kept = placed < most
        hidden, placed = hidden[kept], placed[kept]
        # one neuron more to come takes as many connections as the last layer has neurons: no width beyond is possible
        counts = (most - placed) // hidden[:, -1]
        rows = np.repeat(np.arange(len(hidden)), counts)
        starts = np.repeat(np.cumsum(counts) - counts, counts)
        width = (np.arange(len(rows)) - starts + 1).astype(np.int32)
        placed = placed[rows] + hidden[rows, -1] * width
        hidden = np.column_stack([hidden[rows], width])
    placed += n_out * hidden[:, -1]
    kept = placed <= most
    hidden, placed = hidden[kept], placed[kept]
    order = np.argsort(placed, kind="stable")
    numbers, starts = np.unique(placed[order], return_index=True)
    return dict(zip(numbers.tolist(), np.split(hidden[order], starts[1:]), strict=True))


def compare_with_brute_force(n_in: int, n_out: int, depth: int, most: int) -> int:
    """Number of topologies compared, all shells of up to ``most`` connections."""
    expected = brute_force(n_in, n_out, depth, most)
    total = 0
    for connections in range(1, most + 1):
        found = list(isoenergetic(n_in, n_out, depth, connections))
        hidden = expected.get(connections)
        if hidden is None:
            assert found == []
            continue
        whole = np.column_stack([np.full(len(hidden), n_in), hidden, np.full(len(hidden), n_out)])
        assert len(found) == len(whole), connections  # both are in ascending order
        assert np.array_equal(np.array(found), whole), connections
        total += len(found)
    return total


@pytest.mark.parametrize(("depth", "most"), [(1, 2000), (2, 2000), (3, 2000), (4, 500)])
@pytest.mark.parametrize(("n_in", "n_out"), [(4, 2), (2, 4), (1, 1), (30, 7)])
def test_every_shell_against_brute_force(n_in, n_out, depth, most):
    smaller = most if (n_in, n_out) == (4, 2) else most // 4
    assert compare_with_brute_force(n_in, n_out, depth, smaller) > 10


@pytest.mark.slow
def test_every_shell_of_four_hidden_layers_against_brute_force():
    assert compare_with_brute_force(4, 2, 4, 2000) > 10_000_000


@pytest.mark.parametrize("depth", [5, 6])
def test_deeper_shells_against_brute_force(depth):
    assert compare_with_brute_force(3, 2, depth, 60) > 1000


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("tolerance", [0.001, 0.004, 0.05, 0.3, 0.99])
@pytest.mark.parametrize("connections", [40, 151])
def test_tolerance_joins_the_shells_within_it(depth, tolerance, connections):
    share = Fraction(str(tolerance))
    within = [
        number for number in range(1, 2 * connections) if abs(Fraction(number - connections, connections)) <= share
    ]
    joined = itertools.chain.from_iterable(isoenergetic(4, 2, depth, number) for number in within)
    assert list(isoenergetic(4, 2, depth, connections, tolerance)) == sorted(joined)


def test_tolerance_is_the_number_as_written():
    """0.3 in binary is a little less, and would leave 13 of 10 out."""
    shell = Shell(1, 1, 1, 10, 0.3)
    assert (shell.least, shell.most) == (7, 13)


def test_narrow_tolerance_takes_the_divisors_of_several_numbers():
    """Widths of the last but one layer are far more than divisors here: only those can be this quick."""
    found = list(isoenergetic(4, 2, 2, 10**10, 1e-10))
    assert [energy(widths) - 10**10 for widths in found].count(-1) == len(list(isoenergetic(4, 2, 2, 10**10 - 1)))
    assert {energy(widths) - 10**10 for widths in found} == {-1, 0, 1}


def test_lazy():
    """The shell has some 1e19 members."""
    shell = isoenergetic(784, 10, 8, 10**6)
    first = list(itertools.islice(shell, 1000))
    assert len(set(first)) == 1000
    assert first == sorted(first)
    assert {(energy(widths), len(widths)) for widths in first} == {(10**6, 10)}
    assert next(shell) > first[-1]


def test_whole_numbers_beyond_64_bits():
    power = 2**80
    found = list(isoenergetic(power, 1, 2, 2 * power * power))
    assert all(energy(widths) == 2 * power * power for widths in found)
    product = 2 * power * power + power  # (n_1 + 1)(n_2 + 2^80) = 2^80 (2^81 + 1), 2^81 + 1 odd
    factors = [factor for factor in divisors(product) if factor > 1 and product // factor > power]
    assert len(found) == len(factors) > 10


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 4), st.integers(1, 150))
def test_reversed_networks_are_the_shell_of_reversed_ends(n_in, n_out, depth, connections):
    forward = isoenergetic(n_in, n_out, depth, connections)
    backward = isoenergetic(n_out, n_in, depth, connections)
    assert sorted(widths[::-1] for widths in forward) == list(backward)


@given(st.integers(1, 5000))
@example(12)
def test_divisors(number):
    assert sorted(divisors(number)) == [each for each in range(1, number + 1) if number % each == 0]


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_smallest_topology(depth):
    shell = Shell(5, 3, depth, 1)
    assert list(isoenergetic(5, 3, depth, shell.smallest)) == [(5, *[1] * depth, 3)]
    assert list(isoenergetic(5, 3, depth, shell.smallest - 1)) == []


@pytest.mark.parametrize(("n_in", "n_out", "depth"), [(4, 2, 1), (4, 2, 2), (50, 3, 2), (7, 90, 3)])
def test_nearest_connections(n_in, n_out, depth):
    possible = [number for number in range(1, 400) if any(True for _ in isoenergetic(n_in, n_out, depth, number))]
    empty = [number for number in range(1, 200) if number not in possible]
    assert empty
    for connections in empty:
        below = max((number for number in possible if number < connections), default=None)
        above = min(number for number in possible if number > connections)
        assert nearest_connections(Shell(n_in, n_out, depth, connections)) == (below, above)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 2, 2, 40), "n_in must be a whole number of at least 1, got 0"),
        ((4, 2.0, 2, 40), "n_out must be a whole number of at least 1, got 2.0"),
        ((4, 2, 0, 40), "depth must be a whole number of at least 1, got 0"),
        ((4, 2, 2, 1e6), "connections must be a whole number of at least 1, got 1000000.0"),
        ((4, 2, 2, 40, -0.1), "tolerance must be a share from 0 to below 1 such as 0.01, got -0.1"),
        ((4, 2, 2, 40, 1.0), "tolerance must be a share from 0 to below 1 such as 0.01, got 1.0"),
        ((4, 2, 2, 40, float("nan")), "tolerance must be a share from 0 to below 1 such as 0.01, got nan"),
    ],
)
def test_bad_arguments_are_refused_at_the_call(arguments, message):
    with pytest.raises(ValueError, match=message):
        isoenergetic(*arguments)
