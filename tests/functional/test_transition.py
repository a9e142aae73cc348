"""Transition temperature: 1 between calibrated states, closed forms for residuals, and where it has no value."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles import normal
from torch import Tensor
from torch.nn.functional import cross_entropy, l1_loss, mse_loss

from thermo_callbacks.functional import predictive_entropy, transition_temperature, vasicek_entropy

SAMPLES = 200_000
State = tuple[Tensor, Tensor]  # energy, entropy


def temperature(first: State, second: State) -> float:
    return transition_temperature(first[0], second[0], first[1], second[1]).item()


def state(logits: Tensor, labels: Tensor) -> State:
    return cross_entropy(logits, labels), predictive_entropy(logits)


def drawn_labels(logits: Tensor, seed: int) -> Tensor:
    """Labels from the very probabilities that the logits state: the classifier is calibrated."""
    return torch.multinomial(logits.softmax(1), 1, generator=torch.Generator().manual_seed(seed)).squeeze(1)


def clusters(noise: float, seed: int) -> tuple[Tensor, Tensor]:
    """Points about five centres, and their true log-posteriors (up to a constant per point)."""
    generator = torch.Generator().manual_seed(seed)
    centres = 2.0 * normal(5, 3, seed=0)
    labels = torch.randint(5, (SAMPLES,), generator=generator)
    points = centres[labels] + noise * normal(SAMPLES, 3, seed=seed + 1)
    return -(torch.cdist(points, centres).square()) / (2.0 * noise**2), labels


@pytest.mark.parametrize(("before", "after"), [(4.0, 0.5), (2.0, 1.0), (0.7, 1.5)])
def test_calibrated_states_at_two_noise_levels(before: float, after: float) -> None:
    states = [state(*clusters(noise, seed)) for noise, seed in ((before, 1), (after, 3))]
    assert abs(states[0][1] - states[1][1]) > 0.3
    assert temperature(*states) == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize(("before", "after"), [(0.1, 3.0), (0.5, 1.5)])
def test_calibrated_states_at_two_softmax_temperatures(before: float, after: float) -> None:
    base = normal(SAMPLES, 10, seed=5)
    states = [state(sharp * base, drawn_labels(sharp * base, seed=6)) for sharp in (before, after)]
    assert temperature(*states) == pytest.approx(1.0, rel=0.02)


def test_calibrated_on_two_sets_of_data() -> None:
    """One model, two data sets that it is right about: Type II."""
    easy, hard = 3.0 * normal(SAMPLES, 4, seed=7), 0.5 * normal(SAMPLES, 4, seed=8)
    states = [state(logits, drawn_labels(logits, seed=9)) for logits in (easy, hard)]
    assert temperature(*states) == pytest.approx(1.0, rel=0.02)


def test_overconfident_training_reads_below_one() -> None:
    """Twice the true logits: the entropy falls further than the loss does."""
    base = normal(SAMPLES, 10, seed=10)
    start = state(0.1 * base, drawn_labels(0.1 * base, seed=11))
    labels = drawn_labels(1.5 * base, seed=12)
    assert temperature(start, state(3.0 * base, labels)) < 0.8
    assert temperature(start, state(0.75 * base, labels)) > 1.2


@pytest.mark.parametrize("count", [1000, 100_000])
def test_gaussian_residuals(count: int) -> None:
    """2 (v0 - v1) / ln(v0 / v1), and the absolute errors' counterpart; the entropies' bias drops out."""
    first, second = 1.5 * normal(count, seed=13), 0.5 * normal(count, seed=14)
    zero = torch.zeros(count, dtype=torch.float64)
    ratio = math.log(2.25 / 0.25)
    for loss, expected in (
        (mse_loss, 2.0 * (2.25 - 0.25) / ratio),
        (l1_loss, math.sqrt(8.0 / math.pi) * (1.5 - 0.5) / ratio),
    ):
        states = [(loss(residuals, zero), vasicek_entropy(residuals)) for residuals in (first, second)]
        assert temperature(*states) == pytest.approx(expected, rel=5.0 / count**0.5)


numbers = st.floats(-10.0, 10.0)


@given(numbers, numbers, numbers, numbers.filter(lambda x: abs(x) > 1e-3), st.floats(1e-3, 1e3))
def test_unit_of_the_loss_and_order_of_the_states(
    energy: float, change: float, entropy: float, step: float, unit: float
) -> None:
    first = (torch.tensor(energy).double(), torch.tensor(entropy).double())
    second = (first[0] - change, first[1] - step)
    expected = temperature(first, second)
    assert expected == pytest.approx(change / step, rel=1e-6, abs=1e-6)
    assert temperature(second, first) == expected
    assert temperature((unit * first[0], first[1]), (unit * second[0], second[1])) == pytest.approx(
        unit * expected, rel=1e-6, abs=1e-6
    )


@pytest.mark.parametrize(
    ("entropy_initial", "entropy_final"),
    [(1.0, 1.0), (-math.inf, 1.0), (1.0, -math.inf), (-math.inf, -math.inf), (math.nan, 1.0)],
)
def test_no_finite_change_of_entropy_has_no_temperature(entropy_initial: float, entropy_final: float) -> None:
    first = (torch.tensor(2.0), torch.tensor(entropy_initial))
    assert math.isnan(temperature(first, (torch.tensor(1.0), torch.tensor(entropy_final))))


def test_layers_at_once() -> None:
    readings = transition_temperature(
        torch.tensor([3.0, 3.0, 3.0]), torch.tensor(1.0), torch.tensor([5.0, 1.0, 0.0]), torch.tensor(1.0)
    )
    assert readings[[0, 2]].tolist() == [0.5, -2.0]
    assert readings[1].isnan()
