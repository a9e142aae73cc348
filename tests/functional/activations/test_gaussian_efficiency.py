"""Efficiencies on Gaussian input: table, closed forms, a slow second integral, kinks, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from re import escape

import numpy as np
import pytest
import torch
from activation_oracles import ORACLES, Numbers, gaussian_sum
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr
from torch import Tensor, nn
from torch.nn import functional as F

from thermo_callbacks.functional import gaussian_efficiency, implied_init_gain


@pytest.mark.parametrize("name", ORACLES)
def test_table_to_four_digits(name: str) -> None:
    oracle = ORACLES[name]
    work, learning = gaussian_efficiency(oracle.module)
    assert work == pytest.approx(oracle.work, abs=5.1e-5)
    assert learning == pytest.approx(oracle.learning, abs=5.1e-5)


@pytest.mark.parametrize("std", [0.03, 1.0, 5.0])
@pytest.mark.parametrize("name", ORACLES)
def test_second_integral(name: str, std: float) -> None:
    oracle = ORACLES[name]
    work, learning = gaussian_efficiency(oracle.module, std)
    assert work == pytest.approx(gaussian_sum(oracle.value, std) / std**2, rel=1e-5)
    assert learning == pytest.approx(gaussian_sum(oracle.slope, std), rel=1e-4)  # its cells straddle the jumps


@settings(max_examples=50)
@given(st.floats(-9.0, 9.0))
def test_relu_passes_half_on_at_any_scale(exponent: float) -> None:
    assert gaussian_efficiency(torch.relu, 10.0**exponent) == pytest.approx((0.5, 0.5), rel=1e-9)


def test_selu_keeps_unit_variance() -> None:
    assert gaussian_efficiency(nn.SELU()).work == pytest.approx(1.0, abs=1e-6)


def test_gain_of_relu_is_the_root_of_two() -> None:
    gain = implied_init_gain(torch.tensor(gaussian_efficiency(nn.ReLU()).work))
    assert gain.item() == pytest.approx(nn.init.calculate_gain("relu"), rel=1e-6)


@pytest.mark.parametrize("width", [1e-3, 0.3, 1.0, math.pi, 20.0])
def test_hardtanh_closed_form(width: float) -> None:
    """Kinks anywhere: inside, the power of a truncated Gaussian; outside, width^2."""
    inside = 1.0 - 2.0 * float(ndtr(-width))
    edge = 2.0 * width * math.exp(-0.5 * width**2) / math.sqrt(2.0 * math.pi)
    work, learning = gaussian_efficiency(lambda z: F.hardtanh(z, -width, width))
    assert learning == pytest.approx(inside, rel=1e-6)
    assert work == pytest.approx(inside - edge + width**2 * (1.0 - inside), rel=1e-6)


def shifted_relu(z: Tensor) -> Tensor:
    return F.relu(z - 0.7123)


def shifted_relu_in_numpy(z: Numbers) -> Numbers:
    return np.maximum(z - 0.7123, 0.0)


def staircase(z: Tensor) -> Tensor:
    return torch.where(z < -0.77, -1.0, torch.where(z < 0.4321, 0.5 * z, 2.0))


def staircase_in_numpy(z: Numbers) -> Numbers:
    return np.where(z < -0.77, -1.0, np.where(z < 0.4321, 0.5 * z, 2.0))


@pytest.mark.parametrize(
    ("function", "value", "slope"),
    [
        (shifted_relu, shifted_relu_in_numpy, lambda z: (z > 0.7123) * 1.0),
        (staircase, staircase_in_numpy, lambda z: ((z >= -0.77) & (z < 0.4321)) * 0.5),  # jumps carry no gradient
        (
            lambda z: torch.tanh(300.0 * z),
            lambda z: np.tanh(300.0 * z),
            lambda z: 300.0 / np.cosh(np.clip(300.0 * z, -300, 300)) ** 2,
        ),
        (lambda z: torch.sin(40.0 * z), lambda z: np.sin(40.0 * z), lambda z: 40.0 * np.cos(40.0 * z)),
        (
            lambda z: F.relu(z) * torch.relu(z - 1.234),
            lambda z: np.maximum(z, 0) * np.maximum(z - 1.234, 0),
            lambda z: (z > 1.234) * (2 * z - 1.234),
        ),
        (torch.expm1, np.expm1, np.exp),
    ],
    ids=["shifted ReLU", "jumps", "steep", "oscillating", "late", "exponential"],
)
def test_awkward_functions(
    function: Callable[[Tensor], Tensor], value: Callable[[Numbers], Numbers], slope: Callable[[Numbers], Numbers]
) -> None:
    work, learning = gaussian_efficiency(function)
    assert work == pytest.approx(gaussian_sum(value), rel=5e-5)  # the second integral's error at a jump
    assert learning == pytest.approx(gaussian_sum(slope), rel=5e-5)


@pytest.mark.parametrize(("std", "work"), [(1.0, math.exp(2.0)), (0.1, math.exp(0.02)), (10.0, math.exp(200.0))])
def test_exponential_far_out(std: float, work: float) -> None:
    efficiency = gaussian_efficiency(torch.exp, std)
    assert efficiency.learning == pytest.approx(work, rel=1e-6)
    assert efficiency.work == pytest.approx(work / std**2, rel=1e-6)


@settings(max_examples=20)
@given(st.floats(-2.0, 2.0), st.floats(-3.0, 3.0), st.sampled_from(["Tanh", "GELU", "Hardtanh", "Softplus"]))
def test_scale_goes_from_the_input_into_the_function(log_std: float, log_factor: float, name: str) -> None:
    """f(cz) on N(0, s^2) is f on N(0, (cs)^2): the slopes gain c^2, and so does the heat that work is measured by."""
    std, factor, module = 10.0**log_std, 10.0**log_factor, ORACLES[name].module
    inside = gaussian_efficiency(lambda z: module(factor * z), std)
    outside = gaussian_efficiency(module, factor * std)
    assert inside == pytest.approx((factor**2 * outside.work, factor**2 * outside.learning), rel=1e-5)


@pytest.mark.parametrize("sign", [(-1.0, 1.0), (1.0, -1.0), (-1.0, -1.0)])
@pytest.mark.parametrize("name", ["Tanh", "SELU", "Softplus"])
def test_sign_of_input_and_output(name: str, sign: tuple[float, float]) -> None:
    module = ORACLES[name].module
    turned = gaussian_efficiency(lambda z: sign[1] * module(sign[0] * z))
    assert turned == pytest.approx(gaussian_efficiency(module), rel=1e-6)


def test_single_precision_inside_costs_no_digit_of_four() -> None:
    assert gaussian_efficiency(lambda z: torch.tanh(z.float())) == pytest.approx(
        gaussian_efficiency(torch.tanh), rel=1e-5
    )


def test_module_with_parameters_and_modes() -> None:
    assert gaussian_efficiency(nn.PReLU(init=0.5)) == pytest.approx((0.625, 0.625), rel=1e-6)
    slope = (1.0 / 8.0 + 1.0 / 3.0) / 2.0  # what RReLU does out of training
    assert gaussian_efficiency(nn.RReLU()).work == pytest.approx(0.5 + 0.5 * slope**2, rel=1e-6)


def test_module_is_left_alone() -> None:
    module = nn.Sequential(nn.PReLU(), nn.ReLU(inplace=True))
    calls: list[nn.Module] = []
    module.register_forward_hook(lambda hooked, *_: calls.append(hooked))
    module[0].register_forward_pre_hook(lambda hooked, *_: calls.append(hooked))
    before = module[0].weight.clone()
    assert gaussian_efficiency(module).work == pytest.approx(0.5, rel=1e-6)
    assert calls == []
    assert module.training
    assert module[0].weight.dtype == torch.float32
    assert torch.equal(module[0].weight, before)
    assert module[0].weight.grad is None
    module(torch.zeros(1))
    assert calls == [module[0], module]


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_inside_of_evaluation(mode: Callable[[], torch.no_grad]) -> None:
    with mode():
        assert gaussian_efficiency(nn.PReLU(init=0.5)) == pytest.approx((0.625, 0.625), rel=1e-6)


def test_random_numbers_are_left_alone() -> None:
    state = torch.get_rng_state()
    gaussian_efficiency(nn.RReLU())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("constant", [torch.ones_like, lambda z: (z > 0.5).double(), torch.sign])
def test_no_gradient_comes_back_through_a_constant(constant: Callable[[Tensor], Tensor]) -> None:
    assert gaussian_efficiency(constant).learning == 0.0


def test_in_place_activation() -> None:
    assert gaussian_efficiency(F.relu_) == pytest.approx((0.5, 0.5), rel=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gaussian_efficiency(torch.relu, 0.0), "std must be positive and finite, got 0.0"),
        (lambda: gaussian_efficiency(torch.relu, math.inf), "std must be positive and finite, got inf"),
        (lambda: gaussian_efficiency(torch.relu, math.nan), "std must be positive and finite, got nan"),
        (
            lambda: gaussian_efficiency(nn.ReLU),
            "activation must be a function or a module, got the class ReLU: give an instance, ReLU()",
        ),
        (lambda: gaussian_efficiency("relu"), "activation must be a function or a module, got 'relu'"),
        (
            lambda: gaussian_efficiency(lambda z: z.sum()),
            "activation must give a floating-point tensor of its input's shape (9,), got torch.float64 of shape ()",
        ),
        (
            lambda: gaussian_efficiency(lambda z: z > 0),
            "activation must give a floating-point tensor of its input's shape (9,), got torch.bool of shape (9,)",
        ),
        (
            lambda: gaussian_efficiency(lambda z: 1.0),
            "activation must give a floating-point tensor of its input's shape (9,), got <class 'float'>",
        ),
        (
            lambda: gaussian_efficiency(nn.Softmax(dim=0)),
            "activation must give an element the same value in any company, got [",
        ),
        (
            lambda: gaussian_efficiency(F.dropout),
            "activation must give an element the same value in any company, got [",
        ),
        (
            lambda: gaussian_efficiency(lambda z: torch.exp(z**2 / 4.0)),
            "activation must have a mean of (f(z)/std)^2 at std=1 that quadrature finds to 1e-05, got 30.",
        ),
        (
            lambda: gaussian_efficiency(lambda z: torch.exp(z**2), 2.0),
            "activation must have a mean of (f(z)/std)^2 at std=2 that quadrature finds to 1e-05, got nan with",
        ),
        (
            lambda: gaussian_efficiency(lambda z: torch.sqrt(z.abs())),
            "activation must have a mean of f'(z)^2 at std=1 that quadrature finds to 1e-05, got ",
        ),
    ],
)
def test_message(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{escape(message)}"):
        call()
