"""The rate with which EquilibriumScheduler begins, where it is to find it by itself."""

from __future__ import annotations

import re
import warnings
from functools import partial
from typing import Any

import pytest
import torch
from integration.acting_runs import TWO_PROCESSES, Noisy, decisions, rate, train
from integration.models import TwoOptimizers, loader, quiet_trainer
from integration.observers import Witness, differences, observe
from integration.processes import in_processes
from torch.optim import SGD

from thermo_callbacks import EquilibriumScheduler
from thermo_callbacks.callbacks.extra_passes.step_balance import StepBalanceCollector


def test_measuring_for_growth_is_bitwise_without_a_trace(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thermo_callbacks.callbacks.acting.rate_growth.MOST", 1.5)  # no growth is small enough
    for module in ("equilibrium_scheduler", "rate_growth"):
        monkeypatch.setattr(f"thermo_callbacks.callbacks.acting.{module}.START", 1.0)
    make = partial(Witness, partial(SGD, lr=1e-4), regularised=True)
    bare = observe(make, tmp_path / "bare", tensorboard=False)
    with decisions() as lines:
        watched = observe(make, tmp_path / "watched", EquilibriumScheduler(grow=True, cooldown=0.0), tensorboard=False)
    assert ["growth has ended: 1 times your rate" in line for line in lines] == [True]
    assert differences(bare, watched) == []


def moves(lines: list[str]) -> tuple[list[float], float, float]:
    """Factors between the rates that were measured, the last efficiency, and what the last rate is multiplied with."""
    told = [line for line in lines if "step efficiency" in line]
    assert ["growth has ended" in line for line in told] == [False] * (len(told) - 1) + [True]
    assert all(re.search(r"step efficiency \S+ \[\S+, \S+\], lines 0.[58] and 0.9", line) for line in told)
    rates = [[float(each) for each in re.findall(r"learning rate (\S+) -> (\S+?)[,:]", line)[0]] for line in told]
    factors = [after / before for before, after in rates]
    found = re.search(r"step efficiency (\S+)", told[-1])
    assert found is not None
    return factors[:-1], float(found[1]), factors[-1]


def test_grows_while_steps_are_efficient() -> None:
    with decisions() as lines:
        trainer = train(Noisy(partial(SGD, lr=1e-4)), [EquilibriumScheduler(grow=True, cooldown=0.0)], 300)
    factors, efficiency, last = moves(lines)
    assert factors == pytest.approx([2.0] * len(factors), rel=0.01)
    assert last == pytest.approx(0.25 / (1.0 - efficiency), rel=0.02)
    # the stiffest direction goes over the line at a rate of 0.02, and the noise lies in all directions alike
    assert 0.02 <= rate(trainer) <= 0.2
    assert rate(trainer) == pytest.approx(1e-5 * 2.0 ** len(factors) * last, rel=0.01)


@pytest.mark.parametrize("first", [0.9, 9.0])
def test_a_first_rate_at_the_edge_falls_until_steps_are_efficient(first: float) -> None:
    """The stiffest direction, 10, rules at such rates: the efficiency is 1 - 5 times the rate, and 0.8 at 0.04."""
    with decisions() as lines:
        trainer = train(Noisy(partial(SGD, lr=first)), [EquilibriumScheduler(grow=True, cooldown=0.0)], 300)
    factors, efficiency, last = moves(lines)
    assert factors == pytest.approx([0.5] * len(factors), rel=0.01)
    assert last == pytest.approx(min(0.25 / (1.0 - efficiency), 2.0), rel=0.02)
    assert 0.03 <= rate(trainer) <= 0.1


def test_growth_ends_at_the_given_rate_where_efficiency_cannot_be_measured() -> None:
    trainer, module = quiet_trainer(callbacks=[EquilibriumScheduler(grow=True, cooldown=0.0)]), TwoOptimizers()
    with pytest.warns(UserWarning, match="steps its optimizers by hand"), decisions() as lines:
        trainer.fit(module, loader(30))
    assert any("growth has ended: step efficiency can't be measured" in line for line in lines)
    assert [float(each.param_groups[0]["lr"]) for each in trainer.optimizers] == pytest.approx(
        [each.defaults["lr"] for each in trainer.optimizers]
    )


def test_growth_ends_at_the_given_rate_where_nothing_is_learned() -> None:
    """Without a gradient nothing is promised, and step efficiency is not defined."""
    with decisions() as lines:
        trainer = train(Flat(partial(SGD, lr=0.05)), [EquilibriumScheduler(grow=True, cooldown=0.0)], 100)
    assert any("0.005 -> 0.05, growth has ended: step efficiency can't be measured" in line for line in lines)
    assert rate(trainer) == 0.05


class Flat(Noisy):
    """Its loss depends on nothing."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return super().training_step(batch, batch_idx) * 0.0


def growing(rank: int) -> tuple[float, torch.Tensor, int]:
    module = Noisy(partial(SGD, lr=1e-3, momentum=0.5))
    with decisions() as lines:
        trainer = train(module, [EquilibriumScheduler(grow=True, cooldown=0.0)], 200, seed=rank, **TWO_PROCESSES)
    return rate(trainer), module.q.detach(), sum("step efficiency" in line for line in lines)


def growing_beside_a_fault(rank: int) -> float:
    """One process can't measure; the rate is the given one in both."""
    if rank == 1:
        StepBalanceCollector._measure = None  # type: ignore[method-assign]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return growing(rank)[0]


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="this build of torch knows no processes")
def test_processes_grow_together(tmp_path: Any) -> None:
    (first, one, told), (second, other, silent) = in_processes(2, growing, tmp_path)
    assert first == second > 2e-3
    assert torch.equal(one, other)
    assert (told > 2, silent) == (True, 0)


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this build of torch knows no processes")
def test_a_process_that_cannot_measure_leaves_nobody_waiting(tmp_path: Any) -> None:
    assert in_processes(2, growing_beside_a_fault, tmp_path) == [1e-3, 1e-3]
