"""Efficiencies measured on samples: oracle table to 1 %, invariances, precision, and what has no value."""

from __future__ import annotations

from collections.abc import Callable
from re import escape

import pytest
import torch
from activation_oracles import ORACLES
from hypothesis import given
from hypothesis import strategies as st
from oracles import normal
from torch import Tensor

from thermo_callbacks.functional import (
    carnot_bound,
    gaussian_efficiency,
    implied_init_gain,
    learning_efficiency,
    temperature_drop,
    work_efficiency,
)

FULL = torch.zeros(4, 3)


@pytest.fixture(scope="module")
def gaussian() -> Tensor:
    return normal(1_000_000, seed=0)


@pytest.mark.parametrize("name", ORACLES)
def test_table_on_a_million_samples(gaussian: Tensor, name: str) -> None:
    """The signal from above is random and knows nothing of the input, as at initialisation."""
    oracle = ORACLES[name]
    z = gaussian.clone().requires_grad_()
    a = oracle.module(z)
    signal = normal(len(gaussian), seed=1)
    a.backward(signal)
    assert work_efficiency(gaussian, a.detach()).item() == pytest.approx(oracle.work, rel=0.01)
    assert learning_efficiency(z.grad, signal).item() == pytest.approx(oracle.learning, rel=0.01)


@pytest.mark.parametrize("std", [1e-30, 0.1, 7.0, 1e30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_relu_passes_half_on_at_any_scale(gaussian: Tensor, std: float, dtype: torch.dtype) -> None:
    z = (gaussian * std).to(dtype)
    assert work_efficiency(z, z.relu()).item() == pytest.approx(0.5, rel=0.01)


numbers = st.lists(st.floats(-100.0, 100.0, width=32), min_size=2, max_size=12)
factors = st.sampled_from([-1e18, -3.0, -1e-18, 1e-18, 0.7, 1e18])


@given(numbers, factors, st.sampled_from([torch.float32, torch.float64]))
def test_units_and_signs(values: list[float], factor: float, dtype: torch.dtype) -> None:
    """Neither unit nor sign of a linear engine's sides matter; nor do those of the loss."""
    z = torch.tensor(values, dtype=dtype)
    a = z.tanh() + 0.5
    for function in (work_efficiency, learning_efficiency, temperature_drop):
        expected = function(z, a) if function is not learning_efficiency else function(a, z)
        scaled = (factor * z, factor * a) if function is not learning_efficiency else (factor * a, factor * z)
        torch.testing.assert_close(function(*scaled), expected, rtol=1e-4, atol=1e-4, equal_nan=True)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.01), (torch.float16, 2e-3), (torch.float32, 1e-5)])
@pytest.mark.parametrize("shift", [0.0, 300.0])
def test_low_precision_input(gaussian: Tensor, dtype: torch.dtype, tolerance: float, shift: float) -> None:
    """Squares of 300 overflow float16, and a sum of a million ones in bfloat16 stops at 256."""
    z = (gaussian + shift).to(dtype)
    a = z.relu()
    for function in (work_efficiency, learning_efficiency):
        reading = function(z, a) if function is work_efficiency else function(a, z)
        exact = a.double().square().mean() / z.double().square().mean()
        assert reading.dtype == torch.float32
        assert reading.item() == pytest.approx(exact.item(), rel=tolerance)


def test_mixed_precision_counts_in_the_wider_one() -> None:
    z = torch.full((3,), 1.0, dtype=torch.bfloat16)
    assert work_efficiency(z, torch.full((3,), 0.1, dtype=torch.float64)).item() == pytest.approx(0.01, rel=1e-12)


def test_shape_of_the_batch_does_not_matter() -> None:
    z = normal(4, 3, 5, 6, seed=2)
    channels_last = z.to(memory_format=torch.channels_last)
    expected = work_efficiency(z.flatten(), z.flatten().relu())
    torch.testing.assert_close(work_efficiency(channels_last, channels_last.relu()), expected)


def test_no_heat_has_no_efficiency() -> None:
    silent = torch.zeros(5)
    assert work_efficiency(silent, silent).isnan()
    assert work_efficiency(silent, silent.sigmoid()).isnan()  # work out of nothing
    assert learning_efficiency(silent, silent).isnan()
    assert work_efficiency(torch.ones(5), silent).item() == 0.0


