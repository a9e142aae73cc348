"""The maps of layers: what they show, read off the figure and off its pixels."""

from __future__ import annotations

import math
from itertools import combinations, pairwise

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from thermo_callbacks.display import LayerHistory, laplacian_heat_map, temperature_heat_map
from thermo_callbacks.display.figures.canvas import render


def history_of(*rows):
    history = LayerHistory()
    for index, row in enumerate(rows):
        history.append(10 * index + 10, row)
    return history


def cells_of(figure):
    """Colours of the cells, shape [layers, columns, 3]."""
    mesh = figure.axes[0].collections[0]
    return mesh.to_rgba(mesh.get_array())[..., :3]


def texts_of(figure):
    texts = [text.get_text() for text in figure.axes[0].texts]
    return texts + [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_layers_go_down_and_steps_across():
    figure = temperature_heat_map(history_of({"stem": 1e-3, "head": 1e-1}, {"stem": 1e-2, "head": 1.0}))
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["stem", "head"]
    (bottom, top), (left, right) = axes.get_ylim(), axes.get_xlim()
    assert bottom > top
    assert (left, right) == (5.0, 25.0)
    assert axes.collections[0].get_array().tolist() == [[1e-3, 1e-2], [1e-1, 1.0]]


def test_equal_ratios_are_equal_steps_of_colour():
    scale = temperature_heat_map(history_of({"a": 1e-4, "b": 1e-2, "c": 1.0})).axes[0].collections[0].norm
    assert [float(scale(value)) for value in (1e-4, 1e-2, 1.0)] == pytest.approx([0.0, 0.5, 1.0])


def test_colour_bar_names_the_unit():
    figure = temperature_heat_map(history_of({"a": 1e-3, "b": 1e-2}))
    assert figure.axes[1].get_ylabel() == "temperature\n[units of the loss]"


@pytest.mark.parametrize("coldest", [1.3e-6, 4e-6, 2.1e-5, 5.9e-5, 3e-9])
def test_ticks_of_the_colour_bar_do_not_overlap_in_the_lowest_figure(coldest):
    history = LayerHistory()
    history.append(0, {"body": coldest, "head": 8e-5})
    figure = temperature_heat_map(history)
    render(figure)
    axis = figure.axes[1].yaxis
    boxes = [label.get_window_extent() for label in axis.get_ticklabels(which="both") if label.get_text()]
    assert boxes
    assert all(upper.y0 >= lower.y1 or lower.y0 >= upper.y1 for lower, upper in combinations(boxes, 2))


def test_cells_without_a_positive_value_are_grey_and_explained():
    figure = temperature_heat_map(history_of({"a": 1e-3, "b": math.nan, "c": 0.0}, {"a": 1e-2, "b": 2e-3, "c": -1.0}))
    cells = cells_of(figure)
    np.testing.assert_allclose(cells[1, 0], to_rgb("0.88"), atol=1e-6)
    np.testing.assert_allclose(cells[2], [to_rgb("0.58")] * 2, atol=1e-6)
    coloured = cells[[0, 0, 1], [0, 1, 1]]
    assert (np.ptp(coloured, axis=1) > 0.0).any(axis=0)  # the positive ones are not all grey
    assert texts_of(figure) == ["no value", "not above zero"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [((1e-3, 1e-2), []), ((math.nan, 1e-2), ["no value"]), ((-1.0, 1e-2), ["not above zero"])],
)
def test_legend_names_only_the_greys_that_occur(values, expected):
    assert texts_of(temperature_heat_map(history_of(dict(zip("ab", values, strict=True))))) == expected


def test_all_without_value():
    figure = temperature_heat_map(history_of({"a": math.nan, "b": math.nan}, {"a": math.nan, "b": math.nan}))
    assert texts_of(figure) == ["no layer has a positive temperature yet", "no value"]
    assert len(figure.axes) == 1  # no colour bar
    np.testing.assert_allclose(cells_of(figure).reshape(-1, 3), [to_rgb("0.88")] * 4, atol=1e-6)


def test_all_below_zero():
    figure = temperature_heat_map(history_of({"a": -1e-3}))
    assert texts_of(figure) == ["no layer has a positive temperature yet", "not above zero"]
    np.testing.assert_allclose(cells_of(figure)[0, 0], to_rgb("0.58"), atol=1e-6)


@pytest.mark.parametrize("history", [LayerHistory(), history_of({})], ids=["no row", "no layer"])
def test_nothing_to_show(history):
    figure = temperature_heat_map(history)
    assert texts_of(figure) == ["no temperatures yet"]
    assert render(figure).std() > 0.0


def test_one_cell_lies_in_the_middle_of_the_scale():
    figure = temperature_heat_map(history_of({"a": 2e-3}))
    mesh = figure.axes[0].collections[0]
    assert float(mesh.norm(2e-3)) == pytest.approx(0.5)
    left, right = figure.axes[0].get_xlim()
    visible = [tick for tick in figure.axes[0].get_xticks() if left <= tick <= right]
    assert visible == [10.0]  # the step of the only row, no fractions of steps


def test_a_cold_outlier_does_not_flatten_the_rest():
    mesh = temperature_heat_map(history_of({"a": 1e-30, "b": 1e-2, "c": 1.0})).axes[0].collections[0]
    assert mesh.norm.vmin == pytest.approx(1e-6)
    assert float(mesh.norm(mesh.get_array()[0, 0])) == pytest.approx(0.0)  # coldest colour, not grey


@pytest.mark.parametrize(
    ("layers", "labels", "height"), [(3, 3, 360), (40, 40, 1110), (150, 38, 1200), (1000, 40, 1200)]
)
def test_labels_are_thinned_and_the_height_is_bounded(layers, labels, height):
    figure = temperature_heat_map(history_of({f"net.{index}": 1.0 + index for index in range(layers)}))
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    every = layers // labels + (layers % labels > 0)
    assert names == [f"net.{index}" for index in range(0, layers, every)]
    assert len(names) == labels
    assert render(figure).shape == (height, 750, 3)


def test_labels_do_not_overlap_with_many_layers():
    figure = temperature_heat_map(history_of({f"net.{index}": 1.0 + index for index in range(150)}))
    render(figure)
    boxes = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert all(upper.y0 >= lower.y1 for upper, lower in pairwise(boxes))


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("block[1].a+b(c)", "block[1].a+b(c)"),
        ("x" * 36, "x" * 36),
        ("encoder.layers.11.attention.self.query_key_value", "…s.11.attention.self.query_key_value"),
        ("a$b$_c^2", "a$b$_c^2"),
    ],
)
def test_names_are_code(name, label):
    figure = temperature_heat_map(history_of({name: 1.0}))
    (tick,) = figure.axes[0].get_yticklabels()
    assert tick.get_text() == label
    assert len(tick.get_text()) <= 36
    assert not tick.get_parse_math()
    assert not tick.get_usetex()
    render(figure)


