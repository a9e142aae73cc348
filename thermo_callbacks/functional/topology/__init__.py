"""The topology of a feed-forward network as a macrostate: energy, disorder, temperatures, stability, its shell."""

from thermo_callbacks.functional.topology.analysis import Addition, Move, Topology, analyse
from thermo_callbacks.functional.topology.ranking import ORDERS, Order, Survey, survey
from thermo_callbacks.functional.topology.sampling import sample_isoenergetic
from thermo_callbacks.functional.topology.shell import Shell, isoenergetic, nearest_connections

__all__ = [
    "ORDERS",
    "Addition",
    "Move",
    "Order",
    "Shell",
    "Survey",
    "Topology",
    "analyse",
    "isoenergetic",
    "nearest_connections",
    "sample_isoenergetic",
    "survey",
]
