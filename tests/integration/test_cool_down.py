"""The end of a run under EquilibriumScheduler: its rate falls, and comes back where that was not the end."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from integration.acting_runs import OPTIMIZERS, QUICK, TWO_PROCESSES, Noisy, Rates, SaveAt, decisions, rate, train
from integration.models import TwoOptimizers, loader, quiet_trainer
from integration.processes import in_processes
from torch.optim import SGD
from torch.utils.data import DataLoader

from thermo_callbacks import EquilibriumScheduler
from thermo_callbacks.callbacks.acting.equilibrium_watch import EquilibriumWatch

MAKE = partial(SGD, lr=0.05)


def cooled(steps: int, of: int) -> list[float]:
    """Factors of the last steps of a run."""
    return [(of - step) / (of + 1) for step in range(of)][:steps]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_rate_falls_evenly_in_the_last_fifth(name: str) -> None:
    rates = Rates()
    first = OPTIMIZERS[name].keywords["lr"]
    with decisions() as lines:
        train(Noisy(OPTIMIZERS[name]), [EquilibriumScheduler(), rates], 100)
    assert rates.rates == pytest.approx([first] * 80 + [first * factor for factor in cooled(20, 20)])
    told = f"EquilibriumScheduler at step 79: learning rate falls from {first:g} to the end of the run, the cool-down"
    assert lines == [told]


@pytest.mark.parametrize(
    ("scheduler", "options", "told"),
    [
        (EquilibriumScheduler(cooldown=0.0), {}, 0),
        (EquilibriumScheduler(), {"max_time": {"hours": 1}}, 1),
        (EquilibriumScheduler(cooldown=0.0), {"max_time": {"hours": 1}}, 0),
        (EquilibriumScheduler(cooldown=0.004), {}, 0),
    ],
    ids=["none is wanted", "an end by the clock", "neither", "less than a step"],
)
def test_there_is_none_where_no_end_is_known(
    scheduler: EquilibriumScheduler, options: dict[str, Any], told: int
) -> None:
    rates = Rates()
    with decisions() as lines:
        train(Noisy(MAKE), [scheduler, rates], 100, **options)
    assert rates.rates == [0.05] * 100
    unknown = "EquilibriumScheduler at step 0: no cool-down, since the Trainer does not know how long the run will be"
    assert lines == [unknown] * told


def test_the_length_is_counted_in_steps_whatever_makes_them_up() -> None:
    rates = Rates()
    trainer = quiet_trainer(
        max_epochs=4, accumulate_grad_batches=2, callbacks=[EquilibriumScheduler(cooldown=0.5), rates]
    )
    trainer.fit(Noisy(MAKE), DataLoader(torch.randn(10, 21, dtype=torch.float64), batch_size=None))
    assert rates.rates == pytest.approx([0.05] * 10 + [0.05 * factor for factor in cooled(10, 10)])
    trainer = quiet_trainer(max_steps=80, max_epochs=-1, callbacks=[EquilibriumScheduler(cooldown=0.5)])
    trainer.fit(module := TwoOptimizers(), loader(100))  # each batch is a step of both
    first = [optimizer.defaults["lr"] for optimizer in module.optimizers()]
    assert [float(optimizer.param_groups[0]["lr"]) for optimizer in trainer.optimizers] == pytest.approx(
        [each / 21.0 for each in first]
    )


@pytest.mark.parametrize("at", [399, 450, *(pytest.param(at, marks=pytest.mark.slow) for at in (250, 400, 401, 499))])
def test_a_run_that_is_resumed_in_it_ends_as_the_unbroken_one(at: int, tmp_path: Any) -> None:
    path = tmp_path / "run.ckpt"
    whole, resumed = Noisy(MAKE), Noisy(MAKE)
    with decisions() as lines:
        train(whole, [EquilibriumScheduler(**QUICK), SaveAt(at, path)], 500)
    with decisions() as later:
        train(resumed, [EquilibriumScheduler(**QUICK)], 500, ckpt_path=path)
    assert later == [line for line in lines if int(line.split()[3].rstrip(":")) >= at]
    assert torch.equal(whole.q, resumed.q)


def test_a_run_that_goes_on_longer_goes_back_to_its_rate_and_tests_it_again(tmp_path: Any) -> None:
    path, rates = tmp_path / "run.ckpt", Rates()
    train(Noisy(MAKE), [EquilibriumScheduler(**QUICK), SaveAt(150, path)], 150)
    with decisions() as lines:
        train(Noisy(MAKE), [EquilibriumScheduler(**QUICK), rates], 1000, ckpt_path=path)
    assert rates.rates[:250] == [0.05] * 250
    assert "learning rate 0.00161 -> 0.05: the run is longer than it was planned" in lines[0]
    tested = [int(line.split()[3].rstrip(":")) for line in lines if "accepted" in line]
    assert tested[0] - 150 == 181  # the first look of this rate: nothing of the cool-down is in it
    assert any("equilibrium is accepted" in line for line in lines)


def test_nothing_is_tested_in_it_and_a_warm_up_and_growth_end_with_it() -> None:
    for options in ({"grow": True}, {"warmup_steps": 300}):
        rates = Rates()
        with decisions() as lines:
            train(Noisy(partial(SGD, lr=1e-5)), [EquilibriumScheduler(cooldown=0.9, **options, **QUICK), rates], 200)
        assert not any("accepted" in line for line in lines)
        assert sum("cool-down" in line for line in lines) == 1
        assert "cool-down" in lines[-1]


def test_a_fault_inside_leaves_the_cool_down(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = Rates()

    def fail(*_: Any) -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr(EquilibriumWatch, "read_before", fail)
    with pytest.warns(UserWarning, match="is switched off .* planted"):
        train(Noisy(MAKE), [EquilibriumScheduler(**QUICK), rates], 200)
    assert rates.rates == pytest.approx([0.05] * 160 + [0.05 * factor for factor in cooled(40, 40)])


def two_processes(rank: int) -> tuple[float, torch.Tensor]:
    module = Noisy(MAKE)
    trainer = train(module, [EquilibriumScheduler(0.5, **QUICK)], 300, seed=rank, **TWO_PROCESSES)
    return rate(trainer), module.q.detach()


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this build of torch knows no processes")
def test_all_processes_cool_down_together(tmp_path: Any) -> None:
    (first, one), (second, other) = in_processes(2, two_processes, tmp_path)
    assert first == second == pytest.approx(0.05 / 61.0)
    assert torch.equal(one, other)
