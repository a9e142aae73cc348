"""Leading eigenpairs by products, against the dense decomposition."""

from __future__ import annotations

import pytest
import torch
from oracles import normal
from torch import Tensor
from torch.testing import assert_close

from thermo_callbacks.functional import leading_eigenpairs

SIZE = 200


def matrix(top: list[float], seed: int = 0) -> Tensor:
    """Symmetric, with these eigenvalues above a bulk between -0.5 and 0.5."""
    vectors = torch.linalg.qr(normal(SIZE, SIZE, seed=seed)).Q
    bulk = torch.linspace(-0.5, 0.5, SIZE - len(top), dtype=torch.float64)
    return (vectors * torch.cat([torch.tensor(top, dtype=torch.float64), bulk])) @ vectors.T


TOP = [20.0, 15.0, 12.0, 11.0, 8.0]


def test_outliers_are_found() -> None:
    dense = matrix(TOP)
    pairs = leading_eigenpairs(lambda v: dense @ v, normal(1, SIZE, seed=1), count=5, products=16)
    assert_close(pairs.values, torch.tensor(TOP).double(), rtol=1e-8, atol=0.0)
    assert_close(pairs.vectors @ pairs.vectors.T, torch.eye(5).double(), rtol=0.0, atol=1e-10)
    left = dense @ pairs.vectors.T - pairs.vectors.T * pairs.values
    assert_close(left.norm(dim=0), pairs.residuals, rtol=0.0, atol=1e-9)


@pytest.mark.parametrize("products", [1, 3, 6])
def test_residuals_bound_the_error(products: int) -> None:
    dense = matrix(TOP)
    pairs = leading_eigenpairs(lambda v: dense @ v, normal(1, SIZE, seed=2), count=3, products=products)
    assert len(pairs.values) == min(3, products)
    exact = torch.linalg.eigvalsh(dense)
    for value, residual in zip(pairs.values, pairs.residuals, strict=True):
        assert (exact - value).abs().min() <= residual + 1e-9
        assert value <= exact[-1] + 1e-9


def test_a_warm_start_finds_what_has_moved_with_few_products() -> None:
    before = matrix(TOP)
    noise = 0.05 * normal(SIZE, SIZE, seed=3)
    after = before + noise + noise.T
    start = torch.linalg.eigh(before).eigenvectors.flip(1)[:, :5].T
    pairs = leading_eigenpairs(lambda v: after @ v, start, count=5, products=9)
    cold = leading_eigenpairs(lambda v: after @ v, normal(1, SIZE, seed=4), count=5, products=9)
    expected = torch.linalg.eigvalsh(after).flip(0)[:5]
    assert_close(pairs.values, expected, rtol=0.02, atol=0.0)
    assert (cold.values - expected).abs().max() > 3.0 * (pairs.values - expected).abs().max()


def test_an_eigenvalue_that_is_there_twice_takes_two_rows() -> None:
    dense = torch.diag(torch.tensor([3.0, 3.0, 1.0, 1.0], dtype=torch.float64))
    one = leading_eigenpairs(lambda v: dense @ v, normal(1, 4, seed=1), count=2, products=4)
    two = leading_eigenpairs(lambda v: dense @ v, normal(2, 4, seed=1), count=2, products=4)
    assert_close(one.values, torch.tensor([3.0, 1.0]).double())
    assert_close(two.values, torch.tensor([3.0, 3.0]).double())


def test_largest_means_uppermost() -> None:
    dense = torch.diag(torch.tensor([-9.0, 1.0, -2.0], dtype=torch.float64))
    pairs = leading_eigenpairs(lambda v: dense @ v, torch.ones(1, 3).double(), count=3, products=5)
    assert_close(pairs.values, torch.tensor([1.0, -2.0, -9.0]).double())


def test_single_precision_and_a_start_with_repeated_rows() -> None:
    dense = matrix(TOP).float()
    row = normal(1, SIZE, seed=5).float()
    pairs = leading_eigenpairs(lambda v: dense @ v, torch.cat([row, 2.0 * row]), count=2, products=16)
    assert_close(pairs.values, torch.tensor(TOP[:2]), rtol=1e-5, atol=0.0)


def test_a_product_that_is_not_finite_has_no_pairs() -> None:
    pairs = leading_eigenpairs(lambda v: v * torch.inf, torch.ones(1, 3), count=2, products=3)
    assert pairs.values.isnan().all()
    assert pairs.residuals.isnan().all()


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match=r"^count and products must be at least 1, got 0 and 3$"):
        leading_eigenpairs(lambda v: v, torch.ones(1, 3), count=0, products=3)
    for bad in (torch.zeros(1, 3), torch.ones(3), torch.full((1, 3), torch.nan)):
        with pytest.raises(ValueError, match=r"^start must be finite rows \[m, n\], one of them not zero, got shape"):
            leading_eigenpairs(lambda v: v, bad, count=1, products=3)
