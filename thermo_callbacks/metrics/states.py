"""A metric's states as the named tuple of sums that functional computes with."""

from __future__ import annotations

from typing import Any, TypeVar

from torchmetrics import Metric

S = TypeVar("S", bound=tuple[Any, ...])


def add_sum_states(metric: Metric, zeros: Any) -> None:
    """Give a metric a state, added up over ranks, for each field of a named tuple."""
    for name, zero in zeros._asdict().items():
        metric.add_state(name, zero, dist_reduce_fx="sum")


def read_sums(metric: Metric, kind: type[S]) -> S:
    """The states of a metric as a named tuple of one kind."""
    fields: Any = kind
    return kind(*(getattr(metric, name) for name in fields._fields))


def add_sums(metric: Metric, sums: Any) -> None:
    """Add the fields of a named tuple to the states of their names."""
    for name, more in sums._asdict().items():
        state = getattr(metric, name)
        setattr(metric, name, state + more.to(state.device))
