"""Clipping of gradients, seen on the watched coordinates: before it happens, and after the step."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from thermo_callbacks.probes.parameters.coordinates import CoordinateProbe

ROUNDING = 1e-6
"""Relative difference of norms that is no clipping."""


class Clipping(NamedTuple):
    """What a window saw of clipping."""

    steps: int = 0  # of which both norms are known
    factors: float = 0.0  # sum over them of the norm after clipping, divided by that before
    clipped: int = 0  # of them, those whose gradient was clipped
    overwritten: int = 0  # steps after which the gradient was another, and not a smaller one
    shown: bool = False  # whether clipping was asked for, or has been seen


class ClippingProbe:
    """Compares the gradient that a step gets with the one that is left when it has happened.

    Clipping makes no coordinate larger and turns none around; where that is not so, something else has written into
    the gradient (Nesterov's step of several tensors does), and the step says nothing. Where nobody ``expected``
    clipping, steps 1, 2, 4, 8 ... of a window are looked at until one is found clipped.
    """

    def __init__(self, probe: CoordinateProbe, length: int, *, expected: bool) -> None:
        self._probe, self._expected = probe, expected
        self.seen = False
        # squared norms before and after, and whether anything but clipping happened; NaN where nobody looked
        self._squares = torch.full((length, 3), math.nan, device=probe.device, dtype=probe.dtype)
        self._read: Tensor | None = None  # the gradient after the step, then before it where that is read apart
        self._has_first = False
        self._weights: Tensor | float = 1.0

    def looks_at(self, step: int) -> bool:
        """Whether a step of the window, from 0, is looked at."""
        return self._expected or self.seen or not (step + 1) & step

    def read_first(self, step: int) -> None:
        """Read the gradient as the backward pass has left it: whoever clips before the step's own hook does it next."""
        if self.looks_at(step):
            self._probe.read_gradients(self._rows[1])
            self._has_first = True

    def read_last(self, step: int, scale: Tensor | float) -> None:
        """Compare, after the step and before the probe's rows are used up; ``scale`` is that of their gradient."""
        if not self.looks_at(step):
            return
        rows = self._rows
        self._probe.read_gradients(rows[0], scale)
        first = rows[1].mul_(scale) if self._has_first else self._probe.rows[1]
        self._has_first = False
        turned, grown = (rows[0] * first).amin(), (rows[0].abs() - first.abs() * (1.0 + ROUNDING)).amax()
        other = (turned < 0) | (grown > 0)
        norms = torch.stack([(row.square() * self._weights).sum() for row in (first, rows[0])])
        self._squares[step] = torch.cat([norms, other.view(1).to(norms)])

    @property
    def _rows(self) -> Tensor:
        if self._read is None:  # most runs look at a few steps only, and some at none
            self._read = torch.zeros_like(self._probe.rows[:2])
            self._weights = self._probe.layer_scales()
        return self._read

    def squares(self, steps: int) -> Tensor:
        """What is known of each step of the window so far, float64 on the CPU, ``[steps, 3]``."""
        return self._squares[:steps].cpu().double()

    def result(self, squares: Tensor) -> Clipping:
        """What the steps of a window say; those of processes with parts of the parameters add up."""
        before, after, other = squares.unbind(1)
        looked = before.isfinite() & after.isfinite() & (before > 0)
        fair = looked & (other == 0)
        factors = (after[fair] / before[fair]).sqrt()
        clipped = int((factors < 1.0 - ROUNDING).sum())
        self.seen = self.seen or clipped > 0
        overwritten = int(looked.sum()) - len(factors)
        return Clipping(len(factors), float(factors.sum()), clipped, overwritten, self._expected or self.seen)

    def clear(self) -> None:
        """Start a new window."""
        self._squares.fill_(math.nan)
        self._has_first = False

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint."""
        return {"squares": self._squares.cpu().clone(), "seen": self.seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back :meth:`state_dict`; one of an earlier version is empty."""
        if state:
            self._squares.copy_(state["squares"])
            self.seen = bool(state["seen"])
