"""Arguments of the monitors: what is refused, and with what words."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
from integration.models import RecordingLogger, Regression, loader, quiet_trainer

from thermo_callbacks import TemperatureMonitor, ThermoMonitor

MONITORS = (ThermoMonitor, TemperatureMonitor)
WHOLE = "must be a whole number of at least"
REFUSED: list[tuple[str, Any, str]] = [
    ("window", 7, f"window {WHOLE} 8, got 7"),
    ("window", 50.0, f"window {WHOLE} 8, got 50.0"),
    ("window", True, f"window {WHOLE} 8, got True"),
    ("window", None, f"window {WHOLE} 8, got None"),
    ("rest", -1, f"rest {WHOLE} 0 or None, got -1"),
    ("rest", 0.5, f"rest {WHOLE} 0 or None, got 0.5"),
    ("sample", 1, f"sample {WHOLE} 2 or None, got 1"),
    ("sample", "all", f"sample {WHOLE} 2 or None, got 'all'"),
    ("seed", -1, f"seed {WHOLE} 0, got -1"),
    ("seed", None, f"seed {WHOLE} 0, got None"),
    ("layers", "net.*", "layers must be a list of glob patterns such as ['encoder.*'], or None, got 'net.*'"),
    ("layers", [], "layers must be a list of glob patterns such as ['encoder.*'], or None, got []"),
]
ACCEPTED: list[tuple[str, Any]] = [
    ("window", 8),
    ("rest", 0),
    ("rest", None),
    ("sample", 2),
    ("sample", None),
    ("seed", 0),
    ("layers", ["net.*"]),
    ("layers", ("net.*",)),
    ("layers", None),
]


@pytest.mark.parametrize("monitor", MONITORS)
@pytest.mark.parametrize(("name", "value", "message"), REFUSED)
def test_a_wrong_argument_is_named(monitor: Any, name: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        monitor(**{name: value})


@pytest.mark.parametrize("monitor", MONITORS)
@pytest.mark.parametrize(("name", "value"), ACCEPTED)
def test_the_last_right_argument_is_accepted(monitor: Any, name: str, value: Any) -> None:
    kept = getattr(monitor(**{name: value}), name)
    assert kept == (list(value) if isinstance(value, tuple) else value)


def test_an_unknown_preset_is_named() -> None:
    with pytest.raises(ValueError, match=r"^preset must be one of \['light'\], got 'full'$"):
        ThermoMonitor("full")  # type: ignore[arg-type]


@pytest.mark.parametrize("monitor", MONITORS)
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
    assert positional in (["preset", "window"], ["window"])
    documentation = inspect.getdoc(monitor) or ""
    for name in parameters:
        assert re.search(rf"^    {name}: ", documentation, re.MULTILINE), f"{name} has no entry in the docstring"


def test_state_keys_tell_arguments_and_classes_apart() -> None:
    monitors = [ThermoMonitor(), ThermoMonitor(rest=0), ThermoMonitor(seed=1), TemperatureMonitor()]
    keys = [monitor.state_key for monitor in monitors]
    assert len(set(keys)) == len(keys)
    assert all(key.startswith("thermo_callbacks.") for key in keys)
    assert ThermoMonitor().state_key == keys[0]


@pytest.mark.filterwarnings("ignore:.*noise_scale")
def test_latest_values_are_a_copy() -> None:
    monitor, logger = ThermoMonitor(window=8, sample=None), RecordingLogger()
    assert monitor.latest() == {}
    quiet_trainer(callbacks=monitor, logger=logger).fit(Regression(), loader(8))
    monitor.latest().clear()
    assert repr(monitor.latest()) == repr(logger.thermo_rows[0][1])
