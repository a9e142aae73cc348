"""The topology as a text in TensorBoard."""

from __future__ import annotations

import re
import warnings

import pytest

from thermo_callbacks.display.text.numbers import number
from thermo_callbacks.display.text.topology import topology_text
from thermo_callbacks.functional.topology import analyse

with warnings.catch_warnings():  # of the HTML cleaner that TensorBoard brings along
    warnings.simplefilter("ignore", DeprecationWarning)
    from tensorboard.plugin_util import markdown_to_safe_html


def cells(html):
    return [re.findall(r"<td>(.*?)</td>", row, re.DOTALL) for row in re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)]


def test_holds_what_the_analysis_says():
    assert "| Connections E | 27 |" in topology_text(analyse((4, 3, 3, 2))).splitlines()
    topology = analyse((784, 1200, 64, 10))
    rows = [row for row in cells(markdown_to_safe_html(topology_text(topology))) if row]
    whole = dict(row for row in rows if len(row) == 2)
    values = [
        f"{topology.connections:,}",
        "1,264",
        *map(number, (topology.multiplicity, topology.disorder, topology.temperature)),
        *map(number, (topology.efficiency, topology.free_energy, topology.stability)),
    ]
    assert list(whole.values()) == values
    layers = [row for row in rows if len(row) == 5]
    for row, width, added, temperature in zip(
        layers, topology.hidden, topology.additions, topology.temperatures, strict=True
    ):
        assert row == [
            str(added.layer),
            f"{width:,}",
            f"{added.connections:,}",
            number(added.entropy),
            number(temperature),
        ]


@pytest.mark.parametrize(
    ("widths", "said"),
    [
        ((1, 2, 1, 2, 1), "every move of a neuron from one hidden layer to another raises the free energy"),
        ((784, 128, 64, 10), "some moves of a neuron from one hidden layer to another lower the free energy"),
        ((4, 1, 1, 2), "no neuron can move"),
    ],
)
def test_says_whether_it_is_stable(widths, said):
    topology = analyse(widths)
    assert topology.stable is {"e": True, "s": False, "n": None}[said[0]]
    assert topology_text(topology).endswith(f"At the temperature T, {said}.")


def test_refuses_what_has_nothing_to_spread():
    with pytest.raises(
        ValueError, match=r"^topology must have at least two hidden layers to spread neurons over, got 4"
    ):
        topology_text(analyse((4, 3, 2)))
