"""Dead units and saturated elements."""

from __future__ import annotations

from collections.abc import Callable
from re import escape

import pytest
import torch
from oracles import normal
from scipy.special import ndtr
from torch import Tensor, nn

from thermo_callbacks.functional import dead_fraction, dead_unit_fraction, saturated_fraction

FULL = torch.zeros(4, 3)


def gradients(activation: Callable[[Tensor], Tensor], z: Tensor, signal: Tensor) -> tuple[Tensor, Tensor]:
    leaf = z.clone().requires_grad_()
    activation(leaf).backward(signal)
    return leaf.grad, signal


@pytest.mark.parametrize("dead", [0, 3, 10])
def test_units_that_never_open(dead: int) -> None:
    z = normal(64, 10, seed=0)
    z[:, :dead] -= 100.0
    assert dead_unit_fraction(z, torch.relu).item() == pytest.approx(dead / 10)


def test_rare_units_look_dead_in_a_small_batch() -> None:
    """A ReLU that opens with probability p stays shut for B samples with probability (1 - p)^B."""
    open_share, units = 1.0 - ndtr(2.0), 20_000
    for samples in (2, 20, 100):
        z = normal(samples, units, seed=samples) - 2.0
        expected = (1.0 - open_share) ** samples
        error = (expected * (1.0 - expected) / units) ** 0.5
        assert abs(dead_unit_fraction(z, torch.relu).item() - expected) < 4.0 * error


def test_a_constant_output_is_no_sign_of_death_and_a_moving_one_none_of_life() -> None:
    constant = torch.full((8, 5), 0.3)
    assert dead_unit_fraction(constant, torch.tanh).item() == 0.0
    z = 7.0 + normal(8, 5, seed=1).double()
    assert z.tanh().std(0).min() > 0.0  # it wiggles in its flat part
    assert dead_unit_fraction(z, torch.tanh).item() == 1.0


def test_saturated_on_both_sides_is_dead_too() -> None:
    z = torch.tensor([[-9.0, -9.0], [9.0, 0.0], [9.0, -9.0]])
    assert dead_unit_fraction(z, nn.Hardtanh()).item() == 0.5


@pytest.mark.parametrize("module", [nn.LeakyReLU(), nn.PReLU(), nn.Identity(), nn.RReLU()])
def test_some_never_die(module: nn.Module) -> None:
    assert dead_unit_fraction(-1e4 * normal(8, 5, seed=2).abs(), module).item() == 0.0


@pytest.mark.parametrize(
    "module", [nn.GELU(), nn.SiLU(), nn.Mish(), nn.Hardswish(), nn.Softplus(), nn.ELU(), nn.SELU()]
)
def test_some_die_on_the_left_alone(module: nn.Module) -> None:
    z = 30.0 + normal(8, 5, seed=3)
    assert dead_unit_fraction(z, module).item() == 0.0
    assert dead_unit_fraction(-z, module).item() == 1.0


def test_units_are_places_behind_the_batch() -> None:
    z = torch.full((3, 4, 2, 2), -1.0)
    z[1, 0, 0, 0] = 1.0
    assert dead_unit_fraction(z, torch.relu).item() == pytest.approx(15 / 16)
    assert dead_unit_fraction(z.transpose(1, -1).flatten(0, 2), torch.relu).item() == pytest.approx(3 / 4)
    assert dead_unit_fraction(z[:, 0, 0, 0], torch.relu).item() == 0.0


def test_the_former_measure_goes_by_constant_outputs_and_says_so() -> None:
    output = torch.tensor([[0.0, 1.0, 2.0, 0.0], [0.0, 1.5, 2.0, 1.0]])
    pattern = "dead_fraction(output) counts constant outputs, which need not be dead: use dead_unit_fraction(input, "
    with pytest.warns(DeprecationWarning, match=f"^{escape(pattern)}"):
        assert dead_fraction(output).item() == 0.5
    with pytest.warns(DeprecationWarning, match="^dead_fraction"), pytest.raises(ValueError, match=r"^output must be"):
        dead_fraction(output[:1])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_fractions_in_any_precision(dtype: torch.dtype) -> None:
    output = torch.zeros(2, 1000, dtype=dtype)
    output[1, :301] = 1.0
    assert dead_unit_fraction(output, torch.relu).item() == pytest.approx(0.699, abs=1e-6)
    assert saturated_fraction(output[1], torch.ones(1000, dtype=dtype)).item() == pytest.approx(0.699, abs=1e-6)


def test_saturation_of_tanh_on_gaussian_input() -> None:
    """|tanh'| < 0.01 where |z| > artanh(sqrt(0.99))."""
    z = 2.0 * normal(200_000, seed=2)
    edge = torch.atanh(torch.tensor(0.99).double().sqrt()).item()
    expected = 2.0 * ndtr(-edge / 2.0)
    measured = saturated_fraction(*gradients(torch.tanh, z, normal(len(z), seed=3)))
    assert abs(measured.item() - expected) < 4.0 * (expected * (1.0 - expected) / len(z)) ** 0.5


@pytest.mark.parametrize("unit", [1e-30, -1.0, 1e30])
def test_unit_and_sign_of_the_loss(unit: float) -> None:
    arrived, sent = gradients(torch.sigmoid, 3.0 * normal(100, seed=4).float(), torch.ones(100))
    expected = saturated_fraction(arrived, sent)
    assert 0.0 < expected.item() < 1.0
    assert torch.equal(saturated_fraction(unit * arrived, unit * sent), expected)


def test_threshold() -> None:
    slopes = torch.tensor([0.0, 0.05, -0.05, 0.5, -2.0])
    fractions = [saturated_fraction(slopes, torch.ones(5), threshold).item() for threshold in (0.01, 0.1, 1.0, 3.0)]
    assert fractions == pytest.approx([0.2, 0.6, 0.8, 1.0])


def test_elements_without_a_signal_do_not_count() -> None:
    arrived, sent = torch.tensor([0.0, 0.0, 1.0, torch.nan]), torch.tensor([0.0, 1.0, 1.0, 1.0])
    assert saturated_fraction(arrived, sent).item() == 0.5
    assert saturated_fraction(torch.zeros(3), torch.zeros(3)).isnan()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: dead_unit_fraction(FULL[:1], torch.relu),
            "input must be a floating-point tensor of shape [B, ...] with B >= 2 samples, got shape (1, 3) and "
            "torch.float32: one sample can't show whether a unit answers",
        ),
        (
            lambda: dead_unit_fraction(FULL[:, :0], torch.relu),
            "input must be a floating-point tensor of shape [B, ...]",
        ),
        (lambda: dead_unit_fraction(FULL[0, 0], torch.relu), "input must be a floating-point tensor of shape [B, ...]"),
        (lambda: dead_unit_fraction(FULL.int(), torch.relu), "input must be a floating-point tensor of shape [B, ...]"),
        (lambda: dead_unit_fraction(FULL, torch.relu, 0.0), "threshold must be a positive slope (for example 0.01)"),
        (
            lambda: saturated_fraction(FULL, FULL, 0.0),
            "threshold must be a positive slope (for example 0.01), got 0.0",
        ),
        (
            lambda: saturated_fraction(FULL, FULL[0]),
            "grad_output must have the shape of grad_input, (4, 3), got (3,): an activation works element by element",
        ),
    ],
)
def test_message(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{escape(message)}"):
        call()
