"""The chart of engines, read off the figure."""

from __future__ import annotations

import math

import pytest
from matplotlib.colors import to_rgb

from thermo_callbacks.display import Engine, engine_chart, engines_of
from thermo_callbacks.display.figures.canvas import render

NAN = math.nan
ENGINES = [
    Engine("relu", 0.5, 0.45, "passive"),
    Engine("selu", 1.02, 1.06, "driven"),
    Engine("own", 0.3, 0.2),
    Engine("dead", NAN, 0.1, "passive"),
    Engine("still", 0.4, NAN, "passive"),
]


def bars_of(figure):
    """Row of each bar to its length and colour."""
    return {
        round(bar.get_y() + bar.get_height() / 2): (float(bar.get_width()), bar.get_facecolor()[:3])
        for bar in figure.axes[0].patches
    }


def learning_of(figure):
    (points,) = [line for line in figure.axes[0].lines if line.get_label() == "learning"]
    return points.get_xdata().tolist(), points.get_ydata().tolist()


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def texts_of(figure):
    return [(text.get_text(), text.get_position()) for text in figure.axes[0].texts]


def test_bars_are_work_coloured_by_type_in_order_of_depth():
    figure = engine_chart(ENGINES)
    bars = bars_of(figure)
    assert {row: length for row, (length, _) in bars.items()} == {0: 0.5, 1: 1.02, 2: 0.3, 4: 0.4}
    assert bars[0][1] == bars[4][1] == to_rgb("#0072B2")
    assert bars[1][1] == to_rgb("#E69F00")
    assert bars[2][1] == to_rgb("0.6")
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["relu", "selu", "own", "dead", "still"]
    bottom, top = axes.get_ylim()
    assert bottom > top


def test_diamonds_are_learning():
    x, y = learning_of(engine_chart(ENGINES))
    assert x == pytest.approx([0.45, 1.06, 0.2, 0.1, NAN], nan_ok=True)
    assert y == [0, 1, 2, 3, 4]


def test_line_stands_at_one():
    (line,) = [line for line in engine_chart(ENGINES).axes[0].lines if line.get_linestyle() == "--"]
    assert list(line.get_xdata()) == [1.0, 1.0]


def test_legend_names_only_the_types_that_occur():
    assert sorted(legend_of(engine_chart(ENGINES))) == [
        "learning",
        "work, driven",
        "work, passive",
        "work, unknown type",
    ]
    assert sorted(legend_of(engine_chart(ENGINES[:1]))) == ["learning", "work, passive"]


@pytest.mark.parametrize(
    ("work", "learning", "limit", "beyond"),
    [
        (0.3, 0.2, 1.1, []),
        (2.0, 0.2, 2.16, []),
        (2.9, 0.2, 3.0, []),
        (12.34, 0.2, 3.0, ["work 12.3 →"]),
        (12.34, 4.0, 3.0, ["work 12.3, learning 4 →"]),
        (NAN, 4.0, 3.0, ["learning 4 →"]),
    ],
)
def test_axis_is_bounded_and_what_lies_beyond_is_written(work, learning, limit, beyond):
    figure = engine_chart([Engine("a", 0.5, 0.5), Engine("b", work, learning)])
    assert figure.axes[0].get_xlim() == pytest.approx((0.0, limit))
    assert [text for text, _ in texts_of(figure)] == beyond
    assert all(position[1] == 1 for _, position in texts_of(figure))


def test_nothing_has_a_value():
    figure = engine_chart([Engine("a", NAN)])
    assert bars_of(figure) == {}
    assert [text for text, _ in texts_of(figure)] == ["no activation has an efficiency yet"]
    render(figure)


def test_no_activation():
    assert [text for text, _ in texts_of(engine_chart([]))] == ["no activations yet"]


@pytest.mark.parametrize("number", [1, 3, 40, 300])
def test_everything_stays_in_the_figure(number):
    names = [f"transformer.encoder.layers.{index}.activation.gelu" for index in range(number)]
    kinds = ("passive", "driven", "unknown")
    figure = engine_chart([Engine(name, 0.4, 0.3, kinds[index % 3]) for index, name in enumerate(names)])
    height, width, _ = render(figure).shape
    assert height <= 1200
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0.0
    assert box.x1 <= width
    assert len(figure.axes[0].get_yticklabels()) <= 40
    bars = figure.axes[0].patches
    assert len(bars) == number
    assert bars[0].get_height() == pytest.approx(0.7 * min(1.0, number / 4))


def test_engines_of_a_record():
    record = {
        "thermo/work_efficiency": 0.1,
        "thermo_work_efficiency/b": 0.5,
        "thermo_work_efficiency/a": 0.4,
        "thermo_learning_efficiency/a": 0.3,
        "thermo_learning_efficiency/c": 0.2,
        "thermo_engine/ReLU": 0.5,
    }
    known, unknown, bare = engines_of(record, {"b": "driven", "a": None}), engines_of(record, {}), engines_of(record)
    assert [engine.kind for engine in known] == ["driven", "unknown"]
    assert unknown == bare
    assert [(engine.name, engine.work) for engine in known] == [("b", 0.5), ("a", 0.4)]
    assert [engine.learning for engine in known] == pytest.approx([NAN, 0.3], nan_ok=True)
    assert engines_of({"thermo/temperature": 1.0}) == []
