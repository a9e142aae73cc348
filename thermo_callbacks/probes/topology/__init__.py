"""Topology of a live model: its chain of linear layers, from its modules and autograd's graph."""

from thermo_callbacks.probes.topology.probe import TopologyReading, read_order, read_topology

__all__ = ["TopologyReading", "read_order", "read_topology"]
