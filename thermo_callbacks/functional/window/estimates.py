"""What windows give: additive sums of replicates, and estimates of each layer and of the whole model made of them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from thermo_callbacks.functional.momentum import as_independent
from thermo_callbacks.functional.statistics import (
    Estimate,
    RatioMoments,
    batch_sums,
    ratio_of_sums,
    sampling_variance_from_sums,
)
from thermo_callbacks.functional.window.coordinate_terms import FEWEST_STEPS
from thermo_callbacks.functional.window.statistics import WindowStatistics


class LayerEstimates(Estimate):
    """Estimates of L layers, and in the last column that of the whole model, ``[L + 1]``; NaN where unknown."""

    @property
    def layers(self) -> Estimate:
        """Estimates of the layers, each ``[L]``."""
        return Estimate(*(column[:-1] for column in self))

    @property
    def whole(self) -> Estimate:
        """Estimate of the whole model, scalars."""
        return Estimate(*(column[-1] for column in self))


def without_error(value: Tensor) -> LayerEstimates:
    """Estimates of a quantity whose standard error is not known, from its values ``[L + 1]``."""
    return LayerEstimates(value, torch.full_like(value, torch.nan), torch.zeros_like(value))


def with_total(layers: Tensor) -> Tensor:
    """Values of the layers, ``[..., L]``, with their sum behind them."""
    return torch.cat([layers, layers.sum(-1, keepdim=True)], -1)


class MeanSums(NamedTuple):
    """Sums of a mean of contributions, and of its error, ``[L + 1]``; those of several windows add up.

    The last column is the whole model: its contributions are formed step by step, since layers share the noise of a
    step, and errors of layers must not be added as if they did not.
    """

    contribution_sum: Tensor
    contribution_square: Tensor
    sampling_sum: Tensor  # variance of the mean from watching a part of the coordinates, times contributions
    contribution_count: Tensor

    @classmethod
    def of(cls, contributions: Tensor, weights: Tensor, sampling_variance: Tensor | None = None) -> MeanSums:
        """Sums of a window, from contributions to the layers' means ``[m, L]`` and the layers' weights in the whole."""
        # a layer with a contribution that is not finite has no value, and no part in the whole
        sampling = torch.zeros_like(weights) if sampling_variance is None else sampling_variance
        present = torch.isfinite(contributions).all(0)
        weights = torch.where(present, weights, 0.0)
        weights = weights / weights.sum()  # NaN when no layer has a value, and so is the whole then
        overall = (torch.where(present, contributions, 0.0) * weights).sum(1, keepdim=True)
        overall_variance = (weights.square() * torch.where(present, sampling, 0.0)).sum()
        columns = torch.cat([contributions, overall], 1)
        variance = torch.cat([sampling, overall_variance.view(1)])
        counted = torch.isfinite(columns).all(0)
        columns, variance = torch.where(counted, columns, 0.0), torch.where(counted, variance, 0.0)
        rows = len(columns)
        return cls(columns.sum(0), columns.square().sum(0), variance * rows, counted.to(columns) * rows)

    def estimate(self) -> LayerEstimates:
        """Mean, standard error and degrees of freedom of all columns."""
        count = self.contribution_count
        value = self.contribution_sum / count
        scatter = (self.contribution_square - count * value.square()).clamp(min=0.0)
        degrees = (count - 1).clamp(min=0.0)
        variance = scatter / degrees / count + self.sampling_sum / count
        return LayerEstimates(value, torch.where(count > 1, variance.sqrt(), torch.nan), degrees)


class RatioSums(NamedTuple):
    """Sums over K batches of steps of a ratio of layers and whole, ``[L + 1]``; those of several windows add up."""

    numerator: Tensor
    denominator: Tensor
    numerator_square: Tensor
    denominator_square: Tensor
    product: Tensor
    batches: Tensor  # their number K

    @classmethod
    def of(cls, numerator: Tensor, denominator: Tensor) -> RatioSums:
        """Sums of a window, from each step's numerators and denominators of the layers, ``[W, L]``."""
        tops, bottoms = batch_sums(with_total(torch.stack((numerator, denominator), 1))).unbind(1)
        count = (bottoms > 0.0).to(bottoms)  # where nothing moved there is no replicate
        products = (tops.square(), bottoms.square(), tops * bottoms, count)
        return cls(*torch.stack((tops, bottoms, *products)).sum(1))

    def estimate(self) -> LayerEstimates:
        """Ratio R, batches being the replicates of its error; NaN where the denominator is not positive."""
        ratio = ratio_of_sums(self.numerator, self.denominator)
        return LayerEstimates(ratio, *RatioMoments(*self).error(ratio))


class ExtensiveSums(NamedTuple):
    """Sums of the mean over windows of a sum over all coordinates, like entropy, ``[L + 1]``; windows add up.

    A layer in which nothing moved takes no part; a layer that moved and yet has no value leaves the whole without one,
    since a sum without it would be another quantity.
    """

    value_sum: Tensor
    step_variance: Tensor  # from the noise of the steps
    sampling_variance: Tensor  # from watching a part of the coordinates
    degrees: Tensor  # of freedom behind the errors
    windows: Tensor

    @classmethod
    def of(cls, window: WindowStatistics, terms: Tensor, squares: Tensor, response: Tensor) -> ExtensiveSums:
        """Sums of a window, from each layer's sums of terms of watched coordinates and of their squares, ``[L]``."""
        # response: errors of the layers' values in relative errors of the kinetic temperature
        if window.steps < FEWEST_STEPS or window.pairs < 2:
            return cls(*torch.zeros_like(with_total(terms)).expand(len(cls._fields), -1))
        moved, sizes = window.moved, window.sizes
        sampling = sampling_variance_from_sums(terms, terms, squares, watched=window.watched, total=sizes)
        layers = torch.stack((window.sample_scale * terms, sampling * sizes.square()))
        value, sampling = with_total(torch.where(moved, layers, 0.0))
        # of the temperature, whose scale drops out; layers share the noise of a step: the whole is summed step by step
        noise = as_independent(window.innovation_gradient, window.momentum)
        relative = noise / noise.mean(0)
        noise = with_total(torch.where(moved, relative * response, 0.0))
        degrees = len(noise) - 1
        variance = noise.var(0) / len(noise) if degrees else torch.full_like(noise[0], torch.nan)
        counted = value.isfinite() & torch.cat([moved, moved.any().view(1)])
        windows = counted.to(value)
        columns = torch.stack((value, variance, sampling, windows * degrees, windows))
        return cls(*torch.where(counted, columns, 0.0))

    def estimate(self) -> LayerEstimates:
        """Mean over windows, standard error and degrees of freedom of all columns."""
        variance = self.step_variance / self.windows.square() + self.sampling_variance / self.windows
        return LayerEstimates(self.value_sum / self.windows, variance.sqrt(), self.degrees)
