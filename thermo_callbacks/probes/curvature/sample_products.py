"""Products of the Hessian with directions that differ from sample to sample, and what they say of the traces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from thermo_callbacks.functional.curvature.sample_trace import sample_trace
from thermo_callbacks.probes.curvature.sample_calls import ProbedCall, one_number, unity
from thermo_callbacks.probes.curvature.sample_layers import Factors

TOLERANCE = 100.0
"""Roundings that a product may have on samples that its direction leaves alone."""


class Product(NamedTuple):
    """Product at the zeros of a call; None where the direction does not bend the loss."""

    plain: Tensor | None = None
    mobile: Tensor | None = None  # at those with mobility


@dataclass(frozen=True)
class SampleProducts:
    """Calls with the gradients by their zeros, which have a graph; None where the loss does not use a call.

    With ``within_layers`` each layer has a product with its own direction; else one product has all directions.
    """

    calls: Sequence[ProbedCall]
    gradients: Sequence[Tensor | None]
    layers: int
    within_layers: bool = False

    def shifts(self) -> list[Tensor]:
        """The direction: shifts at the zeros of all calls."""
        return [call.shift(unity) for call in self.calls]

    def products(self, shifts: Sequence[Tensor], chosen: Tensor | None, *, keep: bool) -> list[Product]:
        """Products with the direction, or with that of the chosen samples ``[B]`` alone; ``keep`` keeps the graph."""
        groups = [list(range(len(self.calls)))]
        if self.within_layers:
            owners = dict.fromkeys(call.layer for call in self.calls)
            groups = [[index for index, call in enumerate(self.calls) if call.layer == owner] for owner in owners]
        found: dict[int, Product] = {}
        for number, group in enumerate(groups, start=1):
            found |= self._along(group, shifts, chosen, keep or number < len(groups))
        return [found[index] for index in range(len(self.calls))]

    def _along(
        self, group: Sequence[int], shifts: Sequence[Tensor], chosen: Tensor | None, keep: bool
    ) -> dict[int, Product]:
        """Products with the direction of a group of calls, at their own zeros."""
        bent = [
            (slope, shifts[index] if chosen is None else shifts[index] * self.calls[index].spread(chosen))
            for index in group
            for slope in [self.gradients[index]]
            if slope is not None and slope.requires_grad
        ]
        if not bent:
            return {index: Product() for index in group}
        zeros = {index: mobile for index in group for mobile in [self.calls[index].mobile] if mobile is not None}
        ends = [*(self.calls[index].offset for index in group), *zeros.values()]
        outputs, directions = zip(*bent, strict=True)
        found = torch.autograd.grad(outputs, ends, directions, retain_graph=keep, allow_unused=True)
        mobile = dict(zip(zeros, found[len(group) :], strict=True))
        return {index: Product(found[place], mobile.get(index)) for place, index in enumerate(group)}

    def coupled(self, shifts: Sequence[Tensor], chosen: Tensor, products: Sequence[Product]) -> bool:
        """Whether products with the chosen samples' direction reach other samples."""
        reached = []
        for call, shift, product in zip(self.calls, shifts, products, strict=True):
            if product.plain is not None:
                size = call.of_samples((shift * product.plain).abs())
                reached.append((size * (1.0 - chosen)).max() > TOLERANCE * torch.finfo(size.dtype).eps * size.max())
        return bool(torch.stack(reached).any()) if reached else False

    def contributions(
        self, shifts: Sequence[Tensor], products: Sequence[Product], mobility: Factors | None
    ) -> tuple[Tensor, Tensor]:
        """Each sample's contribution to each layer's trace, without and with mobility, ``[B, L]`` each."""
        samples, device = self.calls[0].found.layout.samples, shifts[0].device
        plain = torch.zeros(samples, self.layers, dtype=torch.float64, device=device)
        moving = plain.clone() if mobility is not None else torch.full_like(plain, torch.nan)
        for call, shift, product in zip(self.calls, shifts, products, strict=True):
            if product.plain is None:
                continue
            plain[:, call.layer] += call.of_samples(shift * product.plain).to(plain)
            if mobility is not None:
                moving[:, call.layer] += _moving(call, shift, product.plain, product.mobile, mobility).to(plain)
        return plain, moving


def added(one: Sequence[Product], other: Sequence[Product]) -> list[Product]:
    """Products with the sum of two directions."""
    return [
        Product(*[_sum(first, second) for first, second in zip(*both, strict=True)])
        for both in zip(one, other, strict=True)
    ]


def _sum(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    if one is None or other is None:
        return one if other is None else other
    return one + other


def _moving(call: ProbedCall, shift: Tensor, product: Tensor, mobile: Tensor | None, mobility: Factors) -> Tensor:
    """Contributions with mobility, from those without one where it is one number."""
    number = one_number(mobility, call.found.leaves)
    if number is not None:
        return call.of_samples(shift * product) * number
    if call.mobile is None:
        return call.of_samples(call.shift(mobility) * product)
    # what was left out there so that it poisons nothing else
    lost = sum(0.0 * torch.as_tensor(mobility(leaf), device=product.device).sum() for leaf in call.found.leaves)
    return lost + (torch.zeros_like(product) if mobile is None else mobile)


def sample_rows(contributions: tuple[Tensor, Tensor], processes: int) -> Tensor:
    """Traces and variances, without and with mobility, of each layer and of all together, ``[4, L + 1]``."""
    rows = []
    for part in contributions:
        estimate = sample_trace(torch.cat([part, part.sum(1, keepdim=True)], 1))
        # each process has samples and signs of its own, and their mean is taken
        rows += [estimate.value, estimate.stderr.square() / processes]
    return torch.stack(rows)
