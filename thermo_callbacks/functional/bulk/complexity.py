"""Complexity of the bulk: the logarithm of a determinant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from thermo_callbacks.functional.bulk.chain import Elementwise, chain_log_determinant, chain_states, checked_chain
from thermo_callbacks.functional.statistics import Estimate


def bulk_complexity(weights: Sequence[Tensor], slopes: Sequence[Tensor], regulator: float = 0.1) -> Tensor:
    r"""Complexity of the bulk of a chain of layers: what its couplings take off the logarithm of accessible states.

    .. math:: C = \tfrac12 \ln\det G, \qquad G = (1 - f'w)^T (1 - f'w) + m^2

    over the states :math:`x = (x_0, \dots, x_L)` of all neurons, the input's among them: w has the weight matrices in
    its blocks below the diagonal, and rows of zeros for the input, which has no map; so an input neuron keeps to its
    datum with the stiffness :math:`1 + m^2` that every neuron has on its own. :math:`f'w` is nilpotent, therefore
    det G = 1 and C = 0 for m = 0 whatever the weights; the regulator makes C count the soft directions. Uncoupled
    neurons have :math:`C = \tfrac n2 \ln(1 + m^2)`. Exact, by block elimination from the output to the input, in
    O(sum of the widths cubed); no smaller than single precision; differentiable. In nats.

    Source: Vanchurin 2020, "Towards a theory of machine learning". The definition is this project's own reading.

    Args:
        weights: Weight matrices from the input on, the l-th ``[n_l, n_(l-1)]``.
        slopes: Slopes :math:`f'_l` of each layer's activation at the states, the l-th ``[..., n_l]``; leading
            dimensions are samples.
        regulator: The regulator m^2, at least 0.

    Returns:
        The complexity of each sample, of the leading shape of ``slopes``: nothing is averaged.

    Raises:
        ValueError: If the shapes don't make a chain, or the regulator is negative or not finite.

    Example:
        >>> import torch
        >>> weights, slopes = [torch.tensor([[2.0]])], [torch.tensor([1.0])]
        >>> c = bulk_complexity(weights, slopes, regulator=0.5)  # G = [[5.5, -2], [-2, 1.5]], det G = 4.25
        >>> print(f"{c.mul(2).exp():.4f}")
        4.2500
        >>> bulk_complexity(weights, slopes, regulator=0.0).item()
        0.0
    """
    return 0.5 * chain_log_determinant(*checked_chain(weights, slopes, regulator), regulator)


def chain_complexity(
    inputs: Tensor,
    weights: Sequence[Tensor],
    *,
    biases: Sequence[Tensor | None],
    activations: Sequence[Elementwise],
    regulator: float = 0.1,
) -> Tensor:
    """Complexity of each sample ``[..., n_0]`` of a chain as a function of its parameters, slopes included, in nats."""
    # bulk_complexity with f'_l at the states of the forward pass. The derivative with respect to a parameter is the
    # total one: the parameter moves the states, and with them the slopes. The Laplacian of complexity is the trace of
    # the Hessian of the mean over the samples; that of the total free energy is the loss's plus the temperature times
    # this one. It takes three derivatives of the activation.
    _, slopes = chain_states(inputs, weights, biases, activations)
    return bulk_complexity(weights, slopes, regulator)


class ComplexitySums(NamedTuple):
    """Sums over samples whose complexity is finite, scalars in double precision; those of several batches add up."""

    complexity_sum: Tensor
    complexity_square: Tensor
    num_samples: Tensor

    def estimate(self) -> Estimate:
        """Mean complexity, NaN without samples, with the standard error of a mean of independent samples."""
        count = self.num_samples.to(self.complexity_sum)
        value = self.complexity_sum / count
        scatter = (self.complexity_square - count * value.square()).clamp(min=0.0)
        # beyond the digits of the sums there is no scatter to be seen
        scatter = torch.where(scatter <= 1e-14 * self.complexity_square, 0.0, scatter)
        stderr = torch.where(count > 1, (scatter / (count - 1) / count).sqrt(), torch.nan)
        return Estimate(value, stderr, (count - 1).clamp(min=0.0))


def complexity_sums(complexity: Tensor) -> ComplexitySums:
    """Sums of the complexities of some samples, ``[S]`` or a scalar, in nats."""
    values = complexity.detach().double().flatten()
    values = values[values.isfinite()]
    return ComplexitySums(values.sum(), values.square().sum(), torch.tensor(values.numel(), device=values.device))
