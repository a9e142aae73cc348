"""Curvature of the loss: the trace of its Hessian, the Laplacian of the free energy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from thermo_callbacks.functional._products import (
    check_lengths,
    finite_difference_product,
    hessian_vector_product,
    rademacher,
)
from thermo_callbacks.functional._statistics import Estimate, mean_estimate, ratio_of_sums

__all__ = [
    "TraceEstimate",
    "finite_difference_product",
    "hessian_trace",
    "hessian_vector_product",
    "rademacher",
    "rugh_temperature",
    "single_probe",
]


def single_probe(
    vectors: Sequence[Tensor], products: Sequence[Tensor], preconditioner: Sequence[Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    r"""What one random vector says about the trace, parameter by parameter, and a bound of its variance.

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


def hessian_trace(
    loss: Tensor,
    parameters: Sequence[Tensor],
    probes: int = 8,
    generator: torch.Generator | None = None,
    *,
    blocks: Sequence[Sequence[int]] | None = None,
    preconditioner: Sequence[Tensor] | None = None,
    retain_graph: bool = False,
) -> TraceEstimate:
    r"""Trace of the Hessian of a loss, of all parameters and of each, by Hutchinson's estimator.

    .. math:: \mathrm{tr}\,H = E\,v^\top H v \approx \frac1K \sum_k \sum_i v_{ki} (H v_k)_i

    with K vectors v of independent signs; for the Laplacian :math:`\nabla^2 U = \mathrm{tr}\,H` of the energy, and with
    a preconditioner for the :math:`\mathrm{tr}(M H)` at which an adaptive optimizer contracts the parameters' volume.
    Unbiased; exact for a diagonal Hessian. The variance is :math:`2 (|H|_F^2 - \sum_i H_{ii}^2) / K`, and that of one
    parameter's block, :math:`\big[2 (|H_{pp}|_F^2 - \sum_{i \in p} H_{ii}^2) + \sum_{q \ne p} |H_{pq}|_F^2\big] / K`,
    holds what the signs of all other parameters shake it by. Probes restricted to a block lack that term, at the price
    of one Hessian-vector product for each block and probe. The error comes from the scatter of the probes (Student's t,
    K - 1 degrees of freedom), or with a single probe from the bound of :func:`single_probe`, which is conservative in
    the mean. Where a few eigenvalues make up H, as in trained networks, the probes' distribution is skewed and a 95 %
    interval covers a few percent less. Probes are the only replicates: the loss is that of the batch at hand, and how
    other batches differ is not in the error. Costs one backward pass that records a graph, and a second backward pass
    for each probe.

    Source: Hutchinson 1990, "A stochastic estimator of the trace of the influence matrix for Laplacian smoothing
    splines"; learning as contraction at the rate of this trace: Vanchurin 2020, "Towards a theory of machine learning".

    Args:
        loss: A scalar with a graph. Fused attention and cuDNN's recurrent layers have no second derivative: compute it
            with their plain implementations, or use :func:`finite_difference_product`.
        parameters: Parameters q, P of them; those that the loss does not use have trace 0.
        probes: Number of vectors K, at least 1.
        generator: Source of randomness, see :func:`rademacher`.
        blocks: Groups of indices of parameters, for example one for each layer, each index in exactly one. Each group
            gets probes of its own, which are zero elsewhere. None: probes run through all parameters at once.
        preconditioner: Elementwise factors M, in the parameters' shapes; None for 1.
        retain_graph: Keep the graph of the loss, for a backward pass afterwards; otherwise it is freed, as by one.

    Returns:
        The estimate, in double precision.

    Raises:
        ValueError: If ``loss`` is not a scalar with a graph, ``probes`` is below 1, there is no parameter, sequences
            differ in length, or ``blocks`` leave out or repeat an index.

    Example:
        >>> import torch
        >>> q = torch.tensor([1.0, 2.0], requires_grad=True)
        >>> trace = hessian_trace((q**3).sum(), [q])  # a diagonal Hessian: 6 * 1 + 6 * 2, exactly
        >>> trace.estimate.item(), trace.stderr.item()
        (18.0, 0.0)
    """
    if loss.numel() != 1 or not loss.requires_grad:
        raise ValueError(
            f"loss must be a scalar with a graph, got shape {tuple(loss.shape)}, requires_grad={loss.requires_grad}: "
            "take the mean of the batch, outside of no_grad"
        )
    if probes < 1:
        raise ValueError(f"probes must be at least 1, got {probes}")
    if not parameters:
        raise ValueError("parameters must hold at least one tensor, got none: give those that training moves")
    if preconditioner is not None:
        check_lengths(parameters, preconditioner=preconditioner)
    groups = _checked_blocks(blocks, len(parameters))
    gradients = torch.autograd.grad(loss, list(parameters), create_graph=True, allow_unused=True)
    contributions = torch.zeros(probes, len(parameters), dtype=torch.float64, device=parameters[0].device)
    variances = torch.zeros_like(contributions)
    for probe in range(probes):
        for number, group in enumerate(groups):
            last = probe == probes - 1 and number == len(groups) - 1
            some = [parameters[index] for index in group]
            vectors = rademacher(some, generator)
            products = hessian_vector_product(
                [gradients[index] for index in group], some, vectors, retain_graph=retain_graph or not last
            )
            factors = None if preconditioner is None else [preconditioner[index] for index in group]
            contributions[probe, group], variances[probe, group] = (
                column.to(contributions) for column in single_probe(vectors, products, factors)
            )
    return _trace_estimate(contributions, variances)


