"""Sentences on equilibrium and noise that follow from the values, and only from them."""

from __future__ import annotations

import math

import pytest
from display.text.test_interpretation import NAN, read, read_all

from thermo_callbacks.display.text.numbers import number


@pytest.mark.parametrize(
    ("share", "chance", "said"),
    [
        (0.95, 1e-5, "there was none: the size of the weights was changing steadily in steps 10 to 19 (drift share "),
        (0.7, 0.0099, "there was none: the size of the weights was changing steadily in steps 10 to 19 (drift share "),
        (0.6, 0.02, "probably none: the size of the weights seems to have been changing steadily in steps 10 to 19"),
    ],
)
def test_no_equilibrium(share, chance, said):
    text = read("Equilibrium", thermo__drift_share=share, thermo__drift_p_value=chance)
    assert text.startswith(f"Equilibrium: {said}")
    assert f"(drift share {share}, p-value {number(chance)})" in text
    assert ("one window in twenty" in text) == (chance > 0.01)


# the second one is of a window too short for a large share to be more than chance
@pytest.mark.parametrize(("share", "chance"), [(0.08, 0.5), (0.7, 0.06)])
def test_equilibrium_is_never_a_verdict(share, chance):
    changes = {"thermo__drift_share": share, "thermo__drift_p_value": chance}
    assert read("Equilibrium", **changes) is None
    assert f"no steady change shows (drift share {share}, p-value {chance}), no proof" in read("Not told", **changes)


@pytest.mark.parametrize("missing", ["drift_share", "drift_p_value"])
def test_equilibrium_without_a_value_is_not_judged(missing):
    assert read("Equilibrium", **{f"thermo__{missing}": NAN}) is None
    assert read("Not told", **{f"thermo__{missing}": NAN}) is None


def test_the_ratio_of_an_earlier_version_is_not_judged():
    assert read_all([{"thermo/equilibrium_ratio": 1.02}]) == []


NOISE, SLOPE = "Noise: a step follows the noise", "Noise: a step follows the slope"
BOTH = "Noise: a step follows slope and noise"


@pytest.mark.parametrize(
    ("scale", "lower", "upper", "subject", "said"),
    [
        (512.0, 400.0, 700.0, NOISE, "is about 510 samples (400 to 700), above the batch of 32"),
        (900.0, 210.0, math.inf, NOISE, "is at least 210 samples, above the batch of 32"),
        (15.2, 9.0, 25.0, SLOPE, "is about 15 samples (9 to 25), below the batch of 32"),
        (40.0, 20.0, 90.0, BOTH, "is about 40 samples (20 to 90), and the batch is 32"),
        (40.0, 7.0, 90.0, "Not told", "(noise scale 7 to 90 samples, batch 32)"),
        (40.0, 20.0, 130.0, "Not told", "(noise scale 20 to 130 samples, batch 32)"),
        (90.0, 20.0, math.inf, "Not told", "(noise scale at least 20 samples, batch 32)"),
        (90.0, 20.0, NAN, "Not told", "(noise scale at least 20 samples, batch 32)"),
    ],
)
def test_batch_against_noise_scale(scale, lower, upper, subject, said):
    ends = {"thermo__noise_scale_lower": lower, "thermo__noise_scale_upper": upper}
    assert said in read(subject, thermo__noise_scale=scale, **ends)
    assert (read("Noise", thermo__noise_scale=scale, **ends) is None) == (subject == "Not told")


@pytest.mark.parametrize(
    "changes", [{"thermo__noise_scale": NAN}, {"thermo__noise_scale_lower": NAN}, {"batch_size": None}]
)
def test_nothing_is_said_of_a_noise_scale_that_does_not_exist_or_has_no_batch_beside_it(changes):
    assert read("Noise", **changes) is None
    assert read("Not told", **changes) is None
