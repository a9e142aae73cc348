"""Constants of optimizers, and what they do to the steps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from heapq import nlargest
from typing import Any

import torch
from torch import Tensor, nn

from thermo_callbacks.probes.parameters.stated import UNREADABLE, state_of, stated_rate
from thermo_callbacks.probes.real_numbers import as_real

SAMPLE = 256
"""Coordinates of a parameter that are looked at."""
MOST_PARAMETERS = 16
"""Parameters of an optimizer that are looked at, the largest ones."""


def learning_rate(optimizers: Iterable[Any]) -> float:
    """Largest learning rate of all groups, waiting for it if it is on a device; NaN if no group has one."""
    rates = [float(stated_rate(group)) for optimizer in optimizers for group in optimizer.param_groups]
    return max((rate for rate in rates if not math.isnan(rate)), default=math.nan)


def layer_rates(optimizers: Iterable[Any], layers: Mapping[str, Sequence[nn.Parameter]]) -> dict[str, float]:
    """Learning rate of each layer, where they are not all the same; else empty.

    Returns:
        Layer to the largest rate among its parameters.
    """
    rates: dict[int, float] = {}
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            rates |= dict.fromkeys(map(id, group["params"]), float(stated_rate(group)))
    found = {
        name: max((rates[id(each)] for each in owned if rates.get(id(each), 0.0) > 0.0), default=0.0)
        for name, owned in layers.items()
    }
    found = {name: rate for name, rate in found.items() if rate > 0.0}
    return found if len(set(found.values())) > 1 else {}


def epsilon_share(optimizers: Iterable[Any]) -> float:
    r"""Share of Adam's denominator that is its constant: :math:`\langle \epsilon / (\sqrt{v} + \epsilon) \rangle`.

    The mean is over a sample of the coordinates that have had a gradient. Near 0 the size of a gradient does not count,
    as is meant; near 1 the optimizer is gradient descent with a rate of :math:`\eta / \epsilon`. Waits for the device.

    Returns:
        The share; NaN where no optimizer has such a state.
    """
    shares = [
        share
        for optimizer in optimizers
        for group, parameter in _largest(optimizer)
        if (share := _share(optimizer, group, parameter)) is not None
    ]
    joined = torch.cat(shares) if shares else torch.empty(0)
    return float(joined.mean()) if len(joined) else math.nan


def _largest(optimizer: Any) -> list[tuple[dict[str, Any], nn.Parameter]]:
    """The largest parameters of an optimizer, each with its group: reading one waits for the device."""
    owned = [(group, parameter) for group in optimizer.param_groups for parameter in group["params"]]
    return nlargest(MOST_PARAMETERS, owned, key=lambda pair: pair[1].numel())


def _share(optimizer: Any, group: dict[str, Any], parameter: nn.Parameter) -> Tensor | None:
    state = state_of(optimizer, parameter)
    moment = state.get("exp_avg_sq")
    try:
        constant, memory, step = float(group["eps"]), float(group["betas"][1]), float(state["step"])
    except UNREADABLE:
        return None
    if not isinstance(moment, Tensor) or moment.shape != parameter.shape or step < 1.0:
        return None
    flat = as_real(moment.detach()).reshape(-1)
    sample = flat[:: max(1, len(flat) // SAMPLE)].double().cpu()
    root: Tensor = (sample[sample > 0.0] / (1.0 - memory**step)).sqrt()
    share: Tensor = constant / (root + constant)
    return share
