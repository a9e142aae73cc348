"""Log of the network's topology, written once, when training starts."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from thermo_callbacks.callbacks.compat import logging_step
from thermo_callbacks.callbacks.output.loggers import logger_output
from thermo_callbacks.callbacks.output.offers import offer
from thermo_callbacks.callbacks.output.publisher import Publisher
from thermo_callbacks.display.tensorboard.writers import write_text
from thermo_callbacks.display.text.topology import TOPOLOGY_TAG, topology_text
from thermo_callbacks.functional.topology import Topology, analyse
from thermo_callbacks.probes.guard import Guard
from thermo_callbacks.probes.told import Told
from thermo_callbacks.probes.topology import TopologyReading, read_order, read_topology

FEWEST_HIDDEN = 2
"""Hidden layers from which on there is something to spread: with one, the quantities have no value."""


def topology_record(topology: Topology) -> dict[str, float]:
    """Scalars that are logged of a topology; what has no value is left out: it is no result of the run."""
    values = {
        "connections": float(topology.connections),
        "disorder": topology.disorder,
        "efficiency": topology.efficiency,
        "stability": topology.stability,
    }
    return {f"thermo/topology_{name}": value for name, value in values.items() if not math.isnan(value)}


class TopologyLog:
    """Read the topology of a model and log it, once in a run.

    In a ``Sequential`` it is known when training starts; in other modules with the loss of the first batch. Networks
    with fewer than two hidden layers, or with anything else than linear layers in a chain, have none: nothing is
    logged, but for a text where all weights are in linear layers, and one may wonder why.
    """

    def __init__(self, publisher: Publisher, name: str, told: Told | None = None) -> None:
        self._publisher = publisher
        self._guard = Guard(
            f"The topology log of {name}", told=told
        )  # of its own: a fault here is none of the measurements
        self._reading: TopologyReading | None = None  # while it is open
        self.logged = False  # in this run, or in the part of it that a checkpoint ends

    def __getstate__(self) -> dict[str, Any]:
        """State for copies and pickles: without the layers of the model."""
        return {**self.__dict__, "_reading": None}

    @property
    def waiting(self) -> bool:
        """Whether the loss of a batch is needed."""
        return self._reading is not None

    def start(self, trainer: Any, pl_module: Any) -> None:
        """Read a model at the start of training."""
        self._guard.quiet = not trainer.is_global_zero
        with self._guard.protect("reading the model"), self._guard.invisible(pl_module.device):
            self._take(trainer, read_topology(pl_module))

    def see_loss(self, trainer: Any, pl_module: Any, loss: Tensor) -> None:
        """Read the order of the layers, once, off the loss of a batch before its backward pass."""
        reading, self._reading = self._reading, None
        if reading is not None:
            with self._guard.protect("reading the loss"), self._guard.invisible(pl_module.device):
                self._take(trainer, read_order(reading, loss))

    def _take(self, trainer: Any, reading: TopologyReading) -> None:
        self._reading = reading if reading.open else None
        topology = analyse(reading.widths) if len(reading.widths) - 2 >= FEWEST_HIDDEN else None
        if topology is not None:
            self._publisher.constants = topology_record(topology)
            offer(trainer, self._publisher.constants)
        step = logging_step(trainer)
        if self.logged:
            return
        self.logged = not reading.open
        if topology is not None:
            logger_output(trainer).values(trainer, self._publisher.constants, step)
            text = topology_text(topology)
        elif reading.reason and reading.layers:
            text = f"No topology was read: {reading.reason}."
        else:
            return
        logger_output(trainer).write(trainer, step, lambda writers: write_text(writers, TOPOLOGY_TAG, text, step))
