"""Stochastic Lanczos quadrature and spectra: against dense eigenvalues, bounds, coverage."""

from __future__ import annotations

import math

import pytest
import torch
from bulk_oracles import dense_chain_matrix, random_chain
from torch import Tensor
from torch.testing import assert_close

from thermo_callbacks.functional import Spectrum, bulk_spectrum, stochastic_log_determinant
from thermo_callbacks.functional.bulk.chain import chain_operator
from thermo_callbacks.functional.bulk.lanczos import gauss_rule, lanczos, lanczos_log_sums, rademacher_rows


def positive_matrix(n: int, *, smallest: float = 0.1, largest: float = 30.0, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64)).Q
    return basis @ torch.diag(torch.logspace(math.log10(smallest), math.log10(largest), n).double()) @ basis.T


def exact_forms(matrix: Tensor, vectors: Tensor) -> Tensor:
    values, basis = torch.linalg.eigh(matrix)
    return ((vectors @ basis).square() * values.log()).sum(1)


@pytest.mark.parametrize("steps", [3, 6, 12, 24])
def test_forms_lie_between_the_bounds(steps: int) -> None:
    matrix = positive_matrix(60)
    vectors = rademacher_rows(8, matrix[0], torch.Generator().manual_seed(1))
    found = lanczos_log_sums(lambda rows: rows @ matrix, vectors, smallest=0.1, steps=steps, tolerance=0.0)
    error = (found.value - exact_forms(matrix, vectors)).abs()
    assert (error <= found.truncation * (1 + 1e-9) + 1e-10).all()
    assert found.nodes.shape == (8, steps)
    assert_close(found.weights.sum(1), torch.ones(8, dtype=torch.float64))


def test_the_iteration_ends_at_the_tolerance() -> None:
    matrix = positive_matrix(60)
    vectors = rademacher_rows(8, matrix[0], torch.Generator().manual_seed(1))
    errors, steps = [], []
    for tolerance in (1e-1, 1e-3, 1e-6):
        found = lanczos_log_sums(lambda rows: rows @ matrix, vectors, smallest=0.1, steps=60, tolerance=tolerance)
        assert (found.truncation <= 60 * tolerance).all()
        errors.append((found.value - exact_forms(matrix, vectors)).abs().max())
        steps.append(found.nodes.shape[1])
    assert steps[0] < steps[1] < steps[2] < 60
    assert errors[2] < errors[1] < errors[0]


