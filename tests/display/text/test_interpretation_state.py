"""Sentences on curvature, entropy and change of state that follow from the values, and only from them."""

from __future__ import annotations

import math

import pytest

from thermo_callbacks.display.text.interpretation import read_run
from thermo_callbacks.display.text.interpretation_state import read_curvature, read_entropy, read_transition

NAN = math.nan
CURVATURE = {
    "thermo/laplacian": 40.0,
    "thermo/laplacian_stderr": 2.0,
    "thermo_laplacian/body": 10.0,
    "thermo_laplacian/neck": 5.0,
    "thermo_laplacian/head": 25.0,
    "thermo_laplacian_stderr/body": 1.0,
    "thermo_laplacian_stderr/neck": 1.0,
    "thermo_laplacian_stderr/head": 2.0,
}
ENTROPY = {
    "thermo/entropy_destruction": 3.0,
    "thermo/entropy_production": 1.0,
    "thermo/entropy_rate": -2.0,
    "thermo/entropy_rate_stderr": 0.25,
    "thermo/second_law": -1.0,
}


def test_paragraphs_come_in_order_after_the_others():
    last = {**CURVATURE, **ENTROPY, "thermo_work_efficiency/a": 0.5, "thermo/transition_temperature": 1.0}
    paragraphs = read_run([{**last, "thermo/equilibrium_ratio": 1.0}], batch_size=32)
    assert [paragraph.split(":")[0] for paragraph in paragraphs] == [
        "Equilibrium",
        "Curvature",
        "Entropy",
        "Activations",
        "Transition",
    ]


def test_only_the_last_values_count():
    assert read_run([{**CURVATURE, **ENTROPY}, {}], batch_size=32) == []


def test_curvature_without_layers():
    assert read_curvature({"thermo/laplacian": 40.0, "thermo/laplacian_stderr": 2.0}) == (
        "Curvature: the Laplacian of the loss is 40, with a standard error of 2. Shake every weight by 0.01, up or "
        "down at random, and the loss rises by about 0.002."
    )


def test_curvature():
    assert read_curvature(CURVATURE) == (
        "Curvature: the Laplacian of the loss is 40, with a standard error of 2. Shake every weight by 0.01, up or "
        "down at random, and the loss rises by about 0.002. The most curved layer is head, with 62 % of it."
    )


@pytest.mark.parametrize("tag", ["thermo/laplacian", "thermo/laplacian_stderr"])
@pytest.mark.parametrize("record", [{}, dict.fromkeys(CURVATURE, NAN)], ids=["absent", "NaN"])
def test_curvature_needs_value_and_error(tag, record):
    assert read_curvature(record) == ""
    assert read_curvature({**CURVATURE, tag: NAN}) == ""


@pytest.mark.parametrize(
    ("value", "error", "said"),
    [
        (40.0, 21.0, "Within its error it can't be told from zero."),
        (-40.0, 21.0, "Within its error it can't be told from zero."),
        (40.0, 19.0, "the loss rises by about 0.002"),
        (-40.0, 19.0, "Below zero the loss curves downwards on balance"),
    ],
)
def test_sign_of_the_curvature_only_beyond_its_error(value, error, said):
    text = read_curvature({**CURVATURE, "thermo/laplacian": value, "thermo/laplacian_stderr": error})
    assert said in text
    assert sum(phrase in text for phrase in ("told from zero", "loss rises", "downwards")) == 1
    assert ("most curved" in text) == ("loss rises" in text)


def test_layers_within_the_errors_are_not_ranked():
    text = read_curvature({**CURVATURE, "thermo_laplacian_stderr/head": 8.0})
    assert text.endswith(
        "The layers head and body read highest, and their errors are too large to say which is more curved."
    )


def test_layers_without_errors_only_read_highest():
    assert read_curvature({**CURVATURE, "thermo_laplacian_stderr/body": NAN}).endswith("The layer head reads highest.")


