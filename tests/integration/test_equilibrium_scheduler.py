"""EquilibriumScheduler lowers the rate in equilibrium and only there, and decides the same again after a resume."""

from __future__ import annotations

import copy
import pickle
import re
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from integration.acting_runs import OPTIMIZERS, STEADY, TWO_PROCESSES, Noisy, Rates, SaveAt, decisions, rate, train
from integration.models import RecordingLogger
from integration.observers import Witness, differences, observe
from integration.processes import in_processes
from lightning.pytorch.plugins import MixedPrecision
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import StepLR

from thermo_callbacks import EquilibriumScheduler, ThermoMonitor
from thermo_callbacks.callbacks.acting.equilibrium_watch import EquilibriumWatch

STEPS = 420  # two looks: after about 180 and 360 steps


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_lowers_the_rate_in_equilibrium_and_explains_it_in_one_line(name: str) -> None:
    log = RecordingLogger()
    with decisions() as lines:
        module = Noisy(OPTIMIZERS[name])
        trainer = train(module, [scheduler := EquilibriumScheduler(0.5, **STEADY)], 900, logger=log)
    first = OPTIMIZERS[name].keywords["lr"]
    accepted = [line for line in lines if "equilibrium is accepted" in line]
    assert accepted
    assert rate(trainer) == pytest.approx(first * 0.5 ** len(accepted))
    assert re.fullmatch(
        rf"EquilibriumScheduler at step \d+: learning rate of \w+ {first:.3g} -> {first / 2:.3g}, equilibrium is "
        r"accepted: relative drift \S+ \[\S+ \S+\], tolerance 0.5; change of the loss \S+ \[\S+ \S+\], tolerance 1",
        accepted[0],
    )
    rows = [(step, row) for step, row in log.rows if "thermo/equilibrium_accepted" in row]
    assert len(rows) == len(lines)
    assert [row["thermo/equilibrium_accepted"] for _, row in rows] == [float("is accepted" in line) for line in lines]
    assert [f"at step {step}:" in line for (step, _), line in zip(rows, lines, strict=True)] == [True] * len(lines)
    last = rows[-1][1]
    assert last["thermo/equilibrium_rate"] == rate(trainer)
    assert last["thermo/equilibrium_drift_lower"] < last["thermo/equilibrium_drift"]
    assert scheduler.latest() == last


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("moving", [{"curvature": 0.0, "slope": -0.3}, {"curvature": 0.0}], ids=["slope", "diffusion"])
def test_leaves_the_rate_of_a_run_that_moves(name: str, moving: dict[str, float]) -> None:
    with decisions() as lines:
        trainer = train(Noisy(OPTIMIZERS[name], **moving), [EquilibriumScheduler(**STEADY)], 400, seed=1)
    assert len(lines) == 2
    assert all("equilibrium is not accepted" in line for line in lines)
    assert rate(trainer) == OPTIMIZERS[name].keywords["lr"]


@pytest.mark.slow
def test_false_acceptance_and_power_through_a_trainer() -> None:
    """40 runs of each kind; the level is that of all looks of a run together."""

    def share(**of: float) -> float:
        runs = [train(Noisy(OPTIMIZERS["sgd"], **of), [EquilibriumScheduler(**STEADY)], 760, seed=s) for s in range(40)]
        return sum(rate(trainer) < 0.05 for trainer in runs) / len(runs)

    assert share(curvature=0.0) <= 0.1 + 2.6 * (0.1 * 0.9 / 40) ** 0.5
    assert share(curvature=1.0) >= 0.9


PLAIN, WARM, GROWING, FALLING = {}, {"warmup_steps": 40}, {"grow": True}, {"grow": True, "min_lr": 1e-3}
MOMENTS = [
    pytest.param(137, PLAIN, id="inside the tested steps"),
    pytest.param(30, WARM, id="inside the warm-up"),
    pytest.param(30, GROWING, id="while it grows"),
    *(
        pytest.param(at, options, id=f"{at} {options}", marks=pytest.mark.slow)
        for at, options in [
            (30, PLAIN),
            (250, PLAIN),
            (421, PLAIN),
            (100, WARM),
            (250, WARM),
            (33, GROWING),
            (421, GROWING),
            (33, FALLING),
        ]
    ),
]