def test_all_steps_give_all_eigenvalues() -> None:
    matrix = positive_matrix(12)
    start = torch.randn(3, 12, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    *_, last = lanczos(lambda rows: rows @ matrix, start, steps=100)
    nodes, _ = gauss_rule(last)
    assert_close(nodes, torch.linalg.eigvalsh(matrix).expand(3, -1), rtol=1e-8, atol=0.0)


def test_orthogonalisation_keeps_copies_of_eigenvalues_away() -> None:
    """Without it, the far eigenvalue comes back several times within sixty steps."""
    values = torch.cat([torch.linspace(0.1, 1.0, 199), torch.tensor([1e3])]).double()
    start = torch.ones(1, 200, dtype=torch.float64)
    *_, last = lanczos(lambda rows: rows * values, start, steps=60)
    nodes, weights = gauss_rule(last)
    assert int((nodes > 500).sum()) == 1
    assert_close(weights[nodes > 500], torch.tensor([1 / 200], dtype=torch.float64), rtol=1e-6, atol=0.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_that_span_an_invariant_space_are_finished(dtype: torch.dtype) -> None:
    """Two distinct eigenvalues: two steps; and rows of one eigenvalue beside rows of many."""
    values = torch.tensor([2.0, 2.0, 8.0, 8.0], dtype=dtype)
    found = stochastic_log_determinant(lambda rows: rows * values, values, smallest=1.0, probes=2)
    assert_close(found.estimate.value.item(), math.log(2 * 2 * 8 * 8), rtol=1e-6, atol=0.0)
    assert found.truncation < 1e-5
    assert found.spectrum.values.min() >= 1.999
    matrices = torch.stack([torch.eye(5) * 3.0, torch.diag(torch.arange(1.0, 6.0))]).to(dtype)
    sums = lanczos_log_sums(
        lambda rows: torch.einsum("rij,rj->ri", matrices, rows), torch.ones(2, 5, dtype=dtype),
        smallest=0.5, steps=5, tolerance=0.0,
    )  # fmt: skip
    assert_close(sums.value, torch.tensor([5 * math.log(3.0), math.log(120.0)]).double(), rtol=1e-5, atol=0.0)


@pytest.mark.parametrize("sizes", [[30, 20, 10], [8, 40, 40, 3]])
def test_log_determinant_of_a_bulk(sizes: list[int]) -> None:
    weights, slopes = random_chain(sizes, samples=1)
    matrix = dense_chain_matrix(weights, [slope[0] for slope in slopes], 0.1)
    found = stochastic_log_determinant(
        chain_operator(weights, slopes, 0.1),
        matrix[0],
        smallest=0.1,
        probes=64,
        generator=torch.Generator().manual_seed(0),
    )
    expected = torch.linalg.eigvalsh(matrix).log().sum()
    assert abs(found.estimate.value - expected) < 3 * found.estimate.stderr + found.truncation
    assert 0.0 < found.truncation < found.estimate.stderr < 0.2 * abs(expected)
    assert_close(found.spectrum.counts.sum().item(), float(sum(sizes)))
    assert_close((found.spectrum.values * found.spectrum.counts).sum(), matrix.trace(), rtol=0.1, atol=0.0)


def test_variance_is_that_of_the_formula() -> None:
    matrix = positive_matrix(20)
    values, basis = torch.linalg.eigh(matrix)
    logarithm = basis @ torch.diag(values.log()) @ basis.T
    off_diagonal = logarithm.square().sum() - logarithm.diagonal().square().sum()
    found = stochastic_log_determinant(
        lambda rows: rows @ matrix, matrix[0], smallest=0.1, probes=4000, generator=torch.Generator().manual_seed(3)
    )
    assert_close(found.estimate.stderr**2, 2 * off_diagonal / 4000, rtol=0.15, atol=0.0)


def coverage(repetitions: int) -> float:
    weights, slopes = random_chain([20, 15, 10], samples=1)
    operator = chain_operator(weights, slopes, 0.1)
    matrix = dense_chain_matrix(weights, [slope[0] for slope in slopes], 0.1)
    expected = torch.linalg.eigvalsh(matrix).log().sum()
    generator = torch.Generator().manual_seed(4)
    covered = 0
    for _ in range(repetitions):
        found = stochastic_log_determinant(operator, matrix[0], smallest=0.1, probes=8, generator=generator)
        low, high = found.estimate.interval(0.95)
        covered += int(low - found.truncation <= expected <= high + found.truncation)
    return covered / repetitions


def test_coverage_of_the_interval() -> None:
    assert 0.90 <= coverage(200) <= 0.99


@pytest.mark.slow
def test_coverage_of_the_interval_over_many_repetitions() -> None:
    assert 0.93 <= coverage(2000) <= 0.97


def test_spectrum_of_small_chains_is_exact() -> None:
    weights, slopes = random_chain([4, 5, 3])
    found = bulk_spectrum(weights, slopes, 0.2)
    dense = [torch.linalg.eigvalsh(dense_chain_matrix(weights, [slope[i] for slope in slopes], 0.2)) for i in range(3)]
    assert_close(found.values, torch.cat(dense))
    assert_close(found.counts.sum().item(), 12.0)
    assert_close(bulk_spectrum(weights, [slope[1] for slope in slopes], 0.2).values, dense[1])


def test_spectrum_of_large_chains_has_its_moments_and_ends() -> None:
    weights, slopes = random_chain([60, 50, 40], samples=2)
    exact = bulk_spectrum(weights, slopes, dense_limit=150)
    found = bulk_spectrum(weights, slopes, dense_limit=149, probes=20, generator=torch.Generator().manual_seed(5))
    assert len(found.values) < len(exact.values) * 20
    assert_close(found.counts.sum().item(), 150.0)
    assert found.values.min() >= 0.1
    assert_close(found.values.max(), exact.values.max(), rtol=1e-3, atol=0.0)
    for power in (1.0, 2.0, 0.5):
        mean = (exact.values**power * exact.counts).sum()
        assert_close((found.values**power * found.counts).sum(), mean, rtol=0.03, atol=0.0)
    assert_close(found.quantiles(9), exact.quantiles(9), rtol=0.15, atol=0.0)


def test_quantiles_are_representatives() -> None:
    spectrum = Spectrum(torch.tensor([5.0, 1.0, 2.0]), torch.tensor([1.0, 1.0, 2.0]))
    assert spectrum.quantiles(4).tolist() == [1.0, 2.0, 2.0, 5.0]
    assert spectrum.quantiles(1).tolist() == [2.0]


def test_the_same_seed_gives_the_same() -> None:
    weights, slopes = random_chain([20, 15])
    first, second, third = (
        bulk_spectrum(weights, slopes, dense_limit=1, generator=torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    )
    assert torch.equal(first.values, second.values)
    assert not torch.equal(first.values, third.values)


def test_errors() -> None:
    like = torch.ones(3)
    with pytest.raises(ValueError, match=r"smallest must be a positive lower bound of the spectrum, got 0.0"):
        stochastic_log_determinant(lambda rows: rows, like, smallest=0.0)
    with pytest.raises(ValueError, match="probes and steps must be at least 1, got 0 and 100"):
        stochastic_log_determinant(lambda rows: rows, like, smallest=0.1, probes=0)
    weights, slopes = random_chain([4, 3])
    with pytest.raises(ValueError, match="regulator must be positive for more than dense_limit=6 neurons, got 0"):
        bulk_spectrum(weights, slopes, 0.0, dense_limit=6)
    with pytest.raises(ValueError, match=r"slopes must be \[n_l\] or \[S, n_l\] with one S, got \[\(1, 3, 3\)\]"):
        bulk_spectrum(weights, [slope.unsqueeze(0) for slope in slopes])
