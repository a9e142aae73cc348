"""How an optimizer moves the watched coordinates: momentum, response and mobility, read anew as they change."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from thermo_callbacks.functional import MomentumResponse
from thermo_callbacks.probes.parameters.coordinates import CoordinateProbe
from thermo_callbacks.probes.parameters.optimizers import group_momentum, parameter_mobility


class Dynamics:
    """Numbers of an optimizer for each watched coordinate, or one for all; ``groups`` are those of the parameters."""

    def __init__(
        self, optimizer: Optimizer, probe: CoordinateProbe, groups: Mapping[nn.Parameter, dict[str, Any]]
    ) -> None:
        self._optimizer, self._probe, self._groups = optimizer, probe, groups
        self.momentum: Tensor | float = 0.0
        self.response: Tensor | float = 1.0
        self.mobility: Tensor | float = math.nan
        self._responses: dict[nn.Parameter, MomentumResponse] = {}
        self._momentum_key: tuple[MomentumResponse, ...] = ()
        self._mobility_key: tuple[Any, ...] = ()
        self.update_momentum()

    def update_momentum(self) -> None:
        """Read the momentum of each group: schedules may change it from step to step."""
        key = tuple(group_momentum(self._optimizer, group) for group in self._optimizer.param_groups)
        if key == self._momentum_key:
            return
        self._momentum_key = key
        responses = {
            parameter: response
            for response, group in zip(key, self._optimizer.param_groups, strict=True)
            for parameter in group["params"]
        }
        self._responses = {parameter: responses[parameter] for parameter in self._groups}
        self.momentum = self._probe.spread(lambda parameter, _: self._responses[parameter].momentum)
        self.response = self._probe.spread(lambda parameter, _: self._responses[parameter].factor)

    def update_mobility(self, step: int) -> None:
        """Read the displacement per unit of gradient, at steps 1, 2, 4, 8 ... of a window and when a number changes."""
        # a preconditioner is read coordinate by coordinate, which costs as much as reading the parameters; it settles
        # slowly, except at the start of a run
        key = self._learning_key()
        if step & (step - 1) and (key == self._mobility_key or isinstance(self.mobility, Tensor)):
            return
        self._mobility_key = key
        self.mobility = self._probe.spread(
            lambda parameter, watch: parameter_mobility(self._optimizer, self._groups[parameter], parameter, watch)
        )

    def restore_mobility(self, mobility: Tensor | float) -> None:
        """Take back a mobility that a checkpoint holds."""
        self.mobility = mobility.to(self._probe.device) if isinstance(mobility, Tensor) else mobility
        self._mobility_key = self._learning_key()

    def momentum_by_layer(self) -> Tensor:
        """Momentum of each layer, ``[L]``."""
        return self._probe.mean_by_layer(lambda parameter: self._responses[parameter].momentum)

    def _learning_key(self) -> tuple[Any, ...]:
        return (self._momentum_key, *(group.get("lr") for group in self._optimizer.param_groups))
