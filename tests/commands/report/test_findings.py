"""What is wrong with a run, found in its logs."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from commands.report.conftest import DeadClassifier, train
from commands.report.test_runs import run_with
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from thermo_callbacks.commands.report.discovery import find_runs
from thermo_callbacks.commands.report.findings import diagnosis_of, history_of
from thermo_callbacks.display.text.configuration import configuration_text
from thermo_callbacks.findings import CAUSES
from thermo_callbacks.findings.history import VALIDATION_LOSS

DEAD = CAUSES["dead units"]
FAMILY = "thermo_dead_fraction"


def test_the_history_holds_what_rules_read_with_its_steps_and_the_configuration():
    records = {
        10: {f"{FAMILY}/net.1": 0.5, "thermo/not_read": 1.0},
        20: {f"{FAMILY}/net.1": math.nan},
        30: {"epoch": 1.0},
    }
    run = run_with(records)
    run.texts["thermo/run_configuration"] = configuration_text({"planned": {"steps": 42}, "batch_size": None})
    run.texts["thermo/run_configuration_2"] = configuration_text({"planned": {"steps": 7}, "batch_size": 8})
    history = history_of(run)
    assert list(history) == [f"{FAMILY}/net.1"]
    assert history[f"{FAMILY}/net.1"].steps.tolist() == [10]  # of a value that is no number nothing is known
    assert history.step == 20  # the epoch of step 30 is none of a monitor's
    assert (history.planned, history.facts["batch_size"]) == (42.0, 8)  # the first monitor that tells it


def test_members_of_a_table_come_in_the_order_of_the_run_and_of_numbers():
    record = {f"{FAMILY}/{name}": 0.5 for name in ("decoder.10", "decoder.2", "encoder.0")}
    run = run_with({1: record}, files=["metrics.csv"])
    assert list(history_of(run).members(FAMILY)) == ["decoder.2", "decoder.10", "encoder.0"]
    kinds = {"encoder.0": "passive", "decoder.2": "passive", "decoder.10": "passive"}
    run.texts["thermo/run_configuration"] = configuration_text({"engine_types": kinds})
    assert list(history_of(run).members(FAMILY)) == list(kinds)
    run.files = ["events.out.tfevents.1"]  # which keep the order in which values came
    assert list(history_of(run).members(FAMILY)) == ["decoder.10", "decoder.2", "encoder.0"]


def test_a_finding_is_that_of_its_rule():
    diagnosis = diagnosis_of(run_with({9: {f"{FAMILY}/net.1": 1.0}, 19: {f"{FAMILY}/net.1": 1.0}}))
    (finding,) = diagnosis.findings
    assert (finding.cause, finding.layers, finding.since_step) == ("dead units", ("net.1",), 9)
    assert (diagnosis.critical, diagnosis.step) == (True, 19)


def test_what_can_not_be_looked_for_is_said():
    both = {"dead units": DEAD, "other": replace(DEAD, name="other", reads=("thermo/nowhere",))}
    alive = diagnosis_of(run_with({9: {f"{FAMILY}/net.1": 0.1}}), both)
    assert (alive.findings, alive.critical, alive.looked_for) == ([], False, 1)
    said = "nothing found up to step 9"
    assert alive.nothing == f"{said}, but only 1 of {len(CAUSES)} causes can be looked for"
    assert alive._replace(looked_for=len(CAUSES) - 2).nothing == said  # of optimizers that the run has not
    unknown = diagnosis_of(run_with({9: {"thermo_bulk/net.1": 0.1}}), both)
    assert unknown.nothing == "its logs hold no quantity that a cause is read from, so nothing can be said"


def test_rules_without_quantities_can_be_looked_for_where_the_run_was_inspected():
    inspected = {"inspected": replace(DEAD, name="inspected", reads=())}
    run = run_with({9: {"thermo/temperature": 1.0}})
    assert diagnosis_of(run, inspected).looked_for == 0
    run.texts["thermo/run_configuration"] = configuration_text({"inspection": {"loss": "none"}})
    assert diagnosis_of(run, inspected).looked_for == 1


def test_the_validation_loss_of_the_run_is_read_whatever_its_name():
    run = run_with({9: {"thermo/internal_energy": 1.0, "loss/valid": 1.5, "val_loss_2": 9.0}})
    assert history_of(run)[VALIDATION_LOSS].values.tolist() == [1.5]


def test_a_rule_that_the_logs_break_costs_its_cause_alone_and_is_noted():
    run = run_with({9: {f"{FAMILY}/net.1": 1.0}})
    run.texts["thermo/run_configuration"] = configuration_text({"planned": "long"})

    def broken(history):
        raise KeyError(history.planned)

    diagnosis = diagnosis_of(run, {"dead units": DEAD, "broken": replace(DEAD, name="broken", rule=broken)})
    assert [finding.cause for finding in diagnosis.findings] == ["dead units"]
    assert run.notices == ["Whether it has broken can't be told (AttributeError: 'str' object has no attribute 'get')."]


@pytest.mark.filterwarnings("ignore:.*no value")  # what lies behind the dead layer does not move
def test_findings_of_logs_are_those_that_the_monitor_had_at_the_end(tmp_path):
    at = {"save_dir": tmp_path, "name": ""}
    loggers = [TensorBoardLogger(**at, version="events"), CSVLogger(**at, version="table")]
    live = train(0.05, loggers, classifier=DeadClassifier).findings()
    assert live[0].cause == "dead units"
    runs = find_runs([tmp_path])
    assert [run.name for run in runs] == ["events", "table"]
    for run in runs:
        found = diagnosis_of(run).findings
        assert run.notices == []
        for finding, own in zip(found, live, strict=True):
            assert finding.evidence == pytest.approx(own.evidence, rel=1e-6)  # event files hold 32 bits
            assert replace(finding, evidence={}) == replace(own, evidence={})
