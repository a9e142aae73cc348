"""Linear models by Monte Carlo: every closed form within four standard errors of a simulation."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from thermo_callbacks.functional import linear, predictive_entropy, transition_temperature, vasicek_entropy

NOISE = 0.3
INITS = ("normal", "uniform", "mixed")
LOSSES = ("mse", "mae", "bce")
REPETITIONS = 16
LOGISTIC_SCALE = NOISE * math.sqrt(3.0) / math.pi  # of logistic noise with the standard deviation NOISE


def setting(dim: int) -> dict[str, float]:
    """The whole initial weight vector has variance 1."""
    return {"dim": dim, "init_variance": 1.0 / dim, "noise_variance": NOISE**2}


class Draws(NamedTuple):
    """Outputs over data and initial weights, each of the shape [repetitions, samples]."""

    initial: Tensor  # w . x
    target: Tensor  # w* . x


def draw_outputs(init: str, dim: int) -> Draws:
    """Fresh weights for every sample: the expectation is over initialisations too."""
    samples = 250_000 if dim < 10 else 12_500
    generator = torch.Generator().manual_seed(10 * dim + INITS.index(init))

    def draw(kind: Callable[..., Tensor]) -> Tensor:
        return kind(REPETITIONS * samples, dim, generator=generator)

    bell, flat = draw(torch.randn), (draw(torch.rand) - 0.5) * math.sqrt(12.0)
    chance = {"normal": 1.0, "mixed": 0.5, "uniform": 0.0}[init]
    weights = torch.where(draw(torch.rand) < chance, bell, flat) / math.sqrt(dim)
    x = draw(torch.randn)
    outputs = ((x * weights).sum(1), x.sum(1) / math.sqrt(dim))
    return Draws(*(output.double().view(REPETITIONS, samples) for output in outputs))


def uniform_like(tensor: Tensor, seed: int) -> Tensor:
    return torch.rand(tensor.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def regression(draws: Draws) -> dict[str, Tensor]:
    noise = NOISE * torch.special.ndtri(uniform_like(draws.target, seed=1))
    residuals = (draws.target + noise - draws.initial, noise)
    entropies = [torch.stack([vasicek_entropy(sample) for sample in part]) for part in residuals]
    return {
        "mse": transition_temperature(*(part.square().mean(1) for part in residuals), *entropies),
        "mae": transition_temperature(*(part.abs().mean(1) for part in residuals), *entropies),
    }


def classification(draws: Draws) -> Tensor:
    """Labels by logistic noise; the trained logit is the true log-odds."""
    labels = (draws.target + LOGISTIC_SCALE * torch.logit(uniform_like(draws.target, seed=2)) > 0).double()
    states = (draws.initial, draws.target / LOGISTIC_SCALE)
    energies = [F.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(1) for logits in states]
    entropies = [
        torch.stack([predictive_entropy(torch.stack([torch.zeros_like(row), row], dim=1)) for row in logits])
        for logits in states
    ]
    return transition_temperature(*energies, *entropies)


@cache
def simulated_temperatures(init: str, dim: int) -> dict[str, Tensor]:
    """Readings of every loss, one a repetition."""
    draws = draw_outputs(init, dim)
    return {**regression(draws), "bce": classification(draws)}


def z_score(readings: Tensor, expected: float) -> float:
    return ((readings.mean() - expected) / (readings.std() / len(readings) ** 0.5)).item()


@pytest.mark.parametrize(
    ("init", "dim", "loss"), [(init, dim, loss) for init in INITS for dim in (1, 3, 128) for loss in LOSSES]
)
def test_closed_forms(init: str, dim: int, loss: str) -> None:
    """The exact form for any number of inputs, the asymptotic one for many inputs only.

    The entropies' bias is no smaller than their standard errors, but it is nearly the same before and after training.
    """
    readings = simulated_temperatures(init, dim)[loss]
    exact = linear.transition_temperature(loss, init, **setting(dim), exact=True)
    asymptotic = linear.transition_temperature(loss, init, **setting(dim))
    assert readings.std().item() / REPETITIONS**0.5 < 0.005 * exact
    assert abs(z_score(readings, exact)) < 4.0
    if dim == 128:
        assert abs(z_score(readings, asymptotic)) < 4.0
    else:
        assert abs(z_score(readings, asymptotic)) > 10.0


@pytest.mark.parametrize(("init", "other"), [("normal", "uniform"), ("uniform", "mixed"), ("mixed", "normal")])
def test_initialisations_can_be_told_apart(init: str, other: str) -> None:
    readings = simulated_temperatures(init, 3)["bce"]
    assert abs(z_score(readings, linear.transition_temperature("bce", other, **setting(3), exact=True))) > 6.0


def test_trained_classifier_has_no_gradient() -> None:
    """The weights that training ends at: the mean of (prediction - label) x vanishes there, and nowhere near."""
    signal = torch.randn(1_000_000, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    noise = LOGISTIC_SCALE * torch.logit(uniform_like(signal, seed=4))
    labels = (signal + noise > 0).double()
    assert noise.std().item() == pytest.approx(NOISE, rel=0.01)
    for factor, vanishes in ((1.0, True), (0.9, False), (1.1, False)):
        gradients = ((factor / LOGISTIC_SCALE * signal).sigmoid() - labels) * signal
        assert (abs(z_score(gradients, 0.0)) < 4.0) is vanishes
