"""Which charts there are, and what TensorBoard draws in them."""

from __future__ import annotations

import pytest
from tensorboard_page import charts_of, drawn_by_tensorboard, page_of
from torch.utils.tensorboard import SummaryWriter

from thermo_callbacks.display import PrefixedWriter, custom_scalar_layout, write_equilibrium_reference, write_page

LAYERS = ("net.0", "block[1]", "a+b(c)", "net.10")
ACTIVATIONS = ("net.1", "block[1].relu", "forward.gelu_1")
TYPES = ("ReLU", "Tanh")


def whole(*names):
    return {f"thermo/{name}" for name in names}


def by(members, *families):
    return {f"thermo_{family}/{member}" for family in families for member in members}


# title of each chart of lines to what it shows
OF_MOTION = {
    "Temperature by layer": by(LAYERS, "temperature"),
    "Equilibrium ratio of the run: 1 if it is": whole("equilibrium_ratio", "equilibrium_reference"),
    "Equilibrium ratio by layer": by(LAYERS, "equilibrium_ratio") | whole("equilibrium_reference"),
    "Thermometers: far apart means no": whole("temperature", "virial_temperature", "einstein_temperature"),
    "Energy balance: loss, heat, residual": whole("internal_energy", "heat", "first_law_residual"),
    "Heat by layer: the lowest removed most": by(LAYERS, "heat"),
    "Noise scale by layer: samples": by(LAYERS, "noise_scale"),
    "Signal share of a gradient": by(LAYERS, "signal_share") | whole("signal_share"),
    "Step efficiency and transfer: 1/2 is a line search, 0 gains nothing": whole("step_efficiency", "step_transfer"),
    "Share of the descent by layer": by(LAYERS, "heat_share"),
}
OF_STATE = {
    "Entropy of the weights: it falls while they learn": whole("entropy"),
    "Destruction against production: equal in equilibrium": whole(
        "entropy_destruction", "entropy_production", "entropy_production_floor"
    ),
    "Second law: rate in standard errors, sure beyond ±2": whole("second_law_score"),
    "Entropy destruction by layer": by(LAYERS, "entropy_destruction"),
    "Laplacian by layer": by(LAYERS, "laplacian"),
    "Temperature from curvature, beside the kinetic one": whole("rugh_temperature", "temperature"),
    "Free energy F = U - TS": whole("free_energy", "internal_energy", "bound_energy"),
    "Loss given up per nat of the weights, since the start": whole("transition_temperature"),
    "Loss per nat of the outputs: 1 if calibrated": whole(
        "transition_temperature_shift", "transition_temperature_outputs"
    ),
}
OF_ACTIVATIONS = {
    "Work efficiency: share of the signal passed on": by(ACTIVATIONS, "work_efficiency")
    | whole("work_efficiency", "work_efficiency_product"),
    "Learning efficiency: share of the gradient let back": by(ACTIVATIONS, "learning_efficiency"),
    "Engines: work efficiency by type": by(TYPES, "engine"),
    "Dead units: share that never changes": by(ACTIVATIONS, "dead_fraction"),
}
OF_BULK = {
    "Complexity: how stiffly the neurons are tied": whole("complexity"),
    "Loss in the bulk and at the boundary": whole("bulk_loss", "boundary_loss"),
    "Temperatures of the neurons and of the weights": whole("equipartition_temperature", "temperature"),
    "Laplacian of the loss, and with the complexity's": whole("total_laplacian", "laplacian"),
}
LINES = OF_MOTION | OF_STATE | OF_ACTIVATIONS | OF_BULK
BANDS = {
    "Temperature of the run, 95 % band": ["thermo/temperature", "thermo/temperature_lower", "thermo/temperature_upper"],
    "Noise scale of the run, 95 % band": ["thermo/noise_scale", "thermo/noise_scale_lower", "thermo/noise_scale_upper"],
    "Laplacian of the loss, 95 % band": ["thermo/laplacian", "thermo/laplacian_lower", "thermo/laplacian_upper"],
}
NEVER_DRAWN = whole("temperature_stderr", "laplacian_stderr", "entropy_rate_stderr", "second_law", "bulk_entropy") | by(
    LAYERS, "temperature_stderr", "laplacian_stderr", "entropy_production", "entropy", "transition_temperature"
)
TAGS = set().union(*LINES.values(), *BANDS.values(), NEVER_DRAWN) - whole("equilibrium_reference")


