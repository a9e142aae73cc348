"""What momentum does to displacements, and how to take it out again."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from thermo_callbacks.functional.statistics import helmert_contrasts


class MomentumResponse(NamedTuple):
    r"""How an optimizer with momentum answers one gradient: now, and in the long run.

    Attributes:
        momentum: The decay :math:`\mu` of the momentum buffer; 0 without momentum.
        factor: The whole displacement that one gradient causes over all later steps, divided by the displacement it
            causes at once: 1 without momentum, :math:`1/(1-\mu)` for heavy-ball SGD and Adam, :math:`1/(1-\mu^2)` with
            Nesterov's look-ahead.
    """

    momentum: float
    factor: float


def momentum_response(momentum: float, *, nesterov: bool = False) -> MomentumResponse:
    r"""Response of an optimizer's displacement to one gradient.

    Heavy ball (SGD ``momentum``, Adam ``betas[0]``): one gradient moves the parameters by a multiple :math:`a` at once
    and by :math:`a(1+\mu+\mu^2+\dots)=a/(1-\mu)` in all. Nesterov's step adds :math:`\mu a` at once and leaves the
    whole as it is, so the ratio falls to :math:`1/((1-\mu)(1+\mu))`.

    Args:
        momentum: Decay :math:`\mu` in [0, 1).
        nesterov: Whether the optimizer looks ahead (SGD ``nesterov=True``, NAdam).

    Returns:
        Momentum and response factor.

    Raises:
        ValueError: If ``momentum`` is outside [0, 1).

    Example:
        >>> round(momentum_response(0.9).factor, 6), round(momentum_response(0.9, nesterov=True).factor, 6)
        (10.0, 5.263158)
    """
    number = isinstance(momentum, int | float) and not isinstance(momentum, bool)
    if not number or not 0.0 <= momentum < 1.0:
        raise ValueError(f"momentum must lie in [0, 1), got {momentum!r}: at 1 the optimizer never forgets a gradient")
    return MomentumResponse(momentum, 1.0 / ((1.0 - momentum) * (1.0 + momentum * nesterov)))


AT_ONCE = MomentumResponse(0.0, 1.0)
"""Response of an optimizer without momentum."""


def fewest_steps(response: MomentumResponse) -> int:
    """Fewest steps of a window in which :func:`innovations` fluctuate: with momentum only the inner ones count."""
    return 2 if response.momentum == 0.0 else 4


def innovations(displacements: Tensor, gradients: Tensor, momentum: float) -> tuple[Tensor, Tensor]:
    """Rows D_t - mu D_(t-1) and g_t - mu g_(t+1): all W without momentum, the inner W - 2 with it."""
    # what one step's gradient did, and the part of that gradient that the next one does not repeat
    if momentum == 0.0:
        return displacements, gradients
    innovation = displacements[1:-1] - momentum * displacements[:-2]
    return innovation, gradients[1:-1] - momentum * gradients[2:]


def pair_contrasts(rows: Tensor, momentum: float) -> Tensor:
    """Contrasts of the rows of :func:`innovations`, one fewer: from the mean, or with momentum from row to row."""
    # momentum goes with steps that turn the slope within a window (Adam, high rates): against a mean that turning is
    # noise, a tenth of the temperature of a decoder that learns; from one step to the next it is little (von Neumann
    # 1941). Without momentum a window's mean costs less scatter, and noise at one point is logged beside it
    return helmert_contrasts(rows) if momentum == 0.0 else rows.diff(dim=0) / math.sqrt(2.0)


def shared_noise(momentum: Tensor | float, factor: Tensor | float) -> Tensor | float:
    """Mean product of contrasts of neighbouring pairs over the covariance of one pair: the two share gradients."""
    # x_t = g_t - l g_(t-1) (look-ahead: l = 1 - factor (1 - mu)) and y_t = g_t - mu g_(t+1) have half the mean product
    # of successive differences 1 + (mu + l)/2
    return 1.0 + (momentum + 1.0 - factor * (1.0 - momentum)) / 2.0


def as_independent(contributions: Tensor, momentum: Tensor) -> Tensor:
    """Contributions of contrasts, ``[K - 1, L]``, spread so far that they scatter as independent ones would."""
    # successive differences share a step: for Gaussian noise that makes the variance of their mean 1.64 to 1.67 times
    # that of as many independent ones for heavy balls of 0.5 and more, 1.5 for squares, up to 1.86 with a look-ahead
    mean = contributions.mean(0)
    spread = torch.where(momentum > 0.0, _CORRELATION**0.5, 1.0).to(contributions)
    return mean + spread * (contributions - mean)


def noise_half(step: int, momentum: bool) -> int:
    """Which half of a window's contrasts one belongs to by its step: halves whose noise is (nearly) independent."""
    return step // _BLOCK % 2 if momentum else step % 2


_CORRELATION = 5.0 / 3.0
_BLOCK = 4  # steps: successive differences share their noise with those beside them
