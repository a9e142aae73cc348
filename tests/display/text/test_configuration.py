"""Configurations as text, and back."""

from __future__ import annotations

import pytest
from torch import nn, sin

from thermo_callbacks.display.text.configuration import configuration_text, is_configuration, read_configuration


@pytest.mark.parametrize("form", ["{}", "```json\n{}\n```"])
def test_what_is_written_is_read(form):
    configuration = {"window": 50, "layers": None, "names": ["net.0", "é"], "engine_types": {"a": "passive"}}
    assert read_configuration(form.replace("{}", configuration_text(configuration))) == configuration


def test_classes_and_functions_are_written_by_name():
    written = read_configuration(configuration_text({"activations": (nn.ReLU, sin), "loss_fn": nn.MSELoss()}))
    assert written == {"activations": ["ReLU", "sin"], "loss_fn": "MSELoss"}


def test_a_value_has_a_line() -> None:
    assert configuration_text({"window": 50}) == '{\n  "window": 50\n}'


@pytest.mark.parametrize("text", ["", "{", "cut o", "[1]", "null", "```json\n{\n```", '{"a": 1} and more'])
def test_what_is_no_configuration_is_none(text):
    assert read_configuration(text) == {}


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("thermo/run_configuration", True),
        ("thermo/run_configuration_12", True),
        ("thermo/run_configuration_2", True),
        ("thermo/legend", False),
        ("thermo/run_configuration_", False),
        ("thermo/run_configuration/mine", False),
        ("x-thermo/run_configuration", False),
    ],
)
def test_which_tags_are_those_of_configurations(tag, expected):
    assert is_configuration(tag) is expected
