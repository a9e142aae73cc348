"""All that is said of one quantity: its row in the catalogue, from which every list of quantities is drawn."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

LIGHT = ("light", "standard", "full")
STANDARD = ("standard", "full")
FULL = ("full",)
"""Presets of ThermoMonitor from one on."""

When = Literal["window", "average", "extra pass", "start", "validation", "test"]

Need = Literal["motion", "response", "mobility", "batch size"]
"""What a window has to know besides gradients: that weights move, how the optimizer answers a gradient over time, how
far it moves a weight per unit of gradient, samples in a batch."""


class ScalarChart(NamedTuple):
    """A chart of TensorBoard's Custom Scalars page, told in the row of the quantity that it is about."""

    question: str  # that it helps to answer: its category, one of those in catalog.questions
    title: str
    # tags and families that it draws, companions of other rows among them; beside a family the report alone draws
    # those of the whole run: 16 members are as many lines as a chart of TensorBoard can show apart
    tags: tuple[str, ...]
    least: int = 1  # how many of the tags it takes to make a chart without a family
    reference: str = ""  # a tag that it draws as well, and that makes no chart by itself
    band: bool = False  # its tags are a value and the ends of its interval
    place: int = 0  # its order among the charts of the question; where it is equal, that of the rows

    @property
    def families(self) -> tuple[str, ...]:
        """The families among its tags."""
        return tuple(tag for tag in self.tags if "/" not in tag)

    @property
    def whole(self) -> tuple[str, ...]:
        """The tags of the whole run among its tags."""
        return tuple(tag for tag in self.tags if "/" in tag)


class LayerColumn(NamedTuple):
    """A column of a table with one row a layer or activation; columns stand in the order of their places."""

    table: Literal["layers", "curvature", "activations"]
    place: int
    header: str
    digits: int  # significant ones of the smallest value
    style: str = ""  # format of all numbers; chosen by the values if empty


class RunLine(NamedTuple):
    """A line of the table of a whole run; what is empty is the quantity's, and lines stand in the order of places."""

    place: int
    tag: str = ""
    label: str = ""
    unit: str = ""
    words: Mapping[float, str] = {}  # texts of a value that is shown as a word


class Compared(NamedTuple):
    """A column of the comparison of activations; columns stand in the order of their places."""

    place: int
    table: Literal["engines", "temperatures"]


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """One measured quantity and the tags it is logged under.

    Formulas are written so that a test can evaluate their text: letters side by side multiply, Σ sums what follows it
    in its term, parts for several tags are parted by semicolons, and what comes after ", where" is explanation. All
    other symbols are those of ``catalog.symbols``.

    Attributes:
        name: What it is called.
        tags: Tags of the whole run, each one number a logging point; empty if all its values are those of members.
        family: Group of its tags by member, ``<family>/<layer>`` for layers; empty if it has none.
        member: What the family has a value for.
        pictures: Tags of images and texts that show it.
        label: What tables call it; the words of its first tag if empty.
        unit: Unit.
        formula: Definition. No vertical bar: it would end a table's cell.
        summary: What it is, in half a line.
        meaning: What a high or low value says.
        caution: When not to believe it.
        action: What to do about a high or low value.
        missing: Why a value may not exist, as the rest of a sentence after a colon; empty if it always does.
        needs: What a value of a window needs; where that is not there, it is named in the place of ``missing``.
        when: When a value is taken.
        logged_by: Presets of ThermoMonitor and other callbacks that log it.
        family_logged_by: Those that log its family; None for all that log it. Families take most of a run's tags: where
            one is left out, there is room for more layers.
        charts: Charts that are about it.
        column: Its column in a table of layers or activations.
        lines: Its lines in the table of a run.
        key_number: Place among the key numbers of a report, by their first tag; None if it is none of them.
        final_value: Place among the values beside the hyperparameters, by its first tag; None if it is none of them.
        compared: Its column in a comparison of activations.
    """

    name: str
    tags: tuple[str, ...] = ()
    family: str = ""
    member: str = "layer"
    pictures: tuple[str, ...] = ()
    label: str = ""
    unit: str
    formula: str
    summary: str
    meaning: str
    caution: str
    action: str
    missing: str = ""
    needs: tuple[Need, ...] = ()
    when: When
    logged_by: tuple[str, ...]
    family_logged_by: tuple[str, ...] | None = None
    charts: tuple[ScalarChart, ...] = ()
    column: LayerColumn | None = None
    lines: tuple[RunLine, ...] = ()
    key_number: int | None = None
    final_value: int | None = None
    compared: Compared | None = None

    @property
    def tag(self) -> str:
        """Its first tag; empty if all its values are those of members."""
        return self.tags[0] if self.tags else ""

    @property
    def family_tag(self) -> str:
        """The family's tags in one, ``<family>/<layer>``; empty if it has none."""
        return f"{self.family}/<{self.member}>" if self.family else ""

    @property
    def all_tags(self) -> tuple[str, ...]:
        """Its tags, the family's in one."""
        return (*self.tags, *filter(None, [self.family_tag]))

    @property
    def short_label(self) -> str:
        """What tables call it."""
        return self.label or (self.tag.partition("/")[2] or self.family.removeprefix("thermo_")).replace("_", " ")

    @property
    def short_unit(self) -> str:
        """Its unit as tables write it; empty if it has none, or its tags have several."""
        return "" if self.unit == "none" or ";" in self.unit else self.unit.replace(" per ", "/")

    def logs_family(self, name: str) -> bool:
        """Whether a preset of ThermoMonitor, or another monitor by its class, logs its family."""
        loggers = self.logged_by if self.family_logged_by is None else self.family_logged_by
        return bool(self.family) and name in loggers

    def present(self, tags: Collection[str], families: Collection[str]) -> list[str]:
        """Tags of this quantity among those of a run, the whole run's first, all members as ``<family>/<layer>``."""
        found = [tag for tag in self.tags if tag in tags]
        if self.family and self.family in families:
            found.append(self.family_tag)
        return found