def test_render_gives_the_pixels_of_the_canvas():
    figure = temperature_heat_map(history_of({"a": 1e-3}, {"a": 1e-2}))
    pixels = render(figure)
    assert pixels.dtype == np.uint8
    colours = {tuple(colour) for colour in pixels.reshape(-1, 3)}
    cells = {tuple(np.round(colour * 255).astype(int)) for colour in cells_of(figure)[0]}
    assert cells <= colours


def test_users_dark_style_keeps_text_legible():
    with matplotlib.rc_context({"figure.facecolor": "black", "axes.facecolor": "black", "text.color": "white"}):
        message = temperature_heat_map(LayerHistory()).axes[0].texts[0]
    assert message.get_color() == "black"
    assert message.get_bbox_patch().get_facecolor() == (1.0, 1.0, 1.0, 1.0)


def test_names_are_no_tex_when_the_user_writes_tex():
    with matplotlib.rc_context({"text.usetex": True}):
        (tick,) = temperature_heat_map(history_of({"block_1": 1.0})).axes[0].get_yticklabels()
    assert not tick.get_usetex()


class TestLaplacian:
    def test_scale_is_the_same_for_both_signs_and_white_at_zero(self):
        figure = laplacian_heat_map(history_of({"a": 100.0, "b": -100.0, "c": 0.0, "d": -1.0}))
        scale = figure.axes[0].collections[0].norm
        ends = [float(scale(value)) for value in (-100.0, 0.0, 100.0)]
        assert ends == pytest.approx([0.0, 0.5, 1.0])
        assert float(scale(1.0)) + float(scale(-1.0)) == pytest.approx(1.0)
        up, down, none, _ = cells_of(figure)[:, 0]
        assert up[0] > 1.5 * up[2]  # orange: more red than blue
        assert down[2] > 1.5 * down[1]  # purple: more blue than green
        assert none.min() > 0.9

    def test_equal_ratios_are_equal_steps_of_colour_down_to_a_thousandth(self):
        scale = laplacian_heat_map(history_of({"a": 50.0, "b": 1e-9})).axes[0].collections[0].norm
        steps = np.diff([float(scale(value)) for value in (0.05, 0.5, 5.0, 50.0)])
        assert steps == pytest.approx([steps[0]] * 3)

    @pytest.mark.parametrize("largest", [3e-7, 0.9, 40.0, 1e5])
    def test_ticks_of_the_bar_do_not_overlap(self, largest):
        figure = laplacian_heat_map(history_of({"a": largest, "b": -largest / 7.0}))
        render(figure)
        bar = figure.axes[1]
        assert bar.get_ylabel() == "Trace of the Hessian\n[units of the loss]"
        boxes = [label.get_window_extent() for label in bar.get_yticklabels() if label.get_text()]
        assert len(boxes) >= 5
        assert all(upper.y0 >= lower.y1 for lower, upper in pairwise(boxes))

    def test_cells_without_a_value_are_grey_and_explained(self):
        figure = laplacian_heat_map(history_of({"a": 1.0, "b": math.nan}))
        np.testing.assert_allclose(cells_of(figure)[1, 0], to_rgb("0.58"), atol=1e-6)
        assert texts_of(figure) == ["no value"]
        assert texts_of(laplacian_heat_map(history_of({"a": 1.0, "b": -1.0}))) == []

    def test_all_without_value(self):
        figure = laplacian_heat_map(history_of({"a": math.nan}))
        assert texts_of(figure) == ["no layer has a trace of the Hessian yet", "no value"]
        assert len(figure.axes) == 1

    def test_all_zero(self):
        figure = laplacian_heat_map(history_of({"a": 0.0}))
        assert cells_of(figure).min() > 0.9
        render(figure)

    @pytest.mark.parametrize("history", [LayerHistory(), history_of({})], ids=["no row", "no layer"])
    def test_nothing_to_show(self, history):
        assert texts_of(laplacian_heat_map(history)) == ["no traces of the Hessian yet"]


@pytest.mark.parametrize("draw", [temperature_heat_map, laplacian_heat_map])
def test_title_stays_in_the_figure_beside_long_names(draw):
    figure = draw(history_of({"x" * 36: 1.0}))
    width = render(figure).shape[1]
    title = figure.get_suptitle()
    (text,) = [text for text in figure.texts if text.get_text() == title]
    assert text.get_window_extent().x0 >= 0.0
    assert text.get_window_extent().x1 <= width
