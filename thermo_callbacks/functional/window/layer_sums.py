"""Sums of a window by layer, and the statistics that they give."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from thermo_callbacks.functional.momentum import pair_scale
from thermo_callbacks.functional.statistics import sampling_variance_from_sums
from thermo_callbacks.functional.window.coordinate_terms import CoordinateSums
from thermo_callbacks.functional.window.statistics import WindowStatistics

# rows of a step's sums; the first two pairs stand where their means stand, the last three where a step's rows stand
PAIR, INNOVATION, POSITION_GRADIENT, GRADIENT, FORCE, WORK, MOVE = range(7)


class LayerSums(NamedTuple):
    """Sums of a window over the coordinates of L layers, float64 on the CPU; those of a model's shards add up."""

    series: Tensor  # products of each of W steps, [W, 7, L]
    flags: Tensor  # whether the step counts as a pair, and as a step, [W, 2]
    terms: Tensor  # sums over the whole window, [terms, L]

    def statistics(self, watched: Tensor, sizes: Tensor, momentum: Tensor, *, batch_size: float) -> WindowStatistics:
        """Statistics of the steps by layer; watched and all coordinates count where there was a gradient, ``[L]``."""
        by_step, flags, terms = self
        entropy = CoordinateSums(*terms[1 : 1 + len(CoordinateSums._fields)])
        halves = terms[1 + len(CoordinateSums._fields) :]
        pair_rows, step_rows = flags.unbind(1)
        pair_count, step_count = pair_rows.cumsum(0), step_rows.cumsum(0)
        pair_sums = by_step[:, : INNOVATION + 1] * ((pair_count - 1) / pair_count.clamp(min=1))[:, None, None]
        step_sums = by_step[:, POSITION_GRADIENT : GRADIENT + 1]
        step_sums = step_sums * ((step_count - 1) / step_count.clamp(min=1))[:, None, None]
        # the first row of a running mean has no deviation: W rows give W - 1 contrasts
        pair_sums, step_sums = pair_sums[pair_rows.bool()][1:], step_sums[step_rows.bool()][1:]
        raw = by_step[step_rows.bool()]
        return WindowStatistics(
            innovation_gradient=pair_sums[:, PAIR],
            innovation_square=pair_sums[:, INNOVATION],
            position_gradient=step_sums[:, 0],
            gradient_square=step_sums[:, 1],
            position_displacement=raw[:, FORCE],
            gradient_displacement=raw[:, WORK],
            displacement_square=raw[:, MOVE],
            mean_gradient_square=terms[0],
            # no rows: they are those of a smaller sample, whose steps are kept one by one
            excess_power=pair_sums[:0, PAIR],
            driven_power=pair_sums[:0, PAIR],
            temperature_sampling_variance=_sampling_variance(halves, pair_rows, watched, sizes, momentum),
            **entropy._asdict(),
            watched=watched,
            sizes=sizes,
            momentum=momentum,
            batch_size=batch_size,
            skipped=len(flags) - int(step_rows.sum()),
        )


def _sampling_variance(halves: Tensor, pair_rows: Tensor, watched: Tensor, sizes: Tensor, momentum: Tensor) -> Tensor:
    """Variance of each layer's kinetic temperature from watching n of its N coordinates."""
    counted = pair_rows.bool() & (pair_rows.cumsum(0) > 1)
    even, odd = int(counted[0::2].sum()), int(counted[1::2].sum())
    if not len(halves) or not even or not odd:
        return torch.zeros_like(watched)
    scale = pair_scale(1, int(pair_rows.sum()), momentum)
    first, second = halves[0] * scale / even, halves[1] * scale / odd
    product = halves[2] * scale**2 / (even * odd)
    return sampling_variance_from_sums(first, second, product, watched=watched, total=sizes)
