"""Which activations are shown one by one, and which together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from thermo_callbacks.probes.layer_groups import LayerGroups, Leaf, group_by_path


class ActivationGroups:
    """Groups of a run's activations, made when there are more than ``most`` of them, and kept; None for no groups."""

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._seen: dict[str, None] = {}
        self._groups = LayerGroups()

    @property
    def made(self) -> dict[str, list[str]]:
        """Group to its members; empty if each activation is shown by itself."""
        return self._groups.state_dict()

    def gather(self, names: Iterable[str]) -> dict[str, list[str]]:
        """Name that is shown to the activations of a pass behind it."""
        found = {name: [name] for name in names}
        self._seen |= dict.fromkeys(found)
        if self._most is not None and len(self._seen) > self._most:
            if not self._groups.groups:
                self._groups = LayerGroups(group_by_path([Leaf(name) for name in self._seen], self._most))
            self._adopt(found)
        return self._groups.gather(found)

    def _adopt(self, names: Iterable[str]) -> None:
        """Put what no earlier pass has called into the group that it is nearest to by its path."""
        groups = self.made
        known = {member: name for name, members in groups.items() for member in members}
        strangers = [name for name in names if name not in known]
        for stranger in strangers:
            groups[known[max(known, key=lambda member: _shared(member, stranger))]].append(stranger)
        if strangers:
            self._groups = LayerGroups(groups)

    def state_dict(self) -> dict[str, Any]:
        """Names and groups, for a checkpoint."""
        return {"seen": list(self._seen), "groups": self.made}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back :meth:`state_dict`."""
        self._seen, self._groups = dict.fromkeys(state["seen"]), LayerGroups(state["groups"])


def _shared(first: str, second: str) -> int:
    """How many modules two paths have in common from the top."""
    count = 0
    for one, other in zip(first.split("."), second.split("."), strict=False):
        if one != other:
            break
        count += 1
    return count
