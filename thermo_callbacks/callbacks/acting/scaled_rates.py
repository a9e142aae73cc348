"""Learning rates of one optimizer as multiples of those that its owner has set."""

from __future__ import annotations

from typing import Any

from torch import Tensor

SMALLEST = 1e-3
"""Lowest rate over the first one, where none is given."""


class ScaledRates:
    """Scales the rates of all groups of an optimizer by one factor, above a floor.

    Others may set rates too, as a warm-up by hand does. One that goes on writing the same number is followed: the
    number is the rate to be scaled. Any other number is a new rate, which nothing has been taken off yet.

    Args:
        optimizer: An optimizer whose groups have a learning rate.
        min_lr: Lowest rate that it is scaled down to; None for a thousandth of the first rate of each group.
    """

    def __init__(self, optimizer: Any, min_lr: float | None) -> None:
        self._optimizer, self._min_lr = optimizer, min_lr
        self.scale = 1.0
        self.cooling = 1.0
        """A factor of its own, for a while: what it takes off, the floor included, comes back with it."""
        self._bases: list[float] = []  # what the owner has set
        self._floors: list[float] = []
        self._set: list[float] = []  # what stands there since it was looked at last
        self._take_new_groups()

    def _take_new_groups(self) -> bool:
        new = self._optimizer.param_groups[len(self._bases) :]
        for group in new:
            rate = _rate_of(group)
            self._bases.append(rate)
            self._set.append(rate)
            self._floors.append(SMALLEST * rate if self._min_lr is None else min(self._min_lr, rate))
        return bool(new)

    @property
    def rate(self) -> float:
        """The largest rate of the groups."""
        return max(self._set)

    @property
    def at_lowest(self) -> bool:
        """Whether no group can be scaled down any more."""
        return all(rate <= floor for rate, floor in zip(self._set, self._floors, strict=True))

    def notice(self) -> bool:
        """Look at the rates before a step: whether somebody else has changed one, which stands then."""
        changed: list[int] = []
        for place, group in enumerate(self._optimizer.param_groups[: len(self._bases)]):
            stands = group["lr"]
            if isinstance(stands, Tensor) and stands.device.type != "cpu":
                continue  # one would have to wait for it at every step
            rate = float(stands)
            if rate == self._set[place]:
                continue
            if rate == self._bases[place]:  # somebody writes it before every step
                self._write(place, self._scaled(place) * self.cooling)
            else:
                changed.append(place)
        if changed:
            self._adopt(changed)
        return self._take_new_groups() or bool(changed)

    def _adopt(self, changed: list[int]) -> None:
        """Take the rates as they stand for those to be scaled from now on, without what cooling took off the others."""
        for place, group in enumerate(self._optimizer.param_groups[: len(self._bases)]):
            self._set[place] = _rate_of(group)
            self._bases[place] = self._set[place] if place in changed else self._scaled(place)
        self.scale = 1.0

    def set_scale(self, scale: float, *, floor: bool = True) -> None:
        """Scale all rates by this factor from those that the owner has set; not below the floor."""
        self.scale = scale
        for place in range(len(self._bases)):
            rate = self._scaled(place) if floor else self._bases[place] * scale
            self._write(place, rate * self.cooling)

    def cool(self, factor: float) -> None:
        """Multiply the rates with this as well, until another factor is given."""
        self.cooling = factor
        self.set_scale(self.scale)

    def _scaled(self, place: int) -> float:
        rate = self._bases[place] * self.scale
        return max(rate, min(self._floors[place], self._bases[place]))

    def _write(self, place: int, rate: float) -> None:
        group = self._optimizer.param_groups[place]
        if isinstance(group["lr"], Tensor):  # the optimizer may be captured in a graph that reads this very tensor
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate
        self._set[place] = _rate_of(group)

    def state_dict(self) -> dict[str, Any]:
        """What was set by whom."""
        lists = {"bases": [*self._bases], "floors": [*self._floors], "set": [*self._set]}
        return {"scale": self.scale, "cooling": self.cooling, **lists}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken; the optimizer's own state holds the rates, or its first ones do."""
        if len(state["bases"]) == len(self._bases):
            self.scale, self._bases, self._floors = float(state["scale"]), [*state["bases"]], [*state["floors"]]
            self._set = [*state["set"]]
            self.cooling = float(state.get("cooling", 1.0))  # checkpoints from before it have none


def _rate_of(group: dict[str, Any]) -> float:
    return float(group["lr"])
