"""The trace of the Hessian against Hessians written out, and its error against all sign vectors there are."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import pytest
import torch
from curvature_oracles import Problem, block_traces, decoder, digits_net, exact_hessian, quadratic
from hypothesis import given
from hypothesis import strategies as st
from oracles import curvatures, normal, simulate, stationary_variance, torch_rule
from torch import Tensor
from torch.testing import assert_close

from thermo_callbacks.functional.curvature import hessian_trace, rugh_temperature, single_probe

NETS = pytest.mark.parametrize("make", [digits_net, decoder], ids=lambda make: make.__name__)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


def symmetric(size: int, seed: int) -> Tensor:
    matrix = normal(size, size, seed=seed)
    return matrix + matrix.T


def signs_of(size: int) -> Tensor:
    """All vectors of signs, [2^size, size]."""
    return torch.tensor(list(itertools.product((-1.0, 1.0), repeat=size)), dtype=torch.float64)


def probe_variance(matrix: Tensor, rows: Tensor) -> Tensor:
    """Variance of sum_{i in rows} v_i (A v)_i: the block's own off-diagonal, and what all others shake it by."""
    block = matrix[rows][:, rows]
    own = (block + block.T) / 2.0
    inside = 2.0 * (own.square().sum() - own.diagonal().square().sum())
    return inside + matrix[rows].square().sum() - block.square().sum()


class TestSingleProbe:
    """Every vector of signs: means and variances are exact sums."""

    SIZES = (3, 1, 4)

    @pytest.mark.parametrize("preconditioned", [False, True])
    def test_moments_over_all_signs(self, preconditioned: bool) -> None:
        hessian = symmetric(sum(self.SIZES), seed=1)
        factors = normal(len(hessian), seed=2).abs() if preconditioned else torch.ones(len(hessian)).double()
        matrix = factors[:, None] * hessian  # no longer symmetric
        found = []
        for signs in signs_of(len(hessian)):
            given = [list(x.split(self.SIZES)) for x in (signs, hessian @ signs, factors)]
            found.append(torch.stack(single_probe(given[0], given[1], given[2] if preconditioned else None)))
        values, variances = torch.stack(found, 1)
        blocks = torch.arange(len(hessian)).split(self.SIZES)
        assert_close(values.mean(0), block_traces(matrix, self.SIZES))
        assert_close(values.var(0, correction=0), torch.stack([probe_variance(matrix, rows) for rows in blocks]))
        assert_close(variances.mean(0), torch.stack([2.0 * matrix[rows].square().sum() for rows in blocks]))
        # any group of blocks: the bounds add up, although the blocks are correlated
        for count in (1, 2, 3):
            for group in itertools.combinations(range(3), count):
                variance = values[:, group].sum(1).var(correction=0)
                assert_close(variance, probe_variance(matrix, torch.cat([blocks[b] for b in group])))
                assert variance <= variances[:, group].sum(1).mean()

    def test_double_precision_of_single_precision_tensors(self) -> None:
        v = torch.ones(3)
        values, variances = single_probe([v, v], [1e8 * v, v.requires_grad_()])
        assert (values.dtype, variances.dtype) == (torch.float64, torch.float64)
        assert values.tolist() == [3e8, 3.0]
        assert variances.tolist() == pytest.approx([6e16, 6.0], rel=1e-12)
        assert not values.requires_grad

    def test_sums_beyond_the_range_of_16_bits(self) -> None:
        v = torch.ones(70, dtype=torch.float16)
        value, variance = single_probe([v], [1000.0 * v])
        assert value.item() == pytest.approx(7e4, rel=1e-6)
        assert variance.item() == pytest.approx(1.4e8, rel=1e-6)

    def test_one_degree_of_freedom_where_one_eigenvalue_is_all(self) -> None:
        """The worst case: |Hv|^2 is small whenever v'Hv is. Normal quantiles fail, one degree of freedom holds."""
        direction = torch.full((400,), 0.05, dtype=torch.float64)  # of norm 1
        problem = quadratic(torch.outer(direction, direction), [400], [[0]])
        generator, hits, normal_hits = seeded(2), 0.0, 0.0
        for _ in range(400):
            trace = hessian_trace(problem.loss(problem.parameters), problem.parameters, 1, generator)
            low, high = trace.total([0]).interval()
            hits += float(low <= 1.0 <= high) / 400
            normal_hits += float((trace.estimate - 1.0).abs() <= 1.96 * trace.stderr) / 400
        assert hits >= 0.9
        assert normal_hits < 0.85


