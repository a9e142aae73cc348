"""Sentences on activations that follow from the values, and only from them."""

from __future__ import annotations

import math

import pytest

from thermo_callbacks.display.text.interpretation_engines import read_engines
from thermo_callbacks.display.text.numbers import percent
from thermo_callbacks.display.text.statements import StepSpan

NAN = math.nan


def read(*, learning=(), dead=(), **work):
    record = {f"thermo_work_efficiency/{name}": value for name, value in work.items()}
    record |= {f"thermo_learning_efficiency/{name}": value for name, value in dict(learning).items()}
    record |= {f"thermo_dead_fraction/{name}": value for name, value in dict(dead).items()}
    statement = read_engines(record, StepSpan(0, 99))
    assert (statement.subject, statement.untold) == ("Activations", ())
    end = " So it was at the last extra pass up to step 99."
    assert statement.text == "" or statement.text.endswith(end)
    return statement.text.removesuffix(end)


def test_one_that_wastes_most():
    text = read(a=0.5, b=0.39, c=0.6, learning={"a": 0.9, "b": 0.46})
    assert text == (
        "b wastes most: of the power that comes in it passes on 39 %, and of that of the learning signal "
        "it lets 46 % back."
    )


def test_learning_of_one_alone_is_known():
    assert read(relu=0.5, tanh=0.4, learning={"tanh": 0.46}) == (
        "tanh wastes most: of the power that comes in it passes on 40 %, and of that of the learning "
        "signal it lets 46 % back."
    )


@pytest.mark.parametrize("learning", [{}, {"b": NAN}, {"a": 0.4}])
def test_learning_is_told_only_where_it_is_known(learning):
    assert read(a=0.5, b=0.39, learning=learning).endswith("it passes on 39 %.")


def test_two_alike_are_named_together():
    assert read(a=0.5, b=0.39, c=0.4) == ("b and c pass on least of the power that comes in, both about 39 %.")


def test_all_alike_are_not_ranked():
    assert read(a=0.5, b=0.51, c=0.505) == ("all pass on about the same share of the power that comes in, 50 %.")


def test_one_alone_is_compared_with_none():
    assert read(a=0.5, learning={"a": 0.45}) == (
        "a passes on 50 % of the power that comes in, and of that of the learning signal it lets 45 % back."
    )


@pytest.mark.parametrize(("efficiency", "told"), [(1.015, False), (1.03, True), (4.0, True)])
def test_what_gives_out_more_than_it_takes_in(efficiency, told):
    assert (f"b gives out more than it takes in, {efficiency:.3g} times as much." in read(a=0.5, b=efficiency)) == told


@pytest.mark.parametrize(
    ("fraction", "said"),
    [
        (0.0, None),
        (0.009, None),
        (NAN, None),
        (0.034, "In b, 3.4 % of the units never left the flat part of the function in the batch."),
        (0.6, "In b, 60 % of the units never left the flat part of the function in the batch."),
    ],
)
def test_dead_units(fraction, said):
    text = read(a=0.5, b=0.3, dead={"a": 0.0, "b": fraction})
    assert ("units" in text) == (said is not None)
    assert said is None or said in text


def test_activation_without_a_value_does_not_compete():
    assert read(a=0.5, b=NAN, c=0.3) == "c wastes most: of the power that comes in it passes on 30 %."


@pytest.mark.parametrize("work", [{}, {"a": NAN}])
def test_nothing_is_said_without_a_work_efficiency(work):
    assert read(dead={"a": 0.9}, **work) == ""


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0.0 %"),
        (0.0994, "9.9 %"),
        (0.0996, "10 %"),
        (0.5, "50 %"),
        (1.234, "123 %"),
        (0.4236, "42 %"),
        (0.0314, "3.1 %"),
    ],
)
def test_percent(share, text):
    assert percent(share) == text
