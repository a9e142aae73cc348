"""What the legend says of one quantity, and the tags it stands for."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple


class Quantity(NamedTuple):
    """One measured quantity and the tags it is logged under.

    Attributes:
        name: What it is called.
        tags: Tags of the whole run, each one number a logging point; empty if all its values are those of members.
        family: Group of its tags by member, ``<family>/<layer>`` for layers; empty if it has none.
        formula: Definition, in the symbols of the legend. No vertical bar: it would end a table's cell.
        unit: Unit.
        meaning: What a high or low value says.
        caution: When not to believe it.
        member: What the family has a value for.
        action: What to do about a high or low value.
    """

    name: str
    tags: tuple[str, ...]
    family: str
    formula: str
    unit: str
    meaning: str
    caution: str
    member: str = "layer"
    action: str = ""

    @property
    def family_tag(self) -> str:
        """The family's tags in one, ``<family>/<layer>``; empty if it has none."""
        return f"{self.family}/<{self.member}>" if self.family else ""

    def present(self, tags: Collection[str], families: Collection[str]) -> list[str]:
        """Tags of this quantity among those of a run, all members as one ``<family>/<layer>``.

        Args:
            tags: All tags of the run.
            families: What stands before the slash in them.

        Returns:
            The tags, the whole run's first.
        """
        found = [tag for tag in self.tags if tag in tags]
        if self.family and self.family in families:
            found.append(self.family_tag)
        return found
