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

from thermo_callbacks.functional.curvature import (
    finite_difference_product,
    hessian_trace,
    hessian_vector_product,
    rademacher,
    rugh_temperature,
    single_probe,
)

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


class TestRademacher:
    def test_signs_in_the_parameters_shapes(self) -> None:
        parameters = [torch.zeros(3, 5), torch.zeros(7, dtype=torch.float64), torch.zeros(()), torch.zeros(0, 2)]
        signs = rademacher(parameters, seeded(0))
        assert [(x.shape, x.dtype) for x in signs] == [(p.shape, p.dtype) for p in parameters]
        assert all((x.abs() == 1.0).all() for x in signs)

    def test_a_seed_fixes_them_wherever_the_parameters_are(self) -> None:
        first, second = (rademacher([torch.zeros(100), torch.zeros(3)], seeded(4)) for _ in range(2))
        single = rademacher([torch.zeros(100, dtype=torch.bfloat16), torch.zeros(3)], seeded(4))
        assert all(
            torch.equal(a, b) and torch.equal(a, c.float()) for a, b, c in zip(first, second, single, strict=True)
        )
        assert not torch.equal(flat(first), flat(rademacher([torch.zeros(100), torch.zeros(3)], seeded(5))))
        (away,) = rademacher([torch.zeros(9, device="meta")], seeded(4))  # a device that isn't the generator's
        assert (away.device.type, away.shape) == ("meta", (9,))

    def test_an_own_generator_leaves_the_global_stream_alone(self) -> None:
        before = torch.get_rng_state()
        rademacher([torch.zeros(10)], seeded(0))
        assert torch.equal(torch.get_rng_state(), before)
        torch.manual_seed(3)
        first = rademacher([torch.zeros(100)])
        torch.manual_seed(3)
        assert torch.equal(first[0], rademacher([torch.zeros(100)])[0])

    def test_both_signs_are_equally_likely_and_independent(self) -> None:
        generator, count = seeded(1), 4000
        rows = torch.stack([rademacher([torch.zeros(19)], generator)[0] for _ in range(count)]).double()
        assert (rows.mean(0) * count**0.5).abs().max() < 4.0
        correlation = (rows.T @ rows / count - torch.eye(19)) * count**0.5
        assert correlation.abs().max() < 4.5  # 171 pairs
        assert abs((rows[1:] * rows[:-1]).mean().item() * (19 * count) ** 0.5) < 4.0

    @pytest.mark.parametrize("dtype", [torch.int64, torch.complex64], ids=str)
    def test_refuses_what_has_no_curvature(self, dtype: torch.dtype) -> None:
        pattern = rf"^parameters must be of a real floating dtype, got {dtype} at index 1: leave it out$"
        with pytest.raises(ValueError, match=pattern):
            rademacher([torch.zeros(2), torch.zeros(2, dtype=dtype)])


class TestDoubleBackward:
    @NETS
    def test_is_the_product_with_the_full_hessian(self, make: Callable[[], Problem]) -> None:
        problem = make()
        vectors = [normal(*p.shape, seed=i) for i, p in enumerate(problem.parameters)]
        gradients = torch.autograd.grad(problem.loss(problem.parameters), problem.parameters, create_graph=True)
        products = hessian_vector_product(gradients, problem.parameters, vectors)
        assert [x.shape for x in products] == [p.shape for p in problem.parameters]
        assert_close(flat(products), exact_hessian(make) @ flat(vectors), rtol=1e-9, atol=1e-12)

    def test_linear_and_unused_parameters_have_no_curvature(self) -> None:
        curved, linear, unused = (torch.tensor([2.0, 3.0], requires_grad=True) for _ in range(3))
        parameters = [curved, linear, unused]
        loss = curved.pow(3).sum() + linear.sum()
        gradients = torch.autograd.grad(loss, parameters, create_graph=True, allow_unused=True)
        assert not gradients[1].requires_grad
        assert gradients[2] is None
        products = hessian_vector_product(gradients, parameters, [torch.ones(2)] * 3)
        assert_close(products, [6.0 * curved.detach(), torch.zeros(2), torch.zeros(2)])
        assert not any(product.requires_grad for product in products)

    def test_a_loss_linear_in_everything(self) -> None:
        q = torch.ones(2, requires_grad=True)
        gradients = torch.autograd.grad(q.sum(), [q], create_graph=True)
        assert_close(hessian_vector_product(gradients, [q], [torch.ones(2)]), [torch.zeros(2)])

    def test_sparse_gradients(self) -> None:
        table = torch.nn.Embedding(5, 3, sparse=True)
        dense = torch.nn.Embedding.from_pretrained(table.weight.detach().clone(), freeze=False)
        products = []
        for embedding in (table, dense):
            loss = embedding(torch.tensor([1, 2, 1])).tanh().sum()
            gradients = torch.autograd.grad(loss, [embedding.weight], create_graph=True)
            products += hessian_vector_product(gradients, [embedding.weight], [torch.ones(5, 3)])
        assert_close(products[0], products[1])
        assert products[0][1].abs().min() > 0.0

    def test_frees_the_graph_unless_told_otherwise(self) -> None:
        q = torch.ones(2, requires_grad=True)
        gradients = torch.autograd.grad(q.pow(3).sum(), [q], create_graph=True)
        first = hessian_vector_product(gradients, [q], [torch.ones(2)], retain_graph=True)
        assert_close(first, hessian_vector_product(gradients, [q], [torch.ones(2)]))
        with pytest.raises(RuntimeError, match="backward through the graph a second time"):
            hessian_vector_product(gradients, [q], [torch.ones(2)])

    @pytest.mark.parametrize("name", ["gradients", "vectors"])
    def test_lengths_must_agree(self, name: str) -> None:
        q = torch.ones(2, requires_grad=True)
        given = {"gradients": [q, q], "vectors": [q, q]}
        given[name] = [q]
        with pytest.raises(ValueError, match=rf"^{name} must hold one entry for each of the 2 parameters, got 1$"):
            hessian_vector_product(given["gradients"], [q, q], given["vectors"])


