"""What a run wrote of its set-up, as facts."""

from __future__ import annotations

import json

import pytest

from thermo_callbacks.commands.report.configuration import Configurations

WRITTEN = {
    "monitor": "ThermoMonitor",
    "preset": "standard",
    "window": 50,
    "sample": 4096,
    "seed": 3,
    "extra_passes": {"first": 50, "every": 2000},
    "version": "1.2.3",
    "watched_layers": ["a", "b"],
    "batch_size": 1024,
    "micro_batches": 4,
    "processes": 2,
    "optimizers": [
        {"class": "SGD", "learning_rate": [0.1, 0.01], "momentum": 0.9},
        {"class": "Adam", "learning_rate": 0.001, "momentum": 0.0},
    ],
    "engine_types": {"f": "passive", "g": "driven", "h": "passive", "i": None},
}
FACTS = {
    "Monitor": "ThermoMonitor, standard",
    "Extra passes": "first after 50 steps, then up to 2,000 apart",
    "Layers": "2",
    "Sample": "up to 4,096 weights of a layer",
    "Batch": "1,024 samples, 4 batches accumulated, 2 processes",
    "Optimizer": "SGD, learning rate 0.1 and 0.01, momentum 0.9; Adam, learning rate 0.001",
    "Activations": "2 passive, 1 driven, 1 unknown",
    "Seed": "3",
    "Version": "thermo-callbacks 1.2.3",
}


def facts_of(*given):
    """Facts of monitors that wrote these configurations."""
    texts = {
        f"thermo/configuration{f'_{place}' * (place > 1)}": json.dumps(each) for place, each in enumerate(given, 1)
    }
    return Configurations(texts).facts


def test_all_that_is_written_is_a_fact():
    assert facts_of(WRITTEN) == FACTS


def test_nothing_written_is_no_fact():
    assert facts_of() == {}


def test_monitors_that_differ_are_told_side_by_side():
    work = {"monitor": "WorkEfficiencyMonitor", "extra_passes": {"first": 200, "every": 200}, "watched_layers": []}
    facts = facts_of(WRITTEN, WRITTEN | work | {"preset": None, "sample": None})
    assert facts["Monitor"] == "ThermoMonitor, standard; WorkEfficiencyMonitor"
    assert facts["Extra passes"] == "first after 50 steps, then up to 2,000 apart; every 200 steps"
    assert facts["Sample"] == "up to 4,096 weights of a layer; all weights"
    assert facts["Layers"] == "2"
    assert facts["Seed"] == "3"


@pytest.mark.parametrize("value", [None, 7, "text", ["text"], {"text": "text"}])
@pytest.mark.parametrize("name", sorted(WRITTEN))
def test_what_no_monitor_writes_is_left_out_and_the_rest_stays(name, value):
    facts = facts_of({**WRITTEN, name: value})
    assert len(FACTS) - 1 <= len(facts) <= len(FACTS)
