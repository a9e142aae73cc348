"""Rates as multiples of what their owner has set, whoever else sets them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.optim import SGD

from thermo_callbacks.callbacks.acting.scaled_rates import ScaledRates


def optimizer(*rates: Any) -> SGD:
    return SGD([{"params": [torch.zeros(1, requires_grad=True)], "lr": rate} for rate in rates], lr=0.1)


def rates_of(one: SGD) -> list[float]:
    return [float(group["lr"]) for group in one.param_groups]


def test_groups_keep_their_proportions_and_their_floors() -> None:
    one = optimizer(1.0, 0.1)
    rates = ScaledRates(one, None)
    rates.set_scale(0.01)
    assert rates_of(one) == pytest.approx([0.01, 0.001])
    rates.set_scale(1e-6)
    assert rates_of(one) == pytest.approx([1e-3, 1e-4])
    assert rates.at_lowest
    assert not rates.notice()


def test_a_given_floor_is_one_for_all_and_raises_no_rate() -> None:
    one = optimizer(1.0, 0.1)
    rates = ScaledRates(one, 0.5)
    rates.set_scale(0.1)
    assert rates_of(one) == [0.5, 0.1]
    assert rates.at_lowest


def test_who_goes_on_writing_the_same_rate_is_scaled() -> None:
    one = optimizer(1.0)
    rates = ScaledRates(one, None)
    rates.set_scale(0.1)
    one.param_groups[0]["lr"] = 1.0
    assert not rates.notice()
    assert rates_of(one) == pytest.approx([0.1])


def test_another_rate_stands_and_is_scaled_from_there() -> None:
    one = optimizer(1.0)
    rates = ScaledRates(one, None)
    rates.set_scale(0.1)
    one.param_groups[0]["lr"] = 0.7
    assert rates.notice()
    assert rates_of(one) == [0.7]
    assert not rates.notice()
    rates.set_scale(0.1)
    one.param_groups[0]["lr"] = 0.7
    assert not rates.notice()
    assert rates_of(one) == pytest.approx([0.07])


def test_a_rate_that_is_a_tensor_stays_that_tensor() -> None:
    tensor = torch.tensor(1.0)
    one = optimizer(tensor)
    rates = ScaledRates(one, None)
    rates.set_scale(0.1)
    assert one.param_groups[0]["lr"] is tensor
    assert float(tensor) == pytest.approx(0.1)
    assert not rates.notice()  # of single precision, and yet the same


def test_a_new_group_is_taken_in() -> None:
    one = optimizer(1.0)
    rates = ScaledRates(one, None)
    one.add_param_group({"params": [torch.zeros(1, requires_grad=True)], "lr": 0.5})
    assert rates.notice()
    rates.set_scale(0.5)
    assert rates_of(one) == [0.5, 0.25]


def test_goes_on_from_a_checkpoint_with_the_optimizers_rates_or_its_first_ones() -> None:
    one = optimizer(1.0)
    rates = ScaledRates(one, None)
    rates.set_scale(0.1)
    for start in (0.1, 1.0):  # loaded with the checkpoint, or made anew for a second fit
        two = optimizer(start)
        again = ScaledRates(two, None)
        again.load_state_dict(rates.state_dict())
        assert not again.notice()
        assert rates_of(two) == pytest.approx([0.1])
        assert not again.at_lowest


def test_cooling_goes_below_the_floor_and_comes_back() -> None:
    one = optimizer(1.0, 0.1)
    rates = ScaledRates(one, 0.5)
    rates.set_scale(0.1)
    rates.cool(0.01)
    assert rates_of(one) == pytest.approx([0.005, 0.001])
    rates.cool(1.0)
    assert rates_of(one) == [0.5, 0.1]
    assert not rates.notice()


def test_rates_that_others_set_are_cooled_from_there() -> None:
    one = optimizer(1.0, 1.0, 1.0)
    rates = ScaledRates(one, None)
    rates.set_scale(0.5)
    rates.cool(0.4)
    one.param_groups[1]["lr"] = 1.0  # as somebody does who writes it before every step
    one.param_groups[2]["lr"] = 0.7
    assert rates.notice()
    assert rates_of(one) == pytest.approx([0.2, 0.2, 0.7])
    rates.cool(0.1)
    assert rates_of(one) == pytest.approx([0.05, 0.05, 0.07])


def test_goes_on_cooling_from_a_checkpoint_and_without_it_from_an_older_one() -> None:
    one = optimizer(1.0)
    rates = ScaledRates(one, None)
    rates.set_scale(0.1)
    rates.cool(0.5)
    again = ScaledRates(two := optimizer(0.05), None)
    again.load_state_dict(rates.state_dict())
    again.cool(1.0)
    assert rates_of(two) == pytest.approx([0.1])
    older = {name: value for name, value in rates.state_dict().items() if name != "cooling"}
    again.load_state_dict(older)
    assert again.cooling == 1.0
