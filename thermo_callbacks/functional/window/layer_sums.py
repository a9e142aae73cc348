"""Sums of a window by layer, and the statistics that they give."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from thermo_callbacks.functional.momentum import noise_half
from thermo_callbacks.functional.statistics import sampling_variance_from_sums
from thermo_callbacks.functional.window.coordinate_terms import CoordinateSums
from thermo_callbacks.functional.window.statistics import WindowStatistics
from thermo_callbacks.functional.window.weight_terms import GrowthSums, WeightSums, growth_sampling_variance

# rows of a step's sums: the first two are products of contrasts, the next two become so, the last three are sums
PAIR, INNOVATION, POSITION_GRADIENT, GRADIENT, FORCE, WORK, MOVE = range(7)
# rows of a window's terms: the square of the mean gradient, entropy's, the weights', and of a sample two kinds more
_ENTROPY = slice(1, 1 + len(CoordinateSums._fields))
_WEIGHTS = slice(_ENTROPY.stop, _ENTROPY.stop + len(WeightSums._fields))
_HALVES = slice(_WEIGHTS.stop, _WEIGHTS.stop + 3)
_GROWTH = slice(_HALVES.stop, _HALVES.stop + len(GrowthSums._fields))


def term_count(*, sampled: bool) -> int:
    """Terms of a window whose layers are watched whole, or some of them in part."""
    return int(_GROWTH.stop if sampled else _WEIGHTS.stop)


class LayerSums(NamedTuple):
    """Sums of a window over the coordinates of L layers, float64 on the CPU; those of a model's shards add up."""

    series: Tensor  # products of each of W steps, [W, 7, L]
    flags: Tensor  # whether the step counts as a pair, and as a step, [W, 2]
    terms: Tensor  # sums over the whole window, [terms, L]

    def statistics(
        self,
        watched: Tensor,
        sizes: Tensor,
        momentum: Tensor,
        *,
        batch_size: float,
        whole: tuple[Tensor, Tensor] | None = None,
    ) -> WindowStatistics:
        """Statistics of the steps by layer; watched and all coordinates count where there was a gradient, ``[L]``."""
        # whole: the same two counts with a gradient or without; None: there was one everywhere
        by_step, flags, terms = self
        entropy = CoordinateSums(*terms[_ENTROPY])
        halves = terms[_HALVES]
        pair_rows, step_rows = flags.unbind(1)
        step_count = step_rows.cumsum(0)
        step_sums = by_step[:, POSITION_GRADIENT : GRADIENT + 1]
        step_sums = step_sums * ((step_count - 1) / step_count.clamp(min=1))[:, None, None]
        # the first row has nothing to deviate from: W rows give W - 1 contrasts
        pair_sums, step_sums = by_step[pair_rows.bool()][1:], step_sums[step_rows.bool()][1:]
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
            **self._weights(*(whole or (watched, sizes))),
            watched=watched,
            sizes=sizes,
            momentum=momentum,
            batch_size=batch_size,
            skipped=len(flags) - int(step_rows.sum()),
        )

    def _weights(self, watched: Tensor, sizes: Tensor) -> dict[str, Tensor]:
        """Fields of the statistics that are about the weights themselves."""
        weights, growth = WeightSums(*self.terms[_WEIGHTS]), self.terms[_GROWTH]
        square = weights.position_square
        variance = torch.zeros_like(square)
        if len(growth):
            steps = max(1, int(self.flags[:, 1].sum()))
            counted = self.series[self.flags[:, 1].bool()]
            grown = 2.0 * counted[:, FORCE].sum(0) / steps
            variance = growth_sampling_variance(GrowthSums(*growth), grown, square, watched=watched, total=sizes)
        return {
            "weight_square": torch.where(watched > 0, square * sizes / watched, 0.0),
            "growth_sampling_variance": variance,
            "decay_square": weights.decay_square,
            "decay_displacement": weights.decay_displacement,
        }


def _sampling_variance(halves: Tensor, pair_rows: Tensor, watched: Tensor, sizes: Tensor, momentum: Tensor) -> Tensor:
    """Variance of each layer's kinetic temperature from watching n of its N coordinates."""
    counted = torch.nonzero(pair_rows)[1:, 0].tolist()  # the first pair has no contrast
    paired = bool((momentum > 0.0).any())
    odd = sum(noise_half(step, paired) for step in counted)
    even = len(counted) - odd
    if not len(halves) or not even or not odd:
        return torch.zeros_like(watched)
    first, second = -0.5 * halves[0] / even, -0.5 * halves[1] / odd
    product = 0.25 * halves[2] / (even * odd)
    return sampling_variance_from_sums(first, second, product, watched=watched, total=sizes)
