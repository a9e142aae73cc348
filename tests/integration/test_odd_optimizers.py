"""Optimizers that follow no convention: values of those that can be followed, and a word on the others."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import odd_optimizers as odd
import pytest
import torch
from integration.by_hand import Steps, assert_logged, layers_of
from integration.models import BATCH_SIZE, RecordingLogger, Regression, TwoOptimizers, fit, loader, sgd
from torch import Tensor
from torch.optim import SGD, Adam

from thermo_callbacks import ThermoMonitor
from thermo_callbacks.callbacks.windows.optimizer_window import OptimizerWindow

WINDOW, BATCHES = 8, 32
# short windows, of optimizers whose mobility has to be measured first
pytestmark = pytest.mark.filterwarnings("ignore:.*(no value|no transition|noise_scale)")
_OF_CLASSES = ("einstein", "destruction", "noise_temperature", "entropy_stderr", "production", "second")
_OF_CLASSES += ("learning_rate", "sharpness", "stability", "entropy_rate")


def rows(module: Regression, preset: Any = "light", batches: int = BATCHES, **options: Any) -> RecordingLogger:
    return fit(module, ThermoMonitor(preset, window=WINDOW, steps_between_windows=0), batches, **options)


def values(logger: RecordingLogger) -> dict[str, float]:
    """What is logged, but for what depends on the mobility: a class that torch does not know does not tell it."""
    found = {f"{step} {tag}": value for step, row in logger.thermo_rows for tag, value in row.items()}
    return {tag: value for tag, value in found.items() if not any(part in tag for part in _OF_CLASSES)}


def assert_same_weights(first: Regression, second: Regression) -> None:
    for name, value in second.state_dict().items():
        assert torch.equal(first.state_dict()[name], value), name


ORDINARY: dict[str, Callable[[Any], Any]] = {
    "never called its base": odd.wrapped,
    "no hooks": odd.HookLess,
    "no hooks, hidden": lambda parameters: odd.HookLess(parameters, hidden=True),
    "foreign": odd.Foreign,
    "unset": odd.Unset,
}


@pytest.mark.parametrize("preset", ["light", "standard", "full"])
@pytest.mark.parametrize("name", ORDINARY)
def test_optimizers_that_do_what_sgd_does_read_like_it(name: str, preset: str) -> None:
    module, alone = Regression(optimizer=ORDINARY[name]), Regression(optimizer=ORDINARY[name])
    found, right = values(rows(module, preset)), values(rows(Regression(optimizer=sgd), preset))
    assert found.keys() == right.keys()
    assert len(found) > 50
    assert found == pytest.approx(right, rel=1e-9, nan_ok=True)
    fit(alone, None, BATCHES)
    assert_same_weights(module, alone)


class SteppedInside(Regression):
    """Runs the closure and steps the raw optimizer itself."""

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        optimizer_closure()
        optimizer.optimizer.step()


class MadeAnew(Regression):
    """Has its optimizers set up again when an epoch begins, as those who unfreeze layers do."""

    def on_train_epoch_start(self) -> None:
        if self.current_epoch:
            self.trainer.strategy.setup_optimizers(self.trainer)


@pytest.mark.parametrize("preset", ["light", "standard"])
@pytest.mark.parametrize("kind", [SteppedInside, MadeAnew])
def test_other_ways_to_an_ordinary_step(kind: type[Regression], preset: str) -> None:
    module, alone = kind(), kind()
    found = rows(module, preset, BATCHES // 2, max_epochs=2)
    right = rows(Regression(), preset, BATCHES // 2, max_epochs=2)
    assert len(right.thermo_rows) >= BATCHES // WINDOW
    assert repr(found.thermo_rows) == repr(right.thermo_rows)
    fit(alone, None, BATCHES // 2, max_epochs=2)
    assert_same_weights(module, alone)


class Switching(Regression):
    """Goes on with another optimizer in the second epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.both = [SGD(self.parameters(), lr=0.05), Adam(self.parameters(), lr=0.01)]

    def configure_optimizers(self) -> Any:
        return self.both[0]

    def on_train_epoch_start(self) -> None:
        self.trainer.strategy.optimizers = [self.both[self.current_epoch]]


