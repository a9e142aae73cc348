"""Linear models in closed form: known values, limits, second integrals, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from re import escape

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.integrate import quad, simpson
from scipy.special import entr
from scipy.stats import ncx2

from thermo_callbacks.functional import linear

NOISE = 0.3
INITS = ("normal", "uniform", "mixed")


def setting(dim: int, noise: float = NOISE) -> dict[str, float]:
    """The whole initial weight vector has variance 1."""
    return {"dim": dim, "init_variance": 1.0 / dim, "noise_variance": noise**2}


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize(("loss", "expected"), [("mse", 1.2718), ("mae", 0.5813)])
def test_asymptotic_values(loss: str, expected: float, init: str) -> None:
    for dim in (1, 32, 1000):
        assert linear.transition_temperature(loss, init, **setting(dim)) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("loss", ["mse", "mae", "bce"])
def test_thirty_two_inputs_are_many(loss: str, init: str) -> None:
    exact = linear.transition_temperature(loss, init, **setting(32), exact=True)
    assert exact == pytest.approx(linear.transition_temperature(loss, init, **setting(32)), rel=0.01)


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize(("loss", "expected"), [("mse", 1.37), ("mae", 0.51)])
def test_one_input_is_not(loss: str, expected: float, init: str) -> None:
    exact = linear.transition_temperature(loss, init, **setting(1), exact=True)
    assert exact == pytest.approx(expected, abs=0.015)
    assert abs(exact / linear.transition_temperature(loss, init, **setting(1)) - 1.0) > 0.05


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("loss", ["mae", "bce"])
def test_the_limit_is_reached_like_one_over_the_inputs(loss: str, init: str) -> None:
    limit = linear.transition_temperature(loss, init, **setting(1))
    gaps = [
        linear.transition_temperature(loss, init, **setting(dim), exact=True) - limit for dim in (100, 1000, 10_000)
    ]
    assert gaps[0] / gaps[1] == pytest.approx(10.0, rel=0.05)
    assert gaps[1] / gaps[2] == pytest.approx(10.0, rel=0.05)


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("loss", ["mse", "mae", "bce"])
def test_a_million_inputs(loss: str, init: str) -> None:
    """A product of a million factors, each next to 1: the digits they lose would show a millionfold."""
    exact = linear.transition_temperature(loss, init, **setting(1_000_000), exact=True)
    assert exact == pytest.approx(linear.transition_temperature(loss, init, **setting(1)), rel=2e-6)


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("noise", [0.01, 0.3, 10.0])
@pytest.mark.parametrize("loss", ["mse", "mae", "bce"])
def test_no_initial_weights_is_gaussian_for_any_inputs(loss: str, noise: float, init: str) -> None:
    numbers = {"dim": 3, "init_variance": 0.0, "noise_variance": noise**2}
    exact = linear.state_change(loss, init, **numbers, exact=True)
    assert exact == pytest.approx(linear.state_change(loss, init, **numbers), rel=1e-7)


@pytest.mark.parametrize("exact", [False, True])
def test_blank_classifier_is_calibrated(exact: bool) -> None:
    """Zero weights say 1/2 to everything, which is right on average: temperature 1 between calibrated states."""
    change = linear.state_change("bce", dim=4, init_variance=0.0, noise_variance=0.09, exact=exact)
    assert change.energy_initial == pytest.approx(math.log(2.0))
    assert change.energy_final == change.entropy_final
    temperature = linear.transition_temperature("bce", dim=4, init_variance=0.0, noise_variance=0.09, exact=exact)
    assert temperature == pytest.approx(1.0)


def test_classifier_that_is_more_certain_before_training() -> None:
    readings = [
        linear.transition_temperature("bce", dim=4, init_variance=variance, noise_variance=0.09)
        for variance in (0.01, 0.1, 1.0, 100.0)
    ]
    assert readings[:3] == sorted(readings[:3])
    assert readings[0] > 1.0
    assert readings[3] < 0.0


Numbers = NDArray[np.float64]


def normal_pdf(r: Numbers, variance: Numbers) -> Numbers:
    return np.exp(-0.5 * r * r / variance) / np.sqrt(2.0 * np.pi * variance)


def moments(density: Callable[[Numbers], Numbers]) -> tuple[float, float]:
    """Mean absolute value and entropy of a symmetric density, by Simpson's rule."""
    r = np.linspace(0.0, 30.0, 6001)
    heights = density(r)
    assert 2.0 * simpson(heights, x=r) == pytest.approx(1.0, abs=1e-7)
    return 2.0 * float(simpson(r * heights, x=r)), 2.0 * float(simpson(entr(heights), x=r))


def mixture(weights: Numbers, variances: Numbers) -> Callable[[Numbers], Numbers]:
    """Residuals are Gaussian for given weights: a mixture of Gaussians over their variances."""
    return lambda r: np.sum(weights * normal_pdf(r[:, None], variances), axis=1)


