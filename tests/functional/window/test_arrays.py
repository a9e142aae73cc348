"""Sums of a window from arrays against those of the same steps watched one by one."""

from __future__ import annotations

import copy
from dataclasses import fields

import pytest
import torch
from metric_cases import BATCH_SIZE, SIZES, watch, window_steps
from window_oracle import assert_near

from thermo_callbacks.functional import momentum_response
from thermo_callbacks.functional.window.arrays import ArrayWindow
from thermo_callbacks.functional.window.statistics import WindowStatistics

STEPS = window_steps(1)


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_all_sums_are_those_of_watched_steps(momentum: float, nesterov: bool) -> None:
    response = momentum_response(momentum, nesterov=nesterov)
    window = ArrayWindow(
        4, **STEPS._asdict(), mobility=STEPS.mobility, response=response, sizes=SIZES, batch_size=BATCH_SIZE
    )
    expected = watch(STEPS, SIZES, momentum=momentum, nesterov=nesterov)
    assert (window.steps, window.pairs, window.skipped) == (expected.steps, expected.pairs, 0)
    assert window.batch_size == BATCH_SIZE
    for field in fields(WindowStatistics):
        value = getattr(expected, field.name)
        # the powers are those of a sample whose steps are kept, which a stream of sums knows nothing of
        if isinstance(value, torch.Tensor) and not field.name.endswith("_power"):
            assert_near(getattr(window, field.name), value, 1e-11)


def test_what_is_not_given_is_not_needed() -> None:
    window = ArrayWindow(1, displacements=STEPS.displacements, gradients=STEPS.gradients)
    assert torch.equal(copy.deepcopy(window).gradient_displacement, window.gradient_displacement)
    assert window.sizes.tolist() == window.watched.tolist() == STEPS.watched
    with pytest.raises(AttributeError, match=r"^heat$"):
        getattr(window, "heat")  # noqa: B009
