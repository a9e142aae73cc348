"""Ratios of powers from sums that add up: one activation, one type of activation, a whole network, with errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from thermo_callbacks.functional.statistics import Estimate, ratio_of_sums

ROUNDING = 1e-13  # of the mean square: what is left of a constant's variance


def power_ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Ratio of two sums of squares, any shape; NaN where the denominator is zero or a sum isn't finite."""
    finite = numerator.isfinite() & denominator.isfinite()
    return torch.where(finite, ratio_of_sums(numerator, denominator), torch.nan)


def power_ratio_of_tensors(numerator: Tensor, denominator: Tensor) -> Tensor:
    """:func:`power_ratio` of the sums of squares of two tensors of one shape, at any scale."""
    scale = torch.maximum(numerator.abs().amax(), denominator.abs().amax())  # 1e-25 squared is 0 in float32
    return power_ratio((numerator / scale).square().sum(), (denominator / scale).square().sum())


def variance_from_sums(power: Tensor, total: Tensor, count: Tensor) -> Tensor:
    """Variance from sums of squares, sums and counts, any shape: 0 where it is below rounding, NaN where not finite."""
    mean_square = power / count
    variance = mean_square - (total / count).square()
    variance = torch.where(variance > ROUNDING * mean_square, variance, 0.0)
    return torch.where(mean_square.isfinite(), variance, torch.nan)


def temperature_drop_of_variances(hot: Tensor, cold: Tensor) -> Tensor:
    """Relative fall of the variance from input to output; NaN where the input doesn't vary."""
    return 1.0 - ratio_of_sums(cold, hot)


def sample_powers(tensor: Tensor) -> Tensor:
    """Sum of squares of each sample of ``[B, ...]``, in double precision, ``[B]``."""
    return tensor.double().square().reshape(tensor.shape[0] if tensor.ndim else 1, -1).sum(1)


class PowerSums(NamedTuple):
    """Sums over replicates (samples, or groups of them) of the powers of M modules; those of several batches add up."""

    # modules share the samples of a batch, so the error of an aggregate needs the products of all pairs of sums; where
    # they can't be told to share them, the error is that of modules which err together, an upper bound; and where one
    # has a single replicate, whose scatter is unknown, it is NaN

    totals: Tensor  # of the M numerators and then of the M denominators, [2 M]
    products: Tensor  # of these, [2 M, 2 M]; NaN between modules whose replicates can't be told to be the same samples
    replicates: Tensor  # of each module, [M]

    def modules(self) -> Estimate:
        """Efficiency of each module with its standard error, each ``[M]``; NaN for a module without sums."""
        numerator, denominator = self.totals.view(2, -1)
        value = power_ratio(numerator, denominator)
        squares, cross = self.products.diagonal().view(2, -1), self.products.diagonal(len(value))
        scatter = squares[0] - 2.0 * value * cross + value.square() * squares[1]
        return _estimate(value, scatter / denominator.square(), self.replicates)

    def pooled(self, members: Sequence[bool] | None = None) -> Estimate:
        """Sum of numerators over sum of denominators: the mean weighted by what each module takes in."""
        chosen = torch.tensor(members or [True] * len(self.replicates), device=self.totals.device)
        numerator, denominator = torch.where(chosen, self.totals.view(2, -1), 0.0).sum(1)
        value = power_ratio(numerator, denominator)
        slopes = chosen / denominator
        scatter = self._scatter(torch.cat([slopes, -slopes * value]))
        return _estimate(value, scatter, self._fewest(chosen))

    def by_type(self, types: Sequence[str]) -> dict[str, Estimate]:
        """:meth:`pooled` of the modules of each type, in the order in which the types appear."""
        return {kind: self.pooled([other == kind for other in types]) for kind in dict.fromkeys(types)}

    def network(self) -> Estimate:
        """Product over the modules that have a value, with its standard error: the network as a chain of engines."""
        numerator, denominator = self.totals.view(2, -1)
        value = power_ratio(numerator, denominator)
        known = value.isfinite()
        factors = torch.where(known, value, 1.0)
        others = torch.where(torch.eye(len(factors), device=factors.device) > 0, 1.0, factors).prod(1)
        slopes = torch.where(known, others / denominator, 0.0)  # of the product, by each numerator
        product = torch.where(known.any(), factors.prod(), torch.nan)
        scatter = self._scatter(torch.cat([slopes, -slopes * factors]))
        return _estimate(product, scatter, self._fewest(known))

    def _fewest(self, chosen: Tensor) -> Tensor:
        """Replicates of the chosen module that has the fewest, of those that have any; 0 without one."""
        present = chosen & (self.replicates > 0)
        most = self.replicates.amax() if len(self.replicates) else self.replicates.sum()
        return torch.where(present.any(), torch.where(present, self.replicates, most).amin(), 0)

    def _scatter(self, direction: Tensor) -> Tensor:
        """Sum over replicates of the squares of a linear combination of their sums, or an upper bound of it."""
        used = direction != 0.0
        known = used[:, None] & used & ~self.products.isnan()
        terms = direction[:, None] * torch.where(known, self.products, 0.0) * direction
        # products are known within a group of modules with the same samples: of the scatter of all together the
        # inequality of Cauchy and Schwarz leaves the square of the sum of the groups' roots
        labels = known.int().argmax(1)
        groups = (used[:, None] & (labels[:, None] == torch.arange(len(labels), device=labels.device))).to(terms)
        return torch.einsum("ig,ij,jg->g", groups, terms, groups).clamp(min=0.0).sqrt().sum().square()


