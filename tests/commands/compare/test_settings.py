"""Settings of a comparison, and what follows from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from thermo_callbacks.commands.compare.settings import SIZES, CompareSettings


@pytest.mark.parametrize(
    ("choices", "steps", "window", "extra_pass_every"),
    [
        ({}, 630, 31, 63),
        ({"max_epochs": 1}, 63, 8, 6),
        ({"data": "digits", "batch_size": 100, "max_epochs": 2}, 30, 8, 3),
        ({"data": "mnist1d", "batch_size": 4000, "max_epochs": 8}, 8, 8, 1),
    ],
)
def test_measurements_suit_the_length_of_a_run(choices, steps, window, extra_pass_every):
    settings = CompareSettings(**choices)
    assert (settings.steps, settings.window, settings.extra_pass_every) == (steps, window, extra_pass_every)


@pytest.mark.parametrize("model", SIZES)
def test_size_is_the_model_s_own_unless_given(model):
    assert CompareSettings(model=model).size == SIZES[model]
    assert CompareSettings(model=model, depth=9, width=20).size == (9, 20)


def test_folder_is_named_after_data_and_model_unless_given():
    assert CompareSettings(data="digits", model="cnn").folder == Path("thermo_comparison/digits-cnn")
    assert CompareSettings(directory=Path("mine")).folder == Path("mine")


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (
            {"data": "digits", "batch_size": 1000, "max_epochs": 3},
            "--batch-size 1000 with --max-epochs 3 makes too few optimizer steps of 1437 inputs, 6, and a measurement "
            "takes 8: choose smaller batches or more epochs",
        ),
        (
            {"model": "transformer", "width": 6},
            "--width 6 does not fit the transformer, which has 4 heads: give a multiple",
        ),
    ],
)
def test_what_does_not_fit_is_refused(choices, message):
    with pytest.raises(ValueError, match="^" + message):
        CompareSettings(**choices)
