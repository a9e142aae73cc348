"""Estimates of one random vector by parameter and by layer: traces with and without mobility."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

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
    r"""Estimates of the curvature of L layers from one batch, float64 on the CPU.

    Variances are those of each value by itself. Layers that are probed sample by sample have the scatter of their
    samples, in which that of the batches is; the others the bound in the mean :math:`2 |(H v)_l|^2 / K` of the scatter
    of K vectors, and nothing of the batches.

    Attributes:
        traces: Estimates of :math:`\mathrm{tr}\,H_{ll}`, ``[L]``; their sum is that of the trace over all layers.
        trace_variances: Their variances, ``[L]``.
        mobility_traces: Estimates of :math:`\mathrm{tr}(m H)_{ll}` with the mobility m, ``[L]``; NaN without one.
        mobility_variances: Their variances, ``[L]``.
        gradient_products: Products of this batch's gradient and the one that was given, ``[L]``; NaN without one.
        loss: The loss.
        whole: All five of all layers together, ``[5]``; layers share samples, so that variances don't add up.
        degrees_of_freedom: Those of the trace's variance over all layers; infinite for a bound.
        gradients: The batch's exact gradients at the point, of each parameter that has one; empty for differences.
        as_trained: Whether loss and gradients are known to come from the operations that training uses, and so from the
            same random numbers: not where attention and recurrent layers have plain ones in their place.
    """

    traces: Tensor
    trace_variances: Tensor
    mobility_traces: Tensor
    mobility_variances: Tensor
    gradient_products: Tensor
    loss: float
    whole: Tensor
    degrees_of_freedom: float
    gradients: Mapping[nn.Parameter, Tensor] = field(default_factory=dict)
    as_trained: bool = False


class LayerOrder:
    """Order of the layers' parameters among all parameters, one layer after another."""

    def __init__(self, counts: Sequence[int], *, within_layers: bool) -> None:
        self._owners = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
        self._layers = len(counts)
        ends = list(itertools.accumulate(counts))
        stretches = [slice(end - count, end) for end, count in zip(ends, counts, strict=True) if count]
        self.groups = stretches if within_layers else [slice(0, sum(counts))]

    def by_layer(self, rows: Tensor) -> Tensor:
        """Sums over each layer's parameters and over all, ``[ROWS, L + 1]``, of numbers by parameter."""
        layers = rows.new_zeros(ROWS, self._layers).index_add_(1, self._owners.to(rows.device), rows)
        return torch.cat([layers, layers.sum(1, keepdim=True)], 1)

    @property
    def owners(self) -> list[int]:
        """Number of the layer of each parameter."""
        return self._owners.tolist()


def parameter_rows(
    derivatives: Derivatives,
    point: EvaluationPoint,
    mobilities: Mobilities | None,
    gradients: Mapping[nn.Parameter, Tensor] | None,
) -> tuple[Tensor, Tensor]:
    """Rows of a sample by parameter instead of layer, ``[ROWS, P]``, and the loss ``[1]``, on the device."""
    # NaN without mobilities (displacement per unit of gradient), or without the gradients of another batch
    count = len(point.vectors)
    probes = [
        torch.stack([*plain, *_with_mobilities(along, vectors, point, mobilities, plain)])
        for vectors, along in zip(point.vectors, derivatives.products, strict=True)
        for plain in [single_probe(vectors, along)]
    ]
    rows = torch.stack(probes).mean(0)
    rows[1::2] /= count  # the variance of a mean
    missing = torch.full_like(rows[0], torch.nan)
    products = (
        missing if gradients is None else gradient_products(derivatives.gradients, point, gradients, like=missing)
    )
    return torch.cat([rows, products.unsqueeze(0)]), derivatives.loss.reshape(1).to(rows)


def _with_mobilities(
    products: Sequence[Tensor],
    vectors: Sequence[Tensor],
    point: EvaluationPoint,
    mobilities: Mobilities | None,
    plain: Sequence[Tensor],
) -> tuple[Tensor, Tensor]:
    """Traces and variances with a mobility, from those without one where it is one number for each parameter."""
    if mobilities is None:
        return torch.full_like(plain[0], torch.nan), torch.full_like(plain[1], torch.nan)
    found = [mobilities.get(parameter, torch.nan) for parameter in point.parameters]
    factors = [torch.as_tensor(factor).to(vector) for factor, vector in zip(found, vectors, strict=True)]
    if all(factor.ndim == 0 for factor in factors):
        numbers = torch.stack([factor.to(plain[0]) for factor in factors])
        return numbers * plain[0], numbers.square() * plain[1]
    return single_probe(vectors, products, factors)


def gradient_products(
    found: Sequence[Tensor | None],
    point: EvaluationPoint,
    gradients: Mapping[nn.Parameter, Tensor],
    *,
    like: Tensor,
) -> Tensor:
    """Products of two gradients; zero for a parameter that one of the losses does not use."""
    products = torch.zeros_like(like)
    for index, (parameter, own) in enumerate(zip(point.parameters, found, strict=True)):
        other = gradients.get(parameter)
        if own is not None and other is not None:
            products[index] = torch.dot(dense(own).flatten(), dense(other).to(own).flatten())
    return products
