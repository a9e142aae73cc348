"""Temperatures of optimizers that no table knows, against the answer of each to one gradient that is kicked.

A run through a real Trainer on a noisy quadratic; then its gradients are played to the same optimizer again, once as
they were and once with one of them a little larger, and the difference of the displacements is summed over all later
steps: the mobility, which half times the noise is the temperature. What is logged is within a tenth of it, or NaN.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import lightning.pytorch as pl
import optimizer_zoo as zoo
import pytest
import torch
from torch import Tensor, nn, optim
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from thermo_callbacks import TemperatureMonitor
from thermo_callbacks.callbacks.windows.response_verdict import MEASURING, NOT_LINEAR

STEPS, WINDOW, AFTER = 400, 50, 200
WEIGHTS, BIASES = 100, 10


class Subclassed(optim.SGD):
    """A class that torch's own says nothing of."""


class Case(NamedTuple):
    make: Callable[[Any], Optimizer]
    temperature: bool = True  # whether it has one
    mobility: bool = True
    noise: float = 0.0  # temperature of the optimizer's own noise


CASES = {
    "LARS": Case(zoo.LARS),
    "Adadelta": Case(lambda p: optim.Adadelta(p, lr=1.0)),
    "LBFGS": Case(lambda p: optim.LBFGS(p, lr=0.01, max_iter=1), temperature=False),
    "subclass": Case(lambda p: Subclassed(p, lr=0.01, momentum=0.9, nesterov=True)),
    "Lion": Case(zoo.Lion, temperature=False),
    "SGLD": Case(lambda p: zoo.SGLD(p, lr=0.02, temperature=0.01), noise=0.01),
}
SLOW_CASES = {
    "NAdam": Case(lambda p: optim.NAdam(p, lr=1e-3)),
    "RAdam": Case(lambda p: optim.RAdam(p, lr=1e-3)),
    "Adamax": Case(lambda p: optim.Adamax(p, lr=1e-3), mobility=False),
    "Adafactor": Case(lambda p: optim.Adafactor(p, lr=1e-2), mobility=False),
    "RMSprop, centered": Case(lambda p: optim.RMSprop(p, lr=1e-3, centered=True, momentum=0.5)),
    "Adagrad": Case(lambda p: optim.Adagrad(p, lr=1e-2)),
    "ASGD": Case(lambda p: optim.ASGD(p, lr=0.05)),
    "LAMB": Case(zoo.LAMB, mobility=False),  # ten biases are too few for their trust ratio to stand still
    "ADOPT": Case(zoo.ADOPT),
    "AdaMod": Case(zoo.AdaMod),
    "Prodigy": Case(lambda p: zoo.Prodigy(p, d=1e-4)),
    "Adan": Case(zoo.Adan, temperature=False),  # remembers longer than a window
    "schedule-free SGD": Case(lambda p: zoo.ScheduleFree(p, lr=0.05), temperature=False),
    "schedule-free AdamW": Case(zoo.ScheduleFreeAdamW, temperature=False),
    "Ranger": Case(zoo.Lookahead, temperature=False),
    "signSGD": Case(zoo.SignSGD, temperature=False),
    "Rprop": Case(lambda p: optim.Rprop(p, lr=1e-3), temperature=False),
    "hot SGLD": Case(lambda p: zoo.SGLD(p, lr=0.02, temperature=0.05), noise=0.05),
}