@pytest.mark.parametrize(("at", "options"), MOMENTS)
def test_a_resumed_run_decides_as_the_unbroken_one(at: int, options: dict[str, Any], tmp_path: Any) -> None:
    first = {"{}": 0.02, str(WARM): 0.02, str(GROWING): 0.0005, str(FALLING): 0.5}[str(options)]
    make = partial(SGD, lr=first, momentum=0.5)
    path = tmp_path / "run.ckpt"
    whole = Noisy(make)
    with decisions() as lines:
        # behind the scheduler, as Lightning's own checkpoints are
        trainer = train(whole, [EquilibriumScheduler(**STEADY, **options), SaveAt(at, path)], 700)
    resumed = Noisy(make)
    with decisions() as later:
        again = train(resumed, [EquilibriumScheduler(**STEADY, **options)], 700, ckpt_path=path)
    assert any("->" in line for line in lines)
    assert later == [line for line in lines if int(line.split()[3].rstrip(":")) >= at]
    assert rate(again) == rate(trainer)
    assert torch.equal(whole.q, resumed.q)


def test_a_checkpoint_loads_with_weights_only(tmp_path: Any) -> None:
    path = tmp_path / "run.ckpt"
    train(Noisy(OPTIMIZERS["adamw"]), [EquilibriumScheduler(grow=True, **STEADY), SaveAt(150, path)], 160)
    state = torch.load(path, weights_only=True)["callbacks"]["EquilibriumScheduler"]
    assert state["version"] == 1


@pytest.mark.parametrize("optimizer", [partial(SGD, lr=0.05), partial(AdamW, lr=0.01)], ids=["sgd", "adamw"])
@pytest.mark.parametrize(
    "options",
    [{}, {"accumulate_grad_batches": 3}, {"gradient_clip_val": 0.1}],
    ids=["plain", "accumulation", "clipping"],
)
def test_a_run_without_a_decision_is_bitwise_what_it_is_without(
    optimizer: Any, options: dict[str, Any], tmp_path: Any
) -> None:
    make = partial(Witness, optimizer, regularised=True)
    bare = observe(make, tmp_path / "bare", tensorboard=False, **options)
    watched = observe(make, tmp_path / "watched", EquilibriumScheduler(cooldown=0.0), tensorboard=False, **options)
    assert differences(bare, watched) == []


def test_warms_up_evenly_and_counts_no_step_of_it() -> None:
    rates = Rates()
    with decisions() as lines:
        train(Noisy(partial(SGD, lr=0.05)), [EquilibriumScheduler(warmup_steps=10, **STEADY), rates], 250)
    assert rates.rates[:12] == pytest.approx([0.05 * min(1.0, (step + 1) / 10) for step in range(12)])
    without = EquilibriumScheduler(**STEADY)
    with decisions() as earlier:
        train(Noisy(partial(SGD, lr=0.05)), [without], 250)
    steps = [int(found[0].split()[3].rstrip(":")) for found in (lines, earlier)]
    assert steps[0] == steps[1] + 10


class WarmByHand(Noisy):
    """Writes its rate before each step, as many do."""

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        optimizer.param_groups[0]["lr"] = 0.05 * min(1.0, (self.trainer.global_step + 1) / 50)
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)


def test_waits_for_a_warm_up_by_hand_and_goes_on_beside_it() -> None:
    rates = Rates()
    with decisions() as lines:
        train(WarmByHand(partial(SGD, lr=0.05)), [EquilibriumScheduler(0.5, **STEADY), rates], 900)
    accepted = [line for line in lines if "->" in line]
    assert "0.05 -> 0.025" in accepted[0]
    used = [rate for step, rate in enumerate(rates.rates) if step > int(accepted[0].split()[3].rstrip(":")) + 1]
    assert max(used) == 0.025
    assert rates.rates[20] == pytest.approx(0.05 * 21 / 50)


def test_keeps_above_its_lowest_rate() -> None:
    scheduler = EquilibriumScheduler(0.1, 0.02, **STEADY)
    with decisions() as lines:
        trainer = train(Noisy(partial(SGD, lr=0.05)), [scheduler], 1500)
    assert rate(trainer) == 0.02
    assert (
        scheduler.equilibria_at_lowest_rate == sum("the lowest, equilibrium is accepted" in line for line in lines) > 0
    )


