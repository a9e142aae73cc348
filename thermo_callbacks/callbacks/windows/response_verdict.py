"""What the measured response of an optimizer allows to say of a window."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from thermo_callbacks.callbacks.windows.response_trace import ResponseSums
from thermo_callbacks.functional import MomentumResponse
from thermo_callbacks.functional.window.response import memory_power
from thermo_callbacks.functional.window.statistics import WindowStatistics

SCALE_TOLERANCE = 0.1
"""Relative error of a scale that is put up with."""

MEASURING = "its response to a gradient is being measured, since its momentum is not what its groups say"
NOT_LINEAR = (
    "its step is no linear response to the gradient (a sign, an orthogonal matrix, a jump back), or remembers longer "
    "than a window lasts"
)


class ResponseVerdict(NamedTuple):
    """What holds of each of P parameters."""

    scale: Tensor  # mobility per learning rate and shape, NaN where unknown, [P]
    kinetic: Tensor  # whether the temperature's momentum and factor are right, bool [P]
    einstein: Tensor  # whether innovations are white up to one step of look-ahead, bool [P]
    found: tuple[MomentumResponse | None, ...]  # what momentum and factor are instead
    reason: str = ""  # why some are not

    @classmethod
    def of_known(cls, scales: Sequence[float]) -> ResponseVerdict:
        """Verdict on an optimizer that tells its response."""
        yes = torch.ones(len(scales), dtype=torch.bool)
        return cls(torch.tensor(list(scales), dtype=torch.float64), yes, yes, (None,) * len(scales))

    @classmethod
    def of_nonlinear(cls, parameters: int) -> ResponseVerdict:
        """Verdict on an optimizer whose step is no response to the gradient, by its name."""
        no = torch.zeros(parameters, dtype=torch.bool)
        unknown = torch.full((parameters,), math.nan, dtype=torch.float64)
        return cls(unknown, no, no, (None,) * parameters, NOT_LINEAR)

    def applied(
        self,
        window: WindowStatistics,
        sums: ResponseSums,
        layers: Tensor,
        sizes: Tensor,
        responses: Sequence[MomentumResponse],
        used: Sequence[float],
    ) -> WindowStatistics:
        """The window's statistics with the scales that were measured in it in the place of those used meanwhile."""
        momentum, factor = torch.tensor(list(responses), dtype=torch.float64).unbind(1)
        weights = sizes / sums.watched.clamp(min=1.0)
        squares, products = (sums.powers * weights).unbind(1)
        excess = factor**2 * squares / (2.0 * self.scale) + factor * products / 2.0
        count = len(window.watched)

        def by_layer(values: Tensor) -> Tensor:
            return values.new_zeros(*values.shape[:-1], count).index_add_(-1, layers, values)

        # of a layer's parameters each has a scale of its own, and its part of the innovations' power
        look_ahead = memory_power(momentum, factor)
        correction = torch.tensor(list(used), dtype=torch.float64) / self.scale / look_ahead
        correction = torch.where(self.einstein & self.kinetic, correction, torch.nan)
        part = squares.sum(0) / torch.tensor(list(used), dtype=torch.float64)
        part = torch.where(by_layer(part)[layers] > 0, part, 1.0)
        unknown = by_layer((~self.kinetic).double()) > 0
        # how fast each coordinate forgets was summed with the scale that was known before the window
        stale = ~((torch.tensor(list(used), dtype=torch.float64) / self.scale - 1.0).abs() <= SCALE_TOLERANCE)
        stale = unknown | (by_layer(stale.double()) > 0)
        return replace(
            window,
            relaxation=torch.where(stale, torch.nan, window.relaxation),
            innovation_gradient=torch.where(unknown, torch.nan, window.innovation_gradient),
            innovation_square=window.innovation_square * (by_layer(part * correction) / by_layer(part)),
            excess_power=by_layer(torch.where(self.einstein & self.kinetic, excess, torch.nan)),
            driven_power=by_layer(-factor * products / 2.0),
        )
