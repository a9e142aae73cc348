"""Layout of a figure with one pair of axes, its bar of colours and its legend: each is measured once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backend_bases import RendererBase
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import LayoutEngine

_PAD = 0.05  # inches around and between the parts
_BAR = 0.125  # width of the bar of colours in inches
_LEAST = 0.05  # of the figure, for the axes


def margins() -> LayoutEngine:
    """Layout with the margins that titles, labels, ticks and legend need, and all else for the axes."""
    # matplotlib's own constrained layout solves for any number of axes, and measures each of them six times: that took
    # half of the time of a drawing
    from matplotlib.layout_engine import LayoutEngine

    class Margins(LayoutEngine):
        """Engine that measures each axes once."""

        _adjust_compatible = False
        _colorbar_gridspec = False

        def execute(self, fig: Figure) -> None:
            _arrange(fig)

    return Margins()


def _arrange(figure: Figure) -> None:
    """Put the parts of the figure in their places."""
    renderer = figure._get_renderer()  # type: ignore[attr-defined]  # as matplotlib's own engines
    axes, *bars = figure.axes
    pad, width, height = _PAD * figure.dpi, figure.bbox.width, figure.bbox.height
    top, bottom = height - pad, pad
    for title in filter(None, [getattr(figure, "_suptitle", None)]):
        title.set_position((0.5, top / height))
        top -= title.get_window_extent(renderer).height + pad
    for legend in figure.legends:
        bottom += legend.get_window_extent(renderer).height
    left, right, below, above = _around(axes, renderer)
    ends = [_around(bar, renderer)[1] + _BAR * figure.dpi + pad for bar in bars]
    left, bottom = left + pad, bottom + below
    end = max(width - sum(ends) - (right if not bars else 0.0) - pad, left + _LEAST * width)
    top = max(top - above, bottom + _LEAST * height)
    _place(figure, axes, (left, bottom, end, top))
    for bar in bars:
        _place(figure, bar, (end + pad, bottom, end + pad + _BAR * figure.dpi, top))


def _around(axes: Axes, renderer: RendererBase) -> tuple[float, float, float, float]:
    """What ticks and labels take on the left, on the right, below and above, in dots."""
    inner, outer = axes.bbox, axes.get_tightbbox(renderer, for_layout_only=True)
    if outer is None:
        return 0.0, 0.0, 0.0, 0.0
    sides = inner.x0 - outer.x0, outer.x1 - inner.x1, inner.y0 - outer.y0, outer.y1 - inner.y1
    left, right, below, above = (max(float(side), 0.0) for side in sides)
    return left, right, below, above


def _place(figure: Figure, axes: Axes, edges: tuple[float, float, float, float]) -> None:
    """Put axes between edges in dots."""
    width, height = figure.bbox.width, figure.bbox.height
    left, bottom, right, top = edges
    place = left / width, bottom / height, (right - left) / width, (top - bottom) / height
    axes._set_position(place)  # type: ignore[attr-defined]  # the public one takes the axes out of the layout