@pytest.mark.parametrize("neck", [-5.0, NAN])
def test_share_is_named_only_of_a_whole(neck):
    text = read_curvature({**CURVATURE, "thermo_laplacian/neck": neck})
    assert text.endswith("The most curved layer is head.")


def test_one_layer_is_compared_with_none():
    record = {tag: value for tag, value in CURVATURE.items() if not tag.endswith(("neck", "head"))}
    assert read_curvature(record).endswith("rises by about 0.002.")


@pytest.mark.parametrize(
    ("production", "verdict", "said"),
    [
        (1.0, -1.0, "It falls, by 8 standard errors: the run is still learning, and in no equilibrium."),
        (5.0, 1.0, "It grows, by 8 standard errors: noise spreads the weights faster than the loss pulls them"),
        (3.2, 0.0, "Within the errors they balance, as they must in equilibrium."),
        (5.0, 0.0, "What is put back is no more than weights that wander freely show in so short a window"),
    ],
)
def test_entropy_balance(production, verdict, said):
    rate = production - 3.0
    record = {"thermo/entropy_production": production, "thermo/entropy_rate": rate, "thermo/second_law": verdict}
    text = read_entropy({**ENTROPY, **record})
    assert text.startswith(f"Entropy: learning destroys 3 nats per step, and noise puts back {production:g}. ")
    assert said in text
    assert sum(phrase in text for phrase in ("It falls", "It grows", "they balance, as", "can't be told")) == 1


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"thermo/entropy_production_floor": 900.0}, "no more than weights that wander freely show"),
        ({"thermo/entropy_rate_stderr": 600.0}, "The errors are too large to tell whether they balance."),
        ({"thermo/entropy_production_floor": 0.1}, "Within the errors they balance"),
    ],
)
def test_no_difference_shown_is_not_yet_a_balance(extra, said):
    assert said in read_entropy({**ENTROPY, "thermo/entropy_rate": 0.1, "thermo/second_law": 0.0, **extra})


def test_entropy_verdict_without_an_error_names_no_number():
    assert "It falls, by more than the errors:" in read_entropy({**ENTROPY, "thermo/entropy_rate_stderr": NAN})


def test_entropy_in_balance():
    record = {"thermo/entropy_destruction": 0.9, "thermo/entropy_production": 0.8, "thermo/second_law": 0.0}
    assert read_entropy(record) == (
        "Entropy: learning destroys 0.9 nats per step, and noise puts back 0.8. Within the errors they balance, as "
        "they must in equilibrium."
    )


def test_entropy_of_a_saddle():
    text = read_entropy({**ENTROPY, "thermo/entropy_destruction": -3.0, "thermo/second_law": 1.0})
    assert text.startswith(
        "Entropy: the loss curves downwards on balance, which adds 3 nats per step, and noise adds 1. It grows"
    )
    assert "destroys" not in text


@pytest.mark.parametrize("tag", ["thermo/entropy_destruction", "thermo/entropy_production", "thermo/second_law"])
def test_entropy_without_both_sides_or_verdict_is_not_judged(tag):
    assert read_entropy({**ENTROPY, tag: NAN}) == ""
    assert read_entropy({other: value for other, value in ENTROPY.items() if other != tag}) == ""


@pytest.mark.parametrize(("value", "way"), [(2e-3, "the same way"), (-2e-3, "in opposite ways")])
def test_transition(value, way):
    text = read_transition({"thermo/transition_temperature": value})
    assert text == (
        f"Transition: since the start, loss and entropy of the weights' values have changed {way}, 0.002 of loss for "
        "each nat."
    )


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"thermo/transition_temperature": NAN},
        {"thermo/transition_temperature": math.inf},
        {"thermo/transition_temperature": 0.0},
        {"thermo/transition_temperature": 1.0, "thermo/transition_temperature_stderr": 0.51},
    ],
)
def test_transition_without_a_sign_is_not_told(record):
    assert read_transition(record) == ""


def test_transition_beyond_its_error_is_told():
    record = {"thermo/transition_temperature": 1.0, "thermo/transition_temperature_stderr": 0.49}
    assert read_transition(record).endswith("1 of loss for each nat.")
