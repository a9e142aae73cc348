"""Running averages of curvature: what is recorded is what the metrics say of the same numbers."""

from __future__ import annotations

import math
from typing import Any

import pytest
from oracles import normal
from torch import Tensor

from thermo_callbacks.callbacks.extra_passes.curvature_averages import COLUMNS, FORGETTING, CurvatureAverages
from thermo_callbacks.metrics import EntropyDestruction, FreeEnergyLaplacian, RughTemperature

ALL = ("laplacian", "destruction", "rugh")
NAMES = ("net.0", "net.2")
RATE = 0.1
PASSES = [2.0 + normal(len(COLUMNS), len(NAMES), seed=seed).abs() for seed in range(4)]


def fail(topic: str, message: str) -> None:
    raise AssertionError(f"{topic}: {message}")


def averaged(passes: list[Tensor], averages: CurvatureAverages | None = None, **options: Any) -> CurvatureAverages:
    averages = CurvatureAverages(ALL, options.get("warn_once", fail)) if averages is None else averages
    for columns in passes:
        averages.start(NAMES)
        averages.extra_passes += 1
        averages.add(columns)
    return averages


def test_the_metrics_find_the_same() -> None:
    record = averaged(PASSES).record(RATE)
    laplacian, destruction, rugh = (kind([1, 1]) for kind in (FreeEnergyLaplacian, EntropyDestruction, RughTemperature))
    for number, (traces, variances, mobile, mobile_variances, products) in enumerate(PASSES, start=1):
        weight = float(number**FORGETTING)
        laplacian.update(traces, variances, weight)
        destruction.update(mobile, mobile_variances, weight)
        rugh.update(products, traces, weight)
    expected = {}
    for tag, metric, factor in (
        ("laplacian", laplacian, 1.0),
        ("entropy_destruction", destruction, RATE),
        ("rugh_temperature", rugh, 1.0),
    ):
        estimate = metric.estimate()
        expected |= {f"thermo/{tag}": factor * estimate.value, f"thermo/{tag}_stderr": factor * estimate.stderr}
        if metric is not rugh:
            values = factor * metric.compute_layers()
            expected |= {f"thermo_{tag}/{name}": value for name, value in zip(NAMES, values, strict=True)}
    lower, upper = laplacian.estimate().interval(0.95)
    errors = zip(NAMES, laplacian.estimate_layers().stderr, strict=True)
    expected |= {"thermo/laplacian_lower": lower, "thermo/laplacian_upper": upper}
    expected |= {f"thermo_laplacian_stderr/{name}": value for name, value in errors}
    assert record == pytest.approx({tag: float(value) for tag, value in expected.items()}, rel=1e-12)


@pytest.mark.parametrize("wanted", ALL)
def test_only_what_is_wanted_is_recorded(wanted: str) -> None:
    averages = averaged(PASSES, CurvatureAverages([wanted], fail))
    whole = averaged(PASSES).record(RATE)
    record = averages.record(RATE)
    assert record
    assert record.items() <= whole.items()


def test_a_checkpoint_goes_on_where_it_was_written() -> None:
    resumed = CurvatureAverages(ALL, fail)
    resumed.load_state_dict(averaged(PASSES[:2]).state_dict())
    assert averaged(PASSES[2:], resumed).record(RATE) == averaged(PASSES).record(RATE)


def test_sums_of_other_layers_are_forgotten() -> None:
    resumed = CurvatureAverages(ALL, fail)
    resumed.load_state_dict(averaged(PASSES[:2]).state_dict() | {"names": ["net.0", "head"]})
    assert averaged(PASSES[2:], resumed).record(RATE) == averaged(PASSES[2:]).record(RATE)


def test_a_value_that_is_missing_is_explained() -> None:
    said: dict[str, str] = {}
    columns = PASSES[0].clone()
    columns[COLUMNS.index("mobility_traces"), 1] = math.nan
    record = averaged([columns], warn_once=said.__setitem__).record(RATE)
    assert math.isnan(record["thermo/entropy_destruction"])
    assert math.isfinite(record["thermo_entropy_destruction/net.0"])
    assert list(said) == ["thermo/entropy_destruction"]
    assert said["thermo/entropy_destruction"].startswith("no value (NaN) for thermo/entropy_destruction at an extra")
