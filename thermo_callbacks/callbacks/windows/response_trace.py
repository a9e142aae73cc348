"""The steps of a few coordinates of each parameter, kept for one window: what a response is measured by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from thermo_callbacks.functional.window.response import fit_response, own_shapes, response_moments
from thermo_callbacks.probes.parameters.coordinates import CoordinateProbe

MOST = 32
"""Coordinates of a parameter whose steps are kept."""
IN_ALL = 2048
_REFINEMENTS = 3  # of the shape that coordinates show themselves: each knows the memory better


class ResponseSums(NamedTuple):
    """Sums of a window by parameter, float64 on the CPU; those of a model's shards add up."""

    moments: Tensor  # of the response, by the shape of the mobility that is known, [P, 7, 7]
    rows: Tensor  # behind them, [P]
    own_moments: Tensor  # the same by the shape that the coordinates show themselves
    own_rows: Tensor
    powers: Tensor  # of each step: squares of innovations over shapes, and innovations times gradients, [W, 2, P]
    watched: Tensor  # coordinates behind the powers, [P]


class ResponseTrace:
    """Keeps gradients and displacements of up to 32 coordinates of each of P parameters: one gather a step."""

    def __init__(self, probe: CoordinateProbe, length: int, *, sharded: bool) -> None:
        self._sharded = sharded
        self._positions, self._owners = probe.sub_sample(MOST, IN_ALL)
        self._parameters = len(probe.parameters)
        options: dict[str, Any] = {"device": probe.device, "dtype": probe.dtype}
        count = self._positions.numel()
        self._rows = torch.zeros(length, 2, count, **options)
        self._shapes = torch.zeros(length.bit_length() + 2, count, **options)
        self.clear()

    def clear(self) -> None:
        """Start a new window."""
        self._rates: list[list[float]] = []  # learning rate of each parameter in each step
        self._reads: list[int] = []  # steps at whose end a mobility was read
        self._per_shape: list[list[float]] = []  # what it was read as, over its shape

    def record(self, rows: Tensor, rates: Sequence[float]) -> None:
        """Take in a step: gradients and displacements among rows ``[3, n]``, and the parameters' learning rates."""
        torch.index_select(rows[1:], 1, self._positions, out=self._rows[len(self._rates)])
        self._rates.append(list(rates))

    def record_shape(self, step: int, mobility: Tensor | float, per_shape: Sequence[float]) -> None:
        """Keep a mobility, of all coordinates ``[n]`` or one number, that is the shape times ``per_shape``."""
        place = min(len(self._reads), len(self._shapes) - 1)
        if isinstance(mobility, Tensor):
            torch.index_select(mobility, 0, self._positions, out=self._shapes[place])
        else:
            self._shapes[place].fill_(mobility)
        del self._reads[place:], self._per_shape[place:]
        self._reads.append(step)
        self._per_shape.append(list(per_shape))

    def sums(self, momentum: Sequence[float], lagging: Sequence[float], *, measure: bool) -> ResponseSums:
        """Sums of the window so far; moments are zero unless ``measure``.

        Args:
            momentum: Decay of each parameter's memory.
            lagging: Displacement by the gradient of the step before, per shape and learning rate, of each parameter.
            measure: Whether the response is to be measured, or is known.

        Returns:
            The sums.
        """
        steps = len(self._rates)
        gradients, displacements = self._rows[:steps].cpu().double().unbind(1)
        rates = torch.tensor(self._rates, dtype=torch.float64).view(steps, self._parameters)
        moves = displacements / torch.where(rates > 0, rates, torch.nan)[:, self._owners]
        shapes = self._interpolated(steps)
        owned = (self._owners, self._parameters)
        none = (gradients.new_zeros(self._parameters, 7, 7), gradients.new_zeros(self._parameters))
        known = own = none
        if measure:
            known = response_moments(moves, gradients, shapes, *owned)
            # what the shards add up to may be less clear than each of them
            fit = fit_response(*known)
            if self._sharded or not bool((fit.clear | ~fit.measured).all()):
                memory: Tensor | float = 0.0
                for _ in range(_REFINEMENTS):
                    own = response_moments(moves, gradients, own_shapes(moves, gradients, memory), *owned)
                    memory = fit_response(*own).momentum.nan_to_num(0.0).clamp(max=1.0)[self._owners]
        decay, lag = (torch.tensor(list(each), dtype=torch.float64)[self._owners] for each in (momentum, lagging))
        powers, watched = self._powers(moves, gradients, shapes, rates, decay=decay, lag=lag)
        return ResponseSums._make([*known, *own, powers, watched])

    def _powers(
        self, moves: Tensor, gradients: Tensor, shapes: Tensor, rates: Tensor, *, decay: Tensor, lag: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Powers of each step about the window's mean, a step that can't be counted being zero."""
        # what the gradient of the step before adds is no part of what this one's did
        innovations = moves[1:] - decay * moves[:-1] + lag * shapes[:-1] * gradients[:-1]
        usable = torch.isfinite(innovations).all(1) & torch.isfinite(gradients[1:]).all(1)
        live = (shapes > 0).all(0)
        powers = gradients.new_zeros(len(moves), 2, self._parameters)
        if int(usable.sum()) > 1:
            pair = torch.stack((innovations[usable], gradients[1:][usable]))
            kicks, pushes = torch.where(live, pair - pair.mean(1, keepdim=True), 0.0).unbind()
            kicks = kicks * rates[1:][usable].sqrt()[:, self._owners]
            pushes = pushes * rates[1:][usable].sqrt()[:, self._owners]
            scaled = kicks / torch.where(live, shapes[1:][usable], 1.0)
            products = torch.stack((kicks * scaled, kicks * pushes), 1)
            places = torch.nonzero(usable)[:, 0] + 1
            powers[places] = powers[places].index_add(2, self._owners, products)
        watched = gradients.new_zeros(self._parameters).index_add_(0, self._owners, torch.ones_like(gradients[0]))
        return powers, watched

    def _interpolated(self, steps: int) -> Tensor:
        """Shape of the mobility in each step, ``[W, k]``: between two reads it changes geometrically."""
        if not self._reads:  # the steps before are in a checkpoint of an earlier version, which has none
            return torch.zeros(steps, self._positions.numel(), dtype=torch.float64)
        shapes = self._shapes[: len(self._reads)].cpu().double()
        per_shape = torch.tensor(self._per_shape, dtype=torch.float64).view(len(self._reads), self._parameters)
        shapes = shapes / per_shape[:, self._owners]
        for read in range(len(shapes) - 2, -1, -1):  # a learning rate of zero, the first of a warm-up, hides it
            shapes[read] = torch.where(torch.isfinite(shapes[read]), shapes[read], shapes[read + 1])
        live = (torch.isfinite(shapes) & (shapes > 0)).all(0)  # of the others no shape is known
        logarithms = torch.where(live, shapes, 1.0).log()
        reads, now = torch.tensor(self._reads, dtype=torch.float64), torch.arange(1.0, steps + 1, dtype=torch.float64)
        after = torch.searchsorted(reads, now).clamp(max=len(reads) - 1)
        before = (after - 1).clamp(min=0)
        part = ((now - reads[before]) / (reads[after] - reads[before]).clamp(min=1.0)).clamp(0.0, 1.0)[:, None]
        return torch.where(live, torch.lerp(logarithms[before], logarithms[after], part).exp(), 0.0)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs to go on with the window: tensors on the CPU, numbers in lists."""
        steps = len(self._rates)
        return {
            "rows": self._rows[:steps].cpu().clone(),
            "shapes": self._shapes[: len(self._reads)].cpu().clone(),
            "rates": [list(rates) for rates in self._rates],
            "reads": list(self._reads),
            "per_shape": [list(each) for each in self._per_shape],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken."""
        self.clear()
        self._rates = [list(rates) for rates in state["rates"]]
        self._reads, self._per_shape = list(state["reads"]), [list(each) for each in state["per_shape"]]
        self._rows[: len(self._rates)].copy_(state["rows"])
        self._shapes[: len(self._reads)].copy_(state["shapes"])
