"""Which charts a page has, and which lines are in them."""

from __future__ import annotations

import numpy as np
import pytest
from commands.report.test_runs import run_with

from thermo_callbacks.commands.report.colours import SHADES, depth_colour, run_colour, style
from thermo_callbacks.commands.report.discovery import find_runs
from thermo_callbacks.commands.report.sections import LEARNING, sections_of
from thermo_callbacks.display import custom_scalar_layout


@pytest.fixture(scope="module")
def runs(logs):
    return find_runs([logs.root])


def panels_of(runs):
    return [panel for section in sections_of(runs) for group in section.groups for panel in group]


def test_the_questions_are_those_of_the_tensorboard_page(runs):
    questions = [section.question for section in sections_of(runs)]
    assert questions == [LEARNING, *custom_scalar_layout({tag for run in runs for tag in run.tags})]
    assert len(questions) >= 8


def test_each_chart_of_the_layout_is_drawn_with_all_its_values(runs):
    # one without any value in any run would be empty: windows this short resolve no direction, for example
    known = {tag for run in runs for tag in run.scalars if np.isfinite(run.scalars[tag].values).any()}
    assert known < {tag for run in runs for tag in run.tags}
    layout = custom_scalar_layout(known)
    titles = {panel.heading for panel in panels_of(runs)}
    for charts in layout.values():
        for title in charts:
            # charts of layers stand for each run that has them: the ratio's for preset full alone
            assert title in titles or any(f"{title}: {run.name}" in titles for run in runs), title
    for panel in panels_of(runs):
        assert panel.chart.lines
        for line in panel.chart.drawn:
            assert line["logged"] == line["shown"] == len(line["series"]) > 0, (panel.heading, line["name"])


def test_a_single_run_has_a_colour_for_each_of_its_numbers(logs):
    (run,) = find_runs([logs.both])
    (panel,) = (panel for panel in panels_of([run]) if panel.heading.startswith("Thermometers"))
    assert len({line.colour for line in panel.chart.lines}) == len(panel.chart.lines) >= 2
    assert {line.dash for line in panel.chart.lines} == {""}


def test_several_runs_have_a_colour_each_and_a_dash_for_each_number(runs):
    (panel,) = (panel for panel in panels_of(runs) if panel.heading.startswith("Thermometers"))
    for place, run in enumerate(runs):
        lines = [line for line in panel.chart.lines if line.name.startswith(run.name)]
        assert {line.colour for line in lines} == {run_colour(place)}
        assert len({line.dash for line in lines}) == len(lines) >= 2


def test_layers_have_a_chart_for_each_run_with_the_same_axes_and_colours_by_depth(runs):
    panels = [panel for panel in panels_of(runs) if panel.heading.startswith("Temperature by layer")]
    assert [panel.heading for panel in panels] == [f"Temperature by layer [loss]: {run.name}" for run in runs]
    assert len({panel.chart.y_scale for panel in panels}) == 1
    assert len({panel.chart.x_scale for panel in panels}) == 1
    for panel in panels:  # the table's columns are sorted by name, and all runs have the layers in one order
        assert [line.name for line in panel.chart.lines] == ["net.0", "net.2", "net.4"]
        assert [line.colour for line in panel.chart.lines] == [depth_colour(place, 3) for place in range(3)]


def test_the_band_is_that_of_the_logs(logs):
    (run,) = find_runs([logs.both])
    (panel,) = (panel for panel in panels_of([run]) if panel.heading.startswith("Temperature of the run"))
    (line,) = panel.chart.lines
    assert line.series is run.scalars["thermo/temperature"]
    assert line.lower is run.scalars["thermo/temperature_lower"]
    assert line.upper is run.scalars["thermo/temperature_upper"]
    assert panel.chart.drawn[0]["band"]


def test_the_equilibrium_ratio_has_its_line_at_1(runs):
    panels = [panel for panel in panels_of(runs) if "Equilibrium ratio" in panel.heading]
    assert [panel.heading for panel in panels] == [
        "Equilibrium ratio [ratio]: 1 if it is",
        "Equilibrium ratio by layer [ratio]: 1 if it is: slow",  # the run with preset full
    ]
    assert {panel.chart.reference for panel in panels} == {1.0}
    assert all("reference" not in line.name for panel in panels for line in panel.chart.lines)


def test_many_layers_are_named_by_the_first_and_the_last():
    record = {f"thermo_heat/block.{layer}": float(layer) for layer in range(40)}
    (panel,) = panels_of([run_with({1: record, 2: record})])
    assert panel.gradient == ("block.0", "block.39")
    assert len(panel.chart.lines) == 40


def test_what_training_logs_comes_first_and_is_limited():
    record = {f"metric_{number:02}": 1.0 for number in range(20)} | {"val_loss": 2.0, "epoch": 1.0}
    run = run_with({1: {**record, "thermo/heat": 1.0}, 2: {**record, "once": 1.0}})
    section = sections_of([run])[0]
    assert section.groups[0][0].heading == "val_loss"
    assert len(section.groups) == 12
    assert section.remark == f"Not shown: {', '.join(f'metric_{number:02}' for number in range(11, 20))}."


def test_colours_stay_in_order_and_are_defined_for_both_modes():
    for dark in (False, True):
        text = style(dark=dark)
        assert all(f"{run_colour(place)[4:-1]}:#" in text for place in range(20))
        assert all(f"{depth_colour(place, 40)[4:-1]}:#" in text for place in range(40))
    assert style(dark=True) != style(dark=False)
    assert run_colour(0) == run_colour(8) != run_colour(1)
    shades = [int(depth_colour(place, 50).strip("var(-depth)")) for place in range(50)]
    assert np.all(np.diff(shades) >= 0)
    assert (shades[0], shades[-1]) == (0, SHADES - 1)


def test_values_of_the_whole_run_are_drawn_strong_beside_its_layers_and_are_no_member():
    record = {f"thermo_signal_share/block.{layer}": 0.01 * layer for layer in range(40)}
    record["thermo/signal_share"] = 0.5
    (panel,) = [panel for panel in panels_of([run_with({1: record, 2: record})]) if "by layer" in panel.chart.title]
    assert panel.gradient == ("block.0", "block.39")
    assert [line.name for line in panel.chart.lines if line.strong] == ["whole run"]
    assert sum(not line.strong for line in panel.chart.lines) == 40


def test_equilibrium_of_layers_has_its_reference_where_the_run_did_not_log_it():
    record = {f"thermo_equilibrium_ratio/block.{layer}": 1.0 + layer for layer in range(3)}
    (panel,) = panels_of([run_with({1: record, 2: record})])
    assert panel.chart.reference == 1.0
