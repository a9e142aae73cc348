"""The linear response of an optimizer, measured: how far it moves a weight per unit of gradient, and how it remembers.

Any linear optimizer, whatever its name, obeys D_t = sum_j a_j D_(t-j) - c0 f (g_t + sum_j b_j g_(t-j)) + drift, with f
the shape of its mobility over coordinates. Steps of a few coordinates of each parameter are enough to find the rest.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

LAGS = 2
"""Steps back that a model of the response may look."""
FEWEST_ROWS = 4
"""Steps, after those that the model looks back to, from which a response is measured at all."""
CLEAR_SHARE = 0.9
"""Share of the innovation's variance from which on a linear model leaves nothing to explain: of sign(g) with Gaussian g
it explains 2/pi, of a square matrix made orthogonal 0.72."""
_CONSISTENT = 0.1  # slopes by size and by sign differ by 57 % where the answer is the sign of a Gaussian gradient
_COLLINEAR = 1e-6  # in 32-bit displacements; what can't be told apart has the same total response
_IMPROVEMENT = 0.8  # a longer memory has to explain a fifth of what a shorter one leaves
_NEGLIGIBLE = 1e-3  # of the innovation; what is left may be weight decay, whose memory is that of the weights
_NOW, _SIGN = LAGS + 1, 2 * LAGS + 2  # columns of the present gradient, and of its sign
# earlier displacements and gradients, now's among them, that each model knows of, the simplest first
_MODELS = ((0, 1), (1, 1), (1, 2), (2, 3))


class ResponseFit(NamedTuple):
    """Measured response of P parameters, each ``[P]``; NaN where there was nothing to measure it by."""

    scale: Tensor  # the whole displacement that one gradient causes, per shape of the mobility
    scale_error: Tensor  # relative standard error of the scale
    momentum: Tensor  # decay of the slowest part of the memory
    factor: Tensor  # whole displacement over that at once
    share: Tensor  # of the innovation's variance that the linear response explains
    linear: Tensor  # whether large and small gradients are answered alike, bool
    order: Tensor  # earlier displacements that it takes, 0 to 2

    @property
    def measured(self) -> Tensor:
        """Parameters in which there was something to measure by, bool."""
        return torch.isfinite(self.scale)

    @property
    def clear(self) -> Tensor:
        """Parameters whose answer is linear, and leaves nothing unexplained, bool."""
        return self.linear & (self.share >= CLEAR_SHARE)


def response_moments(
    displacements: Tensor, gradients: Tensor, shapes: Tensor, owners: Tensor, parameters: int
) -> tuple[Tensor, Tensor]:
    """Moments that a response is fitted to, of each of P parameters; those of several processes add up.

    Args:
        displacements: Displacements per learning rate ``[W, k]``, of consecutive steps.
        gradients: Gradients ``[W, k]``; a step with one that is not finite is left out.
        shapes: Mobility of the coordinates up to a factor that each parameter has of its own, ``[W, k]``; a
            coordinate that has 0 is left out.
        owners: Parameter of each coordinate, ``[k]``.
        parameters: Number P of parameters.

    Returns:
        Sums of products about each coordinate's mean, ``[P, 7, 7]``, and the rows behind them, ``[P]``.
    """
    steps = len(displacements)
    usable = torch.isfinite(gradients).all(1) & torch.isfinite(displacements).all(1)
    rows = torch.tensor([t for t in range(LAGS, steps) if bool(usable[t - LAGS : t + 1].all())], dtype=torch.long)
    empty = displacements.new_zeros(parameters, 7, 7), displacements.new_zeros(parameters)
    if len(rows) < FEWEST_ROWS:
        return empty
    pushes = shapes * gradients
    columns = torch.stack([series[rows - lag] for series in (displacements, pushes) for lag in range(LAGS + 1)])
    columns = columns - columns.mean(1, keepdim=True)
    columns = torch.cat([columns, columns[_NOW : _NOW + 1].sign()])
    # every coordinate counts by its part of the temperature
    size = shapes[rows].mean(0)
    live = (size > 0) & (columns[_NOW] != 0).any(0)
    columns = torch.where(live, columns / size.sqrt(), 0.0)
    products = torch.einsum("atk,btk->kab", columns, columns)
    counts = live.to(columns) * (len(rows) - 1)
    return empty[0].index_add_(0, owners, products), empty[1].index_add_(0, owners, counts)


def own_shapes(displacements: Tensor, gradients: Tensor, momentum: Tensor | float = 0.0) -> Tensor:
    """Shape of the mobility by the coordinates' own motion, ``[W, k]``: for a preconditioner that nobody shows.

    Args:
        displacements: Displacements per learning rate ``[W, k]``, of consecutive steps.
        gradients: Gradients ``[W, k]``.
        momentum: Decay of the memory as far as it is known, of each coordinate or one for all.

    Returns:
        The spread of each coordinate's innovation over that of its gradient; 0 where it had none.
    """
    innovations, slopes = displacements[1:] - momentum * displacements[:-1], gradients[1:]
    usable = torch.isfinite(slopes).all(1) & torch.isfinite(innovations).all(1)
    if int(usable.sum()) < FEWEST_ROWS:
        return torch.zeros_like(displacements)
    spread = slopes[usable].std(0)
    return torch.where(spread > 0, innovations[usable].std(0) / spread.clamp(min=1e-300), 0.0).expand_as(displacements)


def fit_response(moments: Tensor, rows: Tensor) -> ResponseFit:
    r"""Fit the response to one gradient, now and in all later steps, to :func:`response_moments`.

    .. math:: D_t = \sum_{j=1}^{p} a_j D_{t-j} - \sum_{j=0}^{q} c_j f g_{t-j} + \mathrm{drift} + \mathrm{noise}

    by least squares about each coordinate's mean, so that weight decay, which draws steadily, is no response. The scale
    is :math:`\sum_j c_j/(1-\sum_j a_j)` and the factor is the scale over :math:`c_0`. The shortest memory counts that
    no longer one betters by a fifth. Noise that the optimizer injects lowers the share and leaves the slope as it is;
    an answer that is no linear one (a sign) gives large gradients another slope than small ones.

    Args:
        moments: ``[P, 7, 7]``.
        rows: ``[P]``.

    Returns:
        The response of each parameter.
    """
    moments = moments.double()
    fits = [_fit(moments, rows, *model) for model in _MODELS]
    residual, best = fits[0][0], fits[0][1:]
    for left, *found in fits[1:]:
        better = (left < _IMPROVEMENT * residual) & (best[4] < 1.0 - _NEGLIGIBLE)
        residual = torch.where(better, left, residual)
        best = tuple(torch.where(better, new, old) for new, old in zip(found, best, strict=True))
    scale, error, momentum, factor, share, linear, order = best
    # an answer uphill, or one that grows for ever, is no mobility
    known = (rows > 0) & torch.isfinite(scale)
    linear = linear.bool() & (scale > 0) & (factor > 0) & (momentum < 1)
    values = [torch.where(known, value, torch.nan) for value in (scale, error, momentum, factor, share)]
    return ResponseFit._make([*values, linear & known, order])


def _fit(moments: Tensor, rows: Tensor, earlier: int, pushes: int) -> tuple[Tensor, ...]:
    """Residual of one model, and the fields of a :class:`ResponseFit`."""
    names = [*range(1, 1 + earlier), *range(_NOW, _NOW + pushes)]
    normal, aims = moments[:, names][:, :, names], moments[:, names, 0]
    size = normal.diagonal(dim1=1, dim2=2).sqrt().clamp(min=1e-300)
    inverse = torch.linalg.pinv(normal / size[:, :, None] / size[:, None], rtol=_COLLINEAR, hermitian=True)
    inverse = inverse / size[:, :, None] / size[:, None]
    slopes = (inverse @ aims[:, :, None])[:, :, 0]
    residual = (moments[:, 0, 0] - (slopes * aims).sum(1)).clamp(min=0.0)
    memory, answers = slopes[:, :earlier], -slopes[:, earlier:]
    remaining = 1.0 - memory.sum(1)
    scale = answers.sum(1) / remaining
    gradient = torch.cat([scale[:, None].expand(-1, earlier), -torch.ones_like(answers)], 1) / remaining[:, None]
    noise = residual / (rows - len(names)).clamp(min=1.0)
    error = (noise * (gradient[:, None] @ inverse @ gradient[:, :, None])[:, 0, 0]).clamp(min=0.0).sqrt()
    innovation = torch.zeros_like(moments[:, 0])
    innovation[:, 0] = 1.0
    innovation[:, 1 : 1 + earlier] = -memory
    power = (innovation[:, None] @ moments @ innovation[:, :, None])[:, 0, 0]
    # the same slope once more, with the sign in the place of the gradient: noise leaves both alike
    innovation[:, _NOW + 1 : _NOW + pushes] = answers[:, 1:]
    lever = moments[:, _SIGN, _NOW]
    by_sign = -(innovation * moments[:, _SIGN]).sum(1) / lever
    doubt = (noise * moments[:, _SIGN, _SIGN]).sqrt() / lever.abs()
    at_once = answers[:, 0]
    linear = (by_sign - at_once).abs() < _CONSISTENT * at_once.abs() + 3.0 * doubt
    share = 1.0 - residual / power.clamp(min=1e-300)
    order = torch.full_like(scale, earlier)
    return residual, scale, error / scale.abs(), _slowest(memory), scale / at_once, share, linear.to(scale), order


def _slowest(memory: Tensor) -> Tensor:
    """Decay of the slowest part of a memory of up to two steps, ``[P]``."""
    if memory.shape[1] < LAGS:
        return memory.sum(1).clamp(min=0.0)
    first, second = memory.unbind(1)
    root = (first.square() + 4.0 * second).clamp(min=0.0).sqrt()
    return ((first + root) / 2.0).clamp(min=0.0)


def memory_power(momentum: Tensor, factor: Tensor) -> Tensor:
    """Mean square of an innovation's contrasts over that of its part by the present gradient: 1 for heavy balls."""
    # D_t - mu D_(t-1) = -c (g_t + b g_(t-1)) has the factor (1 + b) / (1 - mu); in differences from one to the next,
    # as they are taken with momentum, g_(t-1) counts once more
    memory = factor * (1.0 - momentum) - 1.0
    return 1.0 + memory.square() - torch.where(momentum > 0.0, memory, 0.0)
