"""The second law of learning: entropy falls until production balances destruction."""

from __future__ import annotations

from typing import NamedTuple

import torch
from scipy.special import ndtri
from torch import Tensor


class SecondLaw(NamedTuple):
    """Where the entropy of the trainable variables goes.

    Attributes:
        rate: Production minus destruction, in nats per step.
        stderr: Its standard error.
        z: The rate in standard errors.
        flag: -1 where the entropy falls beyond the error, as it does in learning; 0 where production and destruction
            balance within it, as in equilibrium; +1 where the entropy grows beyond it; NaN where it can't be said.
    """

    rate: Tensor
    stderr: Tensor
    z: Tensor
    flag: Tensor


def second_law(
    production: Tensor,
    destruction: Tensor,
    *,
    production_stderr: Tensor,
    destruction_stderr: Tensor,
    level: float = 0.95,
) -> SecondLaw:
    r"""Whether the entropy of the trainable variables falls, stays or grows.

    .. math:: \frac{dS}{dt} = \sigma_p - \sigma_d, \qquad s^2 = s^2(\sigma_p) + s^2(\sigma_d), \qquad
              \mathrm{flag} = \begin{cases} -1 & \dot S < -z s \\ +1 & \dot S > z s \\ 0 & \text{else}
              \end{cases}

    with z the two-sided quantile of the normal distribution. Learning destroys entropy until production balances
    destruction. Both errors count as independent: one comes from a window of steps, the other from an extra pass. At
    balance the flag is not 0 in a share of at most 1 - ``level`` of the cases.

    Source: Vanchurin 2020, "Towards a theory of machine learning" (the second law of learning).

    Args:
        production: Entropy that noise puts back in some directions, any shape; see
            :func:`~thermo_callbacks.functional.resolved_balance`.
        destruction: Entropy destroyed in the same directions, same shape.
        production_stderr: Standard error of ``production``.
        destruction_stderr: Standard error of ``destruction``.
        level: Confidence of the flag, in (0, 1).

    Returns:
        Rate, standard error, z and flag.

    Raises:
        ValueError: If ``level`` is not in (0, 1).

    Example:
        >>> import torch
        >>> error = torch.tensor(0.1)
        >>> law = second_law(torch.tensor(1.0), torch.tensor(2.0), production_stderr=error, destruction_stderr=error)
        >>> law.rate.item(), law.flag.item()
        (-1.0, -1.0)
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1 (for example 0.95), got {level}")
    rate = production - destruction
    stderr = (production_stderr.square() + destruction_stderr.square()).sqrt()
    margin = float(ndtri((1.0 + level) / 2.0)) * stderr
    flag = (rate > margin).to(rate) - (rate < -margin).to(rate)
    defined = ~(rate.isnan() | stderr.isnan())
    z = torch.where(rate == 0.0, stderr * 0.0, rate / stderr)  # 0 / 0 is no distance at all
    return SecondLaw(rate, stderr, z, torch.where(defined, flag, torch.nan))
