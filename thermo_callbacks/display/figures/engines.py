"""Chart of activations as heat engines, through the depth of a network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from thermo_callbacks.display.figures.canvas import annotate, annotate_empty, height_of, label_rows, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Kind = Literal["passive", "driven", "unknown"]

_FAMILIES = ("thermo_work_efficiency", "thermo_learning_efficiency")
_FARTHEST = 3.0  # efficiency at which the axis ends at the latest
_FEW = 4
_COLOURS: dict[Kind, tuple[str, str]] = {  # blue and orange differ for all eyes, and in brightness
    "passive": ("#0072B2", "work, passive"),
    "driven": ("#E69F00", "work, driven"),
    "unknown": ("0.6", "work, unknown type"),
}


class Engine(NamedTuple):
    """One activation of a network as a heat engine.

    Attributes:
        name: Name of the module.
        work: Work efficiency, none for NaN.
        learning: Learning efficiency, none for NaN.
        kind: Engine type of its function.
    """

    name: str
    work: float
    learning: float = math.nan
    kind: Kind = "unknown"


def engines_of(record: Mapping[str, float], kinds: Mapping[str, Kind | None] | None = None) -> list[Engine]:
    """Engines of a record, in its order.

    Args:
        record: Tag to value, as from a monitor's ``latest()``, activations in order of depth.
        kinds: Engine type by name of the module; None, as a name that is absent, where it is not known.

    Returns:
        One engine for each ``thermo_work_efficiency/<module>``.

    Example:
        >>> engines_of({"thermo_work_efficiency/act": 0.5, "thermo_learning_efficiency/act": 0.25}, {"act": "passive"})
        [Engine(name='act', work=0.5, learning=0.25, kind='passive')]
    """
    work, learning = (f"{family}/" for family in _FAMILIES)
    names = [tag.removeprefix(work) for tag in record if tag.startswith(work)]
    return [
        Engine(name, record[work + name], record.get(learning + name, math.nan), (kinds or {}).get(name) or "unknown")
        for name in names
    ]


def engine_chart(engines: Sequence[Engine]) -> Figure:
    """Chart of work and learning efficiency: activations down in order of depth, efficiency across.

    The bar is the work efficiency, coloured by engine type, the diamond the learning efficiency; a line stands at 1,
    where all that comes in goes on. The axis ends at 3 at the latest: what lies beyond is written at its edge. What has
    no value has no bar.

    Args:
        engines: Activations in order of depth.

    Returns:
        A new figure that no window system and no pyplot knows of.

    Example:
        >>> figure = engine_chart([Engine("act1", 0.5, 0.4, "passive"), Engine("act2", 0.4, 0.5, "passive")])
        >>> [float(bar.get_width()) for bar in figure.axes[0].patches]
        [0.5, 0.4]
    """
    figure, axes = new_axes(height_of(len(engines)), "Efficiency through the depth: who wastes work?")
    axes.set_xlabel("efficiency: share of the power that comes in", loc="right")  # in the middle long names push it out
    axes.set_ylabel("← depth")
    if not engines:
        annotate_empty(axes, "activations")
        return figure
    label_rows(axes, [engine.name for engine in engines])
    work = np.array([engine.work for engine in engines])
    learning = np.array([engine.learning for engine in engines])
    known = np.concatenate([work, learning])
    known = known[np.isfinite(known)]
    limit = min(max(1.1, 1.08 * float(known.max(initial=0.0))), _FARTHEST)
    axes.set_xlim(0.0, limit)
    axes.axvline(1.0, color="black", linewidth=1.0, linestyle="--")
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    _draw_bars(axes, engines, work)
    rows = np.arange(len(engines))
    axes.plot(learning, rows, "D", color="black", markersize=5, markeredgecolor="white", label="learning", zorder=3)
    _write_beyond(axes, work, learning, limit)
    if not known.size:
        annotate(axes, "no activation has an efficiency yet")
    figure.legend(loc="lower center", ncols=4, fontsize=8, frameon=False, handlelength=1.2, columnspacing=1.0)
    return figure


def _draw_bars(axes: Axes, engines: Sequence[Engine], work: npt.NDArray[np.float64]) -> None:
    thickness = 0.7 * min(1.0, len(engines) / _FEW)  # a lone bar would fill the axes
    for kind, (colour, label) in _COLOURS.items():
        rows = [row for row, engine in enumerate(engines) if engine.kind == kind and math.isfinite(engine.work)]
        if rows:
            axes.barh(rows, work[rows], height=thickness, color=colour, label=label)


def _write_beyond(axes: Axes, work: npt.NDArray[np.float64], learning: npt.NDArray[np.float64], limit: float) -> None:
    for row, values in enumerate(zip(work, learning, strict=True)):
        texts = [
            f"{name} {value:.3g}" for name, value in zip(("work", "learning"), values, strict=True) if value > limit
        ]
        if texts:
            box = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
            text = ", ".join(texts) + " →"
            axes.text(0.99 * limit, row, text, ha="right", va="center", fontsize=8, color="black", bbox=box)
