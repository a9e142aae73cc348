"""Where activations are flat, against their slopes written out by hand; and the units that stay there."""

from __future__ import annotations

import math
from functools import reduce
from typing import Any

import numpy as np
import pytest
import torch
from activation_oracles import ORACLES
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from thermo_callbacks.functional.activations.flat import flat_part, joined, never_leaving, unit_extremes

INFINITY = math.inf
ENDS: dict[str, tuple[Any, tuple[tuple[float, float], ...]]] = {
    "ReLU": (nn.ReLU(), ((-INFINITY, 0.0),)),
    "ReLU6": (nn.ReLU6(), ((-INFINITY, 0.0), (6.0, INFINITY))),
    "Hardtanh": (nn.Hardtanh(), ((-INFINITY, -1.0), (1.0, INFINITY))),
    "Hardswish": (nn.Hardswish(), ((-INFINITY, -3.0),)),
    "Tanh": (
        nn.Tanh(),
        ((-INFINITY, -math.atanh(math.sqrt(0.99))), (math.atanh(math.sqrt(0.99)), INFINITY)),
    ),
    "Sigmoid": (nn.Sigmoid(), ((-INFINITY, -4.584863339122), (4.584863339122, INFINITY))),
    "ELU": (nn.ELU(), ((-INFINITY, math.log(0.01)),)),
    "Softplus": (nn.Softplus(), ((-INFINITY, math.log(0.01 / 0.99)),)),
    "Softsign": (nn.Softsign(), ((-INFINITY, -9.0), (9.0, INFINITY))),
    "Softshrink": (nn.Softshrink(0.5), ((-0.5, 0.5),)),
    "Threshold": (nn.Threshold(0.3, 0.0), ((-INFINITY, 0.3),)),
    "exp": (torch.exp, ((-INFINITY, math.log(0.01)),)),
    "valley with a level floor": (lambda z: (z.abs() - 1.0).relu(), ((-1.0, 1.0),)),
    "sign": (torch.sign, ((-INFINITY, INFINITY),)),
    "Identity": (nn.Identity(), ()),
    "LeakyReLU": (nn.LeakyReLU(), ()),
    "PReLU": (nn.PReLU(), ()),
    "sin": (torch.sin, ()),
}


@pytest.mark.parametrize("name", ENDS)
def test_ends_of_the_flat_part(name: str) -> None:
    function, expected = ENDS[name]
    found = flat_part(function)
    assert len(found) == len(expected)
    for stretch, (lower, upper) in zip(found, expected, strict=True):
        assert stretch == pytest.approx((lower, upper), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", [name for name in ORACLES if name not in {"Identity", "LeakyReLU"}])
def test_the_flat_part_is_where_the_slope_is_small_but_at_turning_points(name: str) -> None:
    oracle, points = ORACLES[name], np.arange(-12.0, 12.0, 1e-3)
    inside = np.zeros(len(points), dtype=bool)
    for lower, upper in flat_part(oracle.module):
        inside |= (points >= lower) & (points <= upper)
    flat = np.abs(oracle.slope(points)) < 0.01
    assert not (inside & ~flat & (points != 0.0)).any()  # at 0 the slope of ReLU is a matter of taste
    assert (flat & ~inside).sum() <= 110  # about the minimum of a function that has one: at most 0.11 wide


def test_a_minimum_is_no_flat_part() -> None:
    [(_, upper)] = flat_part(nn.GELU())
    assert upper < -3.0  # the slope is 0 at -0.75, too
    [(_, upper)] = flat_part(nn.SiLU())
    assert upper < -6.0


def test_threshold() -> None:
    [(_, upper)] = flat_part(nn.ELU(), 0.5)
    assert upper == pytest.approx(math.log(0.5))
    assert flat_part(nn.LeakyReLU(0.1), 0.2) == ((-INFINITY, 0.0),)
    with pytest.raises(ValueError, match=r"^threshold must be a positive slope \(for example 0.01\), got 0.0$"):
        flat_part(nn.ELU(), 0.0)


def test_what_is_no_function_of_single_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match="it mixes elements or is random"):
        flat_part(nn.Softmax(0))


columns = st.lists(
    st.one_of(st.floats(-10.0, 10.0, width=32), st.sampled_from([0.0, -3.0, 3.0])), min_size=1, max_size=6
)


@given(columns, st.sampled_from(["ReLU", "ReLU6", "Hardtanh", "Tanh", "Softshrink", "Hardswish", "Threshold", "exp"]))
def test_four_numbers_tell_whether_a_unit_stays_in_the_flat_part(values: list[float], name: str) -> None:
    """Against every input of the unit by itself, also where they are spread over both sides of 0."""
    stretches = flat_part(ENDS[name][0])
    expected = all(any(lower <= value <= upper for lower, upper in stretches) for value in values)
    column = torch.tensor(values, dtype=torch.float64)[:, None]
    assert never_leaving(unit_extremes(column, [0]), stretches).tolist() == [expected]
    pieces = reduce(joined, (unit_extremes(piece, [0]) for piece in column.split(2)))
    assert never_leaving(pieces, stretches).tolist() == [expected]


def test_what_is_not_a_number_lies_nowhere() -> None:
    inputs = torch.tensor([[math.nan, -1.0], [-1.0, -1.0]])
    assert never_leaving(unit_extremes(inputs, [0]), ((-INFINITY, 0.0),)).tolist() == [False, True]
