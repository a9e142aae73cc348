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
    "thermo/equilibrium_ratio": -4.0,
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


def read(subject, *, before=(FIRST,), batch_size=32, **changes):
    """The paragraph on a subject, with some values changed: tags with a double underscore for the slash."""
    last = {**LAST, **{tag.replace("__", "/"): value for tag, value in changes.items()}}
    paragraphs = read_run([*before, last], batch_size=batch_size)
    return next((paragraph for paragraph in paragraphs if paragraph.startswith(subject)), None)


def test_subjects_come_in_order():
    paragraphs = read_run([FIRST, LAST], batch_size=32)
    assert [paragraph.split()[0] for paragraph in paragraphs] == ["Loss:", "Temperature,", "Equilibrium:", "Noise:"]


def test_nothing_is_said_about_what_was_not_measured():
    assert read_run([{}, {}], batch_size=32) == []


def test_loss_and_heat():
    text = read("Loss")
    assert "2.3 in the first window, 0.3 in the last" in text
    assert "(the heat), that comes to 8. " in text
    assert "The loss itself fell by 2: most of that gain is lost" in text
    assert text.endswith("The largest part of the heat is that of body, 62 %.")


def test_heat_near_the_fall_of_the_loss_is_no_loss_of_gain():
    assert "most of that gain" not in read("Loss", thermo__heat=-3.0)


def test_loss_that_did_not_fall():
    text = read("Loss", thermo__internal_energy=2.4)
    assert text == "Loss: 2.3 in the first window, 2.4 in the last. It did not fall; a smaller learning rate may help."


def test_loss_of_a_run_that_blew_up():
    assert read("Loss", thermo__heat=NAN).startswith("Loss: some steps were not finite")


def test_only_window_has_nothing_to_compare_with():
    text = " ".join(read_run([LAST], batch_size=32))
    assert "Loss: 0.3 in the only window. " in text
    assert "first window" not in text
    assert "fell" not in text


@pytest.mark.parametrize("layer", ["thermo_heat__head", "thermo_heat__body"])
def test_no_shares_of_heat_where_a_layer_took_heat_in(layer):
    assert "largest part" not in read("Loss", **{layer: 0.5})


def test_heat_taken_in_is_no_gain():
    assert read("Loss", thermo__heat=0.5) == "Loss: 2.3 in the first window, 0.3 in the last."


@pytest.mark.parametrize(
    ("lower", "upper", "said"),
    [
        (2.5e-5, 3.5e-5, "It has risen since the first window, by more than the errors."),
        (0.3e-5, 0.7e-5, "It has fallen since the first window, by more than the errors."),
        (1.1e-5, 4.9e-5, "Since the first window it has not changed by more than the errors."),
        (-1e-6, 6.1e-5, "Within its error it can't be told from zero."),
    ],
)
def test_temperature_changes_only_beyond_its_errors(lower, upper, said):
    text = read("Temperature", thermo__temperature_lower=lower, thermo__temperature_upper=upper)
    phrases = ("has risen", "has fallen", "not changed", "told from zero", "It rose")
    assert said in text
    assert sum(phrase in text for phrase in phrases) == 1


@pytest.mark.parametrize(("peak_lower", "rose"), [(3.6e-5, True), (3.4e-5, False)])
def test_temperature_that_rose_and_fell(peak_lower, rose):
    peak = {
        "thermo/temperature": 5e-5,
        "thermo/temperature_lower": peak_lower,
        "thermo/temperature_upper": 6.6e-5,
    }
    text = read("Temperature", before=[FIRST, peak])
    assert ("It rose to 5.00e-05 at first and has fallen since, both by more than the errors." in text) == rose
    assert ("has risen since" in text) == (not rose)


def test_windows_without_a_temperature_are_not_compared_with():
    unknown = dict.fromkeys(FIRST, NAN)
    assert "has risen since" in read("Temperature", before=[unknown, FIRST, unknown])
    assert "since the first window" not in read("Temperature", before=[unknown]).lower()