def test_lines_show_their_tags_and_no_others(tmp_path):
    decoys = {
        "thermo/temperature_by_hand",
        "thermo/heater",
        "xthermo/heat",
        "thermo_heatwave/net.0",
        "thermo/heat/net",
        "thermo/entropy_rate_of_change",
        "thermo_engines/ReLU",
        "my_thermo/laplacian",
    }
    with SummaryWriter(tmp_path / "run") as writer:
        write_page([PrefixedWriter(writer)], LAYERS, TAGS)
        write_equilibrium_reference([PrefixedWriter(writer)], 0)
        for tag in TAGS | decoys:
            writer.add_scalar(tag, 1.0, 0)
    assert drawn_by_tensorboard(tmp_path, "run") == LINES


@pytest.mark.parametrize("title", BANDS)
def test_band_has_literal_names_value_first(title):
    assert charts_of(custom_scalar_layout(TAGS))[title] == ["Margin", BANDS[title]]


@pytest.mark.parametrize(("title", "missing"), [(title, tag) for title, tags in BANDS.items() for tag in tags])
def test_band_needs_its_three_tags(title, missing):
    charts = charts_of(custom_scalar_layout(TAGS - {missing}))
    assert title not in charts
    assert charts.keys() >= {"Temperature by layer", "Laplacian by layer"}


@pytest.mark.parametrize("title", LINES)
def test_chart_comes_with_its_tags_and_goes_without_them(title):
    assert title in charts_of(custom_scalar_layout(LINES[title]))
    assert title not in charts_of(custom_scalar_layout(TAGS - LINES[title]))


@pytest.mark.parametrize(
    "title",
    [
        "Thermometers: far apart means no",
        "Temperature from curvature, beside the kinetic one",
        "Temperatures of the neurons and of the weights",
        "Laplacian of the loss, and with the complexity's",
    ],
)
def test_one_value_alone_is_not_compared(title):
    assert all(title not in charts_of(custom_scalar_layout({tag})) for tag in LINES[title])


@pytest.mark.parametrize("missing", sorted(LINES["Free energy F = U - TS"]))
def test_sum_needs_all_its_parts(missing):
    assert "Free energy F = U - TS" not in charts_of(custom_scalar_layout(TAGS - {missing}))


def test_categories_are_questions():
    layout = custom_scalar_layout(TAGS)
    assert list(layout) == [
        "Is the learning rate right?",
        "Is the run in equilibrium?",
        "How hot is the run, and which layer is hottest?",
        "Where does the loss go, and which layer lowers it?",
        "Where does the entropy go?",
        "Which activation wastes work?",
        "How curved is the loss, and in which layer?",
        "Signal or noise: is the batch large enough?",
        "What is the free energy made of, and what does a nat cost?",
        "The neurons as a gas: how stiff, and how agitated?",
    ]
    assert charts_of(layout).keys() == LINES.keys() | BANDS.keys()


def test_content_of_a_chart_does_not_depend_on_what_else_is_logged():
    full = charts_of(custom_scalar_layout(TAGS))
    for tag in sorted(TAGS):
        assert charts_of(custom_scalar_layout({tag})).items() <= full.items(), tag


@pytest.mark.parametrize(
    "tags", [set(), {"loss"}, {"thermo/equilibrium_reference"}, {"thermo/temperature"}, {"heat/x"}]
)
def test_no_known_tag_no_layout(tags):
    assert custom_scalar_layout(tags) == {}


def test_size_does_not_depend_on_the_number_of_layers():
    many = [f"blocks.{index}" for index in range(200)]
    families = {tag.partition("/")[0] for tag in TAGS} - {"thermo"}
    tags = {tag for tag in TAGS if tag.startswith("thermo/")} | {
        f"{family}/{name}" for family in families for name in many
    }
    assert custom_scalar_layout(tags) == custom_scalar_layout(TAGS)


def test_runs_of_different_models_and_presets_share_their_charts(tmp_path):
    light = set().union(*OF_MOTION.values()) | {"thermo_temperature/other.layer"}
    for run, tags in (("one", light), ("two", TAGS)):
        with SummaryWriter(tmp_path / run) as writer:
            write_page([PrefixedWriter(writer)], [], tags)
    titles = [chart["title"] for category in page_of(tmp_path)["category"] for chart in category["chart"]]
    assert sorted(titles) == sorted(LINES.keys() | BANDS.keys())
