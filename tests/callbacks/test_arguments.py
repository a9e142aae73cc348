"""Arguments of the monitors: what is refused, and with what words."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
from integration.models import RecordingLogger, Regression, loader, quiet_trainer

from thermo_callbacks import (
    BulkMonitor,
    EntropyMonitor,
    FreeEnergyMonitor,
    TemperatureMonitor,
    ThermoMonitor,
    WorkEfficiencyMonitor,
)

WINDOWED = (ThermoMonitor, TemperatureMonitor, EntropyMonitor, FreeEnergyMonitor)
MONITORS = (*WINDOWED, WorkEfficiencyMonitor, BulkMonitor)
WHOLE = "must be a whole number of at least"
LAYERS = (
    "layers must be a list of glob patterns such as ['encoder.*'], 'all' for each layer by itself, or None for groups "
    "where there are many"
)
NETWORK = "network must be the name of a submodule such as 'net', or None for the one that the step calls"
REFUSED: list[tuple[str, Any, str]] = [
    ("window", 7, f"window {WHOLE} 8 or None, got 7"),
    ("window", 50.0, f"window {WHOLE} 8 or None, got 50.0"),
    ("window", True, f"window {WHOLE} 8 or None, got True"),
    ("steps_between_windows", -1, f"steps_between_windows {WHOLE} 0 or None, got -1"),
    ("steps_between_windows", 0.5, f"steps_between_windows {WHOLE} 0 or None, got 0.5"),
    ("sample", 1, f"sample {WHOLE} 2 or None, got 1"),
    ("sample", "all", f"sample {WHOLE} 2 or None, got 'all'"),
    ("curvature_every_n_steps", 0, f"curvature_every_n_steps {WHOLE} 1 or None, got 0"),
    ("curvature_every_n_steps", 20.0, f"curvature_every_n_steps {WHOLE} 1 or None, got 20.0"),
    (
        "loss_fn",
        "mse",
        "loss_fn must be a function of the module and a batch that returns the loss, or None, got 'mse'",
    ),
    ("regulator", 0.0, "regulator must be positive and finite (m^2, for example 0.1), got 0.0"),
    ("samples", 0, "samples must be a whole number of at least 1 and below 2**63, got 0"),
    ("seed", 2**63, f"seed must be below 2**63, got {2**63}"),
    ("within_layers", "x", "within_layers must be True or False, got 'x'"),
    ("network", "", f"{NETWORK}, got ''"),
    ("samples", "x", "samples must be a whole number of at least 1 and below 2**63, got 'x'"),
    ("regulator", None, "regulator must be positive and finite (m^2, for example 0.1), got None"),
    ("preset", ["light"], "preset must be one of ['full', 'light', 'standard'], got ['light']"),
    ("layers", [5], f"{LAYERS}, got [5]"),
    ("seed", -1, f"seed {WHOLE} 0, got -1"),
    ("seed", None, f"seed {WHOLE} 0, got None"),
    ("layers", "net.*", f"{LAYERS}, got 'net.*'"),
    ("layers", [], f"{LAYERS}, got []"),
    ("layers", "", f"{LAYERS}, got ''"),
    ("layers", 16, f"{LAYERS}, got 16"),
    ("layers", ["net.*", 0], f"{LAYERS}, got ['net.*', 0]"),
]
ACCEPTED: list[tuple[str, Any]] = [
    ("window", 8),
    ("window", None),
    ("steps_between_windows", 0),
    ("steps_between_windows", None),
    ("sample", 2),
    ("sample", None),
    ("curvature_every_n_steps", 1),
    ("curvature_every_n_steps", None),
    ("loss_fn", print),
    ("loss_fn", None),
    ("within_layers", True),
    ("regulator", 0.5),
    ("samples", 1),
    ("network", "net"),
    ("seed", 0),
    ("layers", ["net.*"]),
    ("layers", ("net.*",)),
    ("layers", None),
    ("layers", "all"),
]


def takes(monitor: Any, name: str) -> bool:
    return name in inspect.signature(monitor).parameters


@pytest.mark.parametrize(
    ("monitor", "name", "value", "message"),
    [(one, *case) for one in MONITORS for case in REFUSED if takes(one, case[0])],
)
def test_a_wrong_argument_is_named(monitor: Any, name: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        monitor(**{name: value})


@pytest.mark.parametrize(
    ("monitor", "name", "value"), [(one, *case) for one in MONITORS for case in ACCEPTED if takes(one, case[0])]
)
def test_the_last_right_argument_is_accepted(monitor: Any, name: str, value: Any) -> None:
    kept = getattr(monitor(**{name: value}), name)
    assert kept == (list(value) if isinstance(value, tuple) else value)


def test_an_unknown_preset_is_named() -> None:
    with pytest.raises(ValueError, match=r"^preset must be one of \['full', 'light', 'standard'\], got 'heavy'$"):
        ThermoMonitor("heavy")  # type: ignore[arg-type]


@pytest.mark.parametrize("monitor", WINDOWED)
def test_an_unknown_layer_is_refused_before_the_first_batch(monitor: Any) -> None:
    class Untrained(Regression):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            raise AssertionError("training has begun")

    message = "layers holds the pattern 'encoder.*', which matches no layer: choose among ['net.0', 'net.2'], or use "
    with pytest.raises(ValueError, match=f"^{re.escape(message)}None for all$"):
        quiet_trainer(callbacks=monitor(layers=["net.*", "encoder.*"])).fit(Untrained(), loader(1))


@pytest.mark.parametrize("monitor", MONITORS)
def test_later_arguments_are_keywords_and_documented(monitor: Any) -> None:
    parameters = inspect.signature(monitor).parameters
    positional = [name for name, parameter in parameters.items() if parameter.kind is not parameter.KEYWORD_ONLY]
    assert positional in (["preset", "window"], ["window"], ["curvature_every_n_steps"])
    # rest goes with 1.0; batch_size is the last resort of who hides the size of a batch
    assert len(parameters.keys() - {"rest", "batch_size"}) <= 8
    documentation = inspect.getdoc(monitor) or ""
    for name in parameters:
        assert re.search(rf"^    {name}: ", documentation, re.MULTILINE), f"{name} has no entry in the docstring"


def test_state_keys_tell_arguments_and_classes_apart() -> None:
    monitors = [
        *(ThermoMonitor(preset) for preset in ("light", "standard", "full")),
        ThermoMonitor("light", steps_between_windows=0),
        ThermoMonitor("light", seed=1),
        *(monitor() for monitor in MONITORS[1:]),
        BulkMonitor(samples=2),
        FreeEnergyMonitor(within_layers=True),
    ]
    keys = [monitor.state_key for monitor in monitors]
    assert len(set(keys)) == len(keys)
    assert all(key.startswith("thermo_callbacks.") for key in keys)
    assert ThermoMonitor("light").state_key == keys[0]


@pytest.mark.filterwarnings("ignore:.*noise_scale")
def test_latest_values_are_a_copy() -> None:
    monitor, logger = ThermoMonitor("light", window=8, sample=None), RecordingLogger()
    assert monitor.latest() == {}
    quiet_trainer(callbacks=monitor, logger=logger).fit(Regression(), loader(8))
    monitor.latest().clear()
    assert repr(monitor.latest()) == repr(logger.thermo_rows[0][1])


@pytest.mark.parametrize(
    "monitor", [monitor for monitor in MONITORS if "steps_between_windows" in inspect.signature(monitor).parameters]
)
def test_the_former_name_of_an_argument_works_with_one_warning(monitor: Any) -> None:
    with pytest.warns(DeprecationWarning, match="^the argument rest is called steps_between_windows now") as caught:
        made = monitor(rest=3)
    assert len(caught) == 1
    assert made.steps_between_windows == 3
    assert made.state_key == monitor(steps_between_windows=3).state_key
    with pytest.warns(DeprecationWarning, match="^rest is called steps_between_windows now$"):
        assert made.rest == 3
    with pytest.warns(DeprecationWarning, match="^rest is called steps_between_windows now$"):
        made.rest = 5
    assert made.steps_between_windows == 5
    with pytest.raises(
        ValueError, match=r"^rest is the former name of steps_between_windows: give one of them, got 3 and"
    ):
        monitor(rest=3, steps_between_windows=4)
