"""Critical batch size: measured from steps to a target, and predicted from the signal share along a run."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import f as fisher_f
from torch import Tensor

from thermo_callbacks.functional.gradient_noise import NoiseScale, noise_scale_interval
from thermo_callbacks.functional.statistics import Estimate

_REACH = 1e4  # how far beyond the sizes measured the knee is looked for
_GRID = 801
_ROUNDING = 1e-12  # sum of squares


class CriticalBatch(NamedTuple):
    """Knee of the number of steps against the batch size.

    Attributes:
        value: Critical batch size, in samples: there a run takes twice the fewest steps. 0 where steps do not depend
            on the size, infinite where they fall as 1 / size.
        lower: Lower end of the interval; 0 where steps that do not depend on the size are not excluded.
        upper: Upper end; infinite where steps that fall as 1 / size throughout are not excluded.
        fewest_steps: Steps that no batch size gets below.
        fewest_samples: Samples that no batch size gets below, the critical batch size times the fewest steps.
        scatter: Standard deviation of the logarithm of the steps about the curve, lack of fit included.
    """

    value: float
    lower: float
    upper: float
    fewest_steps: float
    fewest_samples: float
    scatter: float


def fit_critical_batch(batch_sizes: Tensor, steps: Tensor, *, level: float = 0.95) -> CriticalBatch:
    r"""Critical batch size from the steps that runs of different batch sizes take to one target.

    .. math:: S(B) = S_\mathrm{min}\Bigl(1 + \frac{B_\mathrm{crit}}{B}\Bigr)

    Far below :math:`B_\mathrm{crit}` twice the batch takes half the steps, far above it as many. The learning rate has
    to be tuned for each size, else the curve is that of the rate. Least squares of :math:`\log S`, since steps scatter
    in proportion; the interval holds the sizes at which the sum of squares is not significantly above its minimum
    (profile, Fisher's F with 1 and n - 2 degrees of freedom). The scatter is taken from the residuals, so points have
    to be independent: hand over one mean for each size, since runs of one size share the error of its rate. Unit:
    samples. The estimate is that of maximum likelihood for lognormal steps; its bias is of the order of the squared
    scatter.

    Source: McCandlish et al. 2018, "An Empirical Model of Large-Batch Training".

    Args:
        batch_sizes: Samples B in a batch, shape ``[n]``, at least three different ones.
        steps: Steps S to the target, same shape, above 0.
        level: Probability that the interval covers the truth, in (0, 1).

    Returns:
        The knee with its interval, and the two ends of the curve.

    Raises:
        ValueError: If shapes differ, there are fewer than three different sizes, a number is not above 0 and finite,
            or ``level`` does not lie in (0, 1).

    Example:
        >>> import torch
        >>> sizes = torch.tensor([8.0, 32.0, 128.0, 512.0])
        >>> knee = fit_critical_batch(sizes, 50.0 * (1.0 + 64.0 / sizes))
        >>> round(knee.value, 3), round(knee.fewest_steps, 3), round(knee.fewest_samples)
        (64.0, 50.0, 3200)
    """
    _check(batch_sizes, steps, level)
    sizes, logs = batch_sizes.double().cpu().numpy(), steps.double().cpu().log().numpy()
    low, high = math.log(sizes.min() / _REACH), math.log(sizes.max() * _REACH)

    def squares(knee: float) -> float:
        return float(_residuals(knee, sizes, logs).var() * len(sizes))

    grid = np.linspace(low, high, _GRID)
    heights = np.array([squares(knee) for knee in grid])
    start = int(heights.argmin())
    near = grid[max(start - 1, 0)], grid[min(start + 1, _GRID - 1)]
    best = float(minimize_scalar(squares, bounds=near, method="bounded", options={"xatol": 1e-10}).x)
    least, freedom = squares(best), len(sizes) - 2
    # the minimum is not known better than that
    line = max(least, _ROUNDING) * (1.0 + float(fisher_f.ppf(level, 1, freedom)) / freedom)
    inside = np.flatnonzero(heights <= line)
    # without scatter the interval lies between two points of the grid
    first, last = (int(inside[0]), int(inside[-1])) if len(inside) else (start, start)
    within = (min(grid[first], best), max(grid[last], best)) if len(inside) else (best, best)

    def end(outside: int, within: float) -> float:
        return math.exp(brentq(lambda knee: squares(knee) - line, *sorted((grid[outside], within))))

    fewest, value = math.exp(_residuals(best, sizes, logs).mean()), math.exp(best)
    if start in {0, _GRID - 1}:  # the curve is one of its limits
        value = 0.0 if start == 0 else math.inf
    return CriticalBatch(
        value=value,
        lower=0.0 if first == 0 else end(first - 1, within[0]),
        upper=math.inf if last == _GRID - 1 else end(last + 1, within[1]),
        fewest_steps=fewest if value < math.inf else 0.0,
        fewest_samples=fewest * math.exp(best),
        scatter=math.sqrt(least / freedom),
    )


def _residuals(knee: float, sizes: np.ndarray, logs: np.ndarray) -> np.ndarray:
    """Logarithms of the steps without the curve's shape; their mean is that of the fewest steps."""
    return np.asarray(logs - np.logaddexp(0.0, knee - np.log(sizes)))


def _check(batch_sizes: Tensor, steps: Tensor, level: float) -> None:
    if batch_sizes.ndim != 1 or batch_sizes.shape != steps.shape:
        raise ValueError(
            f"batch_sizes and steps must have one shape [n], got {tuple(batch_sizes.shape)} and {tuple(steps.shape)}"
        )
    if len(set(batch_sizes.tolist())) < 3:
        raise ValueError(f"batch_sizes must hold three different ones or more, got {batch_sizes.tolist()}")
    for name, values in (("batch_sizes", batch_sizes), ("steps", steps)):
        if not bool(((values > 0) & values.isfinite()).all()):
            raise ValueError(
                f"{name} must be above 0 and finite (leave out runs without an end), got {values.tolist()}"
            )
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1 (for example 0.95), got {level}")


def run_noise_scale(
    shares: Estimate, batch_size: float, *, samples: float = math.inf, level: float = 0.95
) -> NoiseScale:
    r"""Critical batch size that the signal along a run predicts: the noise scale of its mean signal share.

    .. math:: \bar B = \frac{\sum_t \sigma_t B_t}{\sum_t \sigma_t} = B\,\frac{1 - \bar\sigma}{\bar\sigma}, \qquad
              B_t = B\,\frac{1 - \sigma_t}{\sigma_t}

    with the noise scale :math:`B_t` at step t. A step of B samples gets as far as :math:`\sigma_t = 1/(1 + B_t/B)`
    steps without noise, so a run takes :math:`S = S_\mathrm{min} + \sum_t \sigma_t B_t / B`, and its
    :math:`B_\mathrm{crit}` is the mean of the noise scale over *noise-free* steps. Such a mean is the noise scale of
    the mean share, and exists where single shares are not above zero. Values of neighbouring windows hold the same
    steps (the monitor averages as far back as nothing changes), so errors within a run are taken as fully correlated:
    the mean's is the mean of theirs, too wide rather than too narrow. Runs are independent. It holds for steps along
    the gradient; momentum and preconditioners move the knee, mostly to larger batches.

    Source: McCandlish et al. 2018, "An Empirical Model of Large-Batch Training", for steps of a noise scale that moves.

    Args:
        shares: Signal shares of windows that are spread evenly over the run, shape ``[K]``, or ``[R, K]`` of R runs.
        batch_size: Samples B behind each gradient.
        samples: Samples that batches are drawn from without replacement; infinite with replacement.
        level: Probability that the interval covers the truth, in (0, 1).

    Returns:
        Value and ends, scalars, as of :func:`noise_scale_interval`; windows without a share are left out, and without
        any all are NaN.

    Example:
        >>> import torch
        >>> shares = Estimate(torch.tensor([0.75, 0.25]), torch.tensor([0.1, 0.1]), torch.tensor([100.0, 100.0]))
        >>> round(run_noise_scale(shares, 64).value.item(), 2)  # 64 (1 - 0.5) / 0.5; (.75 * 21.3 + .25 * 192) / 1
        64.0
    """
    known = shares.value.isfinite()
    value, stderr, degrees = (torch.where(known, part, torch.nan).nanmean(-1).reshape(-1) for part in shares)
    error = stderr.square().sum().sqrt() / len(stderr)
    return noise_scale_interval(Estimate(value.mean(), error, degrees.amin()), batch_size, samples=samples, level=level)
