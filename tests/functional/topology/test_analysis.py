"""A topology as a macrostate: exact factorials, brute force over spreads and moves, symmetries, no values."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thermo_callbacks.functional.topology import Topology, analyse

widths = st.integers(1, 60)
topologies = st.lists(widths, min_size=4, max_size=7).map(tuple)
SMALL = [(4, *hidden, 2) for depth in (2, 3, 4) for hidden in itertools.product(range(1, 5), repeat=depth)]


def energy(shape: tuple[int, ...]) -> int:
    return sum(first * second for first, second in itertools.pairwise(shape))


def ways(hidden: tuple[int, ...]) -> int:
    """M! / prod n_l!, exactly."""
    return math.factorial(sum(hidden)) // math.prod(map(math.factorial, hidden))


def free_energy(shape: tuple[int, ...], temperature: float) -> float:
    return energy(shape) - temperature * math.log(ways(shape[1:-1]))


def moved(shape: tuple[int, ...], source: int, target: int) -> tuple[int, ...]:
    after = list(shape)
    after[source] -= 1
    after[target] += 1
    return tuple(after)


@given(topologies)
def test_multiplicity_is_that_of_exact_factorials(shape):
    assert analyse(shape).multiplicity == pytest.approx(math.log(ways(shape[1:-1])), rel=1e-12, abs=1e-12)


def test_multiplicity_of_a_wide_body():
    hidden = (3_000, 1, 2_000, 512)
    assert analyse((784, *hidden, 10)).multiplicity == pytest.approx(math.log(ways(hidden)), rel=1e-12)


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_disorder_against_all_spreads_of_the_same_neurons(depth):
    for neurons in range(depth, 13):
        spreads = [hidden for hidden in itertools.product(range(1, neurons), repeat=depth) if sum(hidden) == neurons]
        largest = max(math.log(ways(hidden)) for hidden in spreads)
        for hidden in spreads:
            disorder = analyse((4, *hidden, 2)).disorder
            assert disorder == pytest.approx(math.log(ways(hidden)) / largest, rel=1e-12)
            assert 0.0 < disorder <= 1.0
            assert (disorder == 1.0) == (max(hidden) - min(hidden) <= 1)


@given(topologies)
def test_additions_are_differences_of_energy_and_entropy(shape):
    found = analyse(shape)
    for layer, addition in enumerate(found.additions, start=1):
        more = (*shape[:layer], shape[layer] + 1, *shape[layer + 1 :])
        gain = Fraction(ways(more[1:-1]), ways(shape[1:-1]))
        assert addition.layer == layer
        assert addition.connections == energy(more) - energy(shape)
        assert addition.entropy == pytest.approx(math.log(gain), rel=1e-12)
        assert found.temperatures[layer - 1] == pytest.approx(addition.connections / math.log(gain), rel=1e-12)


@given(topologies)
def test_moves_are_differences_of_energy_and_entropy(shape):
    found = analyse(shape)
    expected = [
        (source, target) for source, target in itertools.permutations(range(1, len(shape) - 1), 2) if shape[source] > 1
    ]
    assert [(move.source, move.target) for move in found.moves] == expected
    for move in found.moves:
        after = moved(shape, move.source, move.target)
        assert move.connections == energy(after) - energy(shape)
        change = math.log(Fraction(ways(after[1:-1]), ways(shape[1:-1])))
        assert move.entropy == pytest.approx(change, rel=1e-12, abs=1e-12)
        assert move.free_energy == pytest.approx(move.connections - found.temperature * change, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("shape", SMALL)
def test_stability_against_the_free_energy_after_each_move(shape):
    found = analyse(shape)
    temperature = math.fsum(found.temperatures) / len(found.temperatures)
    here = free_energy(shape, temperature)
    pairs = itertools.permutations(range(1, len(shape) - 1), 2)
    able = [(source, target) for source, target in pairs if shape[source] > 1]
    changes = {pair: free_energy(moved(shape, *pair), temperature) - here for pair in able}
    bends = [change + changes[pair[::-1]] for pair, change in changes.items() if pair[::-1] in changes]
    assert found.temperature == pytest.approx(temperature, rel=1e-14)
    assert found.free_energy == pytest.approx(here, rel=1e-9, abs=1e-9)
    assert found.lowest_move == pytest.approx(min(changes.values(), default=math.nan), abs=1e-9, nan_ok=True)
    assert found.stability == pytest.approx(min(bends, default=math.nan), abs=1e-9, nan_ok=True)
    assert found.stable is (min(changes.values()) > 0.0 if changes else None)


def test_convex_is_not_stable():
    """Second differences are positive in both, but only layers of nearly one temperature are a minimum."""
    even, balanced = analyse((784, 512, 512, 10)), analyse((4, 3, 3, 2))
    assert even.stability > 0.0
    assert not even.stable
    assert balanced.stability > 0.0
    assert balanced.stable
    assert even.efficiency > balanced.efficiency


def test_every_stable_topology_is_convex():
    stable = [found for found in map(analyse, SMALL) if found.stable and not math.isnan(found.stability)]
    assert len(stable) > 10
    assert all(found.stability > 0.0 for found in stable)


def test_wide_neighbours_at_low_temperature_are_not_convex():
    """T ln((n + 1)(m + 1)/(n m)) falls below the 2 connections that a pair of neighbours gains."""
    found = analyse((1, 40, 40, 1, 1, 1, 1, 1))
    bend = 2.0 * found.temperature * math.log(41 / 40) - 2.0
    assert found.stability == pytest.approx(bend, rel=1e-9)
    assert found.stability < 0.0


@pytest.mark.parametrize("depth", range(2, 13))
def test_layers_of_one_width_give_way_from_eight_on(depth):
    """T is about 2n / ln k, and the stability 2T/n - 2."""
    found = analyse((5000,) * (depth + 2))
    assert found.stability == pytest.approx(4.0 / math.log(depth) - 2.0, abs=0.002)
    assert (found.stability > 0.0) == (depth <= 7)


def test_neurons_that_move_together_can_lower_the_free_energy_where_none_does_alone():
    shape = (100,) * 8
    found = analyse(shape)
    together = (100, 110, 90, 110, 90, 110, 90, 100)
    assert found.efficiency < 1e-9
    assert found.stable
    assert found.stability > 0.0
    assert free_energy(together, found.temperature) < free_energy(shape, found.temperature)


@given(topologies)
def test_reversal_changes_nothing_but_the_order_of_layers(shape):
    forward, backward = analyse(shape), analyse(shape[::-1])
    assert backward.temperatures == pytest.approx(forward.temperatures[::-1], rel=1e-14)
    for name in ("connections", "neurons", "multiplicity", "disorder"):
        assert getattr(backward, name) == getattr(forward, name)
    for name in ("efficiency", "free_energy", "stability", "lowest_move"):
        value = getattr(forward, name)
        assert getattr(backward, name) == pytest.approx(value, rel=1e-9, abs=1e-9, nan_ok=True), name


@given(topologies, st.randoms(use_true_random=False))
def test_multiplicity_and_disorder_do_not_know_the_order_of_layers(shape, random):
    hidden = list(shape[1:-1])
    random.shuffle(hidden)
    first, second = analyse(shape), analyse((shape[0], *hidden, shape[-1]))
    assert (first.multiplicity, first.disorder) == (second.multiplicity, second.disorder)


@given(topologies)
def test_ranges(shape):
    found = analyse(shape)
    assert 0.0 < found.disorder <= 1.0
    assert 0.0 <= found.efficiency < 1.0
    assert min(found.temperatures) > 0.0
    assert min(found.temperatures) <= found.temperature <= max(found.temperatures)
    assert found.efficiency == pytest.approx(1.0 - min(found.temperatures) / max(found.temperatures), rel=1e-12)


def test_equal_temperatures_have_no_efficiency():
    found = analyse((7, 5, 5, 7))
    assert found.efficiency == 0.0
    assert found.temperatures == pytest.approx([12 / math.log(11 / 6)] * 2, rel=1e-14)


def test_counts_of_a_network():
    found = analyse((784, 512, 256, 10))
    assert (found.connections, found.neurons, found.hidden) == (784 * 512 + 512 * 256 + 256 * 10, 768, (512, 256))
    assert found.parameters == found.connections + 512 + 256 + 10
    assert str(found) == "784-512-256-10"


def test_connections_are_exact_beyond_floating_point():
    shape = (10**9 + 7, 10**9 + 9, 10**9 + 21, 3)
    assert analyse(shape).connections == energy(shape)
    assert float(analyse(shape).connections) != analyse(shape).connections


def test_one_hidden_layer_has_one_spread():
    found = analyse((784, 30, 10))
    assert (found.connections, found.neurons, found.multiplicity) == (30 * 794, 30, 0.0)
    assert found.additions == ((1, 794, 0.0),)
    nan_but_for(found, layers=1)


def test_no_hidden_layer_has_no_neurons():
    found = analyse((784, 10))
    assert (found.connections, found.neurons, found.multiplicity) == (7840, 0, 0.0)
    assert found.additions == ()
    nan_but_for(found, layers=0)


def nan_but_for(found: Topology, layers: int) -> None:
    assert len(found.temperatures) == layers
    numbers = [found.disorder, found.temperature, found.efficiency, found.free_energy, found.stability]
    assert all(map(math.isnan, (*numbers, found.lowest_move, *found.temperatures)))
    assert found.stable is None
    assert found.moves == ()


def test_layers_of_one_neuron_have_no_moves():
    found = analyse((4, 1, 1, 2))
    assert found.disorder == 1.0
    assert math.isnan(found.stability)
    assert math.isnan(found.lowest_move)
    assert found.stable is None


def test_whole_numbers_of_any_type():
    found = analyse(np.array([4, 3, 3, 2], dtype=np.int32))
    assert found == analyse([4, 3, 3, 2])
    assert all(type(width) is int for width in found.widths)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((784,), r"widths must hold at least those of the input and the output, got \(784,\)"),
        ((), r"widths must hold at least those of the input and the output, got \(\)"),
        ((784, 0, 10), r"widths\[1\] must be a whole number of at least 1, got 0"),
        ((784, 5, -10), r"widths\[2\] must be a whole number of at least 1, got -10"),
        ((784, 5.0, 10), r"widths\[1\] must be a whole number of at least 1, got 5.0"),
        ((784, "5", 10), r"widths\[1\] must be a whole number of at least 1, got '5'"),
    ],
)
def test_bad_widths(shape, message):
    with pytest.raises(ValueError, match=message):
        analyse(shape)