class Quadratic(pl.LightningModule):
    """A noisy quadratic of one linear layer."""

    def __init__(self, make: Callable[[Any], Optimizer]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.make, self.layer = make, nn.Linear(WEIGHTS // BIASES, BIASES).double()
        generator = torch.Generator().manual_seed(1)
        self.scales, self.curvatures = {}, {}
        for name, parameter in self.named_parameters():
            first, second = torch.rand(2, *parameter.shape, generator=generator, dtype=torch.float64)
            self.scales[name], self.curvatures[name] = 10 ** (0.5 * first - 0.25), 0.3 * 10 ** (second - 1.0)
        self.generator = torch.Generator().manual_seed(2)
        self.seen: list[list[Tensor]] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        loss = torch.zeros((), dtype=torch.float64)
        for name, parameter in self.named_parameters():
            noise = torch.randn(parameter.shape, generator=self.generator, dtype=torch.float64)
            loss = loss + (self.curvatures[name] * parameter.square() / 2 + self.scales[name] * noise * parameter).sum()
        return loss

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        self.seen.append([parameter.grad.clone() for parameter in self.parameters() if parameter.grad is not None])

    def configure_optimizers(self) -> Optimizer:
        return self.make(list(self.parameters()))


class Log(pl.Callback):
    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
        self.rows.append({name: float(value) for name, value in trainer.callback_metrics.items()})


def logged(case: Case) -> tuple[list[list[Tensor]], list[dict[str, float]], list[str]]:
    """Gradients of a run, values of its windows and warnings."""
    model, log = Quadratic(case.make), Log()
    options: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    monitor = TemperatureMonitor(window=WINDOW, steps_between_windows=0)
    trainer = pl.Trainer(
        max_steps=STEPS + AFTER, accelerator="cpu", enable_model_summary=False, callbacks=[monitor, log], **options
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(model, DataLoader(torch.zeros(STEPS + AFTER, 1), batch_size=1))
    return model.seen, log.rows[WINDOW - 1 : STEPS : WINDOW], [str(each.message) for each in caught]


def replayed(case: Case, gradients: list[list[Tensor]], kick: tuple[int, Tensor] | None = None) -> Tensor:
    """Displacements of the same optimizer by the same gradients, those of one step kicked, ``[steps, n]``."""
    model = Quadratic(case.make)
    optimizer, parameters, moves = model.configure_optimizers(), list(model.parameters()), []
    for step, shown in enumerate(gradients):
        kicks = torch.zeros(WEIGHTS + BIASES, dtype=torch.float64)
        if kick is not None and kick[0] == step:
            kicks = kick[1]
        before = [parameter.detach().clone() for parameter in parameters]
        for parameter, gradient, push in zip(parameters, shown, kicks.split([WEIGHTS, BIASES]), strict=True):
            parameter.grad = gradient + push.view_as(gradient)
        optimizer.step()
        moves.append(torch.cat([(p.detach() - q).view(-1) for p, q in zip(parameters, before, strict=True)]))
    return torch.stack(moves)


def true_temperature(case: Case, gradients: list[list[Tensor]], windows: Sequence[int]) -> float:
    """Half the mean of mobility times noise, by kicks at steps of these windows."""
    scales = torch.cat([scale.view(-1) for scale in Quadratic(case.make).scales.values()])
    base, generator, found = replayed(case, gradients), torch.Generator().manual_seed(3), []
    for step in (window * WINDOW + step for window in windows for step in range(5, WINDOW, 15)):
        # all coordinates at once: what one does to another (by a norm) has either sign
        signs = torch.randint(2, scales.shape, generator=generator) * 2.0 - 1.0
        kicks = 1e-4 * scales * signs
        mobilities = (base - replayed(case, gradients, (step, kicks)))[step:].sum(0) / kicks
        found.append(float((mobilities * scales.square()).mean()) / 2.0)
    return sum(found) / len(found)


def check(case: Case) -> None:
    gradients, rows, said = logged(case)
    late = rows[len(rows) // 2 :]
    mean = {name: sum(row[name] for row in late) / len(late) for name in late[0] if name.startswith("thermo/")}
    if not case.temperature:
        # in each window: one that has a value now and then has a wrong one
        assert all(math.isnan(row["thermo/temperature"]) for row in late)
        assert math.isnan(mean["thermo/einstein_temperature"])
        assert any(NOT_LINEAR in text or MEASURING in text for text in said)
        return
    known = [place for place in range(len(rows) // 2, len(rows)) if not math.isnan(rows[place]["thermo/temperature"])]
    assert known[-1] == len(rows) - 1
    truth = true_temperature(case, gradients, known)
    temperature = sum(rows[place]["thermo/temperature"] for place in known) / len(known)
    assert temperature == pytest.approx(truth, rel=0.1)
    excess = late[-1]["thermo/einstein_excess"]
    if case.mobility:
        # the last window: those before it may have had to measure first
        ratio = late[-1]["thermo/einstein_temperature"] / late[-1]["thermo/temperature"]
        assert ratio == pytest.approx(1.0 + case.noise / truth, rel=0.1)
        assert excess == pytest.approx(case.noise / truth, rel=0.12, abs=0.05)
    else:
        assert math.isnan(late[-1]["thermo/einstein_temperature"])


@pytest.mark.parametrize("name", CASES)
def test_within_a_tenth_of_the_answer_or_nan(name: str) -> None:
    check(CASES[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW_CASES)
def test_all_others_too(name: str) -> None:
    check(SLOW_CASES[name])
