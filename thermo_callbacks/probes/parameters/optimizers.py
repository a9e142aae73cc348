"""Momentum, response and mobility from an optimizer's own state."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, SGD, Adagrad, Adam, AdamW, NAdam, Optimizer, RAdam, RMSprop, Rprop, SparseAdam

from thermo_callbacks.functional import MomentumResponse, momentum_response
from thermo_callbacks.probes.parameters.stated import UNREADABLE, group_rate, state_of, stated_decay, stated_rate
from thermo_callbacks.probes.real_numbers import as_real

# mobility of an optimizer's parameter now, of what a function picks of a tensor of its shape; NaN where unknown
MobilityOf = Callable[[Optimizer, dict[str, Any], nn.Parameter, Callable[[Tensor], Tensor]], Tensor | float]
_PLAIN_STATE = frozenset({"step", "momentum_buffer"})
_KNOWN = frozenset({SGD, Adam, AdamW, RMSprop, Adagrad, SparseAdam})
_MEMORY_KNOWN = frozenset(
    getattr(torch.optim, name)
    for name in ("NAdam", "RAdam", "Adamax", "Adadelta", "ASGD", "Adafactor")
    if hasattr(torch.optim, name)
)
_SECOND_MOMENTS = ("max_exp_avg_sq", "exp_avg_sq", "square_avg", "sum")


def is_known(optimizer: Optimizer) -> bool:
    """Whether an optimizer's groups and state say all of its response; that of others has to be measured."""
    # a class derived from one of these may do anything with what it calls momentum
    return type(optimizer) in _KNOWN


def is_memory_known(optimizer: Optimizer) -> bool:
    """Whether what an optimizer's groups call momentum is one, as it is with those of torch that average gradients."""
    return type(optimizer) in _KNOWN or type(optimizer) in _MEMORY_KNOWN


def is_nonlinear(optimizer: Optimizer) -> bool:
    """Whether an optimizer's step is no linear response to the gradient, by its name: there is nothing to measure."""
    return isinstance(optimizer, _NONLINEAR)


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
    if isinstance(optimizer, NAdam):
        return MomentumResponse(float(group["betas"][0]), _nadam_response(optimizer, group))
    try:
        momentum = float(group["momentum"] if "momentum" in group else group.get("betas", (0.0,))[0])
    except UNREADABLE:
        momentum = 0.0
    return momentum_response(momentum, nesterov=bool(group.get("nesterov", False)))


def largest_momentum(optimizer: Optimizer) -> float:
    """The largest momentum of all groups."""
    return max(group_momentum(optimizer, group).momentum for group in optimizer.param_groups)


def _nadam_response(optimizer: Optimizer, group: dict[str, Any]) -> float:
    """Response factor of NAdam at its present step: its look-ahead warms up over thousands of steps."""
    average, decay = float(group["betas"][0]), float(group["momentum_decay"])
    step = next((float(state["step"]) for p in group["params"] if "step" in (state := state_of(optimizer, p))), 1.0)
    now, later = (average * (1.0 - 0.5 * 0.96 ** (t * decay)) for t in (step, step + 1.0))
    # the gradient's own weight, and its share of the average that the next momentum looks ahead with
    return float(1.0 / ((1.0 - now) + later * (1.0 - average)))


def parameter_mobility(
    optimizer: Optimizer, group: dict[str, Any], parameter: nn.Parameter, watch: Callable[[Tensor], Tensor]
) -> Tensor | float:
    r"""Whole displacement of a parameter per unit of gradient, :math:`m = \eta c f`, as the optimizer's state tells it.

    Returns:
        The mobility of each watched coordinate, or one number for all; NaN for an optimizer that does not tell.
    """
    scale = stated_scale(optimizer, group, parameter)
    return (
        scale
        if math.isnan(scale)
        else _times(stated_rate(group), scale, mobility_shape(optimizer, group, parameter, watch))
    )


def _times(rate: Tensor | float, scale: float, shape: Tensor | float) -> Tensor | float:
    if isinstance(shape, Tensor):
        return shape * (rate * scale)
    return float(rate) * scale * shape


def measured_mobility(
    optimizer: Optimizer,
    group: dict[str, Any],
    parameter: nn.Parameter,
    watch: Callable[[Tensor], Tensor],
    scale: float,
) -> Tensor | float:
    """Mobility of an optimizer whose ``scale``, displacement per learning rate and shape, was measured."""
    if math.isnan(scale):  # one number says that it is not known, whatever the shape
        return math.nan
    return _times(stated_rate(group, missing=1.0), scale, mobility_shape(optimizer, group, parameter, watch))


