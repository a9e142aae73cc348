"""Arguments of the metrics that are of a wrong kind: refused at once, with name and value."""

from __future__ import annotations

import inspect
import math
from typing import Any

import pytest

from thermo_callbacks import metrics

WRONG: dict[str, list[Any]] = {
    "sizes": [-1, 2.5, "x", "", [0], [2.5], ["light"], [len], {"a": 1}, len, math.nan, b"x", object()],
    "momentum": [None, -1, 2.5, "x", [0.5], len, math.nan, True],
    "nesterov": [None, 1, "x", [True], math.nan],
    "minimum_share": [None, 2.5, "x", [0.1], len, math.nan, True],
    "num_modules": [None, 0, 2.5, "x", [5], math.nan, 2**64, True],
    "regulator": [None, -1, "x", [0.1], len, math.nan, math.inf, True],
    "max_residuals": [None, 99, 2.5, "x", [500], math.nan, 2**64],
    "entropy": [None, 5, "x", ["outputs"]],
}
CLASSES = [each for name in metrics.__all__ if inspect.isclass(each := getattr(metrics, name))]
CASES = [
    (each, name, value)
    for each in CLASSES
    for name in inspect.signature(each).parameters
    if name in WRONG
    for value in WRONG[name]
]


@pytest.mark.parametrize(("metric", "name", "value"), CASES)
def test_each_is_named(metric: Any, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must ") as fault:
        metric(**{name: value})
    assert repr(value) in str(fault.value)


def test_every_argument_of_a_metric_is_in_the_table() -> None:
    own = {name for each in CLASSES for name in inspect.signature(each).parameters} - {"kwargs", "args"}
    assert own == set(WRONG)