def test_after_a_switch_the_heat_goes_on_and_the_momentum_is_the_new_one() -> None:
    logger = rows(Switching(), batches=WINDOW, max_epochs=2)
    by_hand = Switching()
    steps = {momentum: Steps(layers_of(by_hand), momentum) for momentum in (0.0, 0.9)}
    for kept, optimizer in zip(steps.values(), by_hand.both, strict=True):
        for batch in loader(WINDOW):
            loss = by_hand.loss(batch)
            kept.before(loss)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            kept.after()
    [(_, first), (_, second)] = logger.thermo_rows
    heat = 0.0
    for row, kept in zip((first, second), steps.values(), strict=True):
        heat += kept.heat(0, WINDOW)
        assert_logged(row, {"thermo/temperature": kept.temperature(0, WINDOW).item(), "thermo/heat": heat})


class EachBatch(Regression):
    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self.trainer.strategy.setup_optimizers(self.trainer)


class SharpnessAware(Regression):
    """Steps SAM by hand: by its two halves, or by its closure."""

    def __init__(self, *, closure: bool = False, own: bool = False) -> None:
        super().__init__()
        self.automatic_optimization = False
        self._closure, self._own = closure, own

    def configure_optimizers(self) -> Any:
        return odd.SAM(self.parameters(), own=self._own)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        optimizer: Any = self.optimizers()

        def closure() -> None:
            self.manual_backward(self.loss(batch))

        loss = self.loss(batch)
        self.manual_backward(loss)
        if self._closure:
            optimizer.step(closure=closure)
        else:
            optimizer.first_step()
            closure()
            optimizer.second_step()
        return loss


@pytest.mark.parametrize("closure", [False, True])
def test_sharpness_aware_steps_are_those_of_the_optimizer_inside(closure: bool) -> None:
    module, by_hand = SharpnessAware(closure=closure), Regression()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        logger = rows(module)
    assert not [each for each in caught if "ThermoMonitor" in str(each.message)]
    optimizer = odd.SAM(by_hand.parameters())
    steps = Steps(layers_of(by_hand))
    for batch in loader(BATCHES):
        loss = by_hand.loss(batch)
        loss.backward()
        start = [parameter.detach().clone() for parameter in by_hand.parameters()]
        optimizer.first_step()
        by_hand.loss(batch).backward()
        slopes = {parameter: parameter.grad for parameter in by_hand.parameters()}
        moved = [parameter.detach().clone() for parameter in by_hand.parameters()]
        with torch.no_grad():  # the step is the one from where it was, by the gradient elsewhere
            for parameter, before in zip(by_hand.parameters(), start, strict=True):
                parameter.copy_(before)
            steps.before_with(loss, slopes)
            for parameter, place in zip(by_hand.parameters(), moved, strict=True):
                parameter.copy_(place)
        optimizer.second_step()
        steps.after()
    assert len(logger.thermo_rows) == BATCHES // WINDOW
    for index, (_, row) in enumerate(logger.thermo_rows):
        expected = steps.record(index * WINDOW, (index + 1) * WINDOW, BATCH_SIZE)
        assert_logged(row, {"thermo/heat": expected["thermo/heat"]})
        if not math.isnan(row["thermo/temperature"]):
            assert_logged(row, {"thermo/temperature": expected["thermo/temperature"]})
    assert_same_weights(module, by_hand)


class Unknown(Regression):
    """Steps an optimizer that Lightning does not know of; one that it knows is there too, or none."""

    def __init__(self, *, too: bool) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.too, self.own = too, SGD(self.parameters(), lr=0.05)

    def configure_optimizers(self) -> Any:
        return SGD(self.parameters(), lr=0.05) if self.too else None

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = self.loss(batch)
        self.own.zero_grad()
        self.manual_backward(loss)
        self.own.step()
        return loss


