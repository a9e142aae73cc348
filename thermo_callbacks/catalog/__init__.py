"""All quantities that a run may log, in the order of the legend."""

from thermo_callbacks.catalog import (
    acting,
    balance,
    bulk,
    curvature,
    engines,
    entropy,
    inspection,
    motion,
    questions,
    stability,
    stationarity,
    topology,
    vitals,
)
from thermo_callbacks.catalog.quantity import LayerColumn, Quantity, ScalarChart
from thermo_callbacks.catalog.scalars import Scalars, members
from thermo_callbacks.catalog.symbols import NEURON_SYMBOLS, SYMBOLS, explained

QUANTITIES = (
    *motion.QUANTITIES,
    *balance.QUANTITIES,
    *vitals.QUANTITIES,
    *inspection.QUANTITIES,
    *stationarity.QUANTITIES,
    *entropy.QUANTITIES,
    *curvature.QUANTITIES,
    *stability.QUANTITIES,
    *engines.QUANTITIES,
    *bulk.QUANTITIES,
    *topology.QUANTITIES,
    *acting.QUANTITIES,
)
"""One row a quantity."""

__all__ = [
    "NEURON_SYMBOLS",
    "QUANTITIES",
    "SYMBOLS",
    "TAGS",
    "LayerColumn",
    "Quantity",
    "ScalarChart",
    "Scalars",
    "bulk",
    "charts",
    "compared",
    "engines",
    "explained",
    "families_logged_by",
    "logged_by",
    "members",
    "quantity_of",
]


def quantity_of(tag: str) -> Quantity:
    """The row of a tag of the whole run, of one member of a family, or of the family itself."""
    if tag not in _ROWS and (family := tag.partition("/")[0]) in _ROWS:
        return _ROWS[family]
    return _ROWS[tag]


_ROWS = {tag: quantity for quantity in QUANTITIES for tag in (*quantity.tags, quantity.family) if tag}
TAGS = frozenset(_ROWS)
"""Tags of whole runs, and families of members."""


def logged_by(name: str) -> set[str]:
    """Tags of whole runs that a preset of ThermoMonitor, or another monitor by its class, logs."""
    return {tag for quantity in QUANTITIES if name in quantity.logged_by for tag in quantity.tags}


def families_logged_by(name: str) -> dict[str, str]:
    """Families that a preset of ThermoMonitor, or another monitor by its class, logs, and what their members are."""
    return {quantity.family: quantity.member for quantity in QUANTITIES if quantity.logs_family(name)}


def charts() -> dict[str, list[ScalarChart]]:
    """Question to the charts of all quantities, both in the order of the page."""
    found = [chart for quantity in QUANTITIES for chart in quantity.charts]
    return {
        question: sorted((chart for chart in found if chart.question == question), key=lambda chart: chart.place)
        for question in questions.QUESTIONS
    }


def compared(table: str = "") -> list[Quantity]:
    """Quantities that activations are compared by, in the order of the columns; those of all tables if empty."""
    found = [(each.compared.place, each) for each in QUANTITIES if each.compared and table in ("", each.compared.table)]
    return [quantity for _, quantity in sorted(found, key=lambda pair: pair[0])]