@pytest.mark.parametrize("init", INITS)
def test_one_input_against_a_sum_over_the_weight(init: str) -> None:
    nodes, weights = np.polynomial.legendre.leggauss(400)
    flat = (np.sqrt(3.0) * nodes, weights / 2.0)
    bell = (9.0 * nodes, 9.0 * weights * normal_pdf(9.0 * nodes, np.ones(1)))
    parts = {"normal": [bell], "uniform": [flat], "mixed": [bell, flat]}[init]
    places, chances = (np.concatenate([part[side] for part in parts]) for side in (0, 1))
    absolute, entropy = moments(mixture(chances / len(parts), NOISE**2 + (1.0 - places) ** 2))
    change = linear.state_change("mae", init, **setting(1), exact=True)
    assert change.energy_initial == pytest.approx(absolute, rel=1e-6)
    assert change.entropy_initial == pytest.approx(entropy, rel=1e-6)


@pytest.mark.parametrize("dim", [3, 20])
def test_normal_weights_against_a_noncentral_chi_square(dim: int) -> None:
    """The error's square is sigma^2 times a noncentral chi-square of d degrees, noncentrality 1 / sigma^2."""
    variance = 1.0 / dim
    nodes, weights = np.polynomial.legendre.leggauss(600)
    upper = ncx2.ppf(1.0 - 1e-13, dim, 1.0 / variance)
    squares = 0.5 * upper * (nodes + 1.0)
    chances = 0.5 * upper * weights * ncx2.pdf(squares, dim, 1.0 / variance)
    absolute, entropy = moments(mixture(chances, NOISE**2 + variance * squares))
    change = linear.state_change("mae", "normal", **setting(dim), exact=True)
    assert change.energy_initial == pytest.approx(absolute, rel=1e-6)
    assert change.entropy_initial == pytest.approx(entropy, rel=1e-6)


@pytest.mark.parametrize("variance", [0.01, 1.0, 30.0])
def test_logistic_means_against_direct_integrals(variance: float) -> None:
    std = math.sqrt(variance)

    def mean(function: Callable[[float], float]) -> float:
        value, _ = quad(lambda x: function(std * x) * math.exp(-0.5 * x * x), 0.0, 12.0, epsrel=1e-11)
        return 2.0 * value / math.sqrt(2.0 * math.pi)

    def loss(a: float) -> float:
        return float(np.logaddexp(0.5 * a, -0.5 * a))

    change = linear.state_change("bce", dim=5, init_variance=variance / 5.0, noise_variance=1.0)
    assert change.energy_initial == pytest.approx(mean(loss), rel=1e-8)
    expected = mean(lambda a: loss(a) - 0.5 * a * math.tanh(0.5 * a))
    assert change.entropy_initial == pytest.approx(expected, rel=1e-8)


@settings(max_examples=30)
@given(st.floats(-3.0, 2.0), st.floats(-2.0, 1.0), st.integers(1, 50), st.sampled_from(INITS))
def test_any_setting_is_finite_and_positive(log_variance: float, log_noise: float, dim: int, init: str) -> None:
    numbers = {"dim": dim, "init_variance": 10.0**log_variance, "noise_variance": 10.0**log_noise}
    change = linear.state_change("mae", init, **numbers, exact=True)
    limit = linear.state_change("mae", init, **numbers)
    assert change.energy_final < change.energy_initial <= limit.energy_initial  # Jensen: the root is concave
    assert change.entropy_final < change.entropy_initial <= limit.entropy_initial + 1e-9  # the Gaussian's is highest


VALID = {"dim": 2, "init_variance": 0.5, "noise_variance": 0.1}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: linear.transition_temperature("l2", **VALID), "loss must be one of mse, mae, bce, got 'l2'"),
        (
            lambda: linear.transition_temperature("mse", "kaiming", **VALID),
            "init must be one of normal, uniform, mixed, got 'kaiming'",
        ),
        (lambda: linear.state_change(**{**VALID, "dim": 0}), "dim must be at least 1 input, got 0"),
        (
            lambda: linear.state_change(**{**VALID, "init_variance": -0.5}),
            "init_variance must be at least 0 and finite, got -0.5: it is that of one weight",
        ),
        (
            lambda: linear.state_change(**{**VALID, "init_variance": math.nan}),
            "init_variance must be at least 0 and finite, got nan: it is that of one weight",
        ),
        (
            lambda: linear.state_change(**{**VALID, "noise_variance": 0.0}),
            "noise_variance must be positive and finite, got 0.0: without noise the trained residuals have no density",
        ),
        (
            lambda: linear.state_change(**{**VALID, "noise_variance": 1e-9}, exact=True),
            "noise_variance must be at least 1e-08 of the initial residuals' variance 2 for the exact form, got 1e-09: "
            "use exact=False or more noise",
        ),
    ],
)
def test_message(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{escape(message)}"):
        call()
