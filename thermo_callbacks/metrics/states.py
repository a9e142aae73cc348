"""A metric's states as the named tuple of sums that functional computes with."""

from __future__ import annotations

from typing import Any, TypeVar

from torchmetrics import Metric

S = TypeVar("S", bound=tuple[Any, ...])


def read_sums(metric: Metric, kind: type[S]) -> S:
    """States of a metric.

    Args:
        metric: The metric, with a state for each field.
        kind: Named tuple of the sums.

    Returns:
        The sums.
    """
    return kind(*(getattr(metric, name) for name in _names(kind)))


def add_sums(metric: Metric, sums: tuple[Any, ...]) -> None:
    """Add sums to the states of their names.

    Args:
        metric: The metric.
        sums: Named tuple of sums.
    """
    for name, more in zip(_names(type(sums)), sums, strict=True):
        state = getattr(metric, name)
        setattr(metric, name, state + more.to(state.device))


def _names(kind: Any) -> tuple[str, ...]:
    return tuple(kind._fields)
