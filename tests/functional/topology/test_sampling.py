"""Draws from a shell: uniform by chi-square against the list of all, sized rightly, seeded, and refused when empty."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from thermo_callbacks.functional.topology import Shell, sample_isoenergetic
from thermo_callbacks.functional.topology import sampling as sampling
from thermo_callbacks.functional.topology.boxes import covering_boxes
from thermo_callbacks.functional.topology.sampling import ShellSampler

SHELLS = [
    Shell(4, 2, 1, 500, 0.05),
    Shell(4, 2, 2, 40),
    Shell(4, 2, 2, 1120),
    Shell(4, 2, 2, 300, 0.1),
    Shell(4, 2, 3, 300),
    Shell(784, 10, 3, 50_000),
    Shell(4, 2, 3, 300, 0.02),
    Shell(2, 9, 4, 150),
    Shell(4, 2, 4, 100, 0.1),
    Shell(3, 2, 6, 40),
]
EMPTY = Shell(4, 2, 2, 45)  # (n_1 + 2)(n_2 + 4) = 53 is prime


def energies(widths):
    return (widths[:, :-1] * widths[:, 1:]).sum(axis=1)


@pytest.mark.parametrize("shell", SHELLS, ids=str)
def test_every_topology_is_as_probable(shell):
    listed = list(shell)
    each = 60
    drawn = ShellSampler(shell, seed=5).draw(each * len(listed))
    counts = Counter(map(tuple, drawn.tolist()))
    assert set(counts) <= set(listed)
    found = stats.chisquare([counts[widths] for widths in listed])
    freedom = len(listed) - 1
    assert abs(found.statistic - freedom) < 4.0 * math.sqrt(2.0 * freedom)


def test_chi_square_sees_a_tilt_of_a_tenth():
    """What the test above would say if wide first layers were a little more probable."""
    listed = list(SHELLS[4])
    generator = np.random.default_rng(0)
    tilt = np.linspace(0.9, 1.1, len(listed))
    counts = generator.multinomial(60 * len(listed), tilt / tilt.sum())
    freedom = len(listed) - 1
    assert stats.chisquare(counts).statistic - freedom > 1.5 * math.sqrt(2.0 * freedom)


@pytest.mark.parametrize("shell", SHELLS, ids=str)
def test_size_is_that_of_the_list(shell):
    sampler = ShellSampler(shell, seed=11)
    sampler.draw(20_000)
    size = sum(1 for _ in shell)
    assert abs(sampler.size - size) <= 4.0 * sampler.size_error + 1e-9 * size
    assert sampler.size_error < 0.05 * size


def test_standard_error_of_the_size():
    """Over repetitions, errors scatter as they say; tried candidates are the sample."""
    shell, size = SHELLS[4], sum(1 for _ in SHELLS[4])
    scores = []
    for seed in range(30):
        sampler = ShellSampler(shell, seed)
        sampler.draw(1)
        scores.append((sampler.size - size) / sampler.size_error)
    assert abs(np.mean(scores)) < 4.0 / math.sqrt(30)
    assert 0.6 < np.std(scores) < 1.4


@pytest.mark.parametrize("shell", SHELLS, ids=str)
def test_boxes_are_disjoint_and_hold_the_shell(shell):
    boxes = covering_boxes(shell)
    hidden = np.array([widths[1:-1] for widths in shell])
    inside = ((boxes.low <= hidden[:, None]) & (hidden[:, None] <= boxes.high)).all(axis=2)
    assert (inside.sum(axis=1) == 1).all()


@pytest.mark.parametrize("shell", SHELLS, ids=str)
def test_coarse_boxes_hold_the_shell_too(shell, monkeypatch):
    monkeypatch.setattr("thermo_callbacks.functional.topology.boxes._MOST_BOXES", 6)
    fewer = covering_boxes(shell)
    assert len(fewer.low) <= 6
    hidden = np.array([widths[1:-1] for widths in shell])
    inside = ((fewer.low <= hidden[:, None]) & (hidden[:, None] <= fewer.high)).all(axis=2)
    assert (inside.sum(axis=1) == 1).all()


def test_choices_suffice_for_the_layer_solved_for():
    """No combination of the other widths leaves more values of it than a candidate can name."""
    shell = Shell(4, 2, 3, 300, 0.1)
    boxes = covering_boxes(shell)
    hidden = np.array([widths[1:-1] for widths in shell])
    for low, high, solved, choices in zip(boxes.low, boxes.high, boxes.solved, boxes.choices, strict=True):
        members = hidden[((low <= hidden) & (hidden <= high)).all(axis=1)]
        others = Counter(map(tuple, np.delete(members, solved, axis=1).tolist()))
        assert max(others.values(), default=0) <= choices


@pytest.mark.parametrize(("depth", "connections"), [(3, 10**6), (4, 10**6), (6, 10**7), (3, 10**12)])
def test_large_budgets(depth, connections):
    drawn = sample_isoenergetic(784, 10, depth, connections, 20, seed=3)
    assert len(set(drawn)) == 20
    for widths in drawn:
        assert (widths[0], widths[-1], len(widths)) == (784, 10, depth + 2)
        assert min(widths) >= 1
        assert sum(itertools.starmap(lambda one, other: one * other, itertools.pairwise(widths))) == connections
        assert all(type(width) is int for width in widths)


def test_energies_stay_within_a_tolerance():
    drawn = np.array(sample_isoenergetic(784, 10, 3, 10**5, 5000, tolerance=0.01, seed=1))
    numbers = energies(drawn)
    assert 99_000 <= numbers.min() < 99_050
    assert 100_950 < numbers.max() <= 101_000


def test_seed():
    first = sample_isoenergetic(784, 10, 3, 10**5, 50, seed=1)
    assert first == sample_isoenergetic(784, 10, 3, 10**5, 50, seed=1)
    assert first != sample_isoenergetic(784, 10, 3, 10**5, 50, seed=2)


def test_draws_go_on():
    """A second draw is of new candidates."""
    sampler = ShellSampler(Shell(784, 10, 3, 10**5), seed=0)
    first, second = sampler.draw(300), sampler.draw(300)
    assert len(first) == len(second) == 300
    assert not np.array_equal(first, second)
    assert sampler.tried > 0


def test_a_shell_with_no_candidates_is_empty_for_sure():
    sampler = ShellSampler(Shell(784, 10, 3, 100), seed=0)
    assert sampler.draw(10).shape == (0, 5)
    assert (sampler.size, sampler.size_error, sampler.tried) == (0.0, 0.0, 0)


def test_limit_of_candidates():
    sampler = ShellSampler(EMPTY, seed=0)
    assert math.isnan(sampler.size)
    assert len(sampler.draw(10, 1)) == 0
    assert sampler.tried == sampling._BATCH
    assert sampler.size == 0.0
    assert math.isnan(sampler.size_error)


def test_empty_shell_is_refused(monkeypatch):
    assert list(EMPTY) == []
    monkeypatch.setattr(ShellSampler.draw, "__defaults__", (1,))
    with pytest.raises(ValueError, match=r"got 45 with a tolerance of 0: 0 of 3 came up among 131072 candidates; give"):
        sample_isoenergetic(4, 2, 2, 45, 3)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((4, 2, 2, 40, 0), {}, "count must be a whole number of at least 1, got 0"),
        ((4, 2, 2, 40, 1.5), {}, "count must be a whole number of at least 1, got 1.5"),
        ((4, 2, 2, 40, 1), {"seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ((4, 0, 2, 40, 1), {}, "n_out must be a whole number of at least 1, got 0"),
        ((4, 2, 2, 40, 1), {"tolerance": 2.0}, "tolerance must be a share"),
        ((4, 2, 2, 2**60, 1), {}, r"most must be below 2\*\*60 for sampling, got 1152921504606846976"),
        ((2**60, 2, 2, 40, 1), {}, r"n_in must be below 2\*\*60 for sampling, got 1152921504606846976"),
    ],
)
def test_bad_arguments(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        sample_isoenergetic(*arguments, **options)
