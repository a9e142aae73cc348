"""Why values of windows are missing: the one true reason of each, and one message for all."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from thermo_callbacks.callbacks.windows.response_verdict import MEASURING
from thermo_callbacks.catalog import Scalars, quantity_of
from thermo_callbacks.functional.window.coordinate_terms import FEWEST_STEPS
from thermo_callbacks.functional.window.statistics import WindowStatistics
from thermo_callbacks.probes.guard import Guard
from thermo_callbacks.probes.told import DIVERGED

_SHOWN = 3
Found = dict[str, dict[str, list[str]]]
"""Reason to quantity to tags."""


@dataclass(frozen=True)
class OpenedWindow:
    """A window as it is looked into: layers, statistics, and what is known of the optimizer."""

    names: Sequence[str]
    statistics: WindowStatistics
    optimizer: str  # its class
    resting: Collection[str] = ()  # layers whose learning rate was zero in all its steps
    response: str = ""  # why the optimizer's response leaves values unknown


class MissingValues:
    """Collects the values of a window that are missing, and tells why, each reason once for each thing it is about."""

    def __init__(self, windows: Sequence[OpenedWindow]) -> None:
        self.joined = WindowStatistics.join([window.statistics for window in windows])
        self.names = [name for window in windows for name in window.names]
        watched = dict(zip(self.names, self.joined.watched.tolist(), strict=True))
        self.idle = [name for name, count in watched.items() if not count]
        self._windows = windows
        self._found: Found = {}
        self._passing: list[str] = []  # reasons of where the run is, which there is nothing to do about

    def look_at(self, values: Scalars) -> None:
        """Take in the values of one quantity."""
        idle = set(self.idle)
        for tag, value in values.items():
            member = "" if tag.startswith("thermo/") else tag.partition("/")[2]
            if math.isnan(value) and member not in idle:
                quantity = quantity_of(tag)
                reason = self._reason(tag, member)
                passing = (quantity.missing, self._without_mobility, *self._measuring)
                if reason in passing and reason not in self._passing:
                    self._passing.append(reason)
                self._found.setdefault(reason, {}).setdefault(quantity.name, []).append(tag)

    def tell(self, guard: Guard) -> None:
        """Warn of what has not been told before, in one message."""
        if self.diverged:
            guard.warn_once(DIVERGED, topic=DIVERGED, urgent=True)
            return
        # a cause is told once, also where it takes other values in a later window
        causes = guard.news(reason for reason in self._found if reason not in self._passing)
        to_act_on = {reason: self._found[reason] for reason in causes}
        parts = [part for part in (self._tell_idle(guard), *self._tell_values(guard, to_act_on)) if part]
        if parts:
            guard.warn_once(f"no value (NaN) in a window {'; '.join(parts)}.")
        others = {reason: found for reason, found in self._found.items() if reason not in to_act_on}
        if parts := list(self._tell_values(guard, others)):
            guard.note_once(f"no value (NaN) in a window {'; '.join(parts)}.")

    @property
    def diverged(self) -> bool:
        """Whether steps were lost and weights with them, or the squares that errors are made of overflow."""
        window = self.joined
        # without lost steps, weights without a value are those of a checkpoint that did not hold them
        sums = [window.displacement_square, window.gradient_square, window.mean_gradient_square]
        sums += [window.weight_square] if window.skipped else []
        return not all(bool((values < torch.finfo(values.dtype).max ** 0.5).all()) for values in sums)

    def _tell_idle(self, guard: Guard) -> str:
        news = guard.news(f"idle {name}" for name in self.idle)
        if not news:
            return ""
        names = [repr(topic.removeprefix("idle ")) for topic in news]
        layers = f"layer {names[0]}, which" if len(names) == 1 else f"{len(names)} layers ({_listed(names)}), which"
        return f"for {layers} received no gradient in it"

    @staticmethod
    def _tell_values(guard: Guard, found: Found) -> Iterable[str]:
        for reason, quantities in found.items():
            topics = {f"{reason}, {name}": tags for name, tags in quantities.items()}
            tags = [tag for topic in guard.news(topics) for tag in topics[topic]]
            if tags:
                yield f"for {_listed(tags)}: {reason}"

    def _reason(self, tag: str, member: str) -> str:
        """Why a value is missing: what the window lacks, or else what the catalogue says of the quantity."""
        window, quantity = self.joined, quantity_of(tag)
        columns = [self.names.index(member)] if member else [at for at, n in enumerate(window.watched.tolist()) if n]
        if not columns:
            return "no layer received a gradient"
        if min(window.steps, window.pairs + 1) < FEWEST_STEPS:
            return _too_short(window)
        if "motion" in quantity.needs and not bool(window.displacement_square[:, columns].any()):
            rests = {name for opened in self._windows for name in opened.resting}
            resting = all(self.names[column] in rests for column in columns)
            return "the learning rate was zero" if resting else "the weights did not move in the window"
        if "response" in quantity.needs and bool(window.innovation_gradient[:, columns].isnan().any()):
            return self._without_response
        if "mobility" in quantity.needs and bool(window.innovation_square[:, columns].isnan().any()):
            # what is no response to the gradient has no mobility either
            return self._without_response or self._without_mobility
        if "batch size" in quantity.needs and math.isnan(window.batch_size):
            return "the loader does not tell its batch size"
        return quantity.missing

    @property
    def _without_response(self) -> str:
        return " and ".join(dict.fromkeys(_response(each) for each in self._windows if each.response))

    @property
    def _measuring(self) -> list[str]:
        """Reasons that pass with the next window."""
        return [_response(each) for each in self._windows if each.response == MEASURING]

    @property
    def _without_mobility(self) -> str:
        """Reason of values that are missing by the choice of an optimizer with which nothing is wrong."""
        unknown = [each.optimizer for each in self._windows if _any_nan(each.statistics.innovation_square)]
        name = " and ".join(dict.fromkeys(unknown)) or "the optimizer"
        return f"{name} does not tell how far it moves a weight per unit of gradient, nor do its steps"


def _response(window: OpenedWindow) -> str:
    return f"{window.optimizer}: {window.response}"


def _too_short(window: WindowStatistics) -> str:
    if window.skipped:
        return f"{window.skipped} of {window.steps + window.skipped} steps had a gradient that is not finite"
    return f"it takes {FEWEST_STEPS} steps, with momentum 2 more, and the window has {window.steps}"


def _any_nan(values: Tensor) -> bool:
    return bool(torch.isnan(values).any())


def _listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
