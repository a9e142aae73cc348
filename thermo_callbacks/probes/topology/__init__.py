"""The topology of a live model: a chain of linear layers, read off its modules and its graph."""

from thermo_callbacks.probes.topology.probe import TopologyReading, read_order, read_topology

__all__ = ["TopologyReading", "read_order", "read_topology"]
