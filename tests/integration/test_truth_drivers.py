"""Logged values are those of the functions on training by hand, however the steps come about."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from integration.by_hand import Steps, assert_logged, grouped, layers_of, train, train_with_closure
from integration.models import BATCH_SIZE, Regression, TwoOptimizers, fit, loader, momentum_sgd, sgd
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor
from torch.optim import LBFGS, SGD, Adam, Optimizer

from thermo_callbacks import ThermoMonitor

# windows of 8 noisy steps show no signal now and then; some of these optimizers don't tell their mobility
pytestmark = [pytest.mark.filterwarnings("ignore:.*noise_scale"), pytest.mark.filterwarnings("ignore:.*einstein")]
WINDOW = 8


def scaled() -> dict[str, Any]:
    """Options of a fit with a real gradient scaler on the CPU."""
    return {"plugins": [MixedPrecision("16-mixed", "cpu")]}


class Poisoned(Regression):
    """The loss of one batch overflows."""

    def __init__(self, optimizer: Any, batch: int) -> None:
        super().__init__(optimizer=optimizer)
        self._batch = batch

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = self.loss(batch)
        return loss * torch.inf if batch_idx == self._batch else loss


FUSED: dict[str, tuple[Callable[..., Optimizer], float]] = {
    "sgd": (lambda p: SGD(p, lr=0.05, fused=True), 0.0),
    "momentum": (lambda p: SGD(p, lr=0.02, momentum=0.9, fused=True), 0.9),
    "adam": (lambda p: Adam(p, lr=0.01, fused=True), 0.9),
    "not fused": (momentum_sgd, 0.9),
}


@pytest.mark.parametrize("name", FUSED)
def test_gradient_scaler_leaves_no_scale(name: str) -> None:
    make, momentum = FUSED[name]
    logger = fit(
        Regression(optimizer=make), ThermoMonitor("light", window=WINDOW, steps_between_windows=0), 16, **scaled()
    )
    module = Regression()
    steps = Steps(layers_of(module), momentum)
    train(steps, make(module.parameters()), module.loss, grouped(list(loader(16)), 1, 1))
    for index, (_, row) in enumerate(logger.thermo_rows):
        assert_logged(row, steps.record(index * WINDOW, (index + 1) * WINDOW, BATCH_SIZE))


@pytest.mark.parametrize(("accumulate", "make", "momentum"), [(1, sgd, 0.0), (1, momentum_sgd, 0.9), (2, sgd, 0.0)])
def test_step_that_the_scaler_skips_is_left_out_and_counted(accumulate: int, make: Any, momentum: float) -> None:
    """The later windows are those of a run that never saw the batches of the skipped step."""
    batches, bad = 17 * accumulate, 3
    monitor = ThermoMonitor("light", window=WINDOW, steps_between_windows=0)
    logger = fit(Poisoned(make, bad * accumulate), monitor, batches, accumulate_grad_batches=accumulate, **scaled())
    module = Regression()
    steps = Steps(layers_of(module), momentum)
    groups = grouped(list(loader(batches)), accumulate, 1)
    train(steps, make(module.parameters()), module.loss, groups[:bad] + groups[bad + 1 :], accumulate=accumulate)
    assert [step for step, _ in logger.thermo_rows] == [8, 16]  # one step later than without
    for index, (_, row) in enumerate(logger.thermo_rows):
        assert_logged(row, steps.record(index * WINDOW, (index + 1) * WINDOW, BATCH_SIZE * accumulate))
        assert row["thermo/skipped_steps"] == 1.0


def test_fused_step_without_a_finite_gradient_is_left_out_and_counted() -> None:
    """A fused optimizer is called and does not move: the step is in the window, and counts for nothing."""
    bad = 3
    make = FUSED["sgd"][0]
    logger = fit(
        Poisoned(make, bad), ThermoMonitor("light", window=WINDOW, steps_between_windows=0), WINDOW, **scaled()
    )
    module = Regression()
    steps = Steps(layers_of(module))
    groups = grouped(list(loader(WINDOW)), 1, 1)
    train(steps, make(module.parameters()), module.loss, groups[:bad] + groups[bad + 1 :])
    [(step, row)] = logger.thermo_rows
    assert step == WINDOW - 1
    assert_logged(row, steps.record(0, WINDOW - 1, BATCH_SIZE))
    assert row["thermo/skipped_steps"] == 1.0


@pytest.mark.filterwarnings("ignore:no value")
def test_first_closure_evaluation_of_lbfgs_counts() -> None:
    def make(parameters: Any) -> LBFGS:
        return LBFGS(parameters, lr=0.1, max_iter=3)

    logger = fit(Regression(optimizer=make), ThermoMonitor("light", window=WINDOW, steps_between_windows=2), 24)
    module = Regression()
    steps = train_with_closure(Steps(layers_of(module)), make(module.parameters()), module.loss, loader(24))
    assert [step for step, _ in logger.thermo_rows] == [7, 17]
    expected = steps.record(0, WINDOW, BATCH_SIZE)
    # a search along a line is no linear response to a gradient
    expected |= {tag: math.nan for tag in expected if "thermo/temperature" in tag or "thermo_temperature" in tag}
    assert_logged(logger.thermo_rows[0][1], expected)
    assert math.isnan(logger.thermo_rows[0][1]["thermo/einstein_temperature"])


class Climber(Regression):
    """Maximises minus the loss."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return -self.loss(batch)


