"""Passive or driven: decided from the function alone, whatever the function."""

from __future__ import annotations

import math
from collections.abc import Callable
from re import escape

import pytest
import torch
from activation_oracles import ORACLES
from torch import Tensor, nn
from torch.nn import functional as F

from thermo_callbacks.functional import engine_type


@pytest.mark.parametrize("name", ORACLES)
def test_types_as_known(name: str) -> None:
    assert engine_type(ORACLES[name].module) == ORACLES[name].engine


@pytest.mark.parametrize(
    ("activation", "engine"),
    [
        (torch.exp, "driven"),  # 1 for nothing
        (nn.CELU(), "passive"),  # exp(z) - 1 >= z below 0, and no more than 0
        (nn.CELU(alpha=3.0), "passive"),  # slope 1 at 0 for every alpha
        (nn.ELU(alpha=2.0), "driven"),  # slope 2 below 0
        (nn.ReLU6(), "passive"),  # the identity or less
        (nn.Softshrink(), "passive"),  # takes 1/2 away
        (nn.Hardshrink(), "passive"),  # the identity or nothing
        (nn.Tanhshrink(), "passive"),  # z - tanh(z)
        (nn.LogSigmoid(), "driven"),  # -ln 2 for nothing
        (nn.Hardsigmoid(), "driven"),  # 1/2 for nothing
        (torch.sin, "passive"),  # the chord is shorter than the arc
        (torch.cos, "driven"),  # 1 for nothing
        (torch.asinh, "passive"),  # slope 1 at 0 and less elsewhere
        (torch.expm1, "driven"),  # above 0
        (torch.square, "driven"),  # beyond 1
        (nn.LeakyReLU(negative_slope=1.5), "driven"),
        (nn.LeakyReLU(negative_slope=-1.0), "passive"),  # |z|
        (nn.PReLU(), "passive"),
        (nn.PReLU(init=1.01), "driven"),
        (nn.RReLU(), "passive"),
        (nn.Threshold(0.1, 20.0), "driven"),
        (nn.GELU(approximate="tanh"), "passive"),
        (lambda z: z + torch.sin(z) ** 2, "driven"),  # Snake
        (F.relu_, "passive"),
    ],
)
def test_other_activations(activation: Callable[[Tensor], Tensor], engine: str) -> None:
    assert engine_type(activation) == engine


@pytest.mark.parametrize("onset", [1e-6, 1.0, 1e3, 9e5])
def test_excess_only_far_out(onset: float) -> None:
    assert engine_type(lambda z: z * z.abs() / onset) == "driven"
    assert engine_type(lambda z: z * z.abs() / onset, limit=0.9 * onset) == "passive"


@pytest.mark.parametrize("place", [-300.0, -2.0005, 0.0123, 7.7])
def test_excess_only_in_a_small_interval(place: float) -> None:
    """A bump on the identity; without it the function is passive."""
    width = 0.005 * abs(place)

    def bump(z: Tensor, height: float) -> Tensor:
        return z * (1.0 + height * torch.exp(-(((z - place) / width) ** 2)))

    assert engine_type(lambda z: bump(z, 1e-3)) == "driven"
    assert engine_type(lambda z: bump(z, -1e-3)) == "passive"


@pytest.mark.parametrize("place", [2.0005, -0.30049, 150.1])
def test_excess_between_the_points_of_the_grid(place: float) -> None:
    """The ratio peaks at 1 + height, and is above 1 within 1e-4 of the peak's place: less than the grid's spacing."""

    def peaked(z: Tensor, height: float) -> Tensor:
        return z * (1.0 + height) / (1.0 + (z / place - 1.0) ** 2)

    assert engine_type(lambda z: peaked(z, 1e-8)) == "driven"
    assert engine_type(lambda z: peaked(z, -1e-8)) == "passive"


@pytest.mark.parametrize("offset", [1e-3, -1e-12])
def test_something_for_nothing(offset: float) -> None:
    assert engine_type(lambda z: 0.5 * z + offset) == "driven"


@pytest.mark.parametrize(
    "by_hand",
    [
        lambda z: torch.where(z > 0, z, z.exp() - 1.0),  # ELU: below 0 the difference is off by a rounding of 1
        lambda z: z * torch.tanh(torch.log(1.0 + z.exp())),  # Mish: exp overflows, and tanh heals it
        lambda z: torch.log1p(z.clamp(max=500.0).exp()) - math.log(2.0),
        lambda z: torch.where(z.float() > 0, z.float(), z.float().exp() - 1.0),
        lambda z: z.bfloat16(),
        lambda z: 0.1 * z + 0.2 * z + 0.7 * z,
    ],
)
def test_rounding_drives_no_engine(by_hand: Callable[[Tensor], Tensor]) -> None:
    assert engine_type(by_hand) == "passive"


@pytest.mark.parametrize("factor", [1.0 + 1e-12, -1.0 - 1e-12])
def test_excess_just_above_rounding(factor: float) -> None:
    assert engine_type(lambda z: factor * z) == "driven"
    assert engine_type(lambda z: z / factor) == "passive"


@pytest.mark.parametrize("sign", [(-1.0, 1.0), (1.0, -1.0), (-1.0, -1.0)])
@pytest.mark.parametrize("name", ["ReLU", "SELU", "Softplus", "SiLU"])
def test_sign_of_input_and_output(name: str, sign: tuple[float, float]) -> None:
    oracle = ORACLES[name]
    assert engine_type(lambda z: sign[1] * oracle.module(sign[0] * z)) == oracle.engine


@pytest.mark.parametrize("unit", [1e-4, 1e4])
@pytest.mark.parametrize("name", ["ReLU", "SELU", "Softplus", "SiLU", "Tanh"])
def test_unit_of_both_sides(name: str, unit: float) -> None:
    oracle = ORACLES[name]
    assert engine_type(lambda z: unit * oracle.module(z / unit)) == oracle.engine


def test_module_is_left_alone_in_inference_mode() -> None:
    module = nn.RReLU(inplace=True)
    module.register_forward_hook(lambda *_: pytest.fail("a hook ran"))
    with torch.inference_mode():
        assert engine_type(module) == "passive"
    assert module.training


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: engine_type(torch.relu, limit=0.0), "limit must be finite and above 1e-08, got 0.0"),
        (lambda: engine_type(torch.relu, limit=math.inf), "limit must be finite and above 1e-08, got inf"),
        (
            lambda: engine_type(nn.Tanh),
            "activation must be a function or a module, got the class Tanh: give an instance, Tanh()",
        ),
        (
            lambda: engine_type(nn.Softmax(dim=0)),
            "activation must give an element the same value in any company, got [",
        ),
        (
            lambda: engine_type(lambda z: torch.log(torch.cosh(z))),
            "activation must be finite where it is looked at, got inf at -1e+06: write it in a form that doesn't "
            "overflow, or lower limit",
        ),
        (
            lambda: engine_type(lambda z: 0.0 * z.log()),
            "activation must be finite where it is looked at, got nan at -1e+06: write it in a form that doesn't",
        ),
    ],
)
def test_message(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{escape(message)}"):
        call()


def test_limit_is_the_cure_for_overflow() -> None:
    assert engine_type(lambda z: torch.log(torch.cosh(z)), limit=700.0) == "passive"
