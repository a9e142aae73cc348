"""Curvature of the loss: the trace of its Hessian, the Laplacian of the free energy."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from thermo_callbacks.functional.curvature.hutchinson import TraceEstimate, single_probe, trace_estimate
from thermo_callbacks.functional.curvature.hvp import check_lengths, hessian_vector_product
from thermo_callbacks.functional.curvature.rademacher import rademacher
from thermo_callbacks.functional.statistics import ratio_of_sums


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
    return trace_estimate(contributions, variances)


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
