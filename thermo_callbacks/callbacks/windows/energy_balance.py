"""The energy balance of a run: heat by layer over watched and unwatched steps, against the change of the loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from thermo_callbacks.functional import first_law_residual


class EnergyBalance:
    """Cumulative heat of each layer, and what it leaves unexplained of the loss.

    Steps between two windows are not watched; their heat is interpolated linearly between the mean heat per step of the
    window before and of the window after. The mean loss of a window is set against the mean over its steps of the heat
    before each: what a loss that falls fast within a window does to one, it does to the other.
    """

    def __init__(self) -> None:
        self.heat: dict[str, float] = {}
        self._rate: dict[str, float] = {}
        self._start: tuple[float, float] | None = None  # energy of the first window, mean heat before its steps
        self._now: tuple[float, float] | None = None

    def add(self, names: Sequence[str], heat: Tensor, *, unwatched: int, energy: float) -> None:
        """Enter a window: heat ``[W, L]``, unwatched steps before it, and mean loss, NaN if unknown."""
        steps = len(heat)
        for name, value in zip(names, heat.sum(0).tolist(), strict=True):
            # a window that lost all its steps tells nothing of the rate
            rate = value / steps if steps else self._rate.get(name, 0.0)
            bridge = unwatched * (self._rate.get(name, rate) + rate) / 2.0
            self.heat[name] = self.heat.get(name, 0.0) + bridge + value
            self._rate[name] = rate
        # the heat of step s = 1..W lies behind the losses of the W - s steps after it, and ahead of s of them
        ahead = torch.arange(1, steps + 1, dtype=heat.dtype) / max(steps, 1)
        self._now = (energy, self.total - float(ahead @ heat.sum(1)))
        if self._start is None:
            self._start = self._now

    @property
    def total(self) -> float:
        """Heat of all layers."""
        return math.fsum(self.heat.values())

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
        return {"heat": dict(self.heat), "rate": dict(self._rate), "start": self._start, "now": self._now}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back :meth:`state_dict`."""
        self.heat, self._rate = dict(state["heat"]), dict(state["rate"])
        self._start, self._now = state["start"], state["now"]
