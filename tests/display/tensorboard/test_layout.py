"""Which charts there are, and what TensorBoard draws in them."""

from __future__ import annotations

import re

import pytest
from tensorboard_page import charts_of, drawn_by_tensorboard, page_of
from torch.utils.tensorboard import SummaryWriter

from thermo_callbacks.catalog import QUANTITIES
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
    "Mean loss of the windows [loss]": whole("internal_energy"),
    "Step efficiency and transfer [ratio]: 1/2 is a line search, 0 gains nothing": whole(
        "step_efficiency", "step_transfer"
    ),
    "Update ratio [step/weights]: about 0.001": whole("update_ratio"),
    "Update ratio by layer [step/weights]": by(LAYERS, "update_ratio"),
    "Gradient norm before clipping [loss/weight]": whole("gradient_norm"),
    "Gradient norm by layer [loss/weight]": by(LAYERS, "gradient_norm"),
    "Weight decay in a step [share]": whole("decay_share"),
    "Clipping: what it leaves of the gradient, and of how many steps [share]": whole("clip_factor", "clipped_share"),
    "Learning rate [of the optimizer]": whole("learning_rate"),
    "Likeness within batches [ratio]: 1 if shuffled": whole("batch_likeness"),
    "Shift of the inputs since the start [standard deviations]": whole("input_shift"),
    "Temperature by layer [loss]": by(LAYERS, "temperature"),
    "Weight norm by layer [weights]": by(LAYERS, "weight_norm"),
    "Weight growth [per 1,000 steps]: 0 if the size stands": whole("weight_growth"),
    "Weight growth by layer [per 1,000 steps]": by(LAYERS, "weight_growth"),
    "Drift of the weights [share], and its p-value: near 0, it is real": whole("drift_share", "drift_p_value"),
    "Drift by layer [share]: near 1, it still grows or shrinks": by(LAYERS, "drift_share"),
    "Equilibrium ratio [ratio]: 1 if it is": whole("equilibrium_ratio", "equilibrium_reference"),
    "Equilibrium ratio by layer [ratio]: 1 if it is": by(LAYERS, "equilibrium_ratio"),
    "Thermometers [loss]: far apart means no": whole("temperature", "virial_temperature", "einstein_temperature"),
    "Energy balance: loss, heat, residual [loss]": whole("internal_energy", "heat", "first_law_residual"),
    "Heat by layer [loss]: the lowest removed most": by(LAYERS, "heat"),
    "Gradient noise scale by layer [samples]": by(LAYERS, "noise_scale"),
    "Signal in a gradient [share]: 1/2 at the noise scale": whole("signal_share"),
    "Signal in a gradient, by layer [share]": by(LAYERS, "signal_share"),
    "Share of the descent by layer [share]": by(LAYERS, "heat_share"),
}
OF_STATE = {
    "Entropy of the weights [nats]: it falls while they learn": whole("entropy"),
    "Entropy destruction, all directions [nats/step]": whole("entropy_destruction"),
    "Destruction that the balance is known of [share]": whole("resolved_share"),
    "Entropy rate of the resolved directions [nats/step]": whole("entropy_rate"),
    "Sharpness, the largest eigenvalue of the Hessian [loss]": whole("sharpness"),
    "Stability margin [ratio]: beyond 1 the optimizer is unstable": whole("stability_margin"),
    "Second law: entropy rate [standard errors], sure beyond ±2": whole("second_law_score"),
    "Entropy destruction by layer [nats/step]": by(LAYERS, "entropy_destruction"),
    "Trace of the Hessian by layer [loss]": by(LAYERS, "laplacian"),
    "Temperature from curvature [loss]: that of the run, at rest": whole("rugh_temperature"),
    "Free energy F = U - TS [loss]": whole("free_energy", "internal_energy", "bound_energy"),
    "Loss given up since the start, by entropy of the weights [loss/nat]": whole("transition_temperature"),
    "Loss by entropy of the outputs [loss/nat]: 1 if calibrated": whole(
        "transition_temperature_shift", "transition_temperature_outputs"
    ),
}
OF_ACTIVATIONS = {
    "Power ratio (work efficiency) [out/in]: mean, and product through the depth": whole(
        "work_efficiency", "work_efficiency_product"
    ),
    "Power ratio by activation [out/in]": by(ACTIVATIONS, "work_efficiency"),
    "Power ratio of the gradient (learning efficiency), by activation [back/in]": by(
        ACTIVATIONS, "learning_efficiency"
    ),
    "Power ratio by type of activation [out/in]": by(TYPES, "engine"),
    "Saturated values by activation [share]": by(ACTIVATIONS, "saturated_fraction"),
    "Gradient power against the last activation [ratio]: read in powers of ten": by(ACTIVATIONS, "learning_signal"),
    "Dead units by activation [share]": by(ACTIVATIONS, "dead_fraction"),
}
OF_BULK = {
    "Complexity [nats]: how stiffly the neurons are tied": whole("complexity"),
    "Loss in the bulk [squared activations]": whole("bulk_loss"),
    "Loss at the boundary [loss]": whole("boundary_loss"),
    "Temperature of the neurons [squared activations]": whole("equipartition_temperature"),
    "Trace of the Hessian of the loss, and with the complexity's [loss]": whole("total_laplacian", "laplacian"),
}
LINES = OF_MOTION | OF_STATE | OF_ACTIVATIONS | OF_BULK
BANDS = {
    f"{title}, 95 % band{ending}": [f"thermo/{name}", f"thermo/{name}_lower", f"thermo/{name}_upper"]
    for title, name, ending in (
        ("Temperature of the run [loss]", "temperature", ""),
        ("Gradient noise scale [samples]", "noise_scale", ": compare your batch size"),
        ("Trace of the Hessian (Laplacian) [loss]", "laplacian", ""),
    )
}
NEVER_DRAWN = whole("temperature_stderr", "laplacian_stderr", "entropy_rate_stderr", "second_law", "bulk_entropy") | by(
    LAYERS, "temperature_stderr", "laplacian_stderr", "entropy", "transition_temperature"
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
    assert charts.keys() >= {"Temperature by layer [loss]", "Trace of the Hessian by layer [loss]"}


@pytest.mark.parametrize("title", LINES)
def test_chart_comes_with_its_tags_and_goes_without_them(title):
    assert title in charts_of(custom_scalar_layout(LINES[title]))
    assert title not in charts_of(custom_scalar_layout(TAGS - LINES[title]))


@pytest.mark.parametrize(
    "title",
    [
        "Thermometers [loss]: far apart means no",
        "Trace of the Hessian of the loss, and with the complexity's [loss]",
    ],
)
def test_one_value_alone_is_not_compared(title):
    assert all(title not in charts_of(custom_scalar_layout({tag})) for tag in LINES[title])


@pytest.mark.parametrize("missing", sorted(LINES["Free energy F = U - TS [loss]"]))
def test_sum_needs_all_its_parts(missing):
    assert "Free energy F = U - TS [loss]" not in charts_of(custom_scalar_layout(TAGS - {missing}))


def test_categories_are_questions_what_to_act_on_first():
    layout = custom_scalar_layout(TAGS)
    assert list(layout) == [
        "Is the rate right?",
        "Is the batch right?",
        "Which layer is in trouble?",
        "How curved is the loss, and in which layer?",
        "Is the run in equilibrium?",
        "Where does the loss go, and which layer lowers it?",
        "Which activation wastes work?",
        "How hot is the run, and which layer is hottest?",
        "Where does the entropy go?",
        "What is the free energy made of, and what does a nat cost?",
        "The neurons as a gas: how stiff, and how agitated?",
    ]
    assert charts_of(layout).keys() == LINES.keys() | BANDS.keys()


def test_every_title_says_its_unit():
    of_rows = {row.short_unit for row in QUANTITIES if row.short_unit}
    units = of_rows | {"ratio", "share", "out/in", "back/in", "step/weights"}  # numbers without a unit: of what to what
    units |= {"squared activations", "standard errors"}  # of one tag of a row with several
    for title in charts_of(custom_scalar_layout(TAGS)):
        (unit,) = re.findall(r"\[(.+?)\]", title)
        assert unit in units, title


def test_what_never_had_a_value_makes_no_chart():
    for title, tags in LINES.items():
        empty = tags - whole("equilibrium_reference")
        charts = charts_of(custom_scalar_layout(TAGS, empty=empty))
        assert title not in charts
        assert charts.items() <= charts_of(custom_scalar_layout(TAGS)).items()


@pytest.mark.parametrize("title", BANDS)
def test_a_band_needs_the_value_and_no_ends(title):
    value, *ends = BANDS[title]
    assert title in charts_of(custom_scalar_layout(TAGS, empty=ends))
    assert title not in charts_of(custom_scalar_layout(TAGS, empty=[value]))


def test_content_of_a_chart_does_not_depend_on_what_else_is_logged():
    full = charts_of(custom_scalar_layout(TAGS))
    for tag in sorted(TAGS):
        assert charts_of(custom_scalar_layout({tag})).items() <= full.items(), tag


@pytest.mark.parametrize(
    "tags", [set(), {"loss"}, {"thermo/equilibrium_reference"}, {"thermo/temperature"}, {"heat/x"}]
)
def test_no_known_tag_no_layout(tags):
    assert custom_scalar_layout(tags) == {}


def of_layers(names):
    families = {tag.partition("/")[0] for tag in TAGS} - {"thermo"}
    return {tag for tag in TAGS if tag.startswith("thermo/")} | by(
        names, *(f.removeprefix("thermo_") for f in families)
    )


def test_size_does_not_depend_on_the_number_of_layers():
    assert custom_scalar_layout(of_layers([f"blocks.{index}" for index in range(16)])) == custom_scalar_layout(TAGS)


def test_no_chart_has_more_than_16_lines(tmp_path):
    names = [f"blocks.{index}" for index in range(40)]
    with SummaryWriter(tmp_path / "run") as writer:
        write_page([PrefixedWriter(writer)], names, of_layers(names))
        for tag in of_layers(names):
            writer.add_scalar(tag, 1.0, 0)
    drawn = drawn_by_tensorboard(tmp_path, "run")
    assert max(map(len, drawn.values())) == 16
    parts = [drawn[f"Temperature by layer [loss] ({number} of 3)"] for number in (1, 2, 3)]
    assert parts == [by(names[start : start + 16], "temperature") for start in (0, 16, 32)]
    families = {next(iter(tags)).partition("/")[0] for tags in LINES.values()} - {"thermo"}
    of_members = [tag for tags in drawn.values() for tag in tags if not tag.startswith("thermo/")]
    assert sorted(of_members) == sorted(by(names, *(family.removeprefix("thermo_") for family in families)))


def test_runs_of_different_models_and_presets_share_their_charts(tmp_path):
    light = set().union(*OF_MOTION.values()) | {"thermo_temperature/other.layer"}
    for run, tags in (("one", light), ("two", TAGS)):
        with SummaryWriter(tmp_path / run) as writer:
            write_page([PrefixedWriter(writer)], [], tags)
    titles = [chart["title"] for category in page_of(tmp_path)["category"] for chart in category["chart"]]
    assert sorted(titles) == sorted(LINES.keys() | BANDS.keys())
