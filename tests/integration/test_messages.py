"""What a monitor says of a run: few warnings, and the one true cause."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from integration.models import LoggingRegression, MakeOptimizer, loader, quiet_trainer, sgd
from integration.ordinary_runs import RUNS
from lightning.pytorch.callbacks import LearningRateFinder
from lightning.pytorch.tuner import Tuner
from torch import nn
from torch.optim import LBFGS, SGD, Adam, NAdam, Optimizer, RAdam, Rprop

from thermo_callbacks import LiveTable, ThermoMonitor, TransitionTemperatureMonitor
from thermo_callbacks.callbacks.extra_passes.activations import ActivationCollector
from thermo_callbacks.callbacks.extra_passes.bulk import BulkCollector
from thermo_callbacks.callbacks.extra_passes.curvature import CurvatureCollector
from thermo_callbacks.callbacks.extra_passes.sharpness import SharpnessCollector
from thermo_callbacks.callbacks.extra_passes.step_balance import StepBalanceCollector
from thermo_callbacks.probes.told import MOST_WARNINGS

DIVERGED = (
    "the run has diverged: in a window of its steps, weights, gradients or moves are not finite, or too large to be "
    "squared, or the loss has grown a millionfold. Most values are missing (NaN) from here on."
)


class Lion(Optimizer):
    """Steps by the sign of a mean of gradients, as Chen et al. 2023 do."""

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        with torch.enable_grad():
            loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                mean = self.state[parameter].setdefault("mean", torch.zeros_like(parameter))
                parameter.sub_(group["lr"] * (0.9 * mean + 0.1 * parameter.grad).sign())
                mean.lerp_(parameter.grad, 0.01)
        return loss


class Matrices(LoggingRegression):
    """Has matrices alone, which is what Muon takes."""

    def __init__(self, optimizer: MakeOptimizer) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            net = nn.Sequential(nn.Linear(5, 6, bias=False), nn.Tanh(), nn.Linear(6, 1, bias=False))
        super().__init__(net.double(), optimizer)


class Unused(LoggingRegression):
    """Two hundred layers that no batch comes through."""

    def __init__(self, optimizer: MakeOptimizer) -> None:
        super().__init__(optimizer=optimizer)
        self.spare = nn.ModuleList([nn.Linear(3, 3).double() for _ in range(200)])


def said(module: Any, *callbacks: Any, batches: int = 60, options: Any = None) -> list[str]:
    """Warnings of a run that are not Lightning's own."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer = quiet_trainer(callbacks=list(callbacks) or [ThermoMonitor("full")], **(options or {}))
        trainer.fit(module, loader(batches))
    return [
        str(warning.message)
        for warning in caught
        if warning.category is UserWarning and "site-packages/lightning/pytorch/trainer" not in warning.filename
    ]


@pytest.mark.parametrize(
    "monitor",
    [pytest.param(ThermoMonitor("full"), marks=pytest.mark.slow), ThermoMonitor("light", layers="all")],
    ids=["groups", "each"],
)
def test_two_hundred_layers_without_gradient_are_one_list(monitor: ThermoMonitor) -> None:
    [only] = said(Unused(sgd), monitor, batches=24)
    assert only.startswith("no value (NaN) in a window for ")
    assert only.endswith(" more), which received no gradient in it.")


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda parameters: SGD(parameters, lr=50.0),
        lambda parameters: SGD(parameters, lr=5.0, momentum=0.9, nesterov=True),
        lambda parameters: RAdam(parameters, lr=1e12),
        lambda parameters: Adam(parameters, lr=1e30),
    ],
    ids=["SGD", "Nesterov", "RAdam", "Adam"],
)
@pytest.mark.parametrize("preset", ["light", "full"])
def test_a_run_that_diverges_says_so_and_nothing_else(optimizer: MakeOptimizer, preset: Any) -> None:
    told = said(LoggingRegression(optimizer=optimizer), ThermoMonitor(preset, 8))
    assert told == [DIVERGED]


def test_a_loss_that_becomes_nan_says_so_and_nothing_else() -> None:
    class Breaking(LoggingRegression):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return super().training_step(batch, batch_idx) * (torch.nan if batch_idx > 20 else 1.0)

    assert said(Breaking()) == [DIVERGED]