def stated_scale(optimizer: Optimizer, group: dict[str, Any], parameter: nn.Parameter) -> float:
    """Mobility per learning rate and :func:`mobility_shape` by the conventions of torch; NaN where none says it."""
    try:
        return _stated_scale(optimizer, group, parameter)
    except UNREADABLE:
        return math.nan


def _stated_scale(optimizer: Optimizer, group: dict[str, Any], parameter: nn.Parameter) -> float:
    state = state_of(optimizer, parameter)
    momentum, factor = group_momentum(optimizer, group)
    if isinstance(optimizer, _UNTOLD):
        return math.nan
    if set(state) <= _PLAIN_STATE:
        # Nesterov's look-ahead moves part of the answer to the present step, and leaves the whole as it is
        return (1.0 - float(group.get("dampening", 0.0))) / (1.0 - momentum)
    if _is_like(state.get("exp_avg_sq"), parameter) and "betas" in group:
        # the average of gradients doesn't amplify
        return math.nan if _step_count(state, group) is None else 1.0
    if "square_avg" in state and "acc_delta" not in state:
        return factor
    return 1.0 if "sum" in state and "lr_decay" in group else math.nan


def _is_like(value: Any, parameter: nn.Parameter) -> bool:
    return isinstance(value, Tensor) and value.shape == parameter.shape


def mobility_shape(
    optimizer: Optimizer, group: dict[str, Any], parameter: nn.Parameter, watch: Callable[[Tensor], Tensor]
) -> Tensor | float:
    """Mobility of the watched coordinates up to a factor that all of a parameter have in common.

    The inverse root of a second moment where the optimizer's state shows one, 0 for a coordinate that never had a
    gradient: what its first one does, the epsilon does not tell. Else 1.

    Returns:
        The shape, of each watched coordinate or one number for all.
    """
    try:
        return _shape(state_of(optimizer, parameter), group, parameter, watch)
    except UNREADABLE:  # one that can't be read is none of its steps' shape
        return math.nan


def _shape(
    state: dict[str, Any], group: dict[str, Any], parameter: nn.Parameter, watch: Callable[[Tensor], Tensor]
) -> Tensor | float:
    name = next((each for each in _SECOND_MOMENTS if _is_like(state.get(each), parameter)), None)
    if name is None:
        return 1.0
    moment = watch(as_real(state[name]))
    step = _step_count(state, group)
    if isinstance(step, Tensor):
        step = step.to(parameter.device)
    # without a count of steps the correction of the average is a part of the scale
    if step is not None and "betas" in group and name.endswith("exp_avg_sq"):
        moment = moment / (1.0 - float(group["betas"][-1]) ** step)
    if group.get("centered", False) and "grad_avg" in state:
        moment = (moment - watch(as_real(state["grad_avg"])).square()).clamp(min=0.0)
    epsilon = group.get("eps", 0.0)
    shape = 1.0 / (moment.sqrt() + (float(epsilon) if isinstance(epsilon, (int, float)) else 0.0))
    if name == "sum" and step is not None:
        shape = shape / (1.0 + (step - 1) * float(group.get("lr_decay", 0.0)))
    return torch.where(moment > 0, shape, 0.0)


def _step_count(state: dict[str, Any], group: dict[str, Any]) -> Tensor | float | None:
    """Steps made: a tensor, or a plain number (SparseAdam), or the group's (fused optimizers outside of torch)."""
    step: Tensor | float | None = state.get("step", group.get("step"))
    return step


def decay_contraction(
    optimizer: Optimizer,
    group: dict[str, Any],
    parameter: nn.Parameter,
    watch: Callable[[Tensor], Tensor],
    mobility: MobilityOf = parameter_mobility,
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
    decay = stated_decay(group)
    if not decay:
        return 0.0
    if group.get("decoupled_weight_decay", isinstance(optimizer, _DECOUPLED)):
        return group_rate(group) * decay
    return mobility(optimizer, group, parameter, watch) * decay


# a search along lines, signs, and Muon, which makes its momentum an orthogonal matrix
_NONLINEAR: tuple[type[Optimizer], ...] = (
    LBFGS,
    Rprop,
    *([torch.optim.Muon] if hasattr(torch.optim, "Muon") else []),
)
# nor rectification and look-ahead, which no state shows
_UNTOLD: tuple[type[Optimizer], ...] = (*_NONLINEAR, RAdam, NAdam)
_DECOUPLED: tuple[type[Optimizer], ...] = (
    torch.optim.AdamW,  # marks its groups, but did not always
    *(getattr(torch.optim, name) for name in ("Adafactor", "Muon") if hasattr(torch.optim, name)),
)
