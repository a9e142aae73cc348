"""What momentum does to displacements, and how to take it out again."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


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


def pair_scale(coordinates: Tensor | int, pairs: int, momentum: Tensor | float) -> Tensor | float:
    """Factor from the sum over coordinates of (response x innovation) x gradient contrasts to a temperature."""
    # -1/(2n) for n coordinates, and 1/(1 + mu/K) on top: the window's mean removes 1 - mu (K - 1)/K of one of the K
    # pairs' covariance, since g_t - mu g_(t+1) holds each gradient twice
    return -1.0 / (2.0 * coordinates * (1.0 + momentum / pairs))
