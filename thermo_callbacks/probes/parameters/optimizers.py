"""Momentum, response and mobility from an optimizer's own state."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, NAdam, Optimizer, RAdam

from thermo_callbacks.functional import MomentumResponse, momentum_response

_PLAIN_STATE = frozenset({"step", "momentum_buffer"})


def group_momentum(optimizer: Optimizer, group: dict[str, Any]) -> MomentumResponse:
    """Momentum of a parameter group and the response that goes with it.

    Returns:
        Momentum and response factor.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1, momentum=0.5)
        >>> group_momentum(optimizer, optimizer.param_groups[0])
        MomentumResponse(momentum=0.5, factor=2.0)
    """
    # that of SGD and RMSprop, that of the Adam family, or no memory that we know of
    momentum = float(group["momentum"] if "momentum" in group else group.get("betas", (0.0,))[0])
    if isinstance(optimizer, NAdam):
        return MomentumResponse(momentum, _nadam_response(optimizer, group))
    return momentum_response(momentum, nesterov=bool(group.get("nesterov", False)))


def _nadam_response(optimizer: Optimizer, group: dict[str, Any]) -> float:
    """Response factor of NAdam at its present step: its look-ahead warms up over thousands of steps."""
    average, decay = float(group["betas"][0]), float(group["momentum_decay"])
    step = next((float(state["step"]) for p in group["params"] if "step" in (state := optimizer.state.get(p, {}))), 1.0)
    now, later = (average * (1.0 - 0.5 * 0.96 ** (t * decay)) for t in (step, step + 1.0))
    # the gradient's own weight, and its share of the average that the next momentum looks ahead with
    return float(1.0 / ((1.0 - now) + later * (1.0 - average)))


def gradient_sign(group: dict[str, Any]) -> float:
    """Sign of a group's gradient: minus one with ``maximize=True``, whose energy is minus the objective."""
    return -1.0 if group.get("maximize", False) else 1.0


def parameter_mobility(
    optimizer: Optimizer, group: dict[str, Any], parameter: nn.Parameter, watch: Callable[[Tensor], Tensor]
) -> Tensor | float:
    r"""Whole displacement of a parameter per unit of gradient, :math:`m = \eta \phi M`.

    M is read from the optimizer's state: 1 for SGD and for optimizers that keep no state, the inverse root of the
    second moment for the Adam family, RMSprop and Adagrad.

    Returns:
        The mobility of each watched coordinate, or one number for all; NaN for an optimizer whose preconditioner is not
        known, and with Nesterov's look-ahead.
    """
    momentum, factor = group_momentum(optimizer, group)
    learning_rate: Tensor | float = group.get("lr", math.nan)
    state: dict[str, Any] = optimizer.state.get(parameter, {})
    # a tensor, or a plain number (SparseAdam), or the group's (fused optimizers outside of torch)
    step: Tensor | float = state.get("step", group.get("step", math.nan))
    if isinstance(step, Tensor):
        step = step.to(parameter.device)
    # RAdam multiplies by a rectification that its state does not hold
    if isinstance(optimizer, (LBFGS, RAdam, *_ORTHOGONALISED)) or (
        momentum and not math.isclose(factor, 1 / (1 - momentum))
    ):
        return math.nan
    if set(state) <= _PLAIN_STATE:
        return float(learning_rate) * factor * (1.0 - float(group.get("dampening", 0.0)))
    if "exp_avg_sq" in state and state["exp_avg_sq"].shape == parameter.shape:
        second_moment = watch(state.get("max_exp_avg_sq", state["exp_avg_sq"]))
        corrected = second_moment / (1.0 - float(group["betas"][1]) ** step)
        # the average of gradients doesn't amplify: no factor
        return learning_rate / (corrected.sqrt() + float(group["eps"]))
    if "square_avg" in state and "acc_delta" not in state and not group.get("centered", False):
        return learning_rate * factor / (watch(state["square_avg"]).sqrt() + float(group["eps"]))
    if "sum" in state and "lr_decay" in group:
        decay = 1.0 + (step - 1) * float(group["lr_decay"])
        return learning_rate / decay / (watch(state["sum"]).sqrt() + float(group["eps"]))
    return math.nan


def decay_contraction(
    optimizer: Optimizer, group: dict[str, Any], parameter: nn.Parameter, watch: Callable[[Tensor], Tensor]
) -> Tensor | float:
    r"""Share by which the optimizer's own weight decay shrinks a parameter in one step.

    Coupled decay adds :math:`w q` to the gradient and contracts by :math:`m w`, with the mobility m; decoupled decay
    (AdamW) contracts by :math:`\eta w`. The loss knows of neither, nor does its Hessian.

    Returns:
        The contraction of each watched coordinate, or one number for all.

    Example:
        >>> import torch
        >>> parameter = torch.nn.Parameter(torch.ones(2))
        >>> optimizer = torch.optim.SGD([parameter], lr=0.5, momentum=0.5, weight_decay=0.1)
        >>> decay_contraction(optimizer, optimizer.param_groups[0], parameter, lambda tensor: tensor)
        0.1
    """
    decay = float(group.get("weight_decay", 0.0))
    if not decay:
        return 0.0
    if group.get("decoupled_weight_decay", isinstance(optimizer, _DECOUPLED)):
        return float(group["lr"]) * decay
    return parameter_mobility(optimizer, group, parameter, watch) * decay


# Muon turns its momentum into an orthogonal matrix: no number multiplies the gradient
_ORTHOGONALISED: tuple[type[Optimizer], ...] = (torch.optim.Muon,) if hasattr(torch.optim, "Muon") else ()
_DECOUPLED: tuple[type[Optimizer], ...] = (
    torch.optim.AdamW,  # marks its groups, but did not always
    *(getattr(torch.optim, name) for name in ("Adafactor", "Muon") if hasattr(torch.optim, name)),
)