@pytest.mark.parametrize(
    ("optimizer", "reason"),
    [
        (lambda p: SGD(p, lr=0.02, momentum=0.9, nesterov=True), ""),
        (lambda p: RAdam(p, lr=1e-3), "RAdam does not tell how far it moves a weight"),
        (lambda p: NAdam(p, lr=1e-3), "NAdam does not tell how far it moves a weight"),
        (lambda p: Lion(p, lr=1e-4), "Lion: its step is no linear response to the gradient"),
        (lambda p: torch.optim.Muon(p, lr=1e-3), "Muon: its step is no linear response to the gradient"),
        (lambda p: LBFGS(p, lr=1e-3, max_iter=2), "LBFGS: its step is no linear response to the gradient"),
        (lambda p: Rprop(p, lr=1e-3), "Rprop: its step is no linear response to the gradient"),
    ],
    ids=["Nesterov", "RAdam", "NAdam", "Lion", "Muon", "LBFGS", "Rprop"],
)
def test_weights_that_move_are_never_said_to_rest(
    optimizer: MakeOptimizer, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "thermo_callbacks"):
        told = said(Matrices(optimizer), batches=80)
    assert len(told) == ("response" in reason)  # an unknown mobility is no fault of the run: that is in the log
    assert all(reason in text for text in told)
    assert not reason or any(reason in text for text in (*told, *caplog.messages))
    assert not any("did not move" in text for text in (*told, *caplog.messages))


def test_weights_that_rest_are_said_to() -> None:
    class Still(LoggingRegression):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return super().training_step(batch, batch_idx) * 0.0

    told = said(Still(), ThermoMonitor("light"))
    assert 1 <= len(told) <= MOST_WARNINGS
    assert "the weights did not move in the window" in told[0]


@pytest.mark.parametrize("first", [True, False])
def test_the_steps_of_the_learning_rate_finder_are_no_fault(first: bool, tmp_path: Path) -> None:
    class Tuned(LoggingRegression):
        def __init__(self) -> None:
            super().__init__()
            self.lr = 0.05

        def configure_optimizers(self) -> Any:
            return SGD(self.parameters(), lr=self.lr)

    options = {"enable_checkpointing": True, "default_root_dir": tmp_path}
    finder, monitor = LearningRateFinder(num_training_steps=30, max_lr=1e3), ThermoMonitor("full")
    assert said(Tuned(), *([finder, monitor] if first else [monitor, finder]), options=options) == []
    module, again = Tuned(), ThermoMonitor("full")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = quiet_trainer(callbacks=again, **options)
        Tuner(trainer).lr_find(module, loader(60), num_training=30)
    assert again.latest() == {}


def test_whatever_fails_there_are_three_warnings_at_most(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kinds = (ActivationCollector, CurvatureCollector, StepBalanceCollector, SharpnessCollector, BulkCollector)
    for kind in kinds:

        def fail(self: Any, *_: Any) -> Any:
            raise RuntimeError(f"{type(self).__name__} is broken on purpose")

        monkeypatch.setattr(kind, "before_forward", fail)
    callbacks = [ThermoMonitor("full"), ThermoMonitor("full", seed=1), TransitionTemperatureMonitor(), LiveTable()]
    with caplog.at_level("INFO", "thermo_callbacks"):
        told = said(LoggingRegression(optimizer=lambda p: RAdam(p, lr=1e-3)), *callbacks)
    assert len(told) == MOST_WARNINGS
    assert sum("What else there is to say of this run goes to logging.getLogger" in text for text in told) == 1
    # the log has what was one too many
    everything = [*told, *caplog.messages]
    assert all(any(f"{kind.__name__} is broken on purpose" in text for text in everything) for kind in kinds)


def test_what_a_library_raises_is_no_task_for_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Any, *_: Any) -> Any:
        return {}["trace"]

    fail.__code__ = fail.__code__.replace(co_filename=os.path.join(os.path.dirname(torch.__file__), "inside.py"))
    monkeypatch.setattr(CurvatureCollector, "before_step", fail)
    [only] = said(LoggingRegression())
    assert "Nothing in your code has to be mended: the fault is in thermo_callbacks or in a library" in only


def test_what_the_users_code_raises_is_not_ours_to_report() -> None:
    def loss_fn(module: Any, batch: Any) -> Any:
        raise ValueError("this loss wants images")

    [only] = said(LoggingRegression(), ThermoMonitor("standard", loss_fn=loss_fn))
    assert "this loss wants images" in only
    assert "Please report it" not in only


def test_a_step_by_hand_is_refused_once_with_the_cure() -> None:
    run = RUNS["GAN by hand"]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run.fit([ThermoMonitor("full")], False)
    [only] = [str(warning.message) for warning in caught if "switched off" in str(warning.message)]
    assert "give loss_fn, a function of module and batch that returns the loss and does nothing else" in only
    assert "traceback" not in only


def test_a_new_fit_has_warnings_of_its_own() -> None:
    module = Unused(sgd)
    assert len(said(module, ThermoMonitor("light"))) == 1
    assert len(said(module, ThermoMonitor("light"))) == 1
