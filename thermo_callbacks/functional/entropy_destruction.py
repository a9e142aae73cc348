"""Entropy that learning destroys of the trainable variables, in nats per step."""

from __future__ import annotations

from torch import Tensor

from thermo_callbacks.functional.momentum import momentum_response


def entropy_destruction(laplacian: Tensor, lr: float, momentum: float = 0.0) -> Tensor:
    r"""Entropy that learning destroys in a step: the contraction of the volume that the parameters fill.

    .. math:: \sigma_d = \frac{\eta}{1-\mu}\,\mathrm{tr}(M H)

    with H the Hessian of the mean loss, to first order in :math:`\eta` what
    :math:`-\ln|\det(1 - \eta M H)|` is without momentum; the next term is :math:`\frac12\mathrm{tr}(\eta M H)^2`. Unit:
    nats per step. Negative where the loss curves down on the whole.

    Source: Vanchurin 2020, "Towards a theory of machine learning", for the Laplacian of the free energy as the rate at
    which learning removes entropy; the definition is this project's own reading.

    Args:
        laplacian: :math:`\mathrm{tr}(M H)`, any shape: the Laplacian :math:`\mathrm{tr} H` for SGD, the trace with the
            diagonal preconditioner :math:`M = 1/(\sqrt{\hat v} + \epsilon)` for the Adam family.
        lr: Learning rate :math:`\eta`.
        momentum: Decay :math:`\mu` of a momentum buffer that sums gradients (SGD). The Adam family averages them, which
            amplifies nothing: 0.

    Returns:
        The destruction, of the shape of ``laplacian``.

    Raises:
        ValueError: If ``momentum`` is outside [0, 1).

    Example:
        >>> import torch
        >>> round(entropy_destruction(torch.tensor(20.0), 0.01, momentum=0.9).item(), 6)  # 0.01 / 0.1 * 20
        2.0
    """
    return laplacian * (lr * momentum_response(momentum).factor)
