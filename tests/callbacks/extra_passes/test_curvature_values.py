"""Values of curvature: those of the pass at hand, and a Rugh temperature of all passes."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from oracles import normal
from torch import Tensor

from thermo_callbacks.callbacks.extra_passes.curvature_values import COLUMNS, FORGETTING, CurvatureValues
from thermo_callbacks.functional import Estimate
from thermo_callbacks.functional.curvature.averages import trace_sums
from thermo_callbacks.metrics import RughTemperature

ALL = ("laplacian", "destruction", "rugh")
NAMES = ("net.0", "net.2")
RATE, FREEDOM = 0.1, 11.0
PASSES = [2.0 + normal(len(COLUMNS), len(NAMES) + 1, seed=seed).abs() for seed in range(4)]


def fail(topic: str, message: str) -> None:
    raise AssertionError(f"{topic}: {message}")


def taken(passes: list[Tensor], values: CurvatureValues | None = None, **options: Any) -> CurvatureValues:
    values = CurvatureValues(ALL, options.get("warn_once", fail)) if values is None else values
    for columns in passes:
        values.start(NAMES)
        values.extra_passes += 1
        values.add(columns, FREEDOM)
    return values


def test_values_are_those_of_the_last_pass() -> None:
    record = taken(PASSES).record(RATE)
    traces, variances, mobile, mobile_variances, _ = PASSES[-1]
    rugh = RughTemperature([1, 1])
    for number, columns in enumerate(PASSES, start=1):
        rugh.update(columns[4, :-1], columns[0, :-1], float(number**FORGETTING))
    lower, upper = Estimate(traces[-1], variances[-1].sqrt(), torch.tensor(FREEDOM)).interval(0.95)
    expected = {
        "thermo/laplacian": traces[-1],
        "thermo/laplacian_stderr": variances[-1].sqrt(),
        "thermo/laplacian_lower": lower,
        "thermo/laplacian_upper": upper,
        "thermo/entropy_destruction": RATE * mobile[-1],
        "thermo/entropy_destruction_stderr": RATE * mobile_variances[-1].sqrt(),
        "thermo/rugh_temperature": rugh.estimate().value,
        "thermo/rugh_temperature_stderr": rugh.estimate().stderr,
    }
    for place, name in enumerate(NAMES):
        expected |= {
            f"thermo_laplacian/{name}": traces[place],
            f"thermo_laplacian_stderr/{name}": variances[place].sqrt(),
            f"thermo_entropy_destruction/{name}": RATE * mobile[place],
        }
    assert record == pytest.approx({tag: float(value) for tag, value in expected.items()}, rel=1e-12)


@pytest.mark.parametrize("wanted", ALL)
def test_only_what_is_wanted_is_recorded(wanted: str) -> None:
    whole = taken(PASSES).record(RATE)
    record = taken(PASSES, CurvatureValues([wanted], fail)).record(RATE)
    assert record
    assert record.items() <= whole.items()


def test_a_checkpoint_goes_on_where_it_was_written() -> None:
    resumed = CurvatureValues(ALL, fail)
    resumed.load_state_dict(taken(PASSES[:2]).state_dict())
    again = CurvatureValues(ALL, fail)
    again.load_state_dict(resumed.state_dict())  # written once more before the first extra pass
    assert taken(PASSES[2:], again).record(RATE) == taken(PASSES).record(RATE)


def test_a_checkpoint_with_averages_is_read() -> None:
    """Earlier versions have sums of all three, of which those of the Rugh temperature are still in use."""
    state = taken(PASSES[:2]).state_dict()
    old = trace_sums(PASSES[0][0, :-1], PASSES[0][1, :-1])._asdict()
    state["metrics"] |= {"laplacian": old, "destruction": old}
    resumed = CurvatureValues(ALL, fail)
    resumed.load_state_dict(state)
    assert taken(PASSES[2:], resumed).record(RATE) == taken(PASSES).record(RATE)


def test_sums_of_other_layers_are_forgotten() -> None:
    resumed = CurvatureValues(ALL, fail)
    resumed.load_state_dict(taken(PASSES[:2]).state_dict() | {"names": ["net.0", "head"]})
    assert taken(PASSES[2:], resumed).record(RATE) == taken(PASSES[2:]).record(RATE)


def test_a_value_that_is_missing_is_explained() -> None:
    said: dict[str, str] = {}
    columns = PASSES[0].clone()
    columns[COLUMNS.index("mobility_traces"), 1:] = math.nan
    record = taken([columns], warn_once=said.__setitem__).record(RATE)
    assert math.isnan(record["thermo/entropy_destruction"])
    assert math.isfinite(record["thermo_entropy_destruction/net.0"])
    assert list(said) == ["thermo/entropy_destruction"]
    assert said["thermo/entropy_destruction"].startswith("no value (NaN) for thermo/entropy_destruction at an extra")
