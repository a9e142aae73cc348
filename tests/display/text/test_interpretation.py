"""Sentences that follow from the values, and only from them."""

from __future__ import annotations

import math

import pytest

from thermo_callbacks.display.text.interpretation import read_run
from thermo_callbacks.display.text.numbers import number

NAN = math.nan
FIRST = {
    "thermo/temperature": 1e-5,
    "thermo/temperature_lower": 0.8e-5,
    "thermo/temperature_upper": 1.2e-5,
    "thermo/noise_scale": 123.0,
    "thermo/signal_share": 0.4,
    "thermo/heat": -0.1,
    "thermo/internal_energy": 2.3,
}
LAST = {
    "thermo/temperature": 3e-5,
    "thermo/temperature_lower": 2.5e-5,
    "thermo/temperature_upper": 3.5e-5,
    "thermo_temperature/body": 1e-5,
    "thermo_temperature/neck": 2e-5,
    "thermo_temperature/head": 6e-5,
    "thermo_temperature_stderr/body": 1e-6,
    "thermo_temperature_stderr/neck": 3e-6,
    "thermo_temperature_stderr/head": 4e-6,
    "thermo/drift_share": 0.9,
    "thermo/drift_p_value": 0.001,
    "thermo/noise_scale": 512.0,
    "thermo/noise_scale_lower": 400.0,
    "thermo/noise_scale_upper": 700.0,
    "thermo/signal_share": 0.2,
    "thermo/heat": -8.0,
    "thermo_heat/body": -5.0,
    "thermo_heat/neck": -2.0,
    "thermo_heat/head": -1.0,
    "thermo/internal_energy": 0.3,
}
WINDOW = 10


def read_all(records, *, batch_size=32, window=WINDOW):
    """All paragraphs on windows that follow one another."""
    steps = [10 * (place + 1) - 1 for place in range(len(records))]
    return read_run(records, steps=steps, batch_size=batch_size, window=window)


def read(subject, *, before=(FIRST,), batch_size=32, window=WINDOW, **changes):
    """The paragraph on a subject, with some values changed: tags with a double underscore for the slash."""
    last = {**LAST, **{tag.replace("__", "/"): value for tag, value in changes.items()}}
    paragraphs = read_all([*before, last], batch_size=batch_size, window=window)
    return next((paragraph for paragraph in paragraphs if paragraph.startswith(subject)), None)


def test_subjects_come_in_order():
    paragraphs = read_all([FIRST, LAST])
    assert [paragraph.split()[0] for paragraph in paragraphs] == ["Loss:", "Temperature:", "Equilibrium:", "Noise:"]


def test_nothing_is_said_about_what_was_not_measured():
    assert read_all([{}, {}]) == []


def test_each_paragraph_names_the_steps_that_it_covers():
    for paragraph in read_all([FIRST, LAST]):
        assert "step 0 to 19" in paragraph or "steps 10 to 19" in paragraph or "up to step 19" in paragraph


def test_without_the_length_of_a_window_its_end_is_named():
    assert "3.00e-05 in the window that ends at step 19." in read("Temperature", window=None)
    assert read("Loss", window=None).startswith("Loss: it fell from step 9 to 19")


def test_what_the_values_leave_open_is_one_line_at_the_end():
    open_ones = {
        "thermo__temperature_lower": -1e-6,
        "thermo__drift_share": 0.08,
        "thermo__drift_p_value": 0.5,
        "thermo__noise_scale_lower": 1.0,
    }
    last = {**LAST, **{tag.replace("__", "/"): value for tag, value in open_ones.items()}}
    paragraphs = read_all([FIRST, last])
    assert [paragraph.partition(":")[0] for paragraph in paragraphs] == ["Loss", "Not told"]
    assert paragraphs[-1] == (
        "Not told: up to step 19 these values leave open whether the temperature (3.00e-05) differs from zero; whether "
        "there is equilibrium: no steady change shows (drift share 0.08, p-value 0.5), no proof; whether a step "
        "follows slope or noise (noise scale 1 to 700 samples, batch 32)."
    )


def test_loss_and_heat():
    text = read("Loss")
    assert text.startswith("Loss: it fell from step 0 to 19: 2.3 in the first window, 0.3 in the last. ")
    assert "(the heat), that comes to 8. " in text
    assert "The loss itself fell by 2: most of that gain is lost" in text
    assert text.endswith("The largest part of the heat is that of body, 62 %.")


def test_heat_near_the_fall_of_the_loss_is_no_loss_of_gain():
    assert "most of that gain" not in read("Loss", thermo__heat=-3.0)


def test_loss_that_did_not_fall():
    assert read("Loss", thermo__internal_energy=2.4) == (
        "Loss: it did not fall from step 0 to 19: 2.3 in the first window, 2.4 in the last. Follow the finding if "
        "there is one; if there is none, try a learning rate three times as high, and one three times as low."
    )


