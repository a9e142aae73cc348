"""How many layers and activations have room in the tags of a run."""

from __future__ import annotations

import pytest

from thermo_callbacks.callbacks.presets import PRESETS, plan_of
from thermo_callbacks.callbacks.tag_budget import FEWEST_MEMBERS, MOST_MEMBERS, MOST_TAGS, TagBudget
from thermo_callbacks.catalog import QUANTITIES, families_logged_by, logged_by

NARROW = ("TemperatureMonitor", "EntropyMonitor", "FreeEnergyMonitor", "WorkEfficiencyMonitor", "BulkMonitor")


@pytest.mark.parametrize("whole", [20, 45, 75, 100, 140])
@pytest.mark.parametrize("by_layer", [1, 6, 8, 12, 16])
@pytest.mark.parametrize("by_activation", [0, 4, 6, 9])
def test_what_is_shown_fits(whole: int, by_layer: int, by_activation: int) -> None:
    budget = TagBudget(whole, by_layer, by_activation)
    layers = budget.layers()
    assert 2 <= layers <= MOST_MEMBERS
    activations = budget.activations(layers)
    if layers > 2:  # fewer would be one group of everything
        assert whole + layers * by_layer + activations * by_activation <= MOST_TAGS
        assert not by_activation or activations >= FEWEST_MEMBERS
    # one more layer would not fit, or a chart
    more = whole + (layers + 1) * by_layer + FEWEST_MEMBERS * by_activation
    assert layers in (2, MOST_MEMBERS) or more > MOST_TAGS
    assert budget.activations(1) >= activations


def test_without_a_limit_charts_are_what_has_to_be_readable() -> None:
    budget = TagBudget(200, 30, 20, limited=False)
    assert (budget.layers(), budget.activations(16)) == (MOST_MEMBERS, MOST_MEMBERS)


@pytest.mark.parametrize("name", [*PRESETS, *NARROW])
def test_the_budget_is_that_of_the_catalogue(name: str) -> None:
    budget = plan_of(name).budget
    rows = [row for row in QUANTITIES if name in row.logged_by]
    assert budget.whole > sum(len(row.tags) for row in rows) >= len(logged_by(name))
    assert budget.by_layer + budget.by_activation == len(families_logged_by(name)) == len(plan_of(name).families)
    assert budget.limited == (name != "full")
    if budget.limited:
        shown = budget.layers()
        activations = budget.activations(shown)
        assert budget.whole + shown * budget.by_layer + activations * budget.by_activation <= MOST_TAGS


def test_a_plan_keeps_what_it_logs() -> None:
    record = {"thermo/temperature": 1.0, "thermo_temperature/a.b": 2.0, "thermo_temperature_stderr/a.b": 3.0}
    assert list(PRESETS["light"].keep(record)) == ["thermo/temperature", "thermo_temperature/a.b"]
    assert PRESETS["full"].keep(record) == record
