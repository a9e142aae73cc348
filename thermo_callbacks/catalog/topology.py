"""Quantities of the network's topology: numbers of its shape, there before training begins."""

from __future__ import annotations

from thermo_callbacks.catalog.quantity import LIGHT, Quantity

QUANTITIES = (
    Quantity(
        name="Topology",
        tags=(
            "thermo/topology_connections",
            "thermo/topology_disorder",
            "thermo/topology_efficiency",
            "thermo/topology_stability",
        ),
        pictures=("thermo/topology",),
        unit="connections; none; none; connections",
        formula="Σ n(l-1) n(l); ln W / max ln W; 1 - T(cold) / T(hot); least second difference of connections - T ln W"
        ", where W = M! / Π n(l)!, max ln W is that of the most even spread, T(cold) and T(hot) are the least and the "
        "largest T(l), and T is their mean over all layers",
        summary="shape of the network, where it is a chain of linear layers with two hidden ones or more",
        meaning="The shape of the network, once, at the start. Connections: weights between its layers. Disorder: "
        "how evenly the M neurons are spread over the hidden layers of n(l), 1 for layers of one width. T(l) is what "
        "a nat of ln W costs in layer l, in connections. Efficiency: how far apart these prices are, 0 if they are "
        "one. Stability: below 0 for some pair of layers the shape gives way to moving neurons between them.",
        caution="It knows nothing of data, activations or training: compare topologies of one number of connections, "
        "and train the best few. Only networks of linear layers, one behind the other, with two hidden layers or "
        "more, have one.",
        action="Low disorder: look for a layer so narrow that it holds up all others, and widen it.",
        when="start",
        logged_by=LIGHT,
    ),
)
