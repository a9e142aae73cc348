"""What an optimizer's groups and state hold, read so that a number that is none there is a missing one."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

UNREADABLE = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)
"""What reading a stranger's groups and state may raise: they tell nothing then, and the steps are measured."""


def parameters_of(optimizer: Any) -> list[nn.Parameter]:
    """Parameters in all groups of an optimizer."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def group_rate(group: dict[str, Any]) -> float:
    """Learning rate of a group, 1 where it has none, or has it on a device that one would have to wait for."""
    rate = stated_rate(group, missing=1.0)
    if isinstance(rate, Tensor):
        return float(rate) if rate.device.type == "cpu" else 1.0
    return rate


def stated_rate(group: dict[str, Any], *, missing: float = math.nan) -> Tensor | float:
    """Learning rate of a group as it stands there, a tensor perhaps; ``missing`` where there is none."""
    rate = group.get("lr")
    return rate if isinstance(rate, Tensor) else _number(rate, missing)


def largest_rate(groups: list[dict[str, Any]]) -> float:
    """Largest learning rate of some groups, waiting for it if it is on a device; 1 for those that have none."""
    return max(float(stated_rate(group, missing=1.0)) for group in groups)


def stated_decay(group: dict[str, Any]) -> float:
    """Weight decay of a group, 0 where it has none."""
    return _number(group.get("weight_decay"), 0.0)


def gradient_sign(group: dict[str, Any]) -> float:
    """Sign of a group's gradient: minus one with ``maximize=True``, whose energy is minus the objective."""
    return -1.0 if group.get("maximize", False) else 1.0


def state_of(optimizer: Optimizer, parameter: nn.Parameter) -> dict[str, Any]:
    """What an optimizer keeps of a parameter; empty where that is nothing, or nothing that can be read."""
    try:
        state = optimizer.state.get(parameter, {})
    except UNREADABLE:
        return {}
    return state if isinstance(state, dict) else {}


def _number(value: Any, missing: float) -> float:
    try:
        return float(value)
    except UNREADABLE:
        return missing
