"""Gradients and Hessian-vector products of a replayed loss, by double backward or by finite differences."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from thermo_callbacks.functional.curvature import accumulated_product, hessian_vector_product
from thermo_callbacks.functional.curvature.finite_differences import means_of_both_sides
from thermo_callbacks.functional.curvature.hvp import dense
from thermo_callbacks.probes.curvature.buffers import KeptMemory
from thermo_callbacks.probes.interrupts import finished, interruptible
from thermo_callbacks.probes.replay import Replay, ReplayedLoss, ReplayError

_GRADIENT_TOLERANCE = (0.1, 0.01)  # of the parameter's own norm, and of all parameters' norm
_PRODUCT_TOLERANCE = (0.1, 0.05)
_SMOOTH = 0.02  # share of what the gradient moves by to one side that the mean of both sides may be off by


@dataclass(frozen=True)
class EvaluationPoint:
    """Point at which a loss is differentiated, and the vectors of the products."""

    values: Mapping[nn.Parameter, Tensor]  # what to put in the place of the module's parameters, leaves among them
    batch: Any
    batch_idx: int
    parameters: Sequence[nn.Parameter]  # to differentiate by
    leaves: Sequence[Tensor]  # their values, which require a gradient
    vectors: Sequence[Sequence[Tensor]]  # K vectors v, each in their shapes
    groups: Sequence[slice]  # stretches of the parameters with a product each: that of v cut off outside
    memory: KeptMemory = field(default_factory=KeptMemory)


@dataclass(frozen=True)
class Derivatives:
    """Loss, gradients and products at a point."""

    loss: Tensor
    gradients: Sequence[Tensor | None]  # None or zero for a parameter that the loss does not use; empty if not wanted
    products: Sequence[Sequence[Tensor]]  # of each vector, in the parameters' shapes, maybe in the point's memory
    own_backward: bool  # whether an operation has a backward pass of its own
    steps: Sequence[float] = ()  # step of the first difference for each parameter; none for double backward

    def agrees(self, differences: Derivatives) -> bool:
        """Whether finite differences at the same point find about the same."""
        # at kinks (ReLU) the products say nothing: a difference sees all kinks within its step
        # how far the gradient moves to either side, which kinks within the step can move the mean by
        pairs = zip(differences.steps, differences.products[0], strict=True)
        moves = [step * float(product.norm()) for step, product in pairs]
        if not _close(self.gradients, differences.gradients, _GRADIENT_TOLERANCE, [2 * move for move in moves]):
            return False
        # of a smooth function, the gradient in the middle is the mean of those on both sides
        off = _norm([dense(one) - dense(mean) for one, mean in _pairs(self.gradients, differences.gradients)])
        smooth = off <= _SMOOTH * math.hypot(*moves)
        return not smooth or _close(self.products[0], differences.products[0], _PRODUCT_TOLERANCE, [0.0] * len(moves))


def by_double_backward(replay: Replay, point: EvaluationPoint) -> Derivatives:
    """Loss, gradients and products by double backward."""
    with replay.loss(point.values, point.batch, point.batch_idx) as loss:
        gradients = gradients_with_graph(loss, point.leaves)
        products = products_of(gradients, point)
    detached = [None if gradient is None else gradient.detach() for gradient in gradients]
    return Derivatives(loss.value.detach(), detached, products, loss.own_backward)


@contextlib.contextmanager
def repeated_products(
    replay: Replay, point: EvaluationPoint, *, exact: bool
) -> Iterator[Callable[[Sequence[Tensor]], Sequence[Tensor]]]:
    """Products of the Hessian at a point with one vector after the other, by double backward or finite differences."""
    if not exact:

        def by_differences(vectors: Sequence[Tensor]) -> Sequence[Tensor]:
            moved = dataclasses.replace(point, vectors=[vectors], groups=[slice(None)])
            return by_finite_differences(replay, moved, gradients=False).products[0]

        yield by_differences
        return
    with replay.loss(point.values, point.batch, point.batch_idx) as loss:
        gradients = gradients_with_graph(loss, point.leaves)
        yield lambda vectors: hessian_vector_product(gradients, point.leaves, vectors, retain_graph=True)


def products_of(gradients: Sequence[Tensor | None], point: EvaluationPoint) -> list[list[Tensor]]:
    """Products of the Hessian with all vectors of a point; the last one frees the graph."""
    last, products = len(point.vectors) - 1, []
    for number, vectors in enumerate(point.vectors):
        along: list[Tensor] = []
        for group in point.groups:
            keep = number < last or group is not point.groups[-1]
            along += hessian_vector_product(gradients[group], point.leaves[group], vectors[group], retain_graph=keep)
        products.append(along)
    return products


def by_finite_differences(replay: Replay, point: EvaluationPoint, *, gradients: bool = True) -> Derivatives:
    """Loss and gradients as means of both sides, and products, at the same random numbers."""
    first = _differences(replay, point, 0, gradients=gradients)
    others = [_differences(replay, point, number, gradients=False) for number in range(1, len(point.vectors))]
    products = [along for one in (first, *others) for along in one.products]
    return dataclasses.replace(first, products=products)


def _differences(replay: Replay, point: EvaluationPoint, number: int, *, gradients: bool) -> Derivatives:
    """Derivatives with one of the vectors."""
    losses: list[Tensor] = []
    own_backward = False
    products: list[Tensor] = []
    means: list[Tensor] = []
    steps: list[float] = []

    def add_gradient(moved: Sequence[Tensor], sums: Sequence[Tensor]) -> None:
        nonlocal own_backward
        sides = [nn.Parameter(value) for value in moved]
        values = {**point.values, **dict(zip(point.parameters[group], sides, strict=True))}
        with replay.loss(values, point.batch, point.batch_idx, second_order=False) as loss:
            losses.append(loss.value.detach())
            own_backward = own_backward or loss.own_backward
            _add_gradients(loss, sides, sums)
        if gradients and not right:  # the sums are those of the first side
            right.extend(place.copy_(total) for place, total in zip(memory("gradient to the right"), sums, strict=True))

    def memory(kind: Hashable) -> list[Tensor]:
        pairs = zip(point.parameters[group], leaves, strict=True)
        return [point.memory.like((kind, parameter), leaf) for parameter, leaf in pairs]

    for group in point.groups:
        right: list[Tensor] = []
        leaves, vectors = point.leaves[group], point.vectors[number][group]
        along, step = accumulated_product(
            add_gradient, leaves, vectors, out=memory(("product", number)), scratch=memory("moved value")
        )
        products += along
        steps += [step] * len(along)
        means += means_of_both_sides(right, along, step) if gradients else []
    return Derivatives(torch.stack(losses).mean(), means, [products], own_backward, steps)


def gradients_with_graph(loss: ReplayedLoss, leaves: Sequence[Tensor]) -> list[Tensor | None]:
    """Gradients by the leaves, with their graph; None where the loss does not use one, or the step has frozen it."""
    _check_graph(loss)
    able = [leaf for leaf in leaves if leaf.requires_grad]
    found = torch.autograd.grad(loss.value, able, create_graph=True, allow_unused=True) if able else ()
    by_leaf = {id(leaf): gradient for leaf, gradient in zip(able, found, strict=True)}
    return [by_leaf.get(id(leaf)) for leaf in leaves]


def _add_gradients(loss: ReplayedLoss, leaves: Sequence[Tensor], sums: Sequence[Tensor]) -> None:
    """Add the gradients by the leaves to dense tensors."""
    _check_graph(loss)
    for leaf, total in zip(leaves, sums, strict=True):
        leaf.grad = total
    if loss.own_backward:
        # reentrant checkpointing gives gradients in this way alone
        with _gradients_aside(loss.others):
            torch.autograd.backward(loss.value)
    else:
        able = [leaf for leaf in leaves if leaf.requires_grad]  # the step may have frozen some
        if able:
            torch.autograd.backward(loss.value, inputs=able)


def _check_graph(loss: ReplayedLoss) -> None:
    if not loss.value.requires_grad:
        raise ReplayError("the loss of this batch depends on no parameter: return one that is made from the network")


@contextlib.contextmanager
def _gradients_aside(leaves: Iterable[Tensor]) -> Iterator[None]:
    """Keep the gradients of leaves that are not ours from being added to."""
    kept = [(leaf, leaf.grad) for leaf in leaves]

    def give_back() -> None:
        for leaf, gradient in kept:
            leaf.grad = gradient

    with finished(give_back):
        for leaf, _ in kept:
            leaf.grad = None
        with interruptible():
            yield


def _pairs(found: Sequence[Tensor | None], expected: Sequence[Tensor | None]) -> Iterator[tuple[Tensor, Tensor]]:
    """Those of two sequences of which there are both."""
    for one, other in zip(found, expected, strict=True):
        if one is not None and other is not None:
            yield one, other


def _norm(tensors: Iterable[Tensor]) -> float:
    return math.hypot(*(float(tensor.norm()) for tensor in tensors))


def _close(
    found: Sequence[Tensor | None],
    expected: Sequence[Tensor | None],
    shares: tuple[float, float],
    slack: Sequence[float],
) -> bool:
    """Whether tensors agree within a share of their own norm, a smaller one of all norms together, and some slack."""
    whole = shares[1] * _norm(dense(other) for other in expected if other is not None)
    for one, other, more in zip(found, expected, slack, strict=True):
        if other is None:
            continue
        size = float(dense(other).norm())
        # none at all where there should be one: that of a hidden parameter
        if size and (one is None or float((dense(one) - dense(other)).norm()) > shares[0] * size + whole + more):
            return False
    return True
