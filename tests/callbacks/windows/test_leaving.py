"""A monitor that is taken out of the Trainer in mid-run takes its hooks along."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from integration.models import Regression, TwoOptimizers, loader, momentum_sgd, quiet_trainer
from lightning.pytorch import Callback
from torch.nn.modules import module as modules
from torch.optim import optimizer as optimizers

from thermo_callbacks import TemperatureMonitor, ThermoMonitor

pytestmark = pytest.mark.filterwarnings("ignore:.*no value", "ignore:.*no transition temperature", "ignore:.*by hand")


def hooks(trainer: Any) -> list[int]:
    """Hooks of the optimizers, and what is watched everywhere."""
    own = [
        len(kind) for o in trainer.optimizers for kind in (o._optimizer_step_post_hooks, o._optimizer_step_pre_hooks)
    ]
    everywhere = (
        optimizers._global_optimizer_post_hooks,
        modules._global_forward_hooks,
        modules._global_forward_pre_hooks,
    )
    return [*own, *map(len, everywhere), torch._C._len_torch_function_stack()]


class Removing(Callback):
    """Takes all monitors out at a hook of a batch, and counts the hooks that are left one batch later."""

    def __init__(self, hook: str, batch: int) -> None:
        self._batch, self.left, self.seen = batch, [], 0
        setattr(self, hook, self._remove)

    def _remove(self, trainer: Any, *_: Any) -> None:
        if trainer.fit_loop.epoch_loop.batch_idx == self._batch:
            trainer.callbacks = [each for each in trainer.callbacks if not isinstance(each, ThermoMonitor)]

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == self._batch + 1:
            self.left = hooks(trainer)


HOOKS = ["on_train_batch_start", "on_before_backward", "on_before_optimizer_step", "on_after_backward"]


@pytest.mark.parametrize("batch", [10, 11])  # an extra pass begins with one of them, and ends with the other
@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("make", [lambda: Regression(None, momentum_sgd), TwoOptimizers], ids=["automatic", "by hand"])
def test_the_hooks_go_too(make: Any, hook: str, batch: int) -> None:
    def weights(*callbacks: Any) -> list[torch.Tensor]:
        torch.manual_seed(0)
        module = make()
        trainer = quiet_trainer(callbacks=list(callbacks))
        trainer.fit(module, loader(14))
        return list(module.state_dict().values())

    removing, monitor = Removing(hook, batch), ThermoMonitor("full", 8, curvature_every_n_steps=2)
    watched = weights(monitor, removing)
    assert removing.left
    assert not any(removing.left)
    assert monitor._session is monitor._extra_passes is None
    assert all(map(torch.equal, watched, weights()))
    assert monitor.latest()


def test_other_monitors_stay() -> None:
    def values(*others: Any) -> dict[str, float]:
        stays = TemperatureMonitor(window=8, steps_between_windows=0)
        quiet_trainer(callbacks=[*others[:1], stays, *others[1:]]).fit(Regression(), loader(20))
        return stays.latest()

    removing = Removing("on_train_batch_start", 3)
    assert values(ThermoMonitor("light", 8), removing) == values() != {}
    assert removing.left[:2] == [1, 1]


def test_a_monitor_that_another_callback_calls_is_not_taken_for_one_that_was_removed() -> None:
    class Holding(Callback):
        def __init__(self) -> None:
            self.monitor = TemperatureMonitor(window=8)

    for name in ("setup", "on_fit_start", "on_train_start", "on_train_batch_start", "on_before_optimizer_step"):
        setattr(
            Holding, name, lambda self, *arguments, name=name, **words: getattr(self.monitor, name)(*arguments, **words)
        )
    for name in ("on_after_backward", "on_train_batch_end", "on_train_end", "teardown"):
        setattr(
            Holding, name, lambda self, *arguments, name=name, **words: getattr(self.monitor, name)(*arguments, **words)
        )
    holding = Holding()
    quiet_trainer(callbacks=holding).fit(Regression(), loader(20))
    assert "thermo/temperature" in holding.monitor.latest()