class TestTrace:
    @given(st.lists(st.integers(-50, 50), min_size=1, max_size=6), st.integers(1, 3))
    def test_a_diagonal_hessian_is_exact(self, diagonal: list[int], probes: int) -> None:
        curvature = torch.tensor(diagonal, dtype=torch.float64)
        q = torch.zeros(len(diagonal), dtype=torch.float64, requires_grad=True)
        trace = hessian_trace(0.5 * (curvature * q.square()).sum(), [q], probes, seeded(0))
        assert trace.estimate.item() == sum(diagonal)
        bound = (2.0 * curvature.square().sum()).sqrt().item()  # of a single probe: conservative
        assert trace.stderr.item() == (0.0 if probes > 1 else pytest.approx(bound, rel=1e-12))

    @pytest.mark.parametrize("blocks", [None, [[0, 2], [1]]], ids=["common", "restricted"])
    @pytest.mark.parametrize("preconditioned", [False, True])
    def test_any_hessian_within_its_error(self, blocks: list[list[int]] | None, preconditioned: bool) -> None:
        sizes = (5, 7, 8)
        hessian = symmetric(20, seed=3)
        problem = quadratic(hessian, sizes, [[0], [1], [2]])
        factors = [normal(size, seed=size).abs() for size in sizes] if preconditioned else None
        trace = hessian_trace(
            problem.loss(problem.parameters), problem.parameters, 400, seeded(1), blocks=blocks, preconditioner=factors
        )
        exact = block_traces(hessian if factors is None else flat(factors)[:, None] * hessian, sizes)
        assert abs(trace.estimate - exact.sum()) < 3.0 * trace.stderr
        assert ((trace.per_parameter - exact).abs() < 3.0 * trace.per_parameter_stderr).all()
        assert trace.degrees_of_freedom == 399
        assert trace.stderr < 0.2 * hessian.square().sum().sqrt()

    @NETS
    @pytest.mark.parametrize("restricted", [False, True], ids=["common", "restricted"])
    def test_networks_within_three_standard_errors(self, make: Callable[[], Problem], restricted: bool) -> None:
        problem, hessian = make(), exact_hessian(make)
        exact = block_traces(hessian, problem.sizes)
        blocks = problem.layers if restricted else None
        trace = hessian_trace(problem.loss(problem.parameters), problem.parameters, 60, seeded(1), blocks=blocks)
        assert abs(trace.estimate - exact.sum()) < 3.0 * trace.stderr
        assert trace.stderr < 0.1 * exact.sum()
        assert ((trace.per_parameter - exact).abs() < 3.0 * trace.per_parameter_stderr).all()
        for layer in problem.layers:
            value, stderr, _ = trace.total(layer)
            assert abs(value - exact[layer].sum()) < 3.0 * stderr

    @NETS
    @pytest.mark.parametrize("probes", [1, 3])
    @pytest.mark.parametrize("restricted", [False, True], ids=["common", "restricted"])
    def test_parts_sum_to_the_whole(self, make: Callable[[], Problem], probes: int, restricted: bool) -> None:
        problem = make()
        blocks = problem.layers if restricted else None
        trace = hessian_trace(problem.loss(problem.parameters), problem.parameters, probes, seeded(1), blocks=blocks)
        assert trace.estimate.item() == trace.per_parameter.sum().item()
        layers = [trace.total(layer) for layer in problem.layers]
        assert_close(torch.stack([layer.value for layer in layers]).sum(), trace.estimate, rtol=1e-12, atol=0.0)
        everything = trace.total(range(len(problem.parameters)))
        assert_close(everything.value, trace.estimate, rtol=1e-12, atol=0.0)
        assert_close(everything.stderr, trace.stderr, rtol=1e-12, atol=0.0)
        assert int(everything.degrees_of_freedom) == trace.degrees_of_freedom == max(1, probes - 1)
        if probes == 1:  # bounds add up
            squares = torch.stack([layer.stderr.square() for layer in layers])
            assert_close(squares.sum().sqrt(), trace.stderr, rtol=1e-12, atol=0.0)

    @NETS
    def test_variances_are_those_of_the_formulas(self, make: Callable[[], Problem]) -> None:
        """And so is what restricting the probes to a layer saves."""
        problem, hessian = make(), exact_hessian(make)
        cheap = quadratic(hessian, problem.sizes, problem.layers)
        rows = torch.arange(len(hessian)).split(problem.sizes)
        count, ratios = 200, []
        for blocks in (None, cheap.layers):
            trace = hessian_trace(cheap.loss(cheap.parameters), cheap.parameters, count, seeded(5), blocks=blocks)
            ratios.append([])
            for layer in cheap.layers:
                inside = torch.cat([rows[i] for i in layer])
                matrix = hessian if blocks is None else hessian[inside][:, inside]
                expected = probe_variance(matrix, inside if blocks is None else torch.arange(len(inside)))
                samples = trace.contributions[:, layer].sum(1)
                squares = (samples - samples.mean()).square()
                assert (squares.mean() - expected).abs() < 4.0 * squares.std() / count**0.5
                assert_close(trace.total(layer).stderr, (samples.var() / count).sqrt(), rtol=1e-12, atol=0.0)
                ratios[-1].append(samples.var())
        saved = torch.tensor(ratios[0]) / torch.tensor(ratios[1])
        assert saved.max() > 3.0  # three to thirty, in layers that hold little of the curvature
        assert saved.min() > 0.8  # and nothing lost elsewhere

    @NETS
    def test_preconditioned_trace(self, make: Callable[[], Problem]) -> None:
        problem, hessian = make(), exact_hessian(make)
        factors = [1.0 / (0.1 + normal(*p.shape, seed=i).abs()) for i, p in enumerate(problem.parameters)]
        exact = block_traces(flat(factors)[:, None] * hessian, problem.sizes)
        loss = problem.loss(problem.parameters)
        trace = hessian_trace(loss, problem.parameters, 60, seeded(1), preconditioner=factors)
        assert abs(trace.estimate - exact.sum()) < 3.0 * trace.stderr
        for layer in problem.layers:
            value, stderr, _ = trace.total(layer)
            assert abs(value - exact[layer].sum()) < 3.0 * stderr

    def test_constant_preconditioner_is_a_factor(self) -> None:
        problem = digits_net()
        plain, tripled = (
            hessian_trace(
                problem.loss(problem.parameters), problem.parameters, 2, seeded(1),
                preconditioner=[torch.full_like(p, factor) for p in problem.parameters],
            )
            for factor in (1.0, 3.0)
        )  # fmt: skip
        for value, reference in zip(tripled[:4], plain[:4], strict=True):
            assert_close(value, 3.0 * reference)
        assert_close(tripled.variances, 9.0 * plain.variances)

    def test_single_precision_networks(self) -> None:
        problem, exact = digits_net(), exact_hessian(digits_net).trace()
        parameters = problem.in_dtype(torch.float32)
        trace = hessian_trace(problem.loss(parameters), parameters, 40, seeded(2))
        assert trace.estimate.dtype == torch.float64
        assert abs(trace.estimate - exact) < 3.0 * trace.stderr

    def test_unused_and_linear_parameters(self) -> None:
        curved, linear, unused = (torch.ones(3, requires_grad=True) for _ in range(3))
        trace = hessian_trace(curved.pow(3).sum() + linear.sum(), [curved, linear, unused], blocks=[[0], [1], [2]])
        assert trace.per_parameter.tolist() == [18.0, 0.0, 0.0]
        assert hessian_trace(linear.sum(), [linear], 1).estimate.item() == 0.0

    def test_retain_graph_leaves_a_backward_pass(self) -> None:
        problem = digits_net()
        parameters = problem.in_dtype(torch.float64)
        loss = problem.loss(parameters)
        hessian_trace(loss, parameters, 2, retain_graph=True)
        assert all(p.grad is None for p in parameters)
        loss.backward()
        assert_close([p.grad for p in parameters], list(problem.gradient(parameters)))
        loss = problem.loss(parameters)
        hessian_trace(loss, parameters, 2)
        with pytest.raises(RuntimeError, match="backward through the graph a second time"):
            loss.backward()

    def test_errors(self) -> None:
        q = torch.ones(2, requires_grad=True)
        for loss in (q, q.sum().detach()):
            pattern = (
                rf"^loss must be a scalar with a graph, got shape \({'2,' if loss.ndim else ''}\), "
                rf"requires_grad={loss.requires_grad}: take the mean of the batch, outside of no_grad$"
            )
            with pytest.raises(ValueError, match=pattern):
                hessian_trace(loss, [q])
        with pytest.raises(ValueError, match=r"^probes must be at least 1, got 0$"):
            hessian_trace(q.sum(), [q], 0)
        with pytest.raises(ValueError, match=r"^parameters must hold at least one tensor, got none: give those that"):
            hessian_trace(q.sum(), [])
        with pytest.raises(ValueError, match=r"^preconditioner must hold one entry for each of the 1 param.*, got 2$"):
            hessian_trace(q.sum(), [q], preconditioner=[q, q])

    @pytest.mark.parametrize("blocks", [[[0]], [[0, 1], [1]], [[0], [2]], []], ids=str)
    def test_blocks_must_be_a_partition(self, blocks: list[list[int]]) -> None:
        q = torch.ones(2, requires_grad=True)
        with pytest.raises(ValueError) as error:  # noqa: PT011 the whole text is compared
            hessian_trace(q.sum(), [q, q], blocks=blocks)
        assert str(error.value) == f"blocks must hold each index from 0 to 1 exactly once, got {blocks}"


