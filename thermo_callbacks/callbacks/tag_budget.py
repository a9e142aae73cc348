"""Number of layers and activations, or of groups of them, that a run has tags for."""

from __future__ import annotations

from dataclasses import dataclass

from thermo_callbacks.catalog import QUANTITIES, families_logged_by

MOST_TAGS = 250
"""Tags of a run, whatever its model: values, pictures and texts."""
MOST_MEMBERS = 16
"""Layers, or activations, that a chart or table shows at most: more lines can't be told apart."""
FEWEST_MEMBERS = 6
"""Activations that have room whatever the number of layers."""
_TEXTS = 3  # legend, configuration, groups of layers


@dataclass(frozen=True)
class TagBudget:
    """Tags that a monitor logs: those of the whole run, and how many for each layer and for each activation."""

    whole: int
    by_layer: int
    by_activation: int
    limited: bool = True  # whether the number of tags is

    def layers(self) -> int:
        """Most layers or groups of layers that are shown.

        Returns:
            16, or as many as leave room for the whole run and six activations, and at least two.

        Example:
            >>> TagBudget(whole=75, by_layer=8, by_activation=5).layers()
            16
            >>> TagBudget(whole=75, by_layer=12, by_activation=5).layers()
            12
        """
        return self._fitting(self.by_layer, MOST_TAGS - self.whole - FEWEST_MEMBERS * self.by_activation)

    def activations(self, layers: int) -> int:
        """Most activations, groups of them, or types that are shown.

        Args:
            layers: Layers, or groups of them, that are shown beside.

        Returns:
            16, or as many as leave room for the whole run and these layers, and at least two.

        Example:
            >>> budget = TagBudget(whole=75, by_layer=8, by_activation=5)
            >>> budget.activations(4), budget.activations(16)
            (16, 9)
        """
        return self._fitting(self.by_activation, MOST_TAGS - self.whole - layers * self.by_layer)

    def _fitting(self, families: int, room: int) -> int:
        if not (self.limited and families):
            return MOST_MEMBERS
        return max(2, min(MOST_MEMBERS, room // families))


def tag_budget(name: str) -> TagBudget:
    """What the catalogue says that a preset of ThermoMonitor, or another monitor by its class, logs.

    The preset ``"full"`` logs all that there is: only its charts are kept readable.

    Args:
        name: The preset or class.

    Returns:
        Its numbers of tags.
    """
    rows = [row for row in QUANTITIES if name in row.logged_by]
    members = list(families_logged_by(name).values())
    by_layer = members.count("layer")
    return TagBudget(
        whole=sum(len(row.tags) + len(row.pictures) for row in rows) + _TEXTS,
        by_layer=by_layer,
        by_activation=len(members) - by_layer,
        limited=name != "full",
    )
