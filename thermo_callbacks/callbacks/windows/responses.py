"""Measured responses of an optimizer's parameters, window by window."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from thermo_callbacks.callbacks.windows.response_trace import ResponseSums
from thermo_callbacks.callbacks.windows.response_verdict import (
    MEASURING,
    NOT_LINEAR,
    SCALE_TOLERANCE,
    ResponseVerdict,
)
from thermo_callbacks.functional import MomentumResponse
from thermo_callbacks.functional.window.response import ResponseFit, fit_response
from thermo_callbacks.probes.parameters.optimizers import is_known, stated_scale

TOLERANCE = 0.05
"""Relative error of a factor that is put up with."""
UNSTEADY = 0.2
"""Excess of a response that explains all, from which on its scale is not one for the window (Prodigy's first steps)."""
RESTLESS_SHARE = 0.7
"""Share of the innovation's variance that the memory of the other parameters has to explain: a matrix made orthogonal
has less, and a layer of ten weights whose step is scaled to its norm has more."""
FEWEST_MEMORIES = 5.0
"""Window over the steps 1 / (1 - momentum) of a memory, from which on its whole effect shows: a slow tail that goes on
beyond the window (schedule-free optimizers) looks like a memory of a quarter of it."""
_DOUBTFUL = 0.15  # relative error of a slope that confirms nothing any more
_FORGETTING = 0.95  # weight of what earlier windows have shown of an optimizer that injects noise


class Responses:
    """Measured responses of the P parameters of an optimizer, window by window."""

    def __init__(self, parameters: int, length: int) -> None:
        self._length = length
        self.measured: list[MomentumResponse | None] = [None] * parameters
        self.used = [1.0] * parameters  # scales of the mobilities that were read last
        self._scales = [math.nan] * parameters
        self._pooled = torch.zeros(7, 7, dtype=torch.float64)
        self._pooled_rows = torch.zeros((), dtype=torch.float64)

    def scales(
        self, optimizer: Optimizer, groups: Mapping[nn.Parameter, dict[str, Any]], parameters: Sequence[nn.Parameter]
    ) -> list[float]:
        """Scales to read a mobility with: those told or measured, or 1 until the window's end says more."""
        scales = self.stated(optimizer, groups, parameters)
        if not is_known(optimizer):
            scales = [own if own > 0 else told for own, told in zip(self._scales, scales, strict=True)]
        self.used = [scale if scale > 0 else 1.0 for scale in scales]
        return self.used

    def stated(
        self, optimizer: Optimizer, groups: Mapping[nn.Parameter, dict[str, Any]], parameters: Sequence[nn.Parameter]
    ) -> list[float]:
        """Scales by what the optimizer's groups and state say, NaN where they don't."""
        return [stated_scale(optimizer, groups[parameter], parameter) for parameter in parameters]

    def scale_of(self, parameter: int) -> float:
        """Scale that the last window has shown; NaN if none has."""
        return self._scales[parameter]

    def judge(
        self,
        sums: ResponseSums,
        active: Sequence[MomentumResponse],
        stated: Sequence[float],
        *,
        memory: Sequence[MomentumResponse],
        memory_known: bool,
        stateless: Sequence[bool],
    ) -> ResponseVerdict:
        """ResponseVerdict on a window in which each parameter had the ``active`` momentum and factor.

        Args:
            sums: Sums of the window.
            active: Momentum and factor of each parameter that the window's temperature was made with.
            stated: Scale of each parameter by what the optimizer says of itself.
            memory: Momentum and factor by what it says.
            memory_known: Whether these are right by its name.
            stateless: Whether it keeps nothing of a parameter.

        Returns:
            The verdict.
        """
        fit, own = fit_response(sums.moments, sums.rows), fit_response(sums.own_moments, sums.own_rows)
        told = torch.tensor(list(stated), dtype=torch.float64)
        # a low share is the optimizer's own noise, and no nonlinearity, only where the slope is what it says of itself
        doubt = TOLERANCE + 3.0 * fit.scale_error
        confirmed = fit.linear & (fit.scale_error <= _DOUBTFUL) & ((fit.scale / told - 1.0).abs() < doubt)
        # or where it keeps nothing that it could remember a gradient by
        noisy = ~fit.clear & ~confirmed & fit.linear & (fit.order == 0) & torch.tensor(list(stateless))
        sharp = fit.clear & (fit.scale_error <= SCALE_TOLERANCE)
        scale = torch.where(sharp, fit.scale, torch.where(confirmed, told, torch.nan))
        if bool(noisy.any()):
            common = self._pooled_fit(sums.moments[noisy].sum(0), sums.rows[noisy].sum())
            scale = torch.where(noisy, _through_noise(common, told), scale)
        if bool((~fit.measured & ~own.measured).all()):
            # no step that moved anything, or too few: what is told is all there is
            yes = torch.ones(len(told), dtype=torch.bool)
            return ResponseVerdict(told, yes, yes, tuple(self.measured))
        linear = fit.clear | confirmed | noisy
        best = ResponseFit._make(torch.where(linear, *pair) for pair in zip(fit, own, strict=True))
        best = best._replace(linear=linear | own.clear)
        # a response that leaves nothing unexplained leaves no excess, unless its scale moved within the window
        factor = torch.tensor([response.factor for response in active], dtype=torch.float64)
        squares, products = sums.powers.sum(0)
        excess = -factor * squares / (best.scale * products) - 1.0
        white = (best.order < 2) & ~(fit.clear & (excess.abs() > UNSTEADY))
        if memory_known:
            yes = torch.ones(len(told), dtype=torch.bool)
            return ResponseVerdict(scale, yes, white, tuple(self.measured))
        return self._compared(scale, best, active, told=memory)._replace(einstein=white)

    def _compared(
        self,
        scale: Tensor,
        fit: ResponseFit,
        active: Sequence[MomentumResponse],
        *,
        told: Sequence[MomentumResponse],
    ) -> ResponseVerdict:
        """ResponseVerdict by whether the momentum and the factor that were used are those that were measured."""
        kinetic = fit.linear | ~fit.measured
        found: list[MomentumResponse | None] = list(self.measured)
        reason = ""
        for response in set(active):
            members = [place for place, each in enumerate(active) if each == response]
            sure = [place for place in members if fit.linear[place]]
            if not sure:
                continue
            errors = fit.scale_error[sure].nan_to_num(0.0)
            weights = 1.0 / (errors.square() + 1e-6)
            middle = MomentumResponse(*(float((each[sure] * weights).sum() / weights.sum()) for each in fit[2:4]))
            # a memory as long as the window is not seen in it
            hidden = float(errors.min()) > TOLERANCE or (1.0 - middle.momentum) * self._length < FEWEST_MEMORIES
            doubt = TOLERANCE + 2.0 * float(errors.min())
            fits = abs(middle.factor / response.factor - 1.0) <= doubt
            fits = fits and not (hidden and any(self.measured[place] for place in members))
            if fits:  # a small parameter, whose own scale is restless (a trust ratio), has the memory of the others
                kinetic[members] |= fit.share[members] >= RESTLESS_SHARE
            else:
                kinetic[members] = False
                reason = NOT_LINEAR if hidden else MEASURING
            for place in members:
                as_told = abs(middle.factor / told[place].factor - 1.0) <= doubt
                found[place] = None if as_told or (hidden and not fits) else middle
            if hidden and not fits:
                scale = torch.where(torch.isin(torch.arange(len(scale)), torch.tensor(members)), torch.nan, scale)
        if not bool(kinetic.all()):
            reason = reason or NOT_LINEAR
        known = torch.where(fit.measured, scale, torch.nan)
        return ResponseVerdict(known, kinetic, fit.order < 2, tuple(found), reason)

    def _pooled_fit(self, moments: Tensor, rows: Tensor) -> ResponseFit:
        """Response by all parameters together, and by earlier windows, where one window shows it through much noise."""
        self._now = self._pooled * _FORGETTING + moments, self._pooled_rows * _FORGETTING + rows
        return fit_response(self._now[0][None], self._now[1][None])

    def accept(self, verdict: ResponseVerdict) -> None:
        """Take a window's verdict for the next one."""
        self.measured = list(verdict.found)
        self._scales = verdict.scale.tolist()
        if hasattr(self, "_now"):
            self._pooled, self._pooled_rows = self._now

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs."""
        return {
            "measured": [None if each is None else list(each) for each in self.measured],
            "scales": list(self._scales),
            "used": list(self.used),
            "pooled": self._pooled.clone(),
            "pooled_rows": self._pooled_rows.clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back :meth:`state_dict`."""
        self.measured = [None if each is None else MomentumResponse(*each) for each in state["measured"]]
        self._scales, self.used = list(state["scales"]), list(state["used"])
        self._pooled, self._pooled_rows = state["pooled"], state["pooled_rows"]


def _through_noise(common: ResponseFit, told: Tensor) -> Tensor:
    """Scale of parameters that share one slope under the optimizer's noise, ``[P]``; NaN while it is uncertain."""
    error = common.scale_error
    # what it says of itself is exact, where the slope agrees so closely that another convention is out of the question
    apart = (common.scale / told - 1.0).abs()
    agrees = (error <= _DOUBTFUL) & (apart <= TOLERANCE + 2.0 * error * (common.scale / told).abs())
    measured = torch.where(error <= TOLERANCE, common.scale, torch.nan)
    return torch.where(common.linear, torch.where(agrees, told, measured), torch.nan)
