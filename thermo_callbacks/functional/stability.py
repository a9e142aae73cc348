"""Largest curvature at which an optimizer still settles in a valley: the edge of stability."""

from __future__ import annotations

import math

from thermo_callbacks.functional.momentum import momentum_response


def stability_threshold(
    lr: float, momentum: float = 0.0, *, nesterov: bool = False, averaged: bool = False, decoupled_decay: float = 0.0
) -> float:
    r"""Curvature beyond which an optimizer diverges on a quadratic.

    .. math:: \lambda^* = \frac{2 (1 + \mu)}{\eta\,(1 + 2\mu\,[\text{Nesterov}])\,(1 - \mu\,[\text{averaged}])}
              \Big(1 - \frac{\delta}{2}\Big)

    with the learning rate :math:`\eta`, the momentum :math:`\mu` and the share :math:`\delta = \eta w` that decoupled
    weight decay takes of the weights in a step. It is :math:`2/\eta` for plain SGD, :math:`2(1+\mu)/\eta` for heavy
    ball, :math:`(2+2\mu)/(\eta(1+2\mu))` with Nesterov's look-ahead (without decay, or with coupled decay), and
    :math:`(2+2\beta_1)/((1-\beta_1)\eta)` of the Hessian with the preconditioner for the Adam family, whose buffer
    averages gradients. Coupled weight decay adds its factor w to the curvature and leaves the threshold as it is. Unit:
    loss per squared parameter, or per squared preconditioned parameter.

    Exact for a fixed quadratic and full gradients, with a preconditioner that stands still. Networks hover about the
    threshold and do not diverge there.

    Sources: Cohen et al. 2021, "Gradient Descent on Neural Networks Typically Occurs at the Edge of Stability"; Cohen
    et al. 2022, "Adaptive Gradient Methods at the Edge of Stability". The factor of the decay is this project's own
    calculation.

    Args:
        lr: Learning rate.
        momentum: Decay of the momentum buffer, SGD ``momentum`` or Adam ``betas[0]``.
        nesterov: Whether the optimizer looks ahead; not together with ``averaged`` or ``decoupled_decay``.
        averaged: Whether the buffer averages gradients (Adam) where it sums them otherwise (SGD).
        decoupled_decay: Share of the weights that decoupled weight decay takes in a step, ``lr * weight_decay``.

    Returns:
        The threshold; infinite for a learning rate of zero, NaN for a combination whose threshold is not known here.

    Raises:
        ValueError: If ``momentum`` is outside [0, 1).

    Example:
        >>> round(stability_threshold(0.1), 6), round(stability_threshold(0.1, 0.9), 6)
        (20.0, 38.0)
        >>> round(stability_threshold(0.1, 0.9, nesterov=True), 6), round(stability_threshold(1e-3, 0.9, averaged=True))
        (13.571429, 38000)
    """
    momentum_response(momentum)  # refuses a momentum outside of [0, 1)
    if nesterov and (averaged or decoupled_decay):
        return math.nan
    if not lr:
        return math.inf
    threshold = 2.0 * (1.0 + momentum) / (lr * (1.0 + 2.0 * momentum * nesterov))
    return threshold / (1.0 - momentum * averaged) * (1.0 - decoupled_decay / 2.0)
