"""Hessian-vector products against Hessians written out, and the signs and steps that they are made with."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from curvature_oracles import Problem, decoder, digits_net, exact_hessian
from oracles import normal
from torch import Tensor
from torch.testing import assert_close

from thermo_callbacks.functional.curvature import (
    accumulated_product,
    finite_difference_product,
    hessian_vector_product,
    rademacher,
    single_probe,
)

NETS = pytest.mark.parametrize("make", [digits_net, decoder], ids=lambda make: make.__name__)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


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

    @pytest.mark.parametrize("count", [1, 8, 63, 64, 65, 200])
    def test_each_bit_of_the_numbers_that_are_drawn_is_a_sign(self, count: int) -> None:
        numbers = torch.empty(-(-count // 64), dtype=torch.int64).random_(-(2**63), None, generator=seeded(7)).tolist()
        bits = [number >> place & 1 for number in numbers for place in range(64)]
        (signs,) = rademacher([torch.zeros(count)], seeded(7))
        assert signs.tolist() == [1.0 if bit else -1.0 for bit in bits[:count]]

    def test_into_memory_that_is_there(self) -> None:
        parameters = [torch.zeros(5, 3), torch.zeros(2, 3, 2, 2, dtype=torch.float64)]
        out = [torch.full((5, 3), torch.nan), torch.empty(parameters[1].shape, dtype=torch.float64)]
        out[1] = out[1].to(memory_format=torch.channels_last)
        signs = rademacher(parameters, seeded(0), out=out)
        assert all(found is place for found, place in zip(signs, out, strict=True))
        assert all(torch.equal(a, b) for a, b in zip(signs, rademacher(parameters, seeded(0)), strict=True))

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


class TestAccumulatedProduct:
    @NETS
    @pytest.mark.parametrize("given", [False, True], ids=["new memory", "given memory"])
    def test_is_the_finite_difference(self, make: Callable[[], Problem], given: bool) -> None:
        problem = make()
        kept = [p.detach().clone() for p in problem.parameters]
        vectors = rademacher(problem.parameters, seeded(0))
        memory = {name: [torch.full_like(p, torch.nan) for p in kept] for name in ("out", "scratch") if given}

        def add_gradient(values: Sequence[Tensor], sums: Sequence[Tensor]) -> None:
            leaves = [value.requires_grad_() for value in values]
            for leaf, total in zip(leaves, sums, strict=True):
                leaf.grad = total
            problem.loss(leaves).backward()

        for _ in range(2):  # what the first one has left does not count
            products, step = accumulated_product(add_gradient, problem.parameters, vectors, **memory)
            expected, _ = finite_difference_product(problem.gradient, problem.parameters, vectors, step=step)
            assert_close(products, expected, rtol=1e-9, atol=1e-9)
        if given:
            assert all(product is place for product, place in zip(products, memory["out"], strict=True))
        assert all(torch.equal(p, q) for p, q in zip(problem.parameters, kept, strict=True))

    def test_both_sides_in_their_order(self) -> None:
        q, v, seen = torch.tensor([1.0, 2.0]), torch.tensor([1.0, -1.0]), []
        scratch = [torch.empty(2)]

        def add_gradient(values: Sequence[Tensor], sums: Sequence[Tensor]) -> None:
            seen.append((values[0].tolist(), values[0].data_ptr() == scratch[0].data_ptr(), sums[0].tolist()))
            sums[0].add_(values[0].square())

        products, step = accumulated_product(add_gradient, [q], [v], step=0.5, scratch=scratch)
        # at the second side the first one's gradient is there already, with the other sign
        assert seen == [([1.5, 1.5], True, [0.0, 0.0]), ([0.5, 2.5], True, [-2.25, -2.25])]
        assert (products[0].tolist(), step) == ([2.0, -4.0], 0.5)

    @pytest.mark.parametrize("name", ["vectors", "out", "scratch"])
    def test_lengths_must_agree(self, name: str) -> None:
        q = torch.ones(2)
        given = {"vectors": [q], "out": [q], "scratch": [q]} | {name: []}
        with pytest.raises(ValueError, match=rf"^{name} must hold one entry for each of the 1 parameters, got 0$"):
            accumulated_product(lambda values, sums: None, [q], **given)