class TestFiniteDifferences:
    @NETS
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
    def test_agree_with_double_backward(self, make: Callable[[], Problem], dtype: torch.dtype) -> None:
        problem = make()
        parameters = problem.in_dtype(dtype)
        kept = [p.detach().clone() for p in parameters]
        gradients = torch.autograd.grad(problem.loss(parameters), parameters, create_graph=True)
        probes = [rademacher(parameters, seeded(seed)) for seed in range(3)]
        for layer in problem.layers:  # and probes of a layer alone
            probes.append([v if i in layer else torch.zeros_like(v) for i, v in enumerate(probes[0])])
        for vectors in probes:
            exact = hessian_vector_product(gradients, parameters, vectors, retain_graph=True)
            products, means = finite_difference_product(problem.gradient, parameters, vectors)
            for found, expected in ((products, exact), (means, gradients)):
                assert all(x.dtype == dtype and x.shape == p.shape for x, p in zip(found, parameters, strict=True))
                assert (flat(found) - flat(expected)).norm() < 0.01 * flat(expected).norm()
            traces = [single_probe(vectors, of)[0].sum() for of in (products, exact)]
            assert_close(*traces, rtol=0.01, atol=0.0)
        assert all(torch.equal(p, q) for p, q in zip(parameters, kept, strict=True))

    def test_error_is_of_second_order_in_the_step(self) -> None:
        q, v = torch.tensor([2.0, -1.0], dtype=torch.float64), torch.tensor([1.0, 3.0], dtype=torch.float64)
        for step in (0.1, 0.05):
            products, means = finite_difference_product(lambda x: [4.0 * x[0] ** 3], [q], [v], step=step)
            # (q + hv)^3 - (q - hv)^3 = 6 q^2 hv + 2 (hv)^3, and the sum 2 q^3 + 6 q (hv)^2
            assert_close(products[0], 12.0 * q**2 * v + 4.0 * step**2 * v**3)
            assert_close(means[0], 4.0 * q**3 + 12.0 * q * (step * v) ** 2)

    def test_a_kink_counts_by_the_share_of_points_within_the_step(self) -> None:
        q, step = torch.linspace(-1.0, 1.0, 201, dtype=torch.float64) + 1e-4, 0.1
        products, _ = finite_difference_product(lambda x: [(x[0] > 0.0).double()], [q], [torch.ones_like(q)], step=step)
        assert_close(products[0].sum().item(), (q.abs() < step).sum().item() / (2.0 * step))

    def test_noise_of_kinks_grows_as_the_step_shrinks(self) -> None:
        """The stated limit: a sum of ReLUs of random signs has no curvature between its kinks."""
        q, inputs = torch.ones(5, dtype=torch.float64), normal(4000, 5, seed=1)
        sizes = []
        for step in (0.002, 0.032):
            squares = []
            for seed in range(40):
                (signs,), (vector,) = rademacher([inputs[:, 0]], seeded(seed)), rademacher([q], seeded(seed))
                found, _ = finite_difference_product(
                    lambda x, signs=signs: [inputs.T @ (signs * (inputs @ x[0] > 0.0))], [q], [vector], step=step
                )
                squares.append(found[0].square().sum())
            sizes.append(torch.stack(squares).mean().sqrt().item())
        assert sizes[0] / sizes[1] == pytest.approx(16.0**0.5, rel=0.25)

    def test_a_gradient_may_be_its_own_argument(self) -> None:
        q = torch.tensor([1.0, 2.0], dtype=torch.float64)
        products, means = finite_difference_product(lambda x: [x[0], x[1][:]], [q, q], [q, 3.0 * q])
        assert_close(products, [q, 3.0 * q])
        assert_close(means, [q, q])

    @pytest.mark.parametrize(
        ("shapes", "sizes", "moved", "typical"),
        [
            ([(4, 3), (3,)], [0.1, 1e-6], [0, 1], 0.1),  # a bias doesn't set the scale
            ([(4, 3), (3,)], [0.1, 1e-6], [1], 0.1),  # not even where it alone is moved
            ([(4, 3), (5, 5), (2, 2)], [0.1, 7.0, 0.3], [0, 1, 2], 0.3),  # nor a table of another size
            ([(4, 3), (5, 5), (2, 2)], [0.1, 7.0, 0.3], [1], 7.0),
            ([(6,), (3,)], [2.0, 0.5], [0, 1], 0.5),  # no matrix: all there is; the lower of two
            ([(6,), (2, 2)], [0.0, 0.0], [0, 1], 1.0),  # nothing to go by
            ([(4, 3), (2, 2)], [0.2, 0.0], [1], 0.2),  # a matrix that starts at zero
        ],
    )
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
    @pytest.mark.parametrize("length", [1.0, 2.0])
    def test_step_follows_the_stated_rule(
        self, shapes: list[tuple[int, ...]], sizes: list[float], moved: list[int], typical: float,
        dtype: torch.dtype, length: float,
    ) -> None:  # fmt: skip
        parameters = [
            size * rademacher([torch.zeros(shape, dtype=dtype)], seeded(i))[0]
            for i, (shape, size) in enumerate(zip(shapes, sizes, strict=True))
        ]
        vectors = [length * (i in moved) * torch.ones_like(p) for i, p in enumerate(parameters)]
        seen: list[list[Tensor]] = []
        finite_difference_product(lambda x: seen.append([v.clone() for v in x]) or x, parameters, vectors)
        step = torch.finfo(dtype).eps ** (1 / 3) * typical / length
        for values, sign in zip(seen, (1.0, -1.0), strict=True):
            for value, parameter, vector in zip(values, parameters, vectors, strict=True):
                assert_close(value, parameter + sign * step * vector)
                assert not value.requires_grad

    def test_step_does_not_depend_on_the_number_of_coordinates(self) -> None:
        moves = []
        for count in (10, 10_000):
            seen: list[Tensor] = []
            q = torch.ones(count, dtype=torch.float64)
            finite_difference_product(lambda x: seen.append(x[0].clone()) or x, [q], rademacher([q], seeded(0)))  # noqa: B023
            moves.append((seen[0] - q).abs().max())
        assert_close(*moves)

    def test_unused_sparse_and_unmoved_parameters(self) -> None:
        table, other = torch.arange(6.0).view(3, 2), torch.ones(2)

        def gradient(values: Sequence[Tensor]) -> list[Tensor | None]:
            return [values[0].square().to_sparse(), None]

        products, means = finite_difference_product(gradient, [table, other], [torch.ones(3, 2), torch.ones(2)])
        assert_close(products, [2.0 * table, torch.zeros(2)], rtol=1e-3, atol=1e-3)
        assert_close(means, [table.square(), torch.zeros(2)], rtol=1e-3, atol=1e-3)
        products, _ = finite_difference_product(gradient, [table, other], [torch.zeros(3, 2), torch.zeros(2)])
        assert_close(products, [torch.zeros(3, 2), torch.zeros(2)])

    def test_gradients_may_come_with_a_graph_and_under_no_grad(self) -> None:
        q = torch.ones(2, dtype=torch.float64, requires_grad=True)
        with torch.no_grad():
            products, means = finite_difference_product(lambda x: [x[0] * q], [q], [q])
        assert not products[0].requires_grad
        assert not means[0].requires_grad
        assert_close(products[0], q.detach())

    @pytest.mark.parametrize("step", [0.0, -1.0, math.inf, math.nan])
    def test_bad_steps(self, step: float) -> None:
        with pytest.raises(ValueError, match=rf"^step must be positive and finite, got {step}$"):
            finite_difference_product(lambda x: x, [torch.ones(2)], [torch.ones(2)], step=step)

    def test_lengths_must_agree(self) -> None:
        q = torch.ones(2)
        with pytest.raises(ValueError, match=r"^vectors must hold one entry for each of the 1 parameters, got 2$"):
            finite_difference_product(lambda x: x, [q], [q, q])
        with pytest.raises(ValueError, match=r"^what gradient returns must hold one entry .* 1 parameters, got 0$"):
            finite_difference_product(lambda x: [], [q], [q])


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
