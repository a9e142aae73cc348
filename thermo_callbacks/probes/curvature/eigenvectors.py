"""Most curved directions of a module's loss during training, and their curvature on a batch that knows not of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from thermo_callbacks.functional.curvature.eigenpairs import leading_eigenpairs
from thermo_callbacks.probes.curvature.probe import CurvatureProbe
from thermo_callbacks.probes.curvature.products import repeated_products
from thermo_callbacks.probes.curvature.vectors import probe_generator
from thermo_callbacks.probes.real_numbers import real_count
from thermo_callbacks.probes.replay import SKIPPED, SkippedBatch

Operator = Callable[[Tensor], Tensor]

COLD, WARM = 20, 8
"""Products of the first measurement, and of a later one besides those with the vectors of the last."""


class Directions(NamedTuple):
    """Leading directions of a Hessian between two diagonal roots, the most curved first.

    Attributes:
        vectors: Orthonormal, ``[k, n]``.
        own: Curvature along each on the batch that they were found on, which they fit too well, ``[k]``.
        fresh: Curvature along each on a batch that knows nothing of them, ``[k]``.
        residuals: Norms of what is left of each on its own batch, ``[k]``: its curvature there is that of an
            eigenvector up to this.
    """

    vectors: Tensor
    own: Tensor
    fresh: Tensor
    residuals: Tensor


class EigenvectorProbe(CurvatureProbe):
    r"""Finds the most curved directions on one batch, and measures their curvature on another.

    The largest eigenvalue on a batch is on average larger than that of the mean loss, by about
    :math:`\sum_j \langle (u_j \cdot E u_1)^2 \rangle / (\lambda_1 - \lambda_j)` with the batch's deviation E of the
    Hessian, and the curvature along its eigenvector on another batch is smaller than it by as much: in expectation the
    two enclose the truth, and their mean is free of the bias to second order in E.

    Takes the arguments of :class:`CurvatureProbe`. Memory: two copies of the parameters for each product.
    """

    def directions(
        self,
        values: Mapping[nn.Parameter, Tensor],
        own: tuple[Any, int],
        fresh: tuple[Any, int],
        *,
        step: int,
        roots: Sequence[Tensor | None],
        shifts: Sequence[Tensor],
        starts: Sequence[Tensor | None],
        counts: Sequence[int],
    ) -> list[Directions] | None:
        """Directions of :math:`R (H + W) R` for several diagonals R and W at once, and leave no trace in the run.

        Args:
            values: Parameters' values to measure at.
            own: Batch to find directions on, and its number in the epoch.
            fresh: Batch to measure them on, and its number.
            step: Number of the measurement, which with the seed fixes the random vector of a first one.
            roots: Each R, flat ``[n]``; None for the Hessian itself.
            shifts: Each W, flat ``[n]`` or a scalar.
            starts: Directions of the last measurement, ``[m, n]``; None for a first one.
            counts: How many directions are wanted of each.

        Returns:
            The directions for each R; None if the training step skips a batch.

        Raises:
            ReplayError: If the training step can't be replayed.
            RuntimeError: From the training step or autograd, where no other method is left.
        """
        with torch.inference_mode(False):
            try:
                with self._operator(values, *own, step) as hessian:
                    found = [
                        self._find(_between(hessian, root, shift), start, count, step)
                        for root, shift, start, count in zip(roots, shifts, starts, counts, strict=True)
                    ]
                with self._operator(values, *fresh, step) as hessian:
                    return [
                        Directions(vectors, curvatures, _along(_between(hessian, root, shift), vectors), residuals)
                        for (curvatures, vectors, residuals), root, shift in zip(found, roots, shifts, strict=True)
                    ]
            except SkippedBatch as reason:
                self._tell(SKIPPED, str(reason))
                return None
            finally:
                self._memory.rest()

    @contextlib.contextmanager
    def _operator(
        self, values: Mapping[nn.Parameter, Tensor], batch: Any, batch_idx: int, step: int
    ) -> Iterator[Operator]:
        """Product of the Hessian of a batch's loss with a flat vector."""
        point = self._point(values, batch, batch_idx, step)
        if not self._settled:
            self._derivatives(point, gradients=True)  # finds out by which method
            self._settled = True
            point = self._point(values, batch, batch_idx, step)
        shapes = [leaf.shape for leaf in point.leaves]
        sizes = [leaf.numel() for leaf in point.leaves]
        with repeated_products(self._replay, point, exact=not self._finite_difference) as products:

            def product(vector: Tensor) -> Tensor:
                pairs = zip(torch.split(vector, sizes), shapes, strict=True)
                parts = [_aligned(part).view(shape) for part, shape in pairs]
                return torch.cat([part.reshape(-1) for part in products(parts)])

            yield product

    _settled = False

    def _find(self, operator: Operator, start: Tensor | None, count: int, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Curvatures, vectors and residuals on the batch."""
        like = self._parameters[0]
        if start is None:
            size = sum(real_count(parameter) for parameter in self._parameters)
            generator = probe_generator(self._seed, step, like.device)
            dtype = torch.promote_types(like.dtype.to_real(), torch.float32)
            start = torch.randn(1, size, generator=generator, device=like.device, dtype=dtype)
            products = COLD
        else:
            products = len(start) + WARM
        pairs = leading_eigenpairs(operator, start, count=count, products=products)
        return pairs.values, pairs.vectors, pairs.residuals


def _aligned(part: Tensor) -> Tensor:
    """A part of a row where a complex number may begin: what a step sees as complex, autograd does too."""
    return part.clone() if part.storage_offset() % 2 else part


def _between(hessian: Operator, root: Tensor | None, shift: Tensor) -> Operator:
    """Product of R (H + W) R with a vector."""
    if root is None:
        return lambda vector: hessian(vector) + shift * vector
    return lambda vector: root * (hessian(root * vector) + shift * (root * vector))


def _along(operator: Operator, vectors: Tensor) -> Tensor:
    """Curvature along each of some unit vectors."""
    return torch.stack([(vector * operator(vector)).sum() for vector in vectors])
