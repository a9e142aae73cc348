"""The energy balance: heat over watched and unwatched steps, and its balance with the loss."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles import normal
from sklearn.datasets import load_digits
from torch import Tensor, nn

from thermo_callbacks.callbacks.windows.energy_balance import EnergyBalance
from thermo_callbacks.callbacks.windows.optimizer_window import OptimizerWindow
from thermo_callbacks.callbacks.windows.rate_history import MOST_RATES, RateRecord
from thermo_callbacks.callbacks.windows.window_settings import WindowSettings


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


def test_error_of_the_heat_holds_the_scatter_of_the_steps_that_nobody_watched() -> None:
    deviations = []
    for seed in range(200):
        heat = -1.0 + 0.5 * normal(10 * 66, 1, seed=seed)
        balance = EnergyBalance()
        for start in range(0, len(heat), 66):  # windows of 16 steps, and pauses of 50 before them
            balance.add(["a"], heat[start + 50 : start + 66], unwatched=50 if start else 0, energy=0.0)
        deviations.append((balance.total - float(heat[50:].sum())) / balance.variance**0.5)
    assert torch.tensor(deviations).std().item() == pytest.approx(1.0, abs=0.2)


def test_rates_that_fall_by_factors_are_bridged_without_error() -> None:
    """Heat of a loss that decays exponentially: 20 steps between two windows of 10 that nobody watched."""
    rate = -torch.exp(-0.02 * torch.arange(40, dtype=torch.float64))[:, None]
    balance = EnergyBalance()
    balance.add(["a"], rate[:10], unwatched=0, energy=0.0)
    balance.add(["a"], rate[30:], unwatched=20, energy=0.0, unwatched_rates=[1.0] * 20)
    assert balance.total == pytest.approx(rate.sum().item(), rel=3e-4)
    assert 0.0 < balance.variance**0.5 < 0.06 * abs(balance.total)  # the fall within a window counts as noise


def test_a_pace_that_turns_within_a_window_is_bridged_from_the_half_beside_it() -> None:
    """The first ten steps move next to nothing, and then the loss falls."""
    rate = torch.cat([torch.full((10,), -0.01), torch.full((50,), -1.0)]).double()[:, None]
    balance = EnergyBalance()
    balance.add(["a"], rate[:20], unwatched=0, energy=0.0)
    balance.add(["a"], rate[40:], unwatched=20, energy=0.0)
    assert balance.total == pytest.approx(rate.sum().item())
    assert balance.stderr > 20.0 - 20.0 * 0.505**0.5  # what the whole windows would have missed


def test_error_of_few_batches_is_widened() -> None:
    """Of 200 runs whose first bridge is all that is uncertain, two errors cover nine in ten or more."""
    covered = []
    for seed in range(200):
        heat = -1.0 + 0.5 * normal(16 + 50 + 16, 1, seed=seed)
        balance = EnergyBalance()
        balance.add(["a"], heat[:16], unwatched=0, energy=0.0)
        balance.add(["a"], heat[66:], unwatched=50, energy=0.0)
        covered.append(abs(balance.total - float(heat.sum())) < 2.0 * balance.stderr)
        assert balance.stderr > balance.variance**0.5
    assert 0.9 * len(covered) < sum(covered) < 0.995 * len(covered)


def test_a_state_of_an_earlier_version_is_gone_on_with() -> None:
    heat = -1.0 + 0.5 * normal(16 + 50 + 16, 1, seed=0)
    straight, other = EnergyBalance(), EnergyBalance()
    straight.add(["a"], heat[:16], unwatched=0, energy=0.0)
    state = straight.state_dict()
    other.load_state_dict({**state, "whole": state["whole"][:3]})
    for balance in (straight, other):
        balance.add(["a"], heat[66:], unwatched=50, energy=0.0)
    assert other.total == straight.total
    assert other.stderr == pytest.approx(straight.stderr)


@given(
    rates=st.lists(st.floats(-1.0, 1.0), min_size=2, max_size=5),
    steps_between_windows=st.integers(0, 100),
    steps=st.integers(1, 50),
)
def test_heat_between_windows_lies_between_the_rates_around_it(
    rates: list[float], steps_between_windows: int, steps: int
) -> None:
    balance = EnergyBalance()
    low = high = 0.0
    for index, rate in enumerate(rates):
        unwatched = steps_between_windows if index else 0
        balance.add(["a"], constant(rate, steps), unwatched=unwatched, energy=0.0)
        around = (rate, rates[max(0, index - 1)])
        low, high = low + rate * steps + min(around) * unwatched, high + rate * steps + max(around) * unwatched
    assert low - 1e-9 <= balance.total <= high + 1e-9


def test_heat_follows_the_learning_rate_of_steps_that_nobody_watched() -> None:
    """Heat of twice the learning rate, which rises between the windows and falls again."""
    rates = torch.cat([torch.full((10,), 0.1), 0.1 + torch.linspace(0, 0.4, 30).sin(), torch.full((10,), 0.1)]).double()
    heat = -2.0 * rates[:, None]
    balance = EnergyBalance()
    balance.add(["a"], heat[:10], unwatched=0, energy=0.0, rates=rates[:10].tolist())
    between = {"unwatched": 30, "rates": rates[40:].tolist(), "unwatched_rates": rates[10:40].tolist()}
    balance.add(["a"], heat[40:], energy=0.0, **between)
    assert balance.total == pytest.approx(heat.sum().item())


def test_a_step_of_the_schedule_parts_the_paces() -> None:
    """Ten times the learning rate, and heat per learning rate that falls to a third at once with it."""
    rates = [0.1] * 30 + [0.01] * 30
    paces = torch.tensor([-3.0] * 30 + [-1.0] * 30, dtype=torch.float64)
    heat = (paces * torch.tensor(rates, dtype=torch.float64))[:, None]
    balance = EnergyBalance()
    balance.add(["a"], heat[:10], unwatched=0, energy=0.0, rates=rates[:10])
    balance.add(["a"], heat[50:], unwatched=40, energy=0.0, rates=rates[50:], unwatched_rates=rates[10:50])
    assert balance.total == pytest.approx(heat.sum().item())


def test_rates_of_a_long_pause_are_thinned_evenly() -> None:
    record = RateRecord()
    for step in range(3 * MOST_RATES):
        record.add(float(step))
    assert record.steps == 3 * MOST_RATES
    assert len(record.rates) <= MOST_RATES
    assert len(set(torch.tensor(record.rates).diff().tolist())) == 1
    other = RateRecord()
    other.load_state_dict(record.state_dict())
    other.add(1.0)
    assert (record.steps, other.steps) == (3 * MOST_RATES, 3 * MOST_RATES + 1)


SCHEDULES: dict[str, Callable[[int], float]] = {
    "constant": lambda step: 1.0,
    "cosine": lambda step: 0.5 * (1.0 + math.cos(math.pi * step / RUN)),
    "step decay": lambda step: 0.1 ** (step // 450),
    "warm-up": lambda step: min(1.0, (step + 1) / 300),
}
RUN = 1200


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_heat_of_a_run_is_that_of_all_its_steps(schedule: str) -> None:
    """Two layers of a classifier of handwritten digits, windows of 25 steps with pauses as long as the run so far."""
    data, targets = load_digits(return_X_y=True)
    inputs, labels = torch.tensor(data / 16.0).double(), torch.tensor(targets)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10)).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, SCHEDULES[schedule])
    layers = {"first": list(model[0].parameters()), "last": list(model[2].parameters())}
    window = OptimizerWindow(
        optimizer, layers, WindowSettings(window=25, steps_between_windows=None, sample=None, seed=0)
    )
    truth = reached = 0.0
    for step in range(RUN):
        chosen = torch.randint(len(inputs), (32,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs[chosen]), labels[chosen]).backward()
        with torch.no_grad():
            before = [parameter.clone() for parameter in model.parameters()]
            if window.announce(step):
                window.read_before(1.0)
            optimizer.step()
            if window.arrive():
                window.read_after()
            for start, parameter in zip(before, model.parameters(), strict=True):
                assert parameter.grad is not None
                truth += float((parameter.grad * (parameter - start)).sum())
            if window.full:
                window.close()
                reached = truth
        rates.step()
    assert window.balance.total == pytest.approx(reached, rel=0.05)
    assert abs(window.balance.total - reached) < 4.0 * window.balance.variance**0.5


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