def test_climbing_on_minus_the_loss_is_descending_on_the_loss() -> None:
    def climb(parameters: Any) -> SGD:
        return SGD(parameters, lr=0.05, maximize=True)

    up = fit(Climber(optimizer=climb), ThermoMonitor("light", window=WINDOW, steps_between_windows=0), 24)
    down = fit(Regression(), ThermoMonitor("light", window=WINDOW, steps_between_windows=0), 24)
    assert len(up.thermo_rows) == 3
    assert repr(up.thermo_rows) == repr(down.thermo_rows)  # NaN is NaN there


def test_groups_that_climb_and_groups_that_descend_have_no_common_energy() -> None:
    def minimax(parameters: Any) -> SGD:
        first, *others = parameters
        return SGD([{"params": [first], "maximize": True}, {"params": others}], lr=0.01)

    [(_, row)] = fit(
        Regression(optimizer=minimax), ThermoMonitor("light", window=WINDOW, steps_between_windows=0), WINDOW
    ).thermo_rows
    module = Regression()
    optimizer = minimax(module.parameters())
    steps = Steps(layers_of(module))
    train(steps, optimizer, module.loss, grouped(list(loader(WINDOW)), 1, 1))
    weights = module.net[0].weight.numel()
    for gradient in steps.gradients:
        gradient["net.0"][:weights] *= -1.0
    expected = {"thermo/temperature": steps.temperature(0, WINDOW).item(), "thermo/heat": steps.heat(0, WINDOW)}
    assert_logged(row, expected)
    assert "thermo/internal_energy" not in row
    assert "thermo/first_law_residual" not in row


class Manual(Regression):
    """Steps by hand: through Lightning's wrapper or the raw optimizer, with or without a closure."""

    def __init__(self, *, raw: bool, closure: bool = False, steps: int = 1) -> None:
        super().__init__(optimizer=momentum_sgd)
        self.automatic_optimization = False
        self._raw, self._closure, self._steps = raw, closure, steps

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        optimizer: Any = self.optimizers(use_pl_optimizer=not self._raw)

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = self.loss(batch)
            if self._raw:
                loss.backward()
            else:
                self.manual_backward(loss)
            return loss

        for _ in range(self._steps):
            if self._closure:
                optimizer.step(closure=closure)
            else:
                loss = closure()
                optimizer.step()
        return self.loss(batch) if self._closure else loss


@pytest.mark.parametrize("raw", [False, True])
def test_manual_optimization(raw: bool) -> None:
    logger = fit(Manual(raw=raw), ThermoMonitor("light", window=WINDOW, steps_between_windows=0), 16)
    steps = by_hand_with_momentum(16)
    assert len(logger.thermo_rows) == 2
    for index, (_, row) in enumerate(logger.thermo_rows):
        assert_logged(row, steps.record(index * WINDOW, (index + 1) * WINDOW, BATCH_SIZE))


def by_hand_with_momentum(batches: int, times: int = 1) -> Steps:
    module = Regression()
    groups = [[batch] for batch in loader(batches) for _ in range(times)]
    return train(Steps(layers_of(module), 0.9), momentum_sgd(module.parameters()), module.loss, groups)


