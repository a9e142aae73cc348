"""The few charts of the first screen."""

from __future__ import annotations

import dataclasses

from commands.report.test_runs import run_with

from thermo_callbacks.commands.report.discovery import find_runs
from thermo_callbacks.commands.report.findings import Diagnosis, diagnosis_of
from thermo_callbacks.commands.report.key_charts import MOST, key_charts_of
from thermo_callbacks.findings import Finding

LOSS = "Loss, mean of each window"
DEAD = "Dead units by activation [share]"
RECORD = {
    "thermo/internal_energy": 1.0,
    "thermo/step_efficiency": 0.5,
    "thermo/step_transfer": 0.4,
    "thermo/update_ratio": 1e-3,
    "thermo_update_ratio/net.0": 1e-3,
    "thermo_dead_fraction/net.1": 0.1,
    "thermo/temperature": 1e-4,
    "train_loss": 1.0,
    "val_loss": 1.2,
}


def run(name="run", **changes):
    record = {**RECORD, **{tag.replace("__", "/"): value for tag, value in changes.items()}}
    return run_with({9: record, 19: record}, name)


def headings(*runs):
    return [panel.heading for panel in key_charts_of(runs, [diagnosis_of(each) for each in runs])]


def test_a_run_without_findings_has_loss_efficiency_and_size_of_its_steps():
    panels = key_charts_of([run()], [diagnosis_of(run())])
    assert [panel.entry for panel in panels] == [
        "quantity-mean-loss-internal-energy-u",
        "quantity-step-efficiency",
        "quantity-update-ratio",
    ]
    assert [line.name for line in panels[0].chart.lines] == ["training loss", "val_loss"]


def test_what_a_finding_is_read_from_comes_right_after_the_loss():
    dead = run(**{"thermo_dead_fraction__net.1": 1.0})
    found = headings(dead)
    assert found[:2] == [LOSS, DEAD]
    assert len(found) == MOST == 4


def test_of_several_runs_values_lie_over_one_another_and_layers_are_those_of_the_run_that_is_faulty():
    runs = [run("good"), run("bad", **{"thermo_dead_fraction__net.1": 1.0})]
    panels = key_charts_of(runs, [diagnosis_of(each) for each in runs])
    assert [panel.heading for panel in panels] == [LOSS, f"{DEAD}: bad", "Step efficiency", "Update ratio"]
    assert [line.name for line in panels[2].chart.lines] == ["good", "bad"]
    assert [line.name for line in panels[1].chart.lines] == ["net.1"]


def test_a_run_that_has_diverged_does_not_flatten_the_others():
    runs = [run("one"), run("two", thermo__internal_energy=0.5), run("gone", thermo__internal_energy=1e30)]
    first = key_charts_of(runs, [diagnosis_of(each) for each in runs])[0]
    assert first.heading == f"{LOSS}; beyond the axis: gone"
    assert first.chart.y_scale.upper < 10.0
    assert [line.name for line in first.chart.lines if "val" not in line.name] == [
        f"{name}: training loss" for name in ("one", "two", "gone")
    ]
    assert headings(run("gone", thermo__internal_energy=1e30))[0] == LOSS  # alone it is the axis


def test_each_finding_has_its_first_evidence_before_any_has_its_second():
    finding = Finding("c", (), "warning", 1.0, {"thermo/step_efficiency": 1.0, "thermo/temperature": 1.0}, 0, "", "")
    grave = dataclasses.replace(finding, severity="critical", evidence={"thermo/update_ratio": 1.0})
    runs = [run("one"), run("two")]
    panels = key_charts_of(runs, [Diagnosis([finding], 1, 19), Diagnosis([grave], 1, 19)])
    assert [panel.heading for panel in panels] == [LOSS, "Update ratio", "Step efficiency", "Temperature"]


def test_the_chart_of_a_quantity_is_that_which_is_about_it():
    finding = Finding("c", (), "warning", 1.0, {"thermo/temperature": 1.0}, 0, "", "")
    band = {"thermo__temperature_lower": 0.5e-4, "thermo__temperature_upper": 2e-4, "thermo__virial_temperature": 1e-4}
    for given, heading in ((run(**band), "Temperature of the run [loss], 95 % band"), (run(), "Temperature")):
        panels = key_charts_of([given], [Diagnosis([finding], 1, 19)])
        assert panels[1].heading == heading


def test_many_faulty_runs_have_no_more_charts():
    assert len(headings(*(run(f"{place}", **{"thermo_dead_fraction__net.1": 1.0}) for place in range(9)))) == MOST


def test_logs_with_little_in_them_have_the_charts_that_there_are():
    assert headings(run_with({9: {"thermo/bulk_entropy": 1.0}})) == []
    only = run_with({step: {"train_loss": 1.0, "thermo/bulk_entropy": 1.0} for step in (9, 19)})
    assert headings(only) == ["Loss"]


def test_real_logs_have_a_row_of_them(logs):
    runs = find_runs([logs.root])
    panels = key_charts_of(runs, [diagnosis_of(each) for each in runs])
    assert 3 <= len(panels) <= MOST
    assert len(panels[0].chart.lines) == len(runs)