class Frozen(Regression):
    """Its optimizer is called and does nothing."""

    def configure_optimizers(self) -> Any:
        optimizer: Any = odd.Foreign(self.parameters())
        optimizer.step = lambda closure: closure()
        return optimizer


_CALL = "Call step() of an optimizer from self.optimizers(), or of the raw one, once for each step"
SAID: dict[str, tuple[Callable[[], Regression], str]] = {
    "exchanged with each batch": (
        EachBatch,
        "ThermoMonitor sees other optimizers before a window has ended, again and again: a window of which the "
        "optimizer is exchanged begins afresh. Keep an optimizer for longer, or choose a smaller window",
    ),
    "SAM that steps by itself": (
        lambda: SharpnessAware(own=True),
        f"ThermoMonitor has no values of SAM: the weights of SAM move, and no step of it is seen. {_CALL}",
    ),
    "private beside another": (
        lambda: Unknown(too=True),
        f"ThermoMonitor has no values of SGD: the weights of SGD move, and no step of it is seen. {_CALL}",
    ),
    "private": (
        lambda: Unknown(too=False),
        "ThermoMonitor has no values: the weights move, and no optimizer from configure_optimizers() trains them. "
        "Return the optimizer there, and call step() of the one from self.optimizers()",
    ),
    "does nothing": (
        Frozen,
        "ThermoMonitor has no values of Foreign: steps of Foreign are announced, and its weights stay where they are. "
        f"{_CALL}",
    ),
}


@pytest.mark.filterwarnings("ignore:.*returned `None`")
@pytest.mark.parametrize("name", SAID)
def test_what_cannot_be_followed_is_said_once(name: str) -> None:
    make, text = SAID[name]
    with pytest.warns(UserWarning, match="ThermoMonitor") as caught:
        logger = rows(make())
    assert [str(each.message) for each in caught if "ThermoMonitor" in str(each.message)] == [text]
    assert not any("thermo/temperature" in row for _, row in logger.thermo_rows)


def test_an_odd_optimizer_costs_the_other_one_nothing() -> None:
    found = values(rows(TwoOptimizers(odd.wrapped, sgd)))
    right = values(rows(TwoOptimizers(sgd, sgd)))
    found, right = ({tag: value for tag, value in each.items() if "@" not in tag} for each in (found, right))
    assert len(found) > 50
    assert found == pytest.approx(right, rel=1e-9, nan_ok=True)


@pytest.mark.parametrize("method", ["read_before", "read_after", "close", "__init__"])
def test_a_fault_with_one_optimizer_leaves_out_that_one(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    original, module = getattr(OptimizerWindow, method), TwoOptimizers(sgd, sgd)

    def fault(self: OptimizerWindow, *args: Any, **kwargs: Any) -> Any:
        optimizer = args[0] if method == "__init__" else self.optimizer
        if optimizer.param_groups[0]["params"][0] is module.net[0].weight:
            raise ArithmeticError("no more numbers")
        return original(self, *args, **kwargs)

    monkeypatch.setattr(OptimizerWindow, method, fault)
    with pytest.warns(UserWarning, match="ThermoMonitor") as caught:
        logger = rows(module)
    [text] = [str(each.message) for each in caught if "ThermoMonitor" in str(each.message)]
    assert text.startswith("ThermoMonitor leaves out SGD ('net.0') for the rest of this run: ArithmeticError while ")
    assert "no more numbers. All else goes on. It was raised in test_odd_optimizers.py, line " in text
    assert len(logger.thermo_rows) >= BATCHES // WINDOW - 1
    right = rows(TwoOptimizers(sgd, sgd)).thermo_rows
    for (_, row), (_, other) in zip(logger.thermo_rows[-2:], right[-2:], strict=True):
        assert "thermo_temperature/net.0" not in row
        assert row["thermo_temperature/net.2"] == pytest.approx(other["thermo_temperature/net.2"], nan_ok=True)