def test_manual_optimization_with_a_closure() -> None:
    [(_, row)] = fit(
        Manual(raw=False, closure=True), ThermoMonitor("light", window=WINDOW, steps_between_windows=0), WINDOW
    ).thermo_rows
    expected = by_hand_with_momentum(WINDOW).record(0, WINDOW, BATCH_SIZE)
    del expected["thermo/internal_energy"]  # the module hands out the loss after the step
    assert_logged(row, expected)


@pytest.mark.parametrize(("window", "unwatched"), [(9, 0), (8, 1), (10, 2)])
def test_several_steps_in_one_batch(window: int, unwatched: int) -> None:
    """A window may end inside a batch: the batch's other steps are not watched, and their heat is interpolated."""
    logger = fit(Manual(raw=False, steps=3), ThermoMonitor("light", window=window, steps_between_windows=0), 12)
    steps = by_hand_with_momentum(12, times=3)
    starts = range(0, 37 - window, window + unwatched)
    assert len(logger.thermo_rows) == len(starts) > 1
    heat, rates, half = 0.0, dict.fromkeys(steps.layers, 0.0), window // 2
    for start, (_, row) in zip(starts, logger.thermo_rows, strict=True):
        for name, previous in rates.items():
            # from the second half of the window before to the first half of this one
            rate = steps.heat(start, start + half, [name]) / half
            rates[name] = steps.heat(start + window - half, start + window, [name]) / half
            places = (torch.arange(unwatched, dtype=torch.float64) + (window / 2 + 1) / 2) / (window / 2 + unwatched)
            geometric = previous * rate > 0.0  # momentum carries a layer uphill in one half
            between = previous * (rate / previous) ** places if geometric else previous + (rate - previous) * places
            heat += steps.heat(start, start + window, [name]) + float(between.sum() if start else 0.0)
        expected = {"thermo/temperature": steps.temperature(start, start + window).item(), "thermo/heat": heat}
        assert_logged(row, expected)


def test_raw_optimizer_with_a_closure_cannot_be_watched_and_says_so_once() -> None:
    with pytest.warns(UserWarning, match="closure") as caught:
        logger = fit(Manual(raw=True, closure=True), ThermoMonitor("light", window=WINDOW, steps_between_windows=0), 16)
    assert [str(warning.message) for warning in caught if "ThermoMonitor" in str(warning.message)] == [
        "ThermoMonitor can't watch steps of SGD that Lightning does not know of: call step() of an optimizer from "
        "self.optimizers(), or step() of the raw one without a closure"
    ]
    assert logger.thermo_rows == []


def test_two_optimizers_join_in_the_global_values() -> None:
    def half_momentum(parameters: Any) -> SGD:
        return SGD(parameters, lr=0.05, momentum=0.5)

    logger = fit(TwoOptimizers(half_momentum), ThermoMonitor("light", window=WINDOW, steps_between_windows=0), 16)
    module = TwoOptimizers(half_momentum)
    first, second = Steps(layers_of(module, 0), momentum=0.5), Steps(layers_of(module, 2), momentum=0.9)
    optimizers = module.configure_optimizers()
    for batch in loader(16):
        module.zero_grad()
        loss = module.loss(batch)
        for steps in (first, second):
            steps.before(loss)
        loss.backward()
        for optimizer, steps in zip(optimizers, (first, second), strict=True):
            optimizer.step()
            steps.after()
    sizes = [sum(p.numel() for p in module.net[index].parameters()) for index in (0, 2)]
    assert [step for step, _ in logger.thermo_rows] == [7, 15]
    for index, (_, row) in enumerate(logger.thermo_rows):
        start, stop = index * WINDOW, (index + 1) * WINDOW
        temperatures = [steps.temperature(start, stop).item() for steps in (first, second)]
        mean = sum(n * t for n, t in zip(sizes, temperatures, strict=True)) / sum(sizes)
        expected = {f"thermo_temperature/net.{i}": t for i, t in zip((0, 2), temperatures, strict=True)}
        expected |= {"thermo/temperature": mean, "thermo/heat": first.heat(0, stop) + second.heat(0, stop)}
        assert_logged(row, expected)
        assert "thermo/first_law_residual" not in row  # the loss is not the energy of either optimizer alone
