"""The energy balance: heat over watched and unwatched steps, and its balance with the loss."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles import normal
from torch import Tensor

from thermo_callbacks.callbacks.windows.energy_balance import EnergyBalance


def constant(rate: float, steps: int) -> Tensor:
    """Heat of one layer that is the same in every step."""
    return torch.full((steps, 1), rate, dtype=torch.float64)


def test_empty_ledger_knows_nothing() -> None:
    balance = EnergyBalance()
    assert balance.heat == {}
    assert balance.total == 0.0
    assert math.isnan(balance.energy)
    assert math.isnan(balance.residual)


def test_windows_back_to_back_add_their_heat() -> None:
    balance = EnergyBalance()
    heats = [normal(8, 2, seed=seed) for seed in range(3)]
    for index, heat in enumerate(heats):
        balance.add(["a", "b"], heat, unwatched=0, energy=float(index))
        expected = torch.cat(heats[: index + 1]).sum(0)
        assert list(balance.heat) == ["a", "b"]
        assert list(balance.heat.values()) == pytest.approx(expected.tolist())
        assert balance.total == pytest.approx(expected.sum().item())
        assert balance.energy == float(index)


@given(
    rates=st.lists(st.floats(-1.0, 0.0), min_size=2, max_size=5),
    steps_between_windows=st.integers(0, 100),
    steps=st.integers(1, 50),
)
def test_heat_between_windows_is_interpolated_between_the_rates_around_it(
    rates: list[float], steps_between_windows: int, steps: int
) -> None:
    balance = EnergyBalance()
    for index, rate in enumerate(rates):
        balance.add(["a"], constant(rate, steps), unwatched=steps_between_windows if index else 0, energy=0.0)
    bridges = sum(steps_between_windows * (first + second) / 2 for first, second in itertools.pairwise(rates))
    assert balance.total == pytest.approx(sum(rates) * steps + bridges, abs=1e-9)


def test_linear_rates_are_interpolated_without_error() -> None:
    """Each window's mean rate is that of its middle: between equal windows the line through both is the truth."""
    rate = torch.linspace(-2.0, -1.0, 40, dtype=torch.float64)[:, None]
    balance = EnergyBalance()
    balance.add(["a"], rate[:10], unwatched=0, energy=0.0)
    balance.add(["a"], rate[30:], unwatched=20, energy=0.0)
    assert balance.total == pytest.approx(rate.sum().item())


def test_a_layer_that_appears_later_is_bridged_with_its_own_rate() -> None:
    balance = EnergyBalance()
    balance.add(["a"], constant(-1.0, 8), unwatched=0, energy=0.0)
    balance.add(["a", "b"], torch.tensor([[-1.0, -2.0]], dtype=torch.float64).expand(8, 2), unwatched=4, energy=0.0)
    assert balance.heat == {"a": -20.0, "b": -24.0}
    balance.add(["b"], constant(-2.0, 8), unwatched=0, energy=0.0)
    assert balance.heat == {"a": -20.0, "b": -40.0}


@pytest.mark.parametrize("rest", [0, 30])
def test_residual_vanishes_where_heat_is_all_there_is(rest: int) -> None:
    """A loss that falls by exactly the heat of each step, ever more slowly."""
    window = 10
    heats = -(0.9 ** torch.arange(200, dtype=torch.float64)) if rest == 0 else torch.full((200,), -0.5).double()
    losses = 100.0 + torch.cat([heats.new_zeros(1), heats.cumsum(0)])[:-1]  # before each step
    balance = EnergyBalance()
    for start in range(0, 160, window + rest):
        span = slice(start, start + window)
        unwatched = rest if start else 0
        balance.add(["a"], heats[span, None], unwatched=unwatched, energy=losses[span].mean().item())
        assert balance.residual == pytest.approx(0.0, abs=1e-10)
    assert balance.energy < 100.0


def test_residual_is_what_heat_leaves_unexplained() -> None:
    balance = EnergyBalance()
    balance.add(["a"], constant(-0.1, 8), unwatched=0, energy=5.0)
    assert balance.residual == 0.0
    balance.add(["a"], constant(-0.1, 8), unwatched=0, energy=4.7)  # of the 0.8 that the heat took, 0.5 came back
    assert balance.residual == pytest.approx(0.5)


def test_an_unknown_loss_has_no_residual() -> None:
    balance = EnergyBalance()
    balance.add(["a"], constant(-0.1, 8), unwatched=0, energy=5.0)
    balance.add(["a"], constant(-0.1, 8), unwatched=0, energy=math.nan)
    assert math.isnan(balance.energy)
    assert math.isnan(balance.residual)
    balance.add(["a"], constant(-0.1, 8), unwatched=0, energy=3.4)
    assert balance.residual == pytest.approx(0.0)


def test_a_window_whose_steps_were_all_left_out_adds_nothing() -> None:
    balance = EnergyBalance()
    balance.add(["a"], constant(-0.1, 8), unwatched=0, energy=5.0)
    balance.add(["a"], constant(0.0, 0), unwatched=0, energy=math.nan)
    assert balance.heat == {"a": pytest.approx(-0.8)}


def test_state_goes_on_where_it_was() -> None:
    whole, first, second = EnergyBalance(), EnergyBalance(), EnergyBalance()
    heats = [normal(8, 2, seed=seed) for seed in range(4)]
    for index, heat in enumerate(heats):
        whole.add(["a", "b"], heat, unwatched=3, energy=float(index))
    for index, heat in enumerate(heats[:2]):
        first.add(["a", "b"], heat, unwatched=3, energy=float(index))
    state = first.state_dict()
    second.load_state_dict(state)
    for index, heat in enumerate(heats[2:], start=2):
        second.add(["a", "b"], heat, unwatched=3, energy=float(index))
    assert second.state_dict() == whole.state_dict()
    assert first.state_dict() == state  # what is loaded is a copy
    empty = EnergyBalance()
    empty.load_state_dict(EnergyBalance().state_dict())
    assert empty.state_dict() == EnergyBalance().state_dict()