def power_sums(numerators: Sequence[Tensor | None], denominators: Sequence[Tensor | None]) -> PowerSums:
    """Sums of one batch, from sums of squares by replicate, float64 ``[K]``; None for a module not called."""
    modules = len(numerators)
    numerators, denominators = _folded(numerators), _folded(denominators)
    groups: dict[int, dict[int, tuple[Tensor, Tensor]]] = {}
    for module, (numerator, denominator) in enumerate(zip(numerators, denominators, strict=True)):
        if numerator is not None and denominator is not None:
            groups.setdefault(len(numerator), {})[module] = (numerator, denominator)
    device = next((side.device for side in numerators if side is not None), None)
    totals, products = (torch.zeros(*[2 * modules] * n, dtype=torch.float64, device=device) for n in (1, 2))
    replicates = torch.zeros(modules, dtype=torch.int64, device=device)

    def places(members: list[int]) -> Tensor:
        first = torch.tensor(members, device=device)
        return torch.cat([first, first + modules])

    if len(groups) > 1:  # replicates of different numbers are not the same samples: no covariance is known
        present = places([module for group in groups.values() for module in group])
        products[present[:, None], present] = torch.nan
    for length, group in groups.items():
        rows = torch.stack([side for sides in zip(*group.values(), strict=True) for side in sides], 1)
        finite = rows.sum(0).isfinite().view(2, -1).all(0)
        rows = torch.where(finite.repeat(2), rows, 0.0)
        own = places(list(group))
        totals[own] = rows.sum(0)
        products[own[:, None], own] = rows.T @ rows
        replicates[own[: len(group)]] = finite * length
    return PowerSums(totals, products, replicates)


def _folded(sides: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Sums by replicate, of equally many replicates where that can be had by adding up consecutive ones."""
    # a module may see the batch in another shape, as one that works on flattened tokens: where the numbers of
    # replicates are multiples of the fewest, consecutive ones are taken to be parts of one sample
    lengths = {len(side) for side in sides if side is not None}
    fewest = min(lengths, default=0)
    if fewest < 2 or any(length % fewest for length in lengths):
        return list(sides)
    return [None if side is None else side.view(fewest, -1).sum(1) for side in sides]


def _estimate(value: Tensor, scatter: Tensor, replicates: Tensor) -> Estimate:
    """A value with its standard error from the scatter of replicates (delta method)."""
    count = replicates.to(scatter)
    correction = torch.where(count > 1, count / (count - 1.0), torch.nan)
    return Estimate(value, (correction * scatter.clamp(min=0.0)).sqrt(), (count - 1.0).clamp(min=0.0))
