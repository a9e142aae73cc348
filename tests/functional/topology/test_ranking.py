"""Surveys of a shell: lists and samples, the same quantities as for one topology, and ranks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from topology_values import SINGLE_VALUES

from thermo_callbacks.functional.topology import ORDERS, Shell, analyse, survey
from thermo_callbacks.functional.topology import ranking as module


@pytest.mark.parametrize(
    "shell",
    [
        Shell(784, 10, 3, 10**5),
        Shell(784, 10, 2, 10**6),
        Shell(784, 10, 1, 79_400, 0.01),
        Shell(4, 2, 4, 200),
        Shell(784, 10, 2, 10**5, 0.01),
    ],
    ids=str,
)
def test_a_list_holds_the_shell(shell):
    found = survey(shell)
    assert [tuple(widths) for widths in found.widths.tolist()] == list(shell)
    assert (found.drawn, found.size, found.size_error) == (None, len(found.widths), 0.0)


def test_connections():
    found = survey(Shell(4, 2, 3, 100, 0.1))
    assert found.connections.tolist() == [analyse(widths).connections for widths in found.widths.tolist()]
    assert set(found.connections.tolist()) == set(range(90, 111))


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_quantities_are_those_of_each_topology(depth):
    found = survey(Shell(4, 2, depth, 120, 0.02))
    for row, widths in enumerate(found.widths.tolist()):
        one = analyse(widths)
        for name in SINGLE_VALUES:
            value = getattr(found.quantities, name)[row]
            assert value == pytest.approx(getattr(one, name), rel=1e-12, abs=1e-12, nan_ok=True), (widths, name)
        assert found.quantities.temperatures[row] == pytest.approx(one.temperatures, rel=1e-12, nan_ok=True)


@pytest.mark.parametrize("by", ORDERS)
def test_ranks(by):
    found = survey(Shell(4, 2, 3, 120))
    rows = found.ranked(by)
    assert sorted(rows.tolist()) == list(range(len(found.widths)))
    values = [getattr(analyse(found.widths[row].tolist()), by) for row in rows]
    known = [value for value in values if not math.isnan(value)]
    assert known == sorted(known, reverse=True)
    assert all(map(math.isnan, values[len(known) :]))
    assert known


def test_equal_values_are_ranked_by_widths():
    found = survey(Shell(2, 2, 2, 28, 0.5))
    ranked = [(found.quantities.disorder[row], tuple(found.widths[row])) for row in found.ranked("disorder")]
    assert ranked == sorted(ranked, key=lambda each: (-each[0], each[1]))
    assert len({value for value, _ in ranked}) < len(ranked)


def test_a_large_shell_is_drawn():
    found = survey(Shell(784, 10, 4, 10**6), samples=500, seed=1)
    assert found.drawn == 500
    assert len(found.widths) <= 500
    assert (found.connections == 10**6).all()
    assert found.size == pytest.approx(2.3e7, rel=0.1)
    assert 0.0 < found.size_error < 0.1 * found.size
    again = survey(Shell(784, 10, 4, 10**6), samples=500, seed=1)
    assert np.array_equal(again.widths, found.widths)
    assert not np.array_equal(survey(Shell(784, 10, 4, 10**6), samples=500, seed=2).widths, found.widths)


def test_draws_that_came_twice_count_once(monkeypatch):
    monkeypatch.setattr(module, "_MOST_LISTED", 10)
    shell = Shell(4, 2, 3, 120)
    found = survey(shell, samples=5000)
    assert found.drawn == 5000
    assert [tuple(widths) for widths in found.widths.tolist()] == list(shell)  # all are seen, each once, in order
    assert abs(found.size - len(found.widths)) < 4.0 * found.size_error


def test_sample_has_the_distribution_of_the_list(monkeypatch):
    shell = Shell(784, 10, 3, 10**6)
    listed = survey(shell).quantities.disorder
    monkeypatch.setattr(module, "_MOST_LISTED", 10)
    drawn = survey(shell, samples=400, seed=4).quantities.disorder
    assert stats.ks_2samp(listed, drawn).pvalue > 1e-3


def test_the_top_of_a_sample_is_in_the_highest_share():
    """The best of n draws from 1..N is in the highest 3 N / n in all but exp(-3) of cases."""
    generator = np.random.default_rng(0)
    best = generator.random((20_000, 100)).max(axis=1)
    assert (best < 1.0 - 3.0 / 100).mean() == pytest.approx(math.exp(-3.0), abs=0.006)


def test_long_divisions_are_not_listed(monkeypatch):
    monkeypatch.setattr(module, "_MOST_TRIALS", 1000)
    assert survey(Shell(784, 10, 3, 10**5), samples=100).drawn == 100
    assert survey(Shell(784, 10, 2, 10**6), samples=100).drawn is None  # one number has to be divided


def test_empty_shells():
    for shell in (Shell(784, 10, 3, 100), Shell(784, 10, 2, 10_007), Shell(784, 10, 1, 1000)):
        found = survey(shell)
        assert found.widths.shape == (0, shell.depth + 2)
        assert (found.drawn, found.size) == (None, 0.0)
        assert found.ranked("disorder").tolist() == []


def test_a_search_without_a_find_ends_early(monkeypatch):
    monkeypatch.setattr(module, "_PILOT", 1)
    found = survey(Shell(784, 10, 14, 10**6), samples=100)
    assert found.widths.shape == (0, 16)
    assert found.drawn == 0


def test_limit_of_candidates(monkeypatch):
    monkeypatch.setattr(module, "_PILOT", 1)
    few, more = (survey(Shell(784, 10, 5, 10**6), samples=10**6, most_candidates=most) for most in (2**18, 2**19))
    assert 0 < few.drawn < more.drawn < 10**4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 0}, "samples must be a whole number of at least 1, got 0"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ({"most_candidates": 0}, "most_candidates must be a whole number of at least 1, got 0"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        survey(Shell(4, 2, 2, 40), **options)


def test_bad_order():
    with pytest.raises(ValueError, match="by must be one of disorder, efficiency, stability, got 'energy'"):
        survey(Shell(4, 2, 2, 40)).ranked("energy")
