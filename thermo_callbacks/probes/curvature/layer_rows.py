"""Estimates of one random vector by parameter and by layer: traces with and without mobility."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from thermo_callbacks.functional.curvature import single_probe
from thermo_callbacks.functional.curvature.hvp import dense
from thermo_callbacks.probes.curvature.products import Derivatives, EvaluationPoint

Mobilities = Mapping[nn.Parameter, Tensor | float]
ROWS = 5
"""Numbers for each layer in a sample."""


@dataclass(frozen=True)
class CurvatureSample:
    r"""Estimates of the curvature of L layers from one batch and one random vector, float64 on the CPU.

    Attributes:
        traces: Estimates of :math:`\mathrm{tr}\,H_{ll}`, ``[L]``; their sum is that of the trace over all layers.
        trace_variances: Bounds in the mean of the traces' variances over vectors, :math:`2 |(H v)_l|^2`, ``[L]``; their
            sum bounds the variance of the sum. With a vector for each layer, :math:`2 |H_{ll} v_l|^2`.
        mobility_traces: Estimates of :math:`\mathrm{tr}(m H)_{ll}` with the mobility m, ``[L]``; NaN without one.
        mobility_variances: Bounds of their variances, ``[L]``.
        gradient_products: Products of this batch's gradient and the one that was given, ``[L]``; NaN without one.
        loss: The loss.
    """

    traces: Tensor
    trace_variances: Tensor
    mobility_traces: Tensor
    mobility_variances: Tensor
    gradient_products: Tensor
    loss: float


class LayerOrder:
    """Order of the layers' parameters among all parameters, one layer after another."""

    def __init__(self, counts: Sequence[int], *, within_layers: bool) -> None:
        self._owners = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
        self._layers = len(counts)
        ends = list(itertools.accumulate(counts))
        stretches = [slice(end - count, end) for end, count in zip(ends, counts, strict=True) if count]
        self.groups = stretches if within_layers else [slice(0, sum(counts))]

    def by_layer(self, rows: Tensor) -> Tensor:
        """Sums over the parameters of each layer, ``[ROWS, L]``, of numbers by parameter, ``[ROWS, P]``."""
        return rows.new_zeros(ROWS, self._layers).index_add_(1, self._owners.to(rows.device), rows)


def parameter_rows(
    derivatives: Derivatives,
    point: EvaluationPoint,
    mobilities: Mobilities | None,
    gradients: Mapping[nn.Parameter, Tensor] | None,
) -> tuple[Tensor, Tensor]:
    """Rows of a sample by parameter instead of layer, ``[ROWS, P]``, and the loss ``[1]``, on the device."""
    # NaN without mobilities (displacement per unit of gradient), or without the gradients of another batch
    plain = single_probe(point.vectors, derivatives.products)
    missing = torch.full_like(plain[0], torch.nan)
    moving = (missing, missing) if mobilities is None else _with_mobilities(derivatives, point, mobilities, plain)
    products = missing if gradients is None else _gradient_products(derivatives, point, gradients, like=missing)
    rows = torch.stack([*plain, *moving, products])
    return rows, derivatives.loss.reshape(1).to(rows)


def _with_mobilities(
    derivatives: Derivatives, point: EvaluationPoint, mobilities: Mobilities, plain: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Traces and variances with a mobility, from those without one where it is one number for each parameter."""
    found = [mobilities.get(parameter, torch.nan) for parameter in point.parameters]
    factors = [torch.as_tensor(factor).to(vector) for factor, vector in zip(found, point.vectors, strict=True)]
    if all(factor.ndim == 0 for factor in factors):
        numbers = torch.stack([factor.to(plain[0]) for factor in factors])
        return numbers * plain[0], numbers.square() * plain[1]
    return single_probe(point.vectors, derivatives.products, factors)


def _gradient_products(
    derivatives: Derivatives, point: EvaluationPoint, gradients: Mapping[nn.Parameter, Tensor], *, like: Tensor
) -> Tensor:
    """Products of two gradients; zero for a parameter that one of the losses does not use."""
    products = torch.zeros_like(like)
    for index, (parameter, own) in enumerate(zip(point.parameters, derivatives.gradients, strict=True)):
        other = gradients.get(parameter)
        if own is not None and other is not None:
            products[index] = torch.dot(dense(own).flatten(), dense(other).to(own).flatten())
    return products