def test_hottest_layer():
    assert read("Temperature").endswith("The hottest layer is head, 3 times as hot as neck, the next.")


def test_hottest_layer_within_the_errors_is_not_named():
    text = read("Temperature", thermo_temperature_stderr__head=2.1e-5)
    assert text.endswith(
        "The layers head and neck read highest, and their errors are too large to say which is hotter."
    )


def test_hottest_layer_without_errors_only_reads_highest():
    assert read("Temperature", thermo_temperature_stderr__neck=NAN).endswith("The layer head reads highest.")


def test_layers_without_a_temperature_do_not_compete():
    assert "hottest layer is neck, 2 times as hot as body" in read("Temperature", thermo_temperature__head=NAN)


def test_factor_to_a_layer_below_zero_is_not_named():
    text = read("Temperature", thermo_temperature__body=-2e-5, thermo_temperature__neck=-1e-5)
    assert text.endswith("The hottest layer is head.")


def test_one_layer_is_compared_with_none():
    last = {tag: value for tag, value in LAST.items() if not tag.endswith(("/neck", "/head"))}
    text = " ".join(read_run([FIRST, last], batch_size=32))
    assert "hottest" not in text
    assert "largest part" not in text


@pytest.mark.parametrize(
    ("ratio", "error", "said"),
    [
        (0.93, NAN, "0.93. That is close to 1"),
        (1.08, 0.02, "1.08, with a standard error of 0.02. That is close to 1"),
        (1.08, 0.5, "1.08, with a standard error of 0.5. Within its error that can't be told from 1."),
        (-4.0, 3.0, "-4, with a standard error of 3. Within its error that can't be told from 1."),
        (0.8, 0.05, "0.8, with a standard error of 0.05. That is not 1: the weights were still growing"),
        (1.5, NAN, "1.5. That is not 1: the weights were still shrinking"),
        (-40.0, 7.123, "-40, with a standard error of 7.1. That is far from 1: the weights were still growing"),
        (7.0, NAN, "7. That is far from 1: the weights were still shrinking"),
    ],
)
def test_equilibrium(ratio, error, said):
    text = read("Equilibrium", thermo__equilibrium_ratio=ratio, thermo__equilibrium_ratio_stderr=error)
    assert said in text
    assert ("no proof" in text) != ("no equilibrium" in text)
    assert ("still growing" in text or "still shrinking" in text) == ("no equilibrium" in text)


def test_a_whole_paragraph():
    assert read_run([{"thermo/equilibrium_ratio": 1.02}], batch_size=32) == [
        "Equilibrium: the ratio is 1.02. That is close to 1: the size of the weights stands still, as it must in "
        "equilibrium. That alone is no proof; the loss has to stand still too."
    ]


def test_equilibrium_without_a_value_is_not_judged():
    assert read("Equilibrium", thermo__equilibrium_ratio=NAN) is None


@pytest.mark.parametrize(
    ("scale", "lower", "upper", "said"),
    [
        (512.0, 400.0, 700.0, "about 510 samples (400 to 700), above the batch of 32"),
        (40.0, 20.0, 90.0, "about 40 samples (20 to 90), and the batch of 32 is within that"),
        (15.2, 9.0, 25.0, "about 15 samples (9 to 25), below the batch of 32"),
        (900.0, 210.0, math.inf, "at least 210 samples, above the batch of 32"),
        (90.0, 20.0, math.inf, "at least 20 samples, and the batch of 32 is within that"),
    ],
)
def test_batch_against_noise_scale(scale, lower, upper, said):
    ends = {"thermo__noise_scale_lower": lower, "thermo__noise_scale_upper": upper}
    assert said in read("Noise", thermo__noise_scale=scale, **ends)


def test_nothing_is_said_of_a_noise_scale_that_does_not_exist():
    assert read("Noise", thermo__noise_scale=NAN) is None


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
