"""How an optimizer moves the watched coordinates: momentum, response and mobility, told by it or measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from thermo_callbacks.callbacks.windows.response_trace import ResponseSums, ResponseTrace
from thermo_callbacks.callbacks.windows.response_verdict import ResponseVerdict
from thermo_callbacks.callbacks.windows.responses import Responses
from thermo_callbacks.functional import MomentumResponse
from thermo_callbacks.functional.window.statistics import WindowStatistics
from thermo_callbacks.probes.parameters.coordinates import CoordinateProbe
from thermo_callbacks.probes.parameters.optimizers import (
    group_momentum,
    is_known,
    is_memory_known,
    is_nonlinear,
    measured_mobility,
    parameter_mobility,
)
from thermo_callbacks.probes.parameters.stated import group_rate, state_of
from thermo_callbacks.probes.real_numbers import real_count


class Dynamics:
    """Numbers of an optimizer for each watched coordinate, or one for all; ``groups`` are those of the parameters.

    What SGD, Adam and their like say of themselves is taken as it is. The response of any other optimizer is measured
    in each window: what its groups call momentum may be anything, and a factor that no state shows may be a thousand.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        probe: CoordinateProbe,
        groups: Mapping[nn.Parameter, dict[str, Any]],
        *,
        length: int,
        sharded: bool = False,
    ) -> None:
        self._optimizer, self._probe, self._groups = optimizer, probe, groups
        self._length = length
        self.momentum: Tensor | float = 0.0
        self.response: Tensor | float = 1.0
        self.mobility: Tensor | float = math.nan
        self.reason = ""  # why the last window that was judged has values missing
        self._momentum_key: tuple[MomentumResponse, ...] = ()
        self._mobility_key: tuple[Any, ...] = ()
        self._rates: list[float] = []
        self._read_rates: list[float] = []  # when the mobility was read last
        self._trace = ResponseTrace(probe, length, sharded=sharded)
        self._known = is_known(optimizer)
        self._measured = not self._known and not is_nonlinear(optimizer)
        self.responses = Responses(len(probe.parameters), length)
        self.update_momentum()

    @property
    def _own_groups(self) -> list[dict[str, Any]]:
        return [self._groups[parameter] for parameter in self._probe.parameters]

    def update_momentum(self) -> None:
        """Read the momentum of each group, which schedules may change, or take the one that was measured."""
        stated = {id(group): group_momentum(self._optimizer, group) for group in self._optimizer.param_groups}
        found = self.responses.measured
        key = tuple(found[i] or stated[id(group)] for i, group in enumerate(self._own_groups))
        if key == self._momentum_key:
            return
        self._momentum_key = key
        by_parameter = dict(zip(self._probe.parameters, key, strict=True))
        self.momentum = self._probe.spread(lambda parameter, _: by_parameter[parameter].momentum)
        self.response = self._probe.spread(lambda parameter, _: by_parameter[parameter].factor)

    def take_step(self, step: int) -> None:
        """Take in a step of the window, by its number from 1 on: the probe has read it."""
        self.update_momentum()
        if step == 1:
            self._trace.clear()
        rates = {id(group): group_rate(group) for group in self._optimizer.param_groups}
        self._rates = [rates[id(group)] for group in self._own_groups]
        self._trace.record(self._probe.rows, self._rates)
        self._update_mobility(step)

    def _update_mobility(self, step: int) -> None:
        """Read the displacement per unit of gradient, at steps 1, 2, 4, 8 ... of a window and when a number changes."""
        # a preconditioner is read coordinate by coordinate, which costs as much as reading the parameters; it settles
        # slowly, except at the start of a run
        key = self._learning_key()
        resting = bool(step & (step - 1)) and step != self._length
        if resting and key == self._mobility_key:
            return
        self._mobility_key, before = key, self._read_rates
        self._read_rates = self._rates
        if resting and isinstance(self.mobility, Tensor):
            ratios = {now / then for now, then in zip(self._rates, before, strict=True) if then > 0}
            if len(ratios) == 1:  # the schedule's part of it is free
                self.mobility = self.mobility * ratios.pop()
                return
        scales = self.responses.scales(self._optimizer, self._groups, self._probe.parameters)
        by_parameter = dict(zip(self._probe.parameters, scales, strict=True))
        self.mobility = self._probe.spread(
            lambda parameter, watch: measured_mobility(
                self._optimizer, self._groups[parameter], parameter, watch, by_parameter[parameter]
            )
        )
        if not bool(step & (step - 1)) or step == self._length:
            per_shape = [rate * scale for rate, scale in zip(self._rates, scales, strict=True)]
            self._trace.record_shape(step, self.mobility, per_shape)

    def response_sums(self) -> ResponseSums:
        """Sums of the window so far that its response is measured by; those of shards add up."""
        scales = self.responses.used
        lagging = [
            scale / factor * (factor * (1.0 - momentum) - 1.0)
            for scale, (momentum, factor) in zip(scales, self._momentum_key, strict=True)
        ]
        return self._trace.sums(
            [each.momentum for each in self._momentum_key],
            lagging,
            measure=not self._known and not is_nonlinear(self._optimizer),
        )

    def judge(self, sums: ResponseSums, window: WindowStatistics, *, final: bool) -> WindowStatistics:
        """A window's statistics by the response that it shows; what is ``final`` holds for the next window."""
        parameters = self._probe.parameters
        if self._known:
            verdict = ResponseVerdict.of_known(self.responses.used)
        elif not self._measured:
            verdict = ResponseVerdict.of_nonlinear(len(parameters))
        else:
            plain = [not state_of(self._optimizer, parameter) for parameter in parameters]
            stated = self.responses.stated(self._optimizer, self._groups, parameters)
            memory = [group_momentum(self._optimizer, group) for group in self._own_groups]
            verdict = self.responses.judge(
                sums,
                self._momentum_key,
                stated,
                memory=memory,
                memory_known=is_memory_known(self._optimizer),
                stateless=plain,
            )
        self.reason = verdict.reason
        if final:
            self.responses.accept(verdict)
        sizes = torch.tensor([real_count(parameter) for parameter in parameters], dtype=torch.float64)
        return verdict.applied(
            window, sums, self._probe.layer_of_parameters, sizes, self._momentum_key, self.responses.used
        )

    def mobility_of(
        self, optimizer: Optimizer, group: dict[str, Any], parameter: nn.Parameter, watch: Callable[[Tensor], Tensor]
    ) -> Tensor | float:
        """Mobility of a parameter, told or as the last window has shown it; NaN where neither is known."""
        if self._known:
            return parameter_mobility(optimizer, group, parameter, watch)
        places = {id(own): place for place, own in enumerate(self._probe.parameters)}
        scale = self.responses.scale_of(places[id(parameter)]) if id(parameter) in places else math.nan
        return measured_mobility(optimizer, group, parameter, watch, scale)

    def restore(self, mobility: Tensor | float, state: dict[str, Any] | None) -> None:
        """Take back a mobility and what :meth:`state_dict` gave, None in an earlier version."""
        self.mobility = mobility.to(self._probe.device) if isinstance(mobility, Tensor) else mobility
        if state is not None:
            self.responses.load_state_dict(state["responses"])
            self._read_rates = list(state["read_rates"])
            if state["trace"]:
                self._trace.load_state_dict(state["trace"])
        self.update_momentum()
        self._mobility_key = self._learning_key()

    def state_dict(self, *, open_window: bool) -> dict[str, Any]:
        """What was measured, and the open window's trace if that is wanted."""
        return {
            "responses": self.responses.state_dict(),
            "trace": self._trace.state_dict() if open_window else {},
            "read_rates": list(self._read_rates),
        }

    def momentum_by_layer(self) -> Tensor:
        """Momentum of each layer, ``[L]``."""
        by_parameter = dict(zip(self._probe.parameters, self._momentum_key, strict=True))
        return self._probe.mean_by_layer(lambda parameter: by_parameter[parameter].momentum)

    def _learning_key(self) -> tuple[Any, ...]:
        return (self._momentum_key, *(group.get("lr") for group in self._optimizer.param_groups))
