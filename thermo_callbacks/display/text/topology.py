"""The topology of a network as a text beside the charts."""

from __future__ import annotations

from thermo_callbacks.display.text.numbers import number
from thermo_callbacks.functional.topology import Topology

TOPOLOGY_TAG = "thermo/topology"

_STABLE = {
    True: "every move of a neuron from one hidden layer to another raises the free energy",
    False: "some moves of a neuron from one hidden layer to another lower the free energy",
    None: "no neuron can move",
}


def topology_text(topology: Topology) -> str:
    """Two Markdown tables: the whole network, and what a neuron more costs in each hidden layer, two or more."""
    if len(topology.hidden) < 2:
        raise ValueError(f"topology must have at least two hidden layers to spread neurons over, got {topology}")
    whole = {
        "Connections E": f"{topology.connections:,}",
        "Hidden neurons M": f"{topology.neurons:,}",
        "Multiplicity ln W (nats)": number(topology.multiplicity),
        "Disorder ln W / max ln W": number(topology.disorder),
        "Temperature T, mean of the layers (connections per nat)": number(topology.temperature),
        "Efficiency 1 - coldest / hottest": number(topology.efficiency),
        "Free energy E - T ln W (connections)": number(topology.free_energy),
        "Stability, least second difference (connections)": number(topology.stability),
    }
    layers = zip(topology.hidden, topology.additions, topology.temperatures, strict=True)
    rows = [
        f"| {added.layer} | {width:,} | {added.connections:,} | {number(added.entropy)} | {number(temperature)} |"
        for width, added, temperature in layers
    ]
    return "\n".join(
        [
            f"### Topology {topology}",
            "",
            "| Network | |",
            "|---|---|",
            *(f"| {name} | {value} |" for name, value in whole.items()),
            "",
            "| Hidden layer | Neurons | Connections of one more | Nats of one more | Temperature |",
            "|---|---|---|---|---|",
            *rows,
            "",
            f"At the temperature T, {_STABLE[topology.stable]}.",
        ]
    )