@pytest.mark.parametrize("value", [0.0, 0.1, -1e4])
def test_no_temperature_has_no_temperature_drop(value: float) -> None:
    assert temperature_drop(torch.full((1000,), value), torch.linspace(0.0, 1.0, 1000)).isnan()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_divergence_is_not_a_number(bad: float) -> None:
    z = torch.tensor([1.0, bad])
    assert work_efficiency(z, torch.ones(2)).isnan()
    assert temperature_drop(z, torch.ones(2)).isnan()


@pytest.mark.parametrize("std", [0.5, 1.0, 3.0])
def test_temperature_drop_of_relu(gaussian: Tensor, std: float) -> None:
    """Var(relu z) = (1/2 - 1/(2 pi)) Var(z)."""
    z = std * gaussian
    assert temperature_drop(z, z.relu()).item() == pytest.approx(0.5 + 0.5 / torch.pi, rel=0.005)


def test_temperature_drop_does_not_bind_what_is_passed_on(gaussian: Tensor) -> None:
    """For odd functions the work efficiency is T_cold / T_hot, so the two add up to 1."""
    for name in ("Identity", "Tanh", "Hardtanh"):
        a = ORACLES[name].module(gaussian)
        centred = gaussian - gaussian.mean()
        assert (temperature_drop(gaussian, a) + work_efficiency(centred, a - a.mean())).item() == pytest.approx(1.0)
    assert temperature_drop(gaussian, gaussian).item() == 0.0
    assert work_efficiency(gaussian, gaussian).item() == 1.0
    assert temperature_drop(gaussian, 2.0 * gaussian).item() == pytest.approx(-3.0)


def test_the_former_name_of_the_drop_says_so(gaussian: Tensor) -> None:
    with pytest.warns(DeprecationWarning, match="^carnot_bound is called temperature_drop now: it bounds nothing$"):
        former = carnot_bound(gaussian, gaussian.relu())
    assert former == temperature_drop(gaussian, gaussian.relu())


@pytest.mark.parametrize("name", ["ReLU", "Tanh", "GELU", "Softplus", "SELU"])
def test_gain_keeps_the_power_from_layer_to_layer(name: str) -> None:
    """Ten wide layers with the implied gain: the power at the input of each is 1, whatever the activation."""
    module, width = ORACLES[name].module, 500
    gain = implied_init_gain(torch.tensor(gaussian_efficiency(module).work, dtype=torch.float64)).item()
    z = normal(200, width, seed=3)
    for layer in range(10):
        z = module(z) @ normal(width, width, seed=10 + layer) * gain / width**0.5
    assert z.square().mean().item() == pytest.approx(1.0, rel=0.15)


def test_gain_has_no_value_without_work() -> None:
    gains = implied_init_gain(torch.tensor([0.0, -0.1, torch.nan, 0.25]))
    assert gains[:3].isnan().all()
    assert gains[3].item() == 2.0


EMPTY = "must be a floating-point tensor with at least one element, got shape"
MISMATCH = "(4, 3), got (3,): an activation works element by element"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: work_efficiency(FULL, FULL[0]), f"output must have the shape of input, {MISMATCH}"),
        (lambda: temperature_drop(FULL, FULL[0]), f"output must have the shape of input, {MISMATCH}"),
        (lambda: learning_efficiency(FULL, FULL[0]), f"grad_output must have the shape of grad_input, {MISMATCH}"),
        (lambda: work_efficiency(FULL[:0], FULL[:0]), f"input {EMPTY} (0, 3) and torch.float32"),
        (lambda: work_efficiency(FULL, FULL.long()), f"output {EMPTY} (4, 3) and torch.int64"),
        (lambda: temperature_drop(FULL.cfloat(), FULL), f"input {EMPTY} (4, 3) and torch.complex64"),
        (lambda: learning_efficiency(FULL.bool(), FULL), f"grad_input {EMPTY} (4, 3) and torch.bool"),
    ],
)
def test_message(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{escape(message)}"):
        call()
