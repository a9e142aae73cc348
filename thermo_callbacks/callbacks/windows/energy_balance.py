"""The energy balance of a run: heat by layer over watched and unwatched steps, against the change of the loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from thermo_callbacks.functional import first_law_residual
from thermo_callbacks.functional.energy import bridged_heat, bridged_heats
from thermo_callbacks.functional.statistics import batch_sums, widening

_BATCHES = 4  # of a window in the middle of the range


class _Pace(NamedTuple):
    """Heat of all layers per learning rate in a window."""

    value: float
    variance: float
    followed: float  # by how much the bridge before that window changes with it
    freedom: int  # degrees of freedom of the variance; 0 before there is a window


class EnergyBalance:
    """Cumulative heat of each layer, and what it leaves unexplained of the loss.

    Steps between two windows are not watched; their heat is :func:`bridged_heat` of the halves of both windows that lie
    next to them: where a loss begins to fall, a window's first steps know little of its last ones. The mean loss of a
    window is set against the mean over its steps of the heat before each: what a loss that falls fast within a window
    does to one, it does to the other.
    """

    def __init__(self) -> None:
        self.heat: dict[str, float] = {}
        self.variance = 0.0  # of the total, from what is bridged
        self._fourth = 0.0  # sum of the squares of what that is made of, each over its degrees of freedom
        self._pace: dict[str, float] = {}  # heat per learning rate in the second half of the last window
        self._whole = _Pace(math.nan, 0.0, 0.0, 0)  # of all layers together
        self._rate, self._margin = 1.0, 0.0  # learning rate at the end of that window, and half its length
        self._start: tuple[float, float] | None = None  # energy of the first window, mean heat before its steps
        self._now: tuple[float, float] | None = None

    def add(
        self,
        names: Sequence[str],
        heat: Tensor,
        *,
        unwatched: int,
        energy: float,
        rates: Sequence[float] = (),
        unwatched_rates: Sequence[float] = (),
    ) -> None:
        """Enter a window.

        Args:
            names: Its layers.
            heat: Heat of each step, ``[W, L]``.
            unwatched: Steps before it that nobody watched.
            energy: Mean loss; NaN if unknown.
            rates: Learning rates of its steps; as if they were constant where none are given.
            unwatched_rates: Learning rates of the unwatched steps, evenly thinned.
        """
        steps = len(heat)
        rate = torch.tensor(list(rates) or [1.0], dtype=heat.dtype)
        margins = (self._margin, steps / 2.0)
        between = torch.tensor([self._rate, *(unwatched_rates or [self._rate]), float(rate[0])], dtype=heat.dtype)
        total = float(rate.mean()) * steps  # steps that were left out have no heat either
        # a window that lost all its steps tells nothing of the pace
        known = torch.tensor([self._pace.get(name, math.nan) for name in names], dtype=heat.dtype)
        early, late = _paces(heat, rate) if total else (known, known)
        before = torch.where(known.isnan(), early, known)
        paces = list(zip(before.nan_to_num().tolist(), early.nan_to_num().tolist(), strict=True))
        bridges = bridged_heats(paces, between, unwatched, margins=(margins[0] / 2.0, margins[1] / 2.0))
        for name, value, after, bridge in zip(names, heat.sum(0).tolist(), late.tolist(), bridges, strict=True):
            self.heat[name] = self.heat.get(name, 0.0) + bridge.heat + value
            if not math.isnan(after):
                self._pace[name] = after
        if total:
            bridged = math.fsum(bridge.heat for bridge in bridges)
            self._add_variance(heat.sum(1), total, between, unwatched, margins, bridged)
            self._rate, self._margin = float(rate[-1]), steps / 2.0
        # the heat of step s = 1..W lies behind the losses of the W - s steps after it, and ahead of s of them
        ahead = torch.arange(1, steps + 1, dtype=heat.dtype) / max(steps, 1)
        self._now = (energy, self.total - float(ahead @ heat.sum(1)))
        if self._start is None:
            self._start = self._now

    def _add_variance(
        self,
        heat: Tensor,
        total: float,
        between: Tensor,
        unwatched: int,
        margins: tuple[float, float],
        bridged: float,
    ) -> None:
        """What the bridge before a window may be wrong by: the noise of both windows, and the curve between them."""
        batches = batch_sums(heat)
        count = len(batches)
        noise = float(batches.var()) * count / total**2 if count > 1 else 0.0
        pace = float(heat.sum()) / total
        last = self._whole if self._whole.freedom else _Pace(pace, noise, 0.0, count - 1)
        bridge = bridged_heat(last.value, pace, between, unwatched, margins=margins)
        self._whole = _Pace(pace, noise, bridge.by_after, max(1, count - 1))
        # the error of a window is in the bridges to both sides of it, and does not cancel
        self._add(((last.followed + bridge.by_before) ** 2 - last.followed**2) * last.variance, last.freedom)
        # the unwatched steps scatter too: each by what one of the window's does, times its learning rate
        passed = float(between[1:-1].mean()) * unwatched if len(between) > 2 else 0.0
        self._add((bridge.by_after**2 + total * passed) * noise, count - 1)
        # how far the curve can be trusted: its distance from a straight line, and from that of the whole windows
        self.variance += ((bridge.heat - bridge.straight) / 2.0) ** 2 + (bridge.heat - bridged) ** 2

    def _add(self, variance: float, freedom: int) -> None:
        self.variance += variance
        self._fourth += variance**2 / max(1, freedom)

    @property
    def stderr(self) -> float:
        """Standard error of the total, widened for the few batches it is known from.

        So that an interval of two errors covers the truth as often as it says (Welch and Satterthwaite).
        """
        return math.sqrt(self.variance) * (widening(self.variance**2 / self._fourth) if self._fourth else 1.0)

    @property
    def total(self) -> float:
        """Heat of all layers."""
        return math.fsum(self.heat.values())

    @property
    def first_energy(self) -> float:
        """Mean loss in the first window; NaN if there is none, or it is unknown."""
        return math.nan if self._start is None else self._start[0]

    @property
    def energy(self) -> float:
        """Mean loss in the last window; NaN if unknown."""
        return math.nan if self._now is None else self._now[0]

    @property
    def residual(self) -> float:
        """First-law residual between the first window and the last; NaN where a loss is unknown."""
        if self._start is None or self._now is None:
            return math.nan
        (first, heat_first), (last, heat_last) = self._start, self._now
        values = torch.tensor([first, last, heat_last - heat_first], dtype=torch.float64)
        return float(first_law_residual(*values))

    def state_dict(self) -> dict[str, Any]:
        """The balance as plain numbers, for a checkpoint."""
        return {
            "heat": dict(self.heat),
            "pace": dict(self._pace),
            "variance": self.variance,
            "fourth": self._fourth,
            "whole": tuple(self._whole),
            "rate": self._rate,
            "margin": self._margin,
            "start": self._start,
            "now": self._now,
        }

    def load_state_dict(self, state: dict[str, Any], rate: float = 1.0) -> None:
        """Take back :meth:`state_dict`; an earlier version knew the heat per step, at the learning rate of now."""
        if "pace" not in state:
            pace = {name: value / rate if rate else 0.0 for name, value in state["rate"].items()}
            state = {**state, "pace": pace, "variance": 0.0, "whole": (math.nan, 0.0), "rate": rate, "margin": 0.0}
        self.heat, self._pace = dict(state["heat"]), dict(state["pace"])
        self.variance, self._fourth = state["variance"], state.get("fourth", 0.0)
        whole = state["whole"]
        # earlier versions knew nothing of the bridge, or not how many batches there were
        self._whole = _Pace(*whole, *(0.0, 0 if math.isnan(whole[0]) else _BATCHES - 1)[len(whole) - 2 :])
        self._rate, self._margin = state["rate"], state["margin"]
        self._start, self._now = state["start"], state["now"]


def _paces(heat: Tensor, rate: Tensor) -> tuple[Tensor, Tensor]:
    """Heat per learning rate of each layer in the first and in the second half of a window."""
    steps, rates = max(1, len(heat) // 2), max(1, len(rate) // 2)
    halves = ((heat[:steps], rate[:rates]), (heat[-steps:], rate[-rates:]))
    # a rate that is zero throughout a half moves nothing, and tells nothing of the pace
    early, late = (rows.sum(0) / (float(part.mean()) * steps or math.nan) for rows, part in halves)
    whole = heat.sum(0) / (float(rate.mean()) * len(heat))
    return torch.where(early.isnan(), whole, early), torch.where(late.isnan(), whole, late)
