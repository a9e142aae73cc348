"""Sentences on curvature, entropy and change of state that follow from the values, and only from them."""

from __future__ import annotations

import math

import pytest

from thermo_callbacks.display.text.interpretation import read_run
from thermo_callbacks.display.text.interpretation_state import read_curvature, read_entropy, read_transition
from thermo_callbacks.display.text.statements import StepSpan

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
    "thermo/resolved_share": 0.25,
    "thermo/entropy_production": 1.0,
    "thermo/entropy_rate": -2.0,
    "thermo/entropy_rate_stderr": 0.25,
    "thermo/second_law": -1.0,
}


SPAN = StepSpan(0, 99)


def curvature(record):
    return read_curvature(record, SPAN)


def entropy(record):
    return read_entropy(record, SPAN)


def test_paragraphs_come_in_order_after_the_others():
    last = {**CURVATURE, **ENTROPY, "thermo_work_efficiency/a": 0.5, "thermo/transition_temperature": 1.0}
    record = {**last, "thermo/drift_share": 0.1, "thermo/drift_p_value": 0.001}
    paragraphs = read_run([record], steps=[99], batch_size=32)
    assert [paragraph.split(":")[0] for paragraph in paragraphs] == [
        "Equilibrium",
        "Curvature",
        "Entropy",
        "Activations",
        "Transition",
    ]


def test_only_the_last_values_count():
    assert read_run([{**CURVATURE, **ENTROPY}, {}], steps=[9, 19], batch_size=32) == []


UPWARDS = (
    "the loss curves upwards on balance: the trace of the Hessian of the loss is 40, with a standard error of 2, at "
    "the last extra pass up to step 99. Shake every weight by 0.01, up or down at random, and the loss rises by about "
    "0.002."
)


def test_curvature_without_layers():
    assert curvature({"thermo/laplacian": 40.0, "thermo/laplacian_stderr": 2.0}) == ("Curvature", UPWARDS, ())


def test_curvature():
    assert curvature(CURVATURE) == ("Curvature", f"{UPWARDS} The most curved layer is head, with 62 % of it.", ())


@pytest.mark.parametrize("tag", ["thermo/laplacian", "thermo/laplacian_stderr"])
@pytest.mark.parametrize("record", [{}, dict.fromkeys(CURVATURE, NAN)], ids=["absent", "NaN"])
def test_curvature_needs_value_and_error(tag, record):
    assert curvature(record) == ("Curvature", "", ())
    assert curvature({**CURVATURE, tag: NAN}) == ("Curvature", "", ())


@pytest.mark.parametrize(
    ("value", "error", "said"),
    [(40.0, 19.0, "the loss rises by about 0.002"), (-40.0, 19.0, "the loss curves downwards on balance")],
)
def test_sign_of_the_curvature_beyond_its_error(value, error, said):
    text = curvature({**CURVATURE, "thermo/laplacian": value, "thermo/laplacian_stderr": error}).text
    assert said in text
    assert ("most curved" in text) == ("upwards" in text) == (value > 0.0)


@pytest.mark.parametrize("value", [40.0, -40.0])
def test_no_sign_of_the_curvature_within_its_error(value):
    statement = curvature({**CURVATURE, "thermo/laplacian": value, "thermo/laplacian_stderr": 21.0})
    assert statement == ("Curvature", "", (f"which way the loss curves (trace of the Hessian {value:g} ± 21)",))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"thermo_laplacian_stderr/head": 8.0}, "head or body, within their errors"),
        ({"thermo_laplacian_stderr/body": NAN}, "their errors are not logged: the preset full does"),
    ],
)
def test_layers_are_not_ranked_without_or_within_their_errors(changes, why):
    assert curvature({**CURVATURE, **changes}) == ("Curvature", UPWARDS, (f"which layer is most curved ({why})",))


@pytest.mark.parametrize("neck", [-5.0, NAN])
def test_share_is_named_only_of_a_whole(neck):
    assert curvature({**CURVATURE, "thermo_laplacian/neck": neck}).text.endswith("The most curved layer is head.")


def test_one_layer_is_compared_with_none():
    record = {tag: value for tag, value in CURVATURE.items() if not tag.endswith(("neck", "head"))}
    assert curvature(record) == ("Curvature", UPWARDS, ())


WHERE = "in the most curved directions, which hold 25 % of all that is destroyed"


@pytest.mark.parametrize(
    ("production", "verdict", "said", "meaning"),
    [
        (1.0, -1.0, f"it falls {WHERE}, by 8 standard errors: ", "The weights are still being pulled together."),
        (5.0, 1.0, f"it grows {WHERE}, by 8 standard errors: ", "Noise spreads the weights faster than the loss pulls"),
        (3.2, 0.0, f"it is balanced {WHERE}, within the errors: ", "Of the other directions nothing is known."),
    ],
)
def test_entropy_balance(production, verdict, said, meaning):
    rate = production - 3.0
    record = {"thermo/entropy_production": production, "thermo/entropy_rate": rate, "thermo/second_law": verdict}
    statement = entropy({**ENTROPY, **record})
    evidence = f"learning destroys 3 nats per step and noise puts back {production:g}, up to step 99. "
    assert statement.text.startswith(f"{said}{evidence}{meaning}")
    assert statement.untold == ()


def test_no_difference_shown_is_not_yet_a_balance():
    record = {**ENTROPY, "thermo/entropy_rate": 0.1, "thermo/second_law": 0.0, "thermo/entropy_rate_stderr": 600.0}
    assert entropy(record) == ("Entropy", "", ("whether entropy falls or grows, the errors are too large",))


def test_entropy_verdict_without_an_error_names_no_number():
    text = entropy({**ENTROPY, "thermo/entropy_rate_stderr": NAN}).text
    assert text.startswith(f"it falls {WHERE}, by more than the errors:")


def test_an_unknown_share_is_not_named():
    text = entropy({**ENTROPY, "thermo/resolved_share": NAN}).text
    assert text.startswith("it falls in the most curved directions, by 8 standard errors: learning destroys 3 nats per")


@pytest.mark.parametrize("tag", ["thermo/entropy_rate", "thermo/entropy_production", "thermo/second_law"])
def test_entropy_without_both_sides_or_verdict_is_not_judged(tag):
    assert entropy({**ENTROPY, tag: NAN}) == ("Entropy", "", ())
    assert entropy({other: value for other, value in ENTROPY.items() if other != tag}) == ("Entropy", "", ())


@pytest.mark.parametrize(("value", "way"), [(2e-3, "the same way"), (-2e-3, "in opposite ways")])
def test_transition(value, way):
    assert read_transition({"thermo/transition_temperature": value}, SPAN) == (
        "Transition",
        f"loss and entropy of the weights' values have changed {way} since the start, up to step 99: 0.002 of loss for "
        "each nat.",
        (),
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
    assert read_transition(record, SPAN) == ("Transition", "", ())


def test_transition_beyond_its_error_is_told():
    record = {"thermo/transition_temperature": 1.0, "thermo/transition_temperature_stderr": 0.49}
    assert read_transition(record, SPAN).text.endswith("1 of loss for each nat.")