def test_each_optimizer_has_its_own_rate() -> None:
    """One of them is still, with a rate of its own that nothing is found of."""

    class Two(Noisy):
        def __init__(self) -> None:
            super().__init__(None)
            self.automatic_optimization = False
            self.free = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = super().training_step(batch, batch_idx)
            other = ((batch[:3] - 0.3) * self.free).sum()
            for optimizer in self.optimizers():
                optimizer.zero_grad()
            self.manual_backward(loss + other)
            for optimizer in self.optimizers():
                optimizer.step()
            return loss

        def configure_optimizers(self) -> Any:
            return [SGD([self.q], lr=0.05), SGD([self.free], lr=0.05)]

    trainer = train(Two(), [EquilibriumScheduler(0.5, **STEADY)], 1800)
    first, second = (float(optimizer.param_groups[0]["lr"]) for optimizer in trainer.optimizers)
    assert first < 0.05
    assert second == 0.05


class Scheduled(Noisy):
    def configure_optimizers(self) -> Any:
        optimizer = self.make(self.parameters())
        return {"optimizer": optimizer, "lr_scheduler": StepLR(optimizer, 10)}


def test_refuses_a_scheduler_of_the_users_before_training() -> None:
    module = Scheduled(partial(SGD, lr=0.05))
    with pytest.raises(
        ValueError,
        match=r"EquilibriumScheduler and StepLR from configure_optimizers\(\) would both set the learning rate of one "
        r"optimizer: return the optimizer alone. For a warm-up give EquilibriumScheduler\(warmup_steps=...\) or",
    ):
        train(module, [EquilibriumScheduler()], 5)
    assert torch.equal(module.q, torch.ones_like(module.q))


def test_refuses_a_second_one_and_optimizers_without_a_rate() -> None:
    with pytest.raises(ValueError, match="two EquilibriumScheduler, which would set the same"):
        EquilibriumScheduler().on_fit_start(
            SimpleNamespace(
                strategy=object(), optimizers=[], callbacks=[EquilibriumScheduler(), EquilibriumScheduler()],
                lr_scheduler_configs=[],
            ),
            torch.nn.Linear(1, 1),
        )  # fmt: skip

    class Rateless(torch.optim.Optimizer):
        def __init__(self, parameters: Any) -> None:
            super().__init__(parameters, {})

    with pytest.raises(ValueError, match="the learning rate 'lr' of each parameter group, and Rateless has a group"):
        train(Noisy(Rateless), [EquilibriumScheduler()], 5)


def test_refuses_parameters_that_are_spread_over_processes() -> None:
    class FSDPStrategy:
        pass

    trainer = SimpleNamespace(strategy=FSDPStrategy(), optimizers=[], callbacks=[], lr_scheduler_configs=[])
    with pytest.raises(ValueError, match="needs whole parameters in the first process, and FSDPStrategy spreads"):
        EquilibriumScheduler().on_fit_start(trainer, torch.nn.Linear(1, 1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"factor": 1.0}, r"^factor must lie between 0 and 1 \(for example 0.1\), got 1.0$"),
        (
            {"min_lr": 0.0},
            "^min_lr must be a learning rate above 0, or None for a thousandth of the first one, got 0.0$",
        ),
        ({"level": 0.5}, r"^level must lie between 0 and 0.5 \(for example 0.05\), got 0.5$"),
        ({"tolerance": -1.0}, r"^tolerance must be a positive number, got -1.0$"),
        ({"loss_tolerance": float("inf")}, r"^loss_tolerance must be a positive number, got inf$"),
        ({"warmup_steps": 1.5}, r"^warmup_steps must be a whole number of at least 0, got 1.5$"),
        ({"grow": 1}, r"^grow must be True or False, got 1$"),
        ({"grow": True, "warmup_steps": 5}, "^grow is a warm-up that ends by measurement: leave out warmup_steps=5"),
        (
            {"loss_fn": 3},
            "^loss_fn must be a function of the module and a batch that returns the loss, or None, got 3$",
        ),
    ],
    ids=lambda value: str(value)[:30],
)
def test_refuses_wrong_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EquilibriumScheduler(**arguments)


