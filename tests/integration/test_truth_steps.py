"""Logged values are those of the functions on the steps of the same training in plain torch, by optimizer."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from integration.by_hand import Steps, assert_logged, grouped, layers_of, train
from integration.models import BATCH_SIZE, MakeOptimizer, Regression, fit, loader, momentum_sgd, sgd
from lightning.pytorch import Callback
from torch.optim import SGD, Adam, AdamW

from thermo_callbacks import ThermoMonitor, functional
from thermo_callbacks.functional.momentum import innovations

# windows of 8 noisy steps show no signal now and then
pytestmark = [pytest.mark.filterwarnings("ignore:.*noise_scale"), pytest.mark.filterwarnings("ignore:.*einstein")]
WINDOW, BATCHES, EPOCHS = 8, 10, 4


class Case(NamedTuple):
    """An optimizer, and how Lightning drives it."""

    make: MakeOptimizer
    momentum: float = 0.0
    nesterov: bool = False
    accumulate: int = 1
    clip: float = 0.0


CASES = {
    "sgd": Case(sgd),
    "momentum": Case(momentum_sgd, momentum=0.9),
    "weight decay": Case(lambda p: SGD(p, lr=0.02, momentum=0.9, weight_decay=0.1), momentum=0.9),
    "nesterov": Case(lambda p: SGD(p, lr=0.02, momentum=0.8, nesterov=True), momentum=0.8, nesterov=True),
    "adam": Case(lambda p: Adam(p, lr=0.01), momentum=0.9),
    "adamw, no momentum": Case(lambda p: AdamW(p, lr=0.01, betas=(0.0, 0.99))),
    "accumulation": Case(sgd, accumulate=5),
    "accumulation, short end of the epoch": Case(sgd, accumulate=3),
    "accumulation with momentum": Case(momentum_sgd, momentum=0.9, accumulate=3),
    "clipping": Case(sgd, clip=0.2),
    "clipping with momentum": Case(momentum_sgd, momentum=0.9, clip=0.2),
    "clipping with accumulation": Case(momentum_sgd, momentum=0.9, clip=0.2, accumulate=3),
}


def trained_by_hand(case: Case, groups: Any) -> Steps:
    module = Regression()
    steps = Steps(layers_of(module), case.momentum, case.nesterov)
    optimizer = case.make(module.parameters())
    return train(steps, optimizer, module.loss, groups, accumulate=case.accumulate, clip=case.clip)


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_windows_are_those_of_training_by_hand(case: Case) -> None:
    options = {"accumulate_grad_batches": case.accumulate, "gradient_clip_val": case.clip or None}
    epochs = EPOCHS * case.accumulate
    monitor = ThermoMonitor("light", window=WINDOW, steps_between_windows=0)
    logger = fit(Regression(optimizer=case.make), monitor, BATCHES, max_epochs=epochs, **options)
    groups = grouped(list(loader(BATCHES)), case.accumulate, epochs)
    steps = trained_by_hand(case, groups)
    assert [step for step, _ in logger.thermo_rows] == list(range(WINDOW - 1, len(groups), WINDOW))
    for index, (_, row) in enumerate(logger.thermo_rows):
        start = index * WINDOW
        assert_logged(row, steps.record(start, start + WINDOW, BATCH_SIZE * case.accumulate))
        assert row["thermo/skipped_steps"] == 0.0


@pytest.mark.parametrize("case", [CASES["sgd"], CASES["momentum"]], ids=["sgd", "momentum"])
def test_after_rest_windows_are_those_of_training_by_hand(case: Case) -> None:
    logger = fit(
        Regression(optimizer=case.make),
        ThermoMonitor("light", window=WINDOW, steps_between_windows=3),
        BATCHES,
        max_epochs=EPOCHS,
    )
    steps = trained_by_hand(case, grouped(list(loader(BATCHES)), 1, EPOCHS))
    assert [step for step, _ in logger.thermo_rows] == [7, 18, 29]
    for step, row in logger.thermo_rows:
        expected = steps.record(step + 1 - WINDOW, step + 1, BATCH_SIZE)
        interpolated = {"thermo/heat", "thermo_heat/net.0", "thermo_heat/net.2"}
        assert_logged(row, {tag: value for tag, value in expected.items() if tag not in interpolated})


class Schedule(Callback):
    """Sets the momentum from batch 8 on."""

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == WINDOW:
            trainer.optimizers[0].param_groups[0]["momentum"] = 0.9


@pytest.mark.parametrize("first", [0.0, 0.5])
def test_momentum_is_that_of_the_moment(first: float) -> None:
    def make(parameters: Any) -> SGD:
        return SGD(parameters, lr=0.02, momentum=first)

    logger = fit(
        Regression(optimizer=make),
        [Schedule(), ThermoMonitor("light", window=WINDOW, steps_between_windows=0)],
        2 * WINDOW,
    )
    module = Regression(optimizer=make)
    optimizer = module.configure_optimizers()
    steps = Steps(layers_of(module), momentum=first)
    batches = list(loader(2 * WINDOW))
    train(steps, optimizer, module.loss, grouped(batches[:WINDOW], 1, 1))
    optimizer.param_groups[0]["momentum"] = 0.9
    train(steps, optimizer, module.loss, grouped(batches[WINDOW:], 1, 1))
    expected = steps.temperature(0, WINDOW).item()
    steps.momentum = 0.9
    expected_later = steps.temperature(WINDOW, 2 * WINDOW).item()
    assert logger.series("thermo/temperature") == pytest.approx([expected, expected_later], rel=1e-9)


def test_first_law_residual_is_the_loss_that_heat_does_not_explain() -> None:
    logger = fit(
        Regression(), ThermoMonitor("light", window=WINDOW, steps_between_windows=0), BATCHES, max_epochs=EPOCHS
    )
    steps = trained_by_hand(CASES["sgd"], grouped(list(loader(BATCHES)), 1, EPOCHS))
    energies = [sum(steps.losses[start : start + WINDOW]) / WINDOW for start in range(0, 40, WINDOW)]
    before = [0.0, *(steps.heat(0, stop) for stop in range(1, 40))]
    heats = [sum(before[start : start + WINDOW]) / WINDOW for start in range(0, 40, WINDOW)]
    expected = [(energy - energies[0]) - (heat - heats[0]) for energy, heat in zip(energies, heats, strict=True)]
    assert logger.series("thermo/first_law_residual") == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("name", "mobility"), [("sgd", 0.05), ("momentum", 0.02 / 0.1)])
def test_mobility_of_sgd_is_the_learning_rate_over_one_minus_momentum(name: str, mobility: float) -> None:
    case = CASES[name]
    logger = fit(
        Regression(optimizer=case.make), ThermoMonitor("light", window=WINDOW, steps_between_windows=0), WINDOW
    )
    _, moves, _ = trained_by_hand(case, grouped(list(loader(WINDOW)), 1, 1)).window(0, WINDOW)
    expected = functional.einstein_temperature(moves, torch.tensor(mobility, dtype=torch.float64), case.momentum)
    assert logger.series("thermo/einstein_temperature") == [pytest.approx(expected.item(), rel=1e-9)]


def test_mobility_of_adam_is_the_learning_rate_over_the_root_of_the_second_moment() -> None:
    """Read at steps 1, 2, 4 and 8 of a window; each innovation counts by the one that was read last."""
    case = CASES["adam"]
    logger = fit(
        Regression(optimizer=case.make), ThermoMonitor("light", window=WINDOW, steps_between_windows=0), WINDOW
    )
    _, moves, gradients = trained_by_hand(case, grouped(list(loader(WINDOW)), 1, 1)).window(0, WINDOW)
    innovation, _ = innovations(moves, gradients, 0.9)
    squares = (innovation.diff(dim=0) / (1 - 0.9)).square() / 2
    contributions = []
    for row, step in zip(squares, range(4, WINDOW + 1), strict=True):  # a pair is complete at the step after it
        known = gradients[: 8 if step == 8 else 4].square()
        decays = 0.999 ** torch.arange(len(known) - 1, -1, -1, dtype=torch.float64)[:, None]
        mobility = 0.01 / (((decays * known).sum(0) / decays.sum()).sqrt() + 1e-8)
        contributions.append((row / mobility).mean() / 2)
    expected = torch.stack(contributions).mean().item()
    # Adam's own step count is a float32
    assert logger.series("thermo/einstein_temperature") == [pytest.approx(expected, rel=1e-4)]