@pytest.mark.parametrize("heat", [NAN, -math.inf])
def test_loss_of_a_run_that_blew_up(heat):
    assert read("Loss", thermo__heat=heat).startswith("Loss: some steps up to step 19 were not finite")


def test_only_window_has_nothing_to_compare_with():
    text = " ".join(read_all([LAST]))
    assert "Loss: 0.3 in steps 0 to 9, the only window. " in text
    assert "Temperature: 3.00e-05 in steps 0 to 9. " in text
    assert "first window" not in text
    assert "fell" not in text


@pytest.mark.parametrize("layer", ["thermo_heat__head", "thermo_heat__body"])
def test_no_shares_of_heat_where_a_layer_took_heat_in(layer):
    assert "largest part" not in read("Loss", **{layer: 0.5})


def test_heat_taken_in_is_no_gain():
    text = read("Loss", thermo__heat=0.5)
    assert text == "Loss: it fell from step 0 to 19: 2.3 in the first window, 0.3 in the last."


@pytest.mark.parametrize(
    ("lower", "upper", "said"),
    [
        (2.5e-5, 3.5e-5, "Temperature: it has risen by more than the errors from step 0 to 19, and is 3.00e-05 in"),
        (0.3e-5, 0.7e-5, "Temperature: it has fallen by more than the errors from step 0 to 19, and is 3.00e-05 in"),
        (1.1e-5, 4.9e-5, "Temperature: it has not changed by more than the errors from step 0 to 19, and is 3.00e-05"),
    ],
)
def test_temperature_changes_only_beyond_its_errors(lower, upper, said):
    text = read("Temperature", thermo__temperature_lower=lower, thermo__temperature_upper=upper)
    phrases = ("has risen", "has fallen", "not changed", "it rose")
    assert text.startswith(said)
    assert sum(phrase in text for phrase in phrases) == 1


def test_a_temperature_that_may_be_zero_is_no_verdict():
    changes = {"thermo__temperature_lower": -1e-6, "thermo__temperature_upper": 6.1e-5}
    assert read("Temperature", **changes) is None
    assert "whether the temperature (3.00e-05) differs from zero" in read("Not told", **changes)


@pytest.mark.parametrize(("peak_lower", "rose"), [(3.6e-5, True), (3.4e-5, False)])
def test_temperature_that_rose_and_fell(peak_lower, rose):
    peak = {
        "thermo/temperature": 5e-5,
        "thermo/temperature_lower": peak_lower,
        "thermo/temperature_upper": 6.6e-5,
    }
    text = read("Temperature", before=[FIRST, peak])
    assert ("it rose to 5.00e-05 at first and has fallen since, both by more than the errors from step" in text) == rose
    assert ("has risen by" in text) == (not rose)


def test_windows_without_a_temperature_are_not_compared_with():
    unknown = dict.fromkeys(FIRST, NAN)
    assert "has risen by" in read("Temperature", before=[unknown, FIRST, unknown])
    assert read("Temperature", before=[unknown]).startswith("Temperature: 3.00e-05 in steps 10 to 19.")


def test_hottest_layer():
    assert read("Temperature").endswith(
        "The hottest layer in steps 10 to 19 is head, 3 times as hot as neck, the next."
    )


def test_hottest_layer_within_the_errors_is_not_named():
    changes = {"thermo_temperature_stderr__head": 2.1e-5}
    assert "hottest" not in read("Temperature", **changes)
    assert "which layer is hottest (head or neck, within their errors)" in read("Not told", **changes)


def test_hottest_layer_without_errors_is_not_named():
    changes = {"thermo_temperature_stderr__neck": NAN}
    assert "hottest" not in read("Temperature", **changes)
    assert "which layer is hottest (their errors are not logged: the preset full does)" in read("Not told", **changes)


def test_layers_without_a_temperature_do_not_compete():
    assert "19 is neck, 2 times as hot as body" in read("Temperature", thermo_temperature__head=NAN)


def test_factor_to_a_layer_below_zero_is_not_named():
    text = read("Temperature", thermo_temperature__body=-2e-5, thermo_temperature__neck=-1e-5)
    assert text.endswith("The hottest layer in steps 10 to 19 is head.")


def test_one_layer_is_compared_with_none():
    last = {tag: value for tag, value in LAST.items() if not tag.endswith(("/neck", "/head"))}
    text = " ".join(read_all([FIRST, last]))
    assert "hottest" not in text
    assert "largest part" not in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234.4, "1230"),
        (-0.5, "-0.5"),
        (0.00123456, "0.00123"),
        (4.5678e-7, "4.57e-07"),
        (99960.0, "1.00e+05"),
        (2834.0, "2830"),
        (0.04567, "0.0457"),
        (4.531e-06, "4.53e-06"),
    ],
)
def test_numbers_have_three_digits(value, text):
    assert number(value) == text