@pytest.mark.parametrize("where", ["read_before", "read_after", "end_batch", "look"])
def test_a_fault_inside_is_one_warning_and_the_run_goes_on(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr(EquilibriumWatch, where, fail)
    module = Noisy(OPTIMIZERS["sgd"])
    with pytest.warns(UserWarning, match="EquilibriumScheduler is switched off .* planted") as told:
        trainer = train(module, [EquilibriumScheduler(**STEADY)], STEPS)
    assert sum("Equilibrium" in str(each.message) for each in told) == 1
    assert trainer.global_step == STEPS
    assert rate(trainer) == 0.05
    bare = Noisy(OPTIMIZERS["sgd"])
    train(bare, [], STEPS)
    assert torch.equal(bare.q, module.q)


def test_nothing_is_left_on_the_optimizer_and_copies_can_be_made() -> None:
    scheduler = EquilibriumScheduler(**STEADY)
    trainer = train(Noisy(OPTIMIZERS["sgd"]), [scheduler], 200)
    assert not trainer.optimizers[0]._optimizer_step_post_hooks
    assert pickle.loads(pickle.dumps(scheduler)).latest() == copy.deepcopy(scheduler).latest() == scheduler.latest()


def test_a_second_fit_of_the_same_model_goes_on_at_the_lowered_rate() -> None:
    module, scheduler = Noisy(OPTIMIZERS["sgd"]), EquilibriumScheduler(0.5, **STEADY)
    trainer = train(module, [scheduler], 500)
    lowered = rate(trainer)
    assert lowered < 0.05
    trainer.fit_loop.epoch_loop.max_steps = 505
    trainer.fit(module, torch.utils.data.DataLoader(torch.randn(50, 21, dtype=torch.float64), batch_size=None))
    assert rate(trainer) == lowered


def test_works_beside_a_monitor() -> None:
    log = RecordingLogger()
    train(Noisy(OPTIMIZERS["sgd"]), [ThermoMonitor("light", 50), EquilibriumScheduler(**STEADY)], 400, logger=log)
    assert log.series("thermo/temperature")
    assert log.series("thermo/equilibrium_drift")


def two_processes(rank: int) -> tuple[float, torch.Tensor, list[str]]:
    module = Noisy(OPTIMIZERS["sgd"])
    with decisions() as lines:
        trainer = train(module, [EquilibriumScheduler(0.5, **STEADY)], 800, seed=rank, **TWO_PROCESSES)
    return rate(trainer), module.q.detach(), lines


def failing_process(rank: int) -> float:
    if rank == 0:
        EquilibriumWatch.look = None  # type: ignore[method-assign]
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return two_processes(rank)[0]


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this build of torch knows no processes")
def test_all_processes_decide_as_the_first_one(tmp_path: Any) -> None:
    """Their batches and losses differ, and so would verdicts of their own."""
    (first, one, lines), (second, other, silent) = in_processes(2, two_processes, tmp_path)
    assert first == second < 0.05
    assert torch.equal(one, other)
    assert lines
    assert silent == []


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this build of torch knows no processes")
def test_a_fault_in_the_first_process_leaves_nobody_waiting(tmp_path: Any) -> None:
    assert in_processes(2, failing_process, tmp_path) == [0.05, 0.05]


def beginning_fails(rank: int) -> tuple[float, int]:
    import warnings

    if rank == 1:
        EquilibriumWatch.__init__ = None  # type: ignore[method-assign]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, _, lines = two_processes(rank)
    return found, len(lines)


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this build of torch knows no processes")
def test_a_process_that_cannot_begin_leaves_nobody_waiting(tmp_path: Any) -> None:
    (first, lines), (second, _) = in_processes(2, beginning_fails, tmp_path)
    assert first == second == 0.05
    assert lines <= 1  # that it is switched off


@pytest.mark.parametrize("kind", ["scaler", "bf16", "accumulation", "lbfgs"])
def test_other_ways_to_step(kind: str) -> None:
    options: dict[str, Any] = {
        "scaler": {"plugins": [MixedPrecision("16-mixed", "cpu")]},
        "bf16": {"precision": "bf16-mixed"},
        "accumulation": {"accumulate_grad_batches": 2},
        "lbfgs": {},
    }[kind]
    make = partial(torch.optim.LBFGS, lr=0.05, max_iter=2) if kind == "lbfgs" else partial(SGD, lr=0.05)
    log = RecordingLogger()
    train(Noisy(make), [EquilibriumScheduler(**STEADY)], 1000 if kind == "lbfgs" else 400, logger=log, **options)
    assert log.series("thermo/equilibrium_drift")