class TestRughTemperature:
    RATE, CURVATURE = 0.01, curvatures(50)

    def rugh(self, variance: Tensor) -> float:
        """Exact reading of a distribution of the parameters around the minimum of the quadratic."""
        return rugh_temperature((self.CURVATURE.square() * variance).sum(), self.CURVATURE.sum()).item()

    def test_is_the_temperature_of_a_boltzmann_distribution(self) -> None:
        assert self.rugh(0.3 / self.CURVATURE) == pytest.approx(0.3)

    def test_isotropic_noise_reads_the_kinetic_temperature(self) -> None:
        variance = stationary_variance(self.CURVATURE, torch.ones(50).double(), self.RATE)
        assert self.rugh(variance) == pytest.approx(self.RATE / 2.0, rel=0.03)

    def test_other_noise_reads_another_temperature(self) -> None:
        variance = stationary_variance(self.CURVATURE, self.CURVATURE, self.RATE)
        kinetic = self.RATE * self.CURVATURE.mean().item() / 2.0
        expected = self.RATE * self.CURVATURE.square().sum().item() / (2.0 * self.CURVATURE.sum().item())
        assert self.rugh(variance) == pytest.approx(expected, rel=0.05)
        assert self.rugh(variance) > 2.0 * kinetic

    def test_training_reads_it(self) -> None:
        """SGD of 20 copies, with the Laplacian by probes: the parameters' own gradients, not the noisy ones."""
        noise = normal(500, 20, 50, seed=1)
        start = stationary_variance(self.CURVATURE, torch.ones(50).double(), self.RATE).sqrt() * normal(20, 50, seed=2)
        run = simulate(self.CURVATURE, start, noise, torch_rule(torch.optim.SGD, start.shape, lr=self.RATE))
        q = run.parameters[-1, 0].clone().requires_grad_()
        laplacian = hessian_trace(0.5 * (self.CURVATURE * q.square()).sum(), [q]).estimate
        square = (self.CURVATURE * run.parameters).square().sum(-1).mean()
        assert rugh_temperature(square, laplacian).item() == pytest.approx(self.RATE / 2.0, rel=0.05)

    def test_no_value_without_a_positive_laplacian(self) -> None:
        found = rugh_temperature(torch.ones(4), torch.tensor([2.0, 0.0, -1.0, math.nan]))
        assert found[0].item() == 0.5
        assert found[1:].isnan().all()
