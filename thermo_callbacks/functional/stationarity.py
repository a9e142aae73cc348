"""Equivalence test of stationarity: accepts equilibrium where the run is shown to move too little to matter."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from thermo_callbacks.functional.momentum import momentum_response
from thermo_callbacks.functional.statistics import Estimate

_MOST_BATCHES = 10  # more of them would buy narrow intervals with means that are still correlated
_FEWEST_BATCHES = 5  # the trend of the loss takes two degrees of freedom
_MEMORIES = 2  # correlation times in a batch
_NO_INTERVAL = (math.nan, math.nan, math.nan)


class Stationarity(NamedTuple):
    """What :func:`stationarity_test` says of a span of steps.

    Attributes:
        stationary: Whether both intervals lie within their tolerances.
        drift: Relative drift of the squared norm: 0 in equilibrium, 1 in free diffusion. Dimensionless.
        drift_lower: Lower end of its interval.
        drift_upper: Upper end.
        loss_change: Change of the loss over the span, in units of the scale.
        loss_change_lower: Lower end of its interval.
        loss_change_upper: Upper end.
        batches: Batches behind the intervals; 0 where the span is too short for any.
        reason: Why it is stationary, or what speaks against it.
    """

    stationary: bool
    drift: float
    drift_lower: float
    drift_upper: float
    loss_change: float
    loss_change_lower: float
    loss_change_upper: float
    batches: int
    reason: str


def stationarity_test(
    position_displacement: Tensor,
    displacement_square: Tensor,
    losses: Tensor,
    *,
    momentum: float = 0.0,
    steps_per_value: int = 1,
    tolerance: float = 0.5,
    loss_tolerance: float = 0.2,
    loss_scale: float | None = None,
    level: float = 0.05,
) -> Stationarity:
    r"""Whether a run has come to equilibrium at its learning rate, by two one-sided tests (TOST) of two changes.

    .. math:: r = \frac{1-\mu}{1+\mu}\,\frac{\langle 2\,q\cdot D + |D|^2\rangle}{\langle|D|^2\rangle}, \qquad
              c = \frac{b\,T}{s}

    with means over the T values of a span, b the slope of the loss over them, by least squares through the means of K
    batches, and s the loss' own noise from step to step, :math:`s^2 = \langle(L_t - L_{t-1})^2\rangle/2` (times
    ``steps_per_value``), or ``loss_scale``. Stationary where the intervals of level :math:`1 - 2\alpha` of r and of c
    both lie within their tolerances, so that a run whose true r or c lies beyond its tolerance is accepted with
    probability :math:`\alpha` at most. A test for a difference can't do this: without enough data it finds none.

    Both are dimensionless. r is 0 where :math:`\langle|q|^2\rangle` stands still, 1 where the parameters diffuse freely
    (whatever the momentum), beyond it or below 0 where they are driven. Neither changes with the unit of the loss, nor
    with a constant added to it, nor with the basis of the parameters.

    The errors come from the means of K batches of consecutive steps. K is at most 10, so that batches grow with the
    span and Student's t holds for correlated steps too, once a batch is longer than the correlation; and at least 5,
    each at least two correlation times :math:`(1+\mu)/(1-\mu)` of the momentum long. A stationary run is recognised
    when the span is long enough for narrow intervals: that of c is about :math:`\pm 1.9 \sqrt{12/T}`, so 0.2 takes
    2,000 to 4,000 steps. Errors of r are too large rather than too small in equilibrium, since changes of
    :math:`|q|^2` undo each other. Without noise in the loss (s = 0) nothing is accepted unless ``loss_scale`` is given.

    Assumes consecutive values of a span in which learning rate and batch size did not change. A run that learns more
    slowly than the tolerance says is accepted: by the tolerance it is as good as stationary. A layer whose loss does
    not depend on its scale (before BatchNorm or LayerNorm), without weight decay, never is.

    Source: Schuirmann 1987, "A comparison of the two one-sided tests procedure and the power approach" (TOST); Yaida
    2018, "Fluctuation-dissipation relations for stochastic gradient descent"; Lang et al. 2019, "Using statistics to
    automate stochastic optimization" (SASA); Schmeiser 1982, "Batch size effects in the analysis of simulation output".

    Args:
        position_displacement: :math:`q\cdot D` of each step, parameters before it times displacement, shape ``[T]``; of
            all parameters or of a sample. Or means over windows.
        displacement_square: :math:`|D|^2` likewise, shape ``[T]``.
        losses: Loss of each step's batch, or means over windows, shape ``[T]``.
        momentum: Decay :math:`\mu` of the optimizer's momentum buffer (SGD ``momentum``, Adam ``betas[0]``).
        steps_per_value: Steps behind each value: 1, or those of a window whose means are given.
        tolerance: Largest r, of either sign, that counts as none.
        loss_tolerance: Largest c, of either sign, that counts as none.
        loss_scale: What the change of the loss is measured in, in units of the loss; None: its noise.
        level: Probability :math:`\alpha` of accepting a run that is at its tolerance, in (0, 0.5).

    Returns:
        Both statistics with their intervals, the decision and its reason. NaN where the span is too short, or nothing
        moved.

    Raises:
        ValueError: If shapes differ or are not ``[T]``, or an option is out of its range.

    Example:
        >>> import torch
        >>> generator = torch.Generator().manual_seed(0)
        >>> noise = torch.randn(2, 4000, generator=generator, dtype=torch.float64)
        >>> moves = torch.full((4000,), 1.0, dtype=torch.float64)
        >>> swinging = stationarity_test(-0.5 * moves + noise[0], moves, 2.0 + noise[1])
        >>> swinging.stationary, round(swinging.drift_lower, 2), round(swinging.drift_upper, 2)
        (True, -0.1, 0.04)
        >>> diffusing = stationarity_test(noise[0], moves, 2.0 + noise[1])
        >>> diffusing.stationary, diffusing.reason
        (False, 'the squared norm of the parameters grows: relative drift 0.97 [0.898, 1.04], tolerance 0.5')
    """
    products, squares, losses = _series(position_displacement, displacement_square, losses)
    _check(steps_per_value, tolerance, loss_tolerance, loss_scale, level)
    response = momentum_response(momentum)
    memory = (1.0 + response.momentum) / (1.0 - response.momentum)
    shortest = max(2.0, round(_MEMORIES * memory / steps_per_value, 6))  # rounded, as 0.9 is not 9/10
    count = min(_MOST_BATCHES, int(len(losses) / shortest))
    if count < _FEWEST_BATCHES:
        fewest = math.ceil(_FEWEST_BATCHES * shortest)
        reason = f"too short a span: {len(losses)} values, at least {fewest} are needed"
        return Stationarity(False, *_NO_INTERVAL, *_NO_INTERVAL, 0, reason)
    noise = (losses.diff().square().mean() / 2.0 * steps_per_value).sqrt().item()
    scale = noise if loss_scale is None else loss_scale
    places = torch.arange(len(losses), dtype=losses.dtype, device=losses.device)
    series = torch.stack((products, squares, losses, places))
    mean_products, mean_squares, mean_losses, mean_places = _batch_means(series, count)
    drift = _relative_drift(mean_products, mean_squares, memory)
    change = _trend(mean_losses, mean_places, len(losses), scale)
    first, second = (_interval(estimate, level) for estimate in (drift, change))
    verdicts = (_judged(_DRIFT, first, tolerance), _judged(_LOSS, second, loss_tolerance))
    stationary = all(verdict[0] for verdict in verdicts)
    reasons = [text for within, text in verdicts if within == stationary]
    return Stationarity(stationary, *first, *second, count, "; ".join(reasons))


class _Words(NamedTuple):
    """How an interval is told."""

    grows: str
    shrinks: str
    name: str
    missing: str


_DRIFT = _Words(
    "the squared norm of the parameters grows",
    "the squared norm of the parameters shrinks",
    "relative drift",
    "the parameters did not move, or not to finite values",
)
_LOSS = _Words(
    "the loss rises",
    "the loss falls",
    "change of the loss",
    "the loss is not finite, or has no noise to compare its change with: give loss_scale",
)


def _series(*given: Tensor) -> list[Tensor]:
    names = ("position_displacement", "displacement_square", "losses")
    for name, series in zip(names, given, strict=True):
        if series.ndim != 1 or series.shape != given[0].shape:
            raise ValueError(
                f"{name} must hold one value a step, the same steps as position_displacement "
                f"{tuple(given[0].shape)}, got shape {tuple(series.shape)}"
            )
    return [series.detach().double() for series in given]


def _check(
    steps_per_value: int, tolerance: float, loss_tolerance: float, loss_scale: float | None, level: float
) -> None:
    if steps_per_value < 1:
        raise ValueError(f"steps_per_value must be at least 1, got {steps_per_value}")
    if not 0.0 < level < 0.5:
        raise ValueError(f"level must lie between 0 and 0.5 (for example 0.05), got {level}")
    sizes = {"tolerance": tolerance, "loss_tolerance": loss_tolerance, "loss_scale": loss_scale}
    for name, size in sizes.items():
        if size is not None and not 0.0 < size < math.inf:
            raise ValueError(f"{name} must be a positive number, got {size}")


def _batch_means(series: Tensor, count: int) -> Tensor:
    """Means of series ``[..., T]`` over consecutive batches whose lengths differ by one at most, ``[..., K]``."""
    return torch.stack([batch.mean(-1) for batch in series.tensor_split(count, -1)], -1)


def _relative_drift(products: Tensor, squares: Tensor, memory: float) -> Estimate:
    """Ratio of two correlated means and its error by the delta method: the denominator hardly fluctuates."""
    changes, diffusion, count = 2.0 * products + squares, memory * squares, len(products)
    ratio = changes.sum() / diffusion.sum()
    scatter = (changes - ratio * diffusion).square().sum() * count / (count - 1)
    return Estimate(ratio, scatter.sqrt() / diffusion.sum(), torch.tensor(count - 1.0))


def _trend(means: Tensor, places: Tensor, span: int, scale: float) -> Estimate:
    """Change of a straight line over the span, in units of the scale, by least squares through the batches' means."""
    away, count = places - places.mean(), len(means)
    slope = (away * means).sum() / away.square().sum()
    rest = (means - means.mean() - slope * away).square().sum() / (count - 2)
    factor = span / scale if scale > 0.0 else math.nan
    return Estimate(slope * factor, (rest / away.square().sum()).sqrt() * factor, torch.tensor(count - 2.0))


def _interval(estimate: Estimate, level: float) -> tuple[float, float, float]:
    """Value and ends of the interval that two one-sided tests of this level stand for."""
    lower, upper = estimate.interval(1.0 - 2.0 * level)
    return estimate.value.item(), lower.item(), upper.item()


def _judged(words: _Words, interval: tuple[float, float, float], tolerance: float) -> tuple[bool, str]:
    value, lower, upper = interval
    if not (math.isfinite(lower) and math.isfinite(upper)):
        return False, words.missing
    told = f"{words.name} {value:.3g} [{lower:.3g}, {upper:.3g}], tolerance {tolerance:g}"
    if -tolerance < lower and upper < tolerance:
        return True, told
    if lower > tolerance:
        return False, f"{words.grows}: {told}"
    if upper < -tolerance:
        return False, f"{words.shrinks}: {told}"
    return False, f"not shown to be within its tolerance, measure longer: {told}"
