"""The flag of the second law, and what it leaves open."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from thermo_callbacks.functional import second_law

NONE = torch.tensor(0.0)


@pytest.mark.parametrize(
    ("production", "destruction", "expected"),
    [(1.0, 1.3, -1), (1.0, 1.27, 0), (1.0, 1.0, 0), (1.27, 1.0, 0), (1.3, 1.0, 1), (0.0, 0.0, 0)],
)
def test_flag(production: float, destruction: float, expected: int) -> None:
    error = torch.tensor(0.1, dtype=torch.float64)
    law = second_law(
        torch.tensor(production).double(),
        torch.tensor(destruction).double(),
        production_stderr=error,
        destruction_stderr=error,
    )
    assert law.flag.item() == expected
    assert_close(law.rate.item(), production - destruction, rtol=1e-6, atol=0.0)
    assert_close(law.stderr.item(), math.hypot(0.1, 0.1))
    assert_close(law.z.item(), law.rate.item() / law.stderr.item())


def test_level() -> None:
    errors = {"production_stderr": torch.tensor(1.0), "destruction_stderr": NONE}
    arguments = (torch.tensor([12.0, 8.0]), torch.tensor(10.0))
    assert second_law(*arguments, **errors).flag.tolist() == [1.0, -1.0]
    assert second_law(*arguments, **errors, level=0.99).flag.tolist() == [0.0, 0.0]


def test_exact_balance_has_no_distance() -> None:
    one = torch.tensor(1.0)
    law = second_law(one, one, production_stderr=NONE, destruction_stderr=NONE)
    assert (law.z.item(), law.flag.item()) == (0.0, 0.0)
    law = second_law(one, 2 * one, production_stderr=NONE, destruction_stderr=NONE)
    assert (law.z.item(), law.flag.item()) == (-math.inf, -1.0)


def test_what_is_not_known_is_not_said() -> None:
    one, unknown = torch.tensor(1.0), torch.tensor(math.nan)
    cases = [
        second_law(unknown, one, production_stderr=one, destruction_stderr=one),
        second_law(one, unknown, production_stderr=one, destruction_stderr=one),
        second_law(one, one, production_stderr=unknown, destruction_stderr=one),
        second_law(one, one, production_stderr=one, destruction_stderr=unknown),
    ]
    assert all(law.flag.isnan() for law in cases)
    assert all(law.z.isnan() for law in cases)


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_bad_level(level: float) -> None:
    one = torch.tensor(1.0)
    with pytest.raises(ValueError, match=rf"^level must lie between 0 and 1 \(for example 0.95\), got {level}$"):
        second_law(one, one, production_stderr=one, destruction_stderr=one, level=level)
