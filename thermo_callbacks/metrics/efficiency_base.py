"""Ratios of powers of several modules: sums that add up, aggregates, and errors that know what modules share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from thermo_callbacks.functional.activations.pairs import paired
from thermo_callbacks.functional.statistics import Estimate, ratio_of_sums
from thermo_callbacks.metrics.base import SummedMetric

Tensors = Tensor | Sequence[Tensor]
"""A tensor ``[B, ...]`` of B samples, or one for each module."""


class EfficiencyMetric(SummedMetric):
    """Ratios of powers of several modules in sums that add up, with their covariance over samples.

    Modules share the samples of a batch, so the errors of an aggregate need the products of all pairs of modules' sums.
    """

    totals: Tensor
    products: Tensor
    replicates: Tensor

    def __init__(self, num_modules: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if num_modules < 1:
            raise ValueError(f"num_modules must be at least 1, got {num_modules}")
        self.num_modules = num_modules
        double = torch.float64
        self.add_state("totals", torch.zeros(2 * num_modules, dtype=double), dist_reduce_fx="sum")
        self.add_state("products", torch.zeros(2 * num_modules, 2 * num_modules, dtype=double), dist_reduce_fx="sum")
        self.add_state("replicates", torch.zeros(num_modules, dtype=torch.int64), dist_reduce_fx="sum")

    def compute(self) -> Tensor:
        """Product over the modules that have a value, a scalar; NaN where none has."""
        return self._network().value

    def compute_layers(self) -> Tensor:
        """Efficiency of each module, ``[M]``; NaN where it has none."""
        return self.estimate_layers().value

    def estimate(self) -> Estimate:
        """Product over the modules that have a value, with its standard error; scalars."""
        return self._over_ranks(self._network)

    def estimate_layers(self) -> Estimate:
        """Efficiency of each module with its standard error, each ``[M]``."""
        return self._over_ranks(self._single_modules)

    def _single_modules(self) -> Estimate:
        numerator, denominator = self.totals.view(2, -1)
        value = ratio_of_sums(numerator, denominator)
        squares, cross = self.products.diagonal().view(2, -1), self.products.diagonal(self.num_modules)
        scatter = squares[0] - 2.0 * value * cross + value.square() * squares[1]
        return self._finish(value, scatter / denominator.square(), self.replicates)

    def estimate_pooled(self) -> Estimate:
        """Sum of all modules' numerators over that of their denominators; scalars.

        The mean efficiency, weighted by what each module takes in: a value for the whole of a network whose modules
        don't follow one another.

        Returns:
            The mean with its standard error.
        """
        return self.estimate_types([""] * self.num_modules)[""]

    def estimate_types(self, types: Sequence[str]) -> dict[str, Estimate]:
        """Sum of numerators over sum of denominators of the modules of each type.

        Args:
            types: Type of each module.

        Returns:
            Type to its efficiency, weighted by what each module takes in, with its standard error; scalars.

        Raises:
            ValueError: If there isn't one type for each module.
        """
        if len(types) != self.num_modules:
            raise ValueError(f"types must hold one name for each of the {self.num_modules} modules, got {len(types)}")
        members = {kind: [other == kind for other in types] for kind in dict.fromkeys(types)}
        return self._over_ranks(lambda: {kind: self._pooled(those) for kind, those in members.items()})

    def _add(self, numerators: Sequence[Tensor | None], denominators: Sequence[Tensor | None]) -> None:
        """Add sums of squares by replicate, ``[K]``, of each module; None for one that was not called."""
        groups: dict[int, dict[int, tuple[Tensor, Tensor]]] = {}
        for module, (numerator, denominator) in enumerate(zip(numerators, denominators, strict=True)):
            if numerator is not None and denominator is not None:
                groups.setdefault(len(numerator), {})[module] = (numerator, denominator)
        totals, products = torch.zeros_like(self.totals), torch.zeros_like(self.products)
        replicates = torch.zeros_like(self.replicates)
        if len(groups) > 1:  # replicates of different numbers are not the same samples: no covariance is known
            present = self._places([module for group in groups.values() for module in group])
            products[present[:, None], present] = torch.nan
        for length, group in groups.items():
            rows = torch.stack([side for sides in zip(*group.values(), strict=True) for side in sides], 1).to(totals)
            finite = rows.sum(0).isfinite().view(2, -1).all(0)
            rows = torch.where(finite.repeat(2), rows, 0.0)
            places = self._places(list(group))
            totals[places] = rows.sum(0)
            products[places[:, None], places] = rows.T @ rows
            replicates[places[: len(group)]] = finite * length
        self.totals, self.products = self.totals + totals, self.products + products
        self.replicates = self.replicates + replicates

    def _places(self, modules: list[int]) -> Tensor:
        """Where the modules' numerators and then their denominators stand in the states."""
        first = torch.tensor(modules, device=self.totals.device)
        return torch.cat([first, first + self.num_modules])

    def _add_tensors(self, numerators: Tensors, denominators: Tensors, names: tuple[str, str]) -> None:
        """Add tensors of each module; the names are those of the arguments, for errors."""
        sides = [[side] if isinstance(side, Tensor) else list(side) for side in (numerators, denominators)]
        self._check_number(dict(zip(names, sides, strict=True)))
        pairs = [paired(**dict(zip(names, pair, strict=True))) for pair in zip(*sides, strict=True)]
        powers = [[_sample_powers(tensor) for tensor in side] for side in zip(*pairs, strict=True)]
        self._add(powers[0], powers[1])

    def _add_sums(self, **sides: Sequence[Tensor | None]) -> None:
        """Add sums by replicate of each module, numerators first."""
        self._check_number(sides)
        # the bookkeeping that Metric wraps around update(): the cached value is stale, there is something to compute
        self._computed = None
        self._update_count += 1
        self._add(*sides.values())

    def _check_number(self, sides: dict[str, Any]) -> None:
        for name, side in sides.items():
            if len(side) != self.num_modules:
                raise ValueError(
                    f"{name} must hold one tensor for each module ({self.num_modules}), got {len(side)}: say "
                    "num_modules=..."
                )

    def _network(self) -> Estimate:
        """Product over the modules with a value."""
        numerator, denominator = self.totals.view(2, -1)
        value = ratio_of_sums(numerator, denominator)
        known = value.isfinite()
        factors = torch.where(known, value, 1.0)
        others = torch.where(torch.eye(len(factors), device=factors.device) > 0, 1.0, factors).prod(1)
        slopes = torch.where(known, others / denominator, 0.0)  # of the product, by each numerator
        product = torch.where(known.any(), factors.prod(), torch.nan)
        scatter = self._scatter(torch.cat([slopes, -slopes * factors]))
        return self._finish(product, scatter, torch.where(known, self.replicates, 0).amax())

    def _pooled(self, members: Sequence[bool]) -> Estimate:
        """Sum of numerators over sum of denominators of some modules."""
        chosen = torch.tensor(members, device=self.totals.device)
        numerator, denominator = torch.where(chosen, self.totals.view(2, -1), 0.0).sum(1)
        value = ratio_of_sums(numerator, denominator)
        slopes = chosen / denominator
        scatter = self._scatter(torch.cat([slopes, -slopes * value]))
        return self._finish(value, scatter, torch.where(chosen, self.replicates, 0).amax())

    def _scatter(self, direction: Tensor) -> Tensor:
        """Sum over replicates of the squares of a linear combination of their sums."""
        used = direction != 0.0
        products = torch.where(used[:, None] & used, self.products, 0.0)
        return direction @ products @ direction

    def _finish(self, value: Tensor, scatter: Tensor, replicates: Tensor) -> Estimate:
        """The standard error from the scatter of replicates (delta method)."""
        count = replicates.to(scatter)
        correction = torch.where(count > 1, count / (count - 1.0), torch.nan)
        return Estimate(value, (correction * scatter.clamp(min=0.0)).sqrt(), (count - 1.0).clamp(min=0.0))


def _sample_powers(tensor: Tensor) -> Tensor:
    """Sum of squares of each sample, in double precision, ``[B]``."""
    return tensor.double().square().reshape(tensor.shape[0] if tensor.ndim else 1, -1).sum(1)
