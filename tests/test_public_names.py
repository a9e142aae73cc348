"""What others may import, call and read is there as it was: names, arguments in their order, tags."""

from __future__ import annotations

import importlib
import inspect
import json
from pathlib import Path
from typing import Any

import pytest

from thermo_callbacks.catalog import QUANTITIES, families_logged_by

# names with their arguments (a star: keyword-only), tags, and who logs which, as of version 0.1.0
PUBLIC: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "public_names.json").read_text())
TAGS: list[str] = PUBLIC.pop("tags")
LOGGED: dict[str, list[str]] = PUBLIC.pop("logged")
CHANGED = {
    "CurvatureProbe": {"say*": "warn_once*", "reduce*": None},  # nobody used them but the monitors and their tests
    # the former name still works
    **{
        f"{name}Monitor": {"rest*": "steps_between_windows*"}
        for name in ("Thermo", "Temperature", "Entropy", "FreeEnergy")
    },
}
"""Arguments that have another name, or none: what was promised less than it costs to keep."""
GONE = {"WorkEfficiency.update_sums", "LearningEfficiency.update_sums"}
"""Methods that the monitors alone called, at the price of private fields of torchmetrics: they have no metric now."""

MOVED = {
    "BulkMonitor": {"thermo_laplacian_stderr"},
    "EntropyMonitor": {"thermo_temperature_stderr"},
    "FreeEnergyMonitor": {"thermo_temperature_stderr"},
    "light": {"thermo_temperature_stderr", "thermo_equilibrium_ratio"},
    "standard": {
        *("thermo_temperature_stderr", "thermo_laplacian_stderr", "thermo_equilibrium_ratio"),
        *("thermo_transition_temperature", "thermo_implied_gain"),
    },
}
"""Families that the preset full and the monitors that are about them still log: a tag a layer was too much."""


def arguments_of(thing: Any) -> list[str]:
    parameters = inspect.signature(thing).parameters.values()
    return [parameter.name + "*" * (parameter.kind is parameter.KEYWORD_ONLY) for parameter in parameters]


@pytest.mark.filterwarnings("ignore:thermo_callbacks.reports is deprecated:DeprecationWarning")
@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module, names in PUBLIC.items() for name in names if name not in GONE]
)
def test_name_is_there_and_takes_what_it_took(module: str, name: str) -> None:
    thing: Any = importlib.import_module(module)
    for part in name.split("."):
        thing = getattr(thing, part)
    expected = PUBLIC[module][name]
    if expected is None:
        return
    changed = CHANGED.get(name, {})
    wanted = [changed.get(argument, argument) for argument in expected]
    found = arguments_of(thing)[1 if "." in name else 0 :] if "." in name else arguments_of(thing)
    found = [argument.rstrip("*") for argument in found] if "." in name else found
    wanted = [argument for argument in wanted if argument is not None]
    positional = [argument for argument in wanted if not argument.endswith("*") and argument != "kwargs"]
    assert found[: len(positional)] == positional
    assert set(wanted) <= set(found)


def test_tags_are_there() -> None:
    found = {tag for quantity in QUANTITIES for tag in (*quantity.tags, quantity.family_tag)}
    assert set(TAGS) <= found


@pytest.mark.parametrize("monitor", LOGGED)
def test_a_monitor_logs_what_it_logged(monitor: str) -> None:
    """By the rows of the catalogue, which are held against what is logged by tests of their own."""
    found = {tag for row in QUANTITIES if monitor in row.logged_by for tag in row.tags} | set(
        families_logged_by(monitor)
    )
    assert set(LOGGED[monitor]) - MOVED.get(monitor, set()) <= found
    assert not MOVED.get(monitor, set()) & found


def test_the_former_name_of_the_display_says_so() -> None:
    import thermo_callbacks.reports

    with pytest.warns(DeprecationWarning, match=r"^thermo_callbacks\.reports is deprecated: import the same names"):
        assert thermo_callbacks.reports.legend is not None
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = thermo_callbacks.reports.nothing_of_the_kind
