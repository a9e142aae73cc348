"""Decision on how a run's layers and activations are shown: made when training starts, and kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from thermo_callbacks.callbacks.tag_budget import TagBudget
from thermo_callbacks.callbacks.windows.trained_layers import group_layers, most_labels
from thermo_callbacks.probes.layer_groups import EACH_BY_ITSELF, LayerGroups
from thermo_callbacks.probes.layers import owned_parameters


class LayerGrouping:
    """Groups of a run's layers: none if each is shown by itself, as the user asked or since they are few.

    Names must not change while a run goes on: neither when layers thaw, nor when it is resumed.
    """

    def __init__(self, layers: Sequence[str] | str | None, budget: TagBudget) -> None:
        self._layers, self._budget = layers, budget
        self._groups: LayerGroups | None = None  # not decided yet

    def start(self, pl_module: Any, optimizers: Sequence[Any]) -> LayerGroups:
        """Groups of the run so far, if they are those of this model's layers, or new ones."""
        if self._layers is not None or not self._budget.by_layer:
            return EACH_BY_ITSELF
        names = [name for name, owned in owned_parameters(pl_module).items() if owned]
        if self._groups is None or (self._groups.groups and not self._groups.holds(names)):
            self._groups = group_layers(pl_module, optimizers, self._budget.layers())
        return self._groups

    def most_activations(self, pl_module: Any, optimizers: Sequence[Any], watched: int) -> int | None:
        """Activations, or groups of them, that have tags beside the layers, of which ``watched`` are trained now."""
        if self._layers == "all":
            return None
        rows = watched if self._groups is None else most_labels(pl_module, optimizers, self._groups)
        return self._budget.activations(rows)

    @property
    def told(self) -> dict[str, dict[str, list[str]]]:
        """Entry in the configuration of the run; none where nothing is grouped."""
        return {"layer_groups": groups} if (groups := self.state_dict()) else {}

    def state_dict(self) -> dict[str, list[str]] | None:
        """Groups in plain values; None before they are decided, empty where each layer is by itself."""
        return None if self._groups is None else self._groups.state_dict()

    def load_state_dict(self, groups: Mapping[str, Sequence[str]] | None) -> None:
        """Take back :meth:`state_dict`."""
        self._groups = None if groups is None else LayerGroups(groups)
