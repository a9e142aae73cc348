"""EquilibriumStopping ends a run in equilibrium at the lowest rate, alone and beside the scheduler."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from integration.acting_runs import OPTIMIZERS, QUICK, TWO_PROCESSES, Noisy, SaveAt, decisions, train
from integration.observers import Witness, differences, observe
from integration.processes import in_processes
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR

from thermo_callbacks import EquilibriumScheduler, EquilibriumStopping


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_stops_a_run_that_stays_in_equilibrium(name: str) -> None:
    with decisions() as lines:
        trainer = train(Noisy(OPTIMIZERS[name]), [EquilibriumStopping(**QUICK)], 3000)
    assert trainer.global_step < 3000
    assert sum("is accepted" in line for line in lines) == 2
    assert lines[-1].startswith("EquilibriumStopping ends the run at step")
    assert lines[-1].endswith("equilibrium persists, 2 times in a row")


def test_leaves_a_run_that_moves() -> None:
    module = Noisy(OPTIMIZERS["sgd"], curvature=0.0)
    assert train(module, [EquilibriumStopping(1, **QUICK)], 400).global_step == 400


def test_one_acceptance_is_enough_if_it_is_told_so() -> None:
    once, twice = (
        train(Noisy(OPTIMIZERS["sgd"]), [EquilibriumStopping(often, **QUICK)], 3000).global_step for often in (1, 2)
    )
    assert once < twice


def test_waits_for_the_rate_that_it_is_told() -> None:
    class Lowered(Noisy):
        def configure_optimizers(self) -> Any:
            optimizer = SGD(self.parameters(), lr=0.05)
            scheduler = LambdaLR(optimizer, lambda step: 1.0 if step < 800 else 0.5)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    with decisions() as lines:
        trainer = train(Lowered(None), [EquilibriumStopping(1, 0.03, **QUICK)], 3000)
    assert 800 < trainer.global_step < 3000
    early = [line for line in lines if "is accepted at learning rate 0.05, which is above min_lr 0.03 (0 of 1)" in line]
    assert early


def test_a_rate_that_changes_all_the_time_has_no_equilibrium() -> None:
    class Cosine(Noisy):
        def configure_optimizers(self) -> Any:
            optimizer = SGD(self.parameters(), lr=0.05)
            scheduler = LambdaLR(optimizer, lambda step: 1.0 / (1.0 + 0.001 * step))
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    with decisions() as lines:
        train(Cosine(None), [EquilibriumStopping(**QUICK)], 600)
    assert lines == []


@pytest.mark.parametrize("first", [True, False], ids=["before the scheduler", "after it"])
def test_beside_the_scheduler_its_tests_count_at_its_lowest_rate(first: bool) -> None:
    scheduler, stopping = EquilibriumScheduler(0.5, 0.02, **QUICK), EquilibriumStopping(2)
    callbacks = [stopping, scheduler] if first else [scheduler, stopping]
    with decisions() as lines:
        trainer = train(Noisy(OPTIMIZERS["sgd"]), callbacks, 6000)
    assert trainer.global_step < 6000
    assert scheduler.equilibria_at_lowest_rate == 2
    assert float(trainer.optimizers[0].param_groups[0]["lr"]) == 0.02
    assert lines[-1].startswith("EquilibriumStopping ends the run")
    assert stopping.latest() == {}


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside the scheduler"])
@pytest.mark.parametrize("at", [pytest.param(250, marks=pytest.mark.slow), 501], ids=str)
def test_a_resumed_run_stops_where_the_unbroken_one_does(beside: bool, at: int, tmp_path: Any) -> None:
    def callbacks() -> list[Any]:
        return [*([EquilibriumScheduler(0.5, 0.04, **QUICK)] if beside else []), EquilibriumStopping(3, **QUICK)]

    path = tmp_path / "run.ckpt"
    with decisions() as lines:
        whole = train(Noisy(OPTIMIZERS["sgd"]), [*callbacks(), SaveAt(at, path)], 4000)
    with decisions() as later:
        resumed = train(Noisy(OPTIMIZERS["sgd"]), callbacks(), 4000, ckpt_path=path)
    assert at < whole.global_step == resumed.global_step < 4000
    assert later == lines[-len(later) :]


def test_without_a_stop_the_run_is_bitwise_what_it_is_without(tmp_path: Any) -> None:
    make = partial(Witness, partial(SGD, lr=0.05, momentum=0.9), regularised=True)
    bare = observe(make, tmp_path / "bare", tensorboard=False)
    watched = observe(make, tmp_path / "watched", EquilibriumStopping(), tensorboard=False)
    assert differences(bare, watched) == []


def test_refuses_wrong_arguments() -> None:
    with pytest.raises(ValueError, match=r"^persistence must be a whole number of at least 1, got 0$"):
        EquilibriumStopping(0)


def two_processes(rank: int) -> int:
    trainer = train(
        Noisy(OPTIMIZERS["sgd"]), [EquilibriumStopping(1, **QUICK)], 3000, seed=rank, **TWO_PROCESSES
    )  # fmt: skip
    return trainer.global_step


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this build of torch knows no processes")
def test_all_processes_stop_together(tmp_path: Any) -> None:
    first, second = in_processes(2, two_processes, tmp_path)
    assert first == second < 3000
