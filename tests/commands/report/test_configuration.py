"""What a run wrote of its set-up, as facts."""

from __future__ import annotations

import json

import pytest

from thermo_callbacks.commands.report.configuration import Configurations

WRITTEN = {
    "monitor": "ThermoMonitor",
    "window": 50,
    "sample": 4096,
    "layers": None,
    "within_layers": False,
    "extra_passes": {"first": 50, "every": 2000},
    "watched_layers": ["a", "b"],
    "optimizers": [
        {"class": "SGD", "learning_rate": [0.1, 0.01], "momentum": 0.9},
        {"class": "Adam", "learning_rate": 1e-5, "momentum": 0.0},
    ],
    "engine_types": {"net.f": "passive", "net.g": "driven"},
    "seed": 0,
}
FACTS = {
    "Monitor": "ThermoMonitor",
    "Window": "50",
    "Sample": "4,096",
    "Layers": "",
    "Within layers": "False",
    "Extra passes": "first 50, every 2,000",
    "Watched layers": "a, b",
    "Optimizers": "class SGD, learning rate 0.1 and 0.01, momentum 0.9 and class Adam, learning rate 1e-05, momentum 0",
    "Engine types": "net.f passive, net.g driven",
    "Seed": "0",
}


def facts_of(*given):
    """Facts of monitors that wrote these configurations."""
    tags = ["thermo/run_configuration", *(f"thermo/run_configuration_{place}" for place in range(2, 1 + len(given)))]
    texts = {tag: json.dumps(each) for tag, each in zip(tags, given, strict=False)}
    return Configurations(texts).facts


def test_all_that_is_written_is_a_fact():
    assert facts_of(WRITTEN) == FACTS


def test_nothing_written_is_no_fact():
    assert facts_of() == {}


def test_of_many_layers_their_number_is_told():
    types = {f"net.{place}": ("driven", "passive", None)[place % 3] for place in range(10)}
    facts = facts_of({"watched_layers": [f"net.{place}" for place in range(1000)], "engine_types": types})
    assert facts == {"Watched layers": "1,000", "Engine types": "driven 4, passive 3, unknown 3"}


def test_settings_are_told_one_by_one_and_without_those_that_are_not_there():
    adam = {"class": "Adam", "learning_rate": 0.1, "momentum": 0.9, "second_memory": 0.99, "weight_decay": 0.0}
    (text,) = facts_of({"optimizers": [adam]}).values()
    assert text == "class Adam, learning rate 0.1, momentum 0.9, second memory 0.99, weight decay 0"
    (text,) = facts_of({"optimizers": [adam | {"second_memory": None}]}).values()
    assert text == "class Adam, learning rate 0.1, momentum 0.9, weight decay 0"
    (text,) = facts_of({"many": {f"layer {place}": 0.5 for place in range(40)}}).values()
    assert text == "0.5 40"


def test_monitors_that_differ_are_told_side_by_side():
    facts = facts_of(WRITTEN, WRITTEN | {"monitor": "WorkEfficiencyMonitor", "sample": None}, {"preset": "full"})
    assert facts["Monitor"] == "ThermoMonitor; WorkEfficiencyMonitor"
    assert facts["Sample"] == "4,096"
    assert facts["Preset"] == "full"
    assert facts["Seed"] == "0"


@pytest.mark.parametrize("value", [None, 7, "text", ["text"], {"text": "text"}, {}, [], [[None]], 1e400])
@pytest.mark.parametrize("name", ["window", "engine_types", "optimizers"])
def test_a_file_may_hold_what_no_monitor_writes(name, value):
    configurations = Configurations({"thermo/run_configuration": json.dumps({**WRITTEN, name: value})})
    assert {**configurations.facts, _words(name): ""} == {**FACTS, _words(name): ""}
    assert configurations.number("window") in (50, 7, None)
    assert set(configurations.engine_types.values()) <= {"passive", "driven"}


def _words(name):
    return name.replace("_", " ").capitalize()
