"""Complexity of a chain: against dense matrices, in limits, and as a function of the parameters."""

from __future__ import annotations

import math

import pytest
import torch
from bulk_oracles import dense_chain_matrix, half_log_determinant, random_chain
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from thermo_callbacks.functional import bulk_complexity
from thermo_callbacks.functional.bulk.complexity import chain_complexity
from thermo_callbacks.functional.curvature import hessian_trace

widths = st.lists(st.integers(1, 7), min_size=2, max_size=5)
regulators = st.floats(1e-3, 10.0)


@given(sizes=widths, regulator=regulators, seed=st.integers(0, 1000))
def test_equals_the_dense_determinant(sizes: list[int], regulator: float, seed: int) -> None:
    weights, slopes = random_chain(sizes, seed=seed)
    found = bulk_complexity(weights, slopes, regulator)
    for sample, value in enumerate(found):
        matrix = dense_chain_matrix(weights, [slope[sample] for slope in slopes], regulator)
        assert_close(value, half_log_determinant(matrix), rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("sizes", [[784, 64, 32, 10], [16, 64, 128, 1]], ids=["wide input", "narrow input"])
@pytest.mark.parametrize("regulator", [0.1, 1e-4])
def test_large_chains_in_single_and_double_precision(sizes: list[int], regulator: float) -> None:
    weights, slopes = random_chain(sizes, samples=1, gain=1.5)
    expected = half_log_determinant(dense_chain_matrix(weights, [slope[0] for slope in slopes], regulator))
    assert_close(bulk_complexity(weights, slopes, regulator)[0], expected, rtol=1e-6, atol=0.0)
    single = bulk_complexity([w.float() for w in weights], [s.float() for s in slopes], regulator)
    assert single.dtype == torch.float32
    assert_close(single[0].double(), expected, rtol=1e-4, atol=1e-4)


@given(sizes=widths, seed=st.integers(0, 1000))
def test_without_regulator_a_feed_forward_net_has_none(sizes: list[int], seed: int) -> None:
    weights, slopes = random_chain(sizes, seed=seed)
    assert_close(bulk_complexity(weights, slopes, 0.0), torch.zeros(3, dtype=torch.float64), rtol=0.0, atol=1e-10)


@given(sizes=widths, regulator=regulators)
def test_uncoupled_neurons(sizes: list[int], regulator: float) -> None:
    weights, slopes = random_chain(sizes)
    expected = torch.full((3,), 0.5 * sum(sizes) * math.log1p(regulator), dtype=torch.float64)
    assert_close(bulk_complexity([0 * w for w in weights], slopes, regulator), expected)
    assert_close(bulk_complexity(weights, [0 * s for s in slopes], regulator), expected)


def test_default_regulator_is_a_tenth() -> None:
    weights, slopes = random_chain([4, 3, 2])
    assert_close(bulk_complexity(weights, slopes), bulk_complexity(weights, slopes, 0.1), rtol=0.0, atol=0.0)


def test_leading_dimensions_are_samples() -> None:
    weights, slopes = random_chain([5, 4, 3], samples=6)
    found = bulk_complexity(weights, slopes)
    assert found.shape == (6,)
    assert_close(bulk_complexity(weights, [slope.view(2, 3, -1) for slope in slopes]), found.view(2, 3))
    assert_close(bulk_complexity(weights, [slope[4] for slope in slopes]), found[4])


def test_half_precision_is_lifted() -> None:
    weights, slopes = random_chain([5, 4])
    half = bulk_complexity([w.bfloat16() for w in weights], [s.bfloat16() for s in slopes])
    lifted = bulk_complexity([w.bfloat16().float() for w in weights], [s.bfloat16().float() for s in slopes])
    assert_close(half, lifted, rtol=0.0, atol=0.0)


SIZES = [3, 4, 4, 2]
ACTIVATIONS = [torch.tanh, torch.tanh, torch.tanh]


def parameters(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3 * 4 + 4 * 4 + 4 * 2 + 4 + 4 + 2, generator=generator, dtype=torch.float64)


def complexity(vector: Tensor, inputs: Tensor) -> Tensor:
    w1, w2, w3, b1, b2, b3 = vector.split([12, 16, 8, 4, 4, 2])
    weights = [w1.view(4, 3), w2.view(4, 4), w3.view(2, 4)]
    return chain_complexity(inputs, weights, biases=[b1, b2, b3], activations=ACTIVATIONS)


def test_one_tanh_of_slope_one() -> None:
    inputs, weight = torch.tensor([0.0]), torch.tensor([[2.0]], requires_grad=True)
    found = chain_complexity(inputs, [weight], biases=[None], activations=[torch.tanh], regulator=0.5)
    assert_close(found.mul(2).exp(), torch.tensor(4.25))


def test_slopes_are_those_of_the_forward_pass() -> None:
    inputs, vector = torch.randn(5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64), parameters()
    w1, w2, w3, b1, b2, b3 = vector.split([12, 16, 8, 4, 4, 2])
    weights, state, slopes = [w1.view(4, 3), w2.view(4, 4), w3.view(2, 4)], inputs, []
    for weight, bias in zip(weights, (b1, b2, b3), strict=True):
        state = torch.tanh(state @ weight.T + bias)
        slopes.append(1 - state**2)
    assert_close(complexity(vector, inputs), bulk_complexity(weights, slopes))
    assert not complexity(vector, inputs).requires_grad


def test_derivative_is_the_total_one() -> None:
    """Biases act through the slopes alone."""
    inputs = torch.randn(2, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    vector = parameters().requires_grad_()
    assert torch.autograd.gradcheck(lambda q: complexity(q, inputs), (vector,))
    (gradient,) = torch.autograd.grad(complexity(vector, inputs).sum(), vector)
    assert (gradient[-10:].abs() > 1e-6).all()


def test_laplacian_of_complexity_against_the_full_hessian() -> None:
    inputs = torch.randn(3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    vector = parameters().requires_grad_()
    exact = torch.autograd.functional.hessian(lambda q: complexity(q, inputs).mean(), vector).trace()
    found = hessian_trace(complexity(vector, inputs).mean(), [vector], 60, torch.Generator().manual_seed(2))
    assert abs(found.estimate - exact) < 3 * found.stderr
    assert found.stderr < 0.2 * abs(exact)


@pytest.mark.parametrize(
    "activation",
    [torch.nn.GELU(), torch.nn.SiLU(), torch.nn.Softplus(), torch.nn.ELU(), torch.nn.Mish(), torch.nn.ReLU()],
    ids=lambda activation: type(activation).__name__,
)
def test_third_derivatives_of_activations(activation: torch.nn.Module) -> None:
    inputs = torch.randn(2, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    vector = torch.randn(12, generator=torch.Generator().manual_seed(4), dtype=torch.float64)

    def value(q: Tensor) -> Tensor:
        return chain_complexity(inputs, [q.view(4, 3)], biases=[None], activations=[activation]).mean()

    hessian = torch.autograd.functional.hessian(value, vector)
    step = 1e-5
    for direction, row in zip(step * torch.eye(12, dtype=torch.float64), hessian, strict=True):
        ahead, behind = (torch.autograd.functional.jacobian(value, vector + side * direction) for side in (1, -1))
        assert_close((ahead - behind) / (2 * step), row, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("weights", "slopes", "regulator", "message"),
    [
        ([], [], 0.1, "must hold one tensor for each layer behind the input, and at least one, got 0 and 0"),
        ([(2, 3)], [(2,), (2,)], 0.1, "and at least one, got 1 and 2"),
        ([(2, 3)], [(3,)], 0.1, r"slopes\[0\] \[..., n_out\], got \(2, 3\) and \(3,\)"),
        ([(2, 3), (4, 3)], [(2,), (4,)], 0.1, r"weights\[0\] gives 2 neurons and weights\[1\] takes 3"),
        ([(2, 3)], [(2,)], -0.1, r"regulator must be finite and not negative \(m\^2, for example 0.1\), got -0.1"),
        ([(2, 3)], [(2,)], math.nan, "regulator must be finite and not negative .* got nan"),
    ],
)
def test_errors(weights: list[tuple[int]], slopes: list[tuple[int]], regulator: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bulk_complexity([torch.ones(shape) for shape in weights], [torch.ones(shape) for shape in slopes], regulator)
