"""All planted faults."""

from __future__ import annotations

from itertools import chain

from faults import planted_data, planted_in_layers, planted_layers, planted_steps
from faults.case import named

PLANTED = named(
    chain(
        planted_steps.rates(),
        planted_steps.schedules(),
        planted_steps.optimizers(),
        planted_steps.losses(),
        planted_layers.units(),
        planted_layers.depth(),
        planted_layers.untrained(),
        planted_layers.rates_of_layers(),
        planted_data.inputs(),
        planted_data.labels(),
        planted_data.modes(),
        planted_in_layers.units(),
        planted_in_layers.untrained(),
        planted_in_layers.rates_of_layers(),
        planted_in_layers.adversaries(),
    )
)