def _trace_estimate(contributions: Tensor, variances: Tensor) -> TraceEstimate:
    """Estimates of the parameters and of their sum."""
    parameters = _mean(contributions, variances)
    whole = _mean(contributions.sum(1), variances.sum(1))
    degrees_of_freedom = int(whole.degrees_of_freedom)
    return TraceEstimate(
        parameters.value.sum(), whole.stderr, parameters.value, parameters.stderr, degrees_of_freedom,
        contributions, variances,
    )  # fmt: skip


def _checked_blocks(blocks: Sequence[Sequence[int]] | None, count: int) -> list[list[int]]:
    """The groups of indices; one with all of them for None."""
    if blocks is None:
        return [list(range(count))]
    groups = [list(block) for block in blocks if block]
    if sorted(index for group in groups for index in group) != list(range(count)):
        raise ValueError(f"blocks must hold each index from 0 to {count - 1} exactly once, got {groups}")
    return groups


def rugh_temperature(mean_gradient_square: Tensor, laplacian: Tensor) -> Tensor:
    r"""Configurational temperature: how steep the loss is where the parameters are, against how curved.

    .. math:: T_R = \frac{\langle |\nabla U|^2 \rangle}{\langle \nabla^2 U \rangle}

    For parameters distributed like :math:`e^{-U/T}` it is T, by integration by parts. Training with gradient noise of
    covariance :math:`\Sigma` settles there only if the noise is isotropic; otherwise it is another temperature than the
    kinetic one: with noise of variance :math:`s_i` on a quadratic, :math:`\eta \sum_i s_i \lambda_i / 2 \sum_i
    \lambda_i` against :math:`\eta \sum_i s_i / 2N`, at small learning rates :math:`\eta`. The gradient is that of the
    mean loss U: the square of a mini-batch's gradient exceeds it by :math:`\mathrm{tr}\,\Sigma`.

    Source: Rugh 1997, "Dynamical approach to temperature"; Butler et al. 1998.

    Args:
        mean_gradient_square: Mean of :math:`|\nabla U|^2` over the parameters' distribution, without the variance of
            gradient noise, any shape.
        laplacian: Mean of the trace of the Hessian of U, same shape.

    Returns:
        The temperature in units of the loss, same shape; NaN where the Laplacian is not positive.

    Example:
        >>> import torch
        >>> rugh_temperature(torch.tensor(3.0), torch.tensor(2.0))
        tensor(1.5000)
    """
    return ratio_of_sums(mean_gradient_square, laplacian)
