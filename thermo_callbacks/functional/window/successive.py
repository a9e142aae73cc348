"""Products of gradients with independent noise, step by step in a window: of successive steps, or of halves of one."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from thermo_callbacks.functional.window.streaming import CHUNK


class GradientProducts(NamedTuple):
    """Products of pairs of gradients and their mean squares over the watched coordinates of L layers, ``[K, L]``."""

    products: Tensor
    powers: Tensor
    at_one_point: bool  # whether both gradients of a pair were taken at the same parameters


class SuccessiveGradients:
    """Sums by step of a window's gradients: their squares, and products of two with independent noise.

    Where a step accumulates batches, the two are the gradients of its first and of its last batches, at one point; else
    those of the step and of the one before.
    """

    def __init__(
        self, chunk_layers: Tensor, layers: int, *, length: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        self._chunk_layers, self._layers = chunk_layers, layers
        options: dict[str, Any] = {"device": device, "dtype": dtype}
        self._previous = torch.zeros(len(chunk_layers) * CHUNK, **options)
        self.first_half = torch.zeros_like(self._previous)  # gradient of a step's first batches, to be written to
        self._series = torch.zeros(length, 2, len(chunk_layers), **options)  # products and squares of each step
        self._steps = 0
        self._halves = False

    def update(self, gradient: Tensor, half: float = 0.0) -> None:
        """Take in a step's gradient, flat like the window's rows.

        ``half`` is the share of it that :attr:`first_half` makes up, 0 if that was not written.
        """
        if self._steps == 0:
            self._halves = bool(half)
        if self._halves and half:
            # g = s h + (1 - s) h', with the means h and h' over the two halves
            product = (gradient - half * self.first_half) / (1.0 - half) * self.first_half
        elif self._halves:  # an epoch that ends in the middle of a step leaves one half
            product = torch.full_like(gradient, torch.nan)
        else:
            product = gradient * self._previous
        pair = torch.stack((product, gradient.square()))
        torch.sum(pair.view(2, -1, CHUNK), -1, out=self._series[self._steps])
        self._previous.copy_(gradient)
        self._steps += 1

    @property
    def in_halves(self) -> bool:
        """Whether the window's pairs are halves of a step."""
        return self._halves

    def rows(self) -> Tensor:
        """Products and squares of each step and layer so far, ``[W, 2, L]``, float64 on the CPU."""
        series = self._series[: self._steps].cpu().double()
        return series.new_zeros(self._steps, 2, self._layers).index_add_(2, self._chunk_layers, series)

    def close(self, rows: Tensor | None = None) -> GradientProducts:
        """End the window: products and powers of its steps, or of these rows, without those that are not finite."""
        products, powers = (self.rows() if rows is None else rows).unbind(1)
        if not self._halves:  # the first step's partner lies before the window
            products, powers = products[1:], (powers[1:] + powers[:-1]) / 2.0
        finite = (products.isfinite() & powers.isfinite()).all(-1)
        halves = self._halves
        self.clear()
        return GradientProducts(products[finite], powers[finite], halves)

    def clear(self) -> None:
        """Begin with the next step."""
        self._steps, self._halves = 0, False

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint; empty between windows."""
        if not self._steps:
            return {}
        return {
            "previous": self._previous.cpu().clone(),
            "series": self._series[: self._steps].cpu().clone(),
            "halves": self._halves,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken."""
        self.clear()
        if state:
            self._previous.copy_(state["previous"])
            self._steps, self._halves = len(state["series"]), bool(state["halves"])
            self._series[: self._steps].copy_(state["series"])
