"""Estimates of traces from products with random vectors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from thermo_callbacks.functional.statistics import Estimate, mean_estimate


def single_probe(
    vectors: Sequence[Tensor], products: Sequence[Tensor], preconditioner: Sequence[Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    r"""Trace estimate of one random vector, parameter by parameter, and a bound of its variance.

    .. math:: x_p = \sum_{i \in p} v_i M_i (H v)_i, \qquad
              s_p^2 = 2 \sum_{i \in p} \big(M_i (H v)_i\big)^2, \qquad E\,s_p^2 \ge \mathrm{Var}(x_p)

    for a vector v of independent signs (:func:`rademacher`). Each :math:`x_p` is an unbiased estimate of the trace of
    the block :math:`(M H)_{pp}`. With A = MH and :math:`S = (A_{pp} + A_{pp}^\top)/2`,

    .. math:: \mathrm{Var}(x_p) = 2 \Big(|S|_F^2 - \sum_i S_{ii}^2\Big) + \sum_{q \ne p} |A_{pq}|_F^2
              \le 2 \sum_q |A_{pq}|_F^2 = 2\,E \big|(A v)_p\big|^2

    The last member adds up over parameters, so :math:`\sum_p s_p^2` bounds the variance of a sum of blocks too, up to
    that of the whole trace, although the blocks of one vector are correlated. The bound is conservative by the share of
    A that is on the diagonal, and for blocks by up to 2 where the rest of the network shakes them. It bounds in the
    mean: where one eigenvalue makes up nearly all of A, :math:`s^2` scatters like a chi-squared with one degree of
    freedom, and where :math:`x` comes out near 0, so does it.

    Args:
        vectors: The signs v, one tensor for each of P parameters; zero where a probe is restricted to other blocks.
        products: Their products Hv with the Hessian, same shapes.
        preconditioner: Elementwise factors M, same shapes; None for 1.

    Returns:
        Values x and variances s squared, ``[P]`` each, in double precision on the first parameter's device.

    Example:
        >>> import torch
        >>> v = torch.tensor([1.0, -1.0])
        >>> value, variance = single_probe([v], [torch.tensor([[3.0, 1.0], [1.0, 3.0]]) @ v])
        >>> value.item(), round(variance.item(), 6)  # (3 + 3) - 2 * 1, and twice |(2, -2)|^2
        (4.0, 16.0)
    """
    factors: Sequence[Tensor | None] = [None] * len(products) if preconditioner is None else preconditioner
    values, variances = [], []
    with torch.no_grad():
        for vector, product, factor in zip(vectors, products, factors, strict=True):
            scaled = product if factor is None else product * factor
            values.append(_inner_product(vector, scaled))
            # a norm and not a sum of squares, which 16 bits can't hold
            variances.append(2.0 * torch.linalg.vector_norm(scaled, dtype=torch.float64).square())
        device = values[0].device  # layers may be spread over several
        return torch.stack([x.to(device) for x in values]), torch.stack([x.to(device) for x in variances])


def _inner_product(first: Tensor, second: Tensor) -> Tensor:
    """Sum of products: of single precision in single precision, whose rounding is far below a probe's own scatter."""
    if first.dtype.itemsize < 4:
        first, second = first.float(), second.float()
    return torch.dot(first.reshape(-1), second.reshape(-1)).double()


class TraceEstimate(NamedTuple):
    """Trace of a Hessian with its standard error, in units of the loss per unit of parameter squared.

    Attributes:
        estimate: The trace, a scalar: exactly the sum of ``per_parameter``.
        stderr: Its standard error, a scalar.
        per_parameter: Traces of the diagonal blocks of the P parameters, ``[P]``.
        per_parameter_stderr: Their standard errors, ``[P]``; correlated, so :meth:`total` gives that of a sum.
        degrees_of_freedom: K - 1 for K probes, for Student's t; 1 for a single probe, whose error rests on one square.
        contributions: What each probe said, ``[K, P]``.
        variances: The bounds of :func:`single_probe` for each, ``[K, P]``.
    """

    estimate: Tensor
    stderr: Tensor
    per_parameter: Tensor
    per_parameter_stderr: Tensor
    degrees_of_freedom: int
    contributions: Tensor
    variances: Tensor

    def total(self, parameters: Iterable[int]) -> Estimate:
        """Trace of a block of several parameters, such as those of a layer.

        Args:
            parameters: Their indices.

        Returns:
            The trace with its standard error, scalars.

        Example:
            >>> import torch
            >>> from thermo_callbacks.functional.curvature.trace import hessian_trace
            >>> q = torch.tensor([1.0, 2.0], requires_grad=True)
            >>> trace = hessian_trace((q**3).sum(), [q], probes=2)
            >>> trace.total([0]).value.item()  # 6 * (1 + 2)
            18.0
        """
        chosen = list(parameters)
        return _mean(self.contributions[:, chosen].sum(1), self.variances[:, chosen].sum(1))


def _mean(contributions: Tensor, variances: Tensor) -> Estimate:
    """Mean over probes ``[K, ...]``, with the error from their scatter or, of a single probe, from its bound."""
    if len(contributions) > 1:
        return mean_estimate(contributions)
    return Estimate(contributions[0], variances[0].sqrt(), torch.ones_like(contributions[0]))


def trace_estimate(contributions: Tensor, variances: Tensor) -> TraceEstimate:
    """Traces of P parameters and of all, from values and variances of K probes, each ``[K, P]``."""
    parameters = _mean(contributions, variances)
    whole = _mean(contributions.sum(1), variances.sum(1))
    degrees_of_freedom = int(whole.degrees_of_freedom)
    return TraceEstimate(
        parameters.value.sum(), whole.stderr, parameters.value, parameters.stderr, degrees_of_freedom,
        contributions, variances,
    )  # fmt: skip
