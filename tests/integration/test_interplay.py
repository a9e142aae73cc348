"""Exceptions, several fits, copies, several monitors, both namespaces, the command line, and faults inside."""

from __future__ import annotations

import copy
import pickle
import sys
import warnings
from typing import Any

import lightning.pytorch
import pytest
import pytorch_lightning
import torch
from integration.models import INPUTS, RecordingLogger, Regression, TwoOptimizers, fit, loader, quiet_trainer
from lightning.pytorch import Callback
from lightning.pytorch.cli import LightningCLI
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.optim import SGD

from thermo_callbacks import TemperatureMonitor, ThermoMonitor
from thermo_callbacks.probes.parameters.coordinates import CoordinateProbe

# windows of 8 noisy steps show no signal now and then
pytestmark = pytest.mark.filterwarnings("ignore:.*noise_scale")


def reference(batches: int, **options: Any) -> list[Any]:
    """Rows of a run that nothing happens to."""
    return fit(Regression(), ThermoMonitor("light", window=8, steps_between_windows=0), batches, **options).thermo_rows


def hooks_on(trainer: Any) -> int:
    """Hooks that are left on a Trainer's optimizers."""
    return sum(
        len(optimizer._optimizer_step_post_hooks) + len(optimizer._optimizer_step_pre_hooks)
        for optimizer in trainer.optimizers
    )


class Interrupted(Regression):
    """Something happens in batch 10."""

    def __init__(self, exception: type[BaseException]) -> None:
        super().__init__()
        self._exception = exception

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        if batch_idx == 10:
            raise self._exception("in the middle")
        return self.loss(batch)


class InterruptedTwo(TwoOptimizers):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if batch_idx == 10:
            raise RuntimeError("in the middle")
        return super().training_step(batch, batch_idx)


@pytest.mark.parametrize(
    ("module", "ends"),
    [
        (Interrupted(RuntimeError), RuntimeError),
        (Interrupted(KeyboardInterrupt), SystemExit),  # Lightning's way to end after Ctrl-C
        (InterruptedTwo(), RuntimeError),
    ],
    ids=["exception", "Ctrl-C", "exception, two optimizers"],
)
def test_nothing_stays_on_the_optimizers_after_an_exception(module: Regression, ends: type[BaseException]) -> None:
    monitor, logger = ThermoMonitor("light", window=8, steps_between_windows=0), RecordingLogger()
    trainer = quiet_trainer(callbacks=monitor, logger=logger)
    with pytest.raises(ends):
        trainer.fit(module, loader(30))
    assert len(logger.thermo_rows) == 1
    assert hooks_on(trainer) == 0
    assert repr(fit(Regression(), monitor, 24).thermo_rows) == repr(reference(24))  # ready for another run


def test_nothing_stays_on_the_optimizers_after_a_fit() -> None:
    trainer = quiet_trainer(callbacks=ThermoMonitor("light", window=8, steps_between_windows=0))
    trainer.fit(TwoOptimizers(), loader(20))
    assert hooks_on(trainer) == 0


def test_a_fit_that_goes_on_keeps_its_statistics() -> None:
    monitor, logger, module = ThermoMonitor("light", window=8, steps_between_windows=0), RecordingLogger(), Regression()
    trainer = quiet_trainer(callbacks=monitor, logger=logger)
    trainer.fit(module, loader(12))
    trainer.fit_loop.max_epochs = 2
    trainer.fit(module, loader(12))
    assert repr(logger.thermo_rows) == repr(reference(12, max_epochs=2))
    assert [step for step, _ in logger.thermo_rows] == [7, 15, 23]


def test_a_new_trainer_starts_afresh() -> None:
    monitor = ThermoMonitor("light", window=8, steps_between_windows=0)
    first = fit(Regression(), monitor, 12).thermo_rows
    second = fit(Regression(), monitor, 12).thermo_rows
    assert repr(first) == repr(second) == repr(reference(12))


COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda monitor: pickle.loads(pickle.dumps(monitor))}


class CopyDuring(Callback):
    """Copies the monitor from inside hooks: between two steps, and between a step's gradient and its end."""

    def __init__(self, monitor: ThermoMonitor, duplicate: Any) -> None:
        self._monitor, self._duplicate, self.copies = monitor, duplicate, []

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        if trainer.global_step == 10:
            self.copies.append(self._duplicate(self._monitor))

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 12:
            self.copies.append(self._duplicate(self._monitor))


@pytest.mark.parametrize("name", COPIES)
def test_copies_before_during_and_after_a_fit(name: str) -> None:
    duplicate = COPIES[name]
    expected = repr(reference(24))
    monitor = duplicate(ThermoMonitor("light", window=8, steps_between_windows=0))
    copying = CopyDuring(monitor, duplicate)
    assert repr(fit(Regression(), [monitor, copying], 24).thermo_rows) == expected
    assert len(copying.copies) == 2
    for other in (*copying.copies, duplicate(monitor)):
        content = pickle.dumps(other)  # Lightning binds the module's log to callbacks, and that the Trainer
        assert not any(name in content for name in (b"Trainer", b"Regression"))
        assert other.latest().keys() == monitor.latest().keys()
        assert repr(fit(Regression(), other, 24).thermo_rows) == expected


def test_two_monitors_do_not_notice_each_other() -> None:
    one, other, third = (
        ThermoMonitor("light", window=8, steps_between_windows=0),
        ThermoMonitor("light", window=8, steps_between_windows=3),
        TemperatureMonitor(window=12),
    )
    logger = fit(Regression(), [one, other, third], 30)
    for lonely in (
        ThermoMonitor("light", window=8, steps_between_windows=0),
        ThermoMonitor("light", window=8, steps_between_windows=3),
        TemperatureMonitor(window=12),
    ):
        for row in fit(Regression(), lonely, 30).thermo_rows:
            assert repr(row) in map(repr, logger.thermo_rows)
    assert len(logger.thermo_rows) == 3 + 3 + 1
    assert other.latest() != one.latest()


@pytest.mark.parametrize("as_list", [False, True], ids=["single", "list"])
@pytest.mark.parametrize("namespace", [lightning.pytorch, pytorch_lightning], ids=lambda module: module.__name__)
def test_both_namespaces(namespace: Any, as_list: bool, tmp_path: Any) -> None:
    class Line(namespace.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Linear(INPUTS, 1, dtype=torch.float64)
            nn.init.zeros_(self.net.weight)
            nn.init.zeros_(self.net.bias)

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return mse_loss(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return SGD(self.parameters(), lr=0.05)

    options: dict[str, Any] = {"accelerator": "cpu", "max_epochs": 1, "enable_progress_bar": False}
    options |= {"enable_checkpointing": False, "enable_model_summary": False, "log_every_n_steps": 1}
    logger = namespace.loggers.TensorBoardLogger(tmp_path)
    monitor = ThermoMonitor("light", window=8, steps_between_windows=0)
    trainer = namespace.Trainer(callbacks=[monitor] if as_list else monitor, logger=logger, **options)
    assert isinstance(monitor, namespace.Callback)
    trainer.fit(Line(), loader(16))
    assert trainer.callback_metrics["thermo/temperature"] > 0.0
    path = tmp_path / "line.ckpt"
    trainer.save_checkpoint(path)
    assert any("ThermoMonitor" in key for key in torch.load(path, weights_only=True)["callbacks"])


@pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning")  # Lightning's own call
def test_the_command_line_makes_monitors(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train"])
    config = tmp_path / "config.yaml"
    config.write_text(
        "trainer:\n  callbacks:\n"
        "    - class_path: thermo_callbacks.ThermoMonitor\n"
        "      init_args: {preset: light, window: 20, steps_between_windows: 5, sample: null,"
        " layers: ['net.*'], seed: 3}\n"
        "    - class_path: thermo_callbacks.TemperatureMonitor\n"
    )
    more = ["--trainer.callbacks+=thermo_callbacks.ThermoMonitor", "--trainer.callbacks.window=30"]
    args = [f"--config={config}", *more]
    cli = LightningCLI(Regression, seed_everything_default=False, run=False, save_config_callback=None, args=args)
    first, second, third = (c for c in cli.trainer.callbacks if isinstance(c, (ThermoMonitor, TemperatureMonitor)))
    assert (first.window, first.steps_between_windows, first.sample, first.layers, first.seed) == (
        20,
        5,
        None,
        ["net.*"],
        3,
    )
    assert isinstance(second, TemperatureMonitor)
    assert (third.window, third.steps_between_windows, third.sample, third.layers) == (30, None, 4096, None)


@pytest.mark.parametrize("method", ["__init__", "before_step", "after_step", "coordinates"])
def test_a_fault_in_the_probe_is_one_warning_and_training_goes_on(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*args: Any, **kwargs: Any) -> None:
        raise ArithmeticError("no more numbers")

    monkeypatch.setattr(CoordinateProbe, method, fault)
    module, untouched = TwoOptimizers(), TwoOptimizers()
    logger = RecordingLogger()
    trainer = quiet_trainer(callbacks=ThermoMonitor("light", window=8, steps_between_windows=0), logger=logger)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(module, loader(20))
    *first, message = [str(warning.message) for warning in caught if "ThermoMonitor" in str(warning.message)]
    if method != "__init__":  # the first optimizer is left out, and then there is no other
        [left_out] = first
        assert left_out.startswith("ThermoMonitor leaves out SGD ('net.0') for the rest of this run: ArithmeticError ")
        assert "no more numbers. All else goes on. It was raised in test_interplay.py, line " in left_out
    assert message.startswith("ThermoMonitor is switched off for the rest of this run: ArithmeticError while ")
    assert "no more numbers. Training goes on unchanged. It was raised in test_interplay.py, line " in message
    assert logger.thermo_rows == []
    assert hooks_on(trainer) == 0
    fit(untouched, [], 20)
    assert all(torch.equal(value, untouched.state_dict()[name]) for name, value in module.state_dict().items())


def test_a_fault_while_a_checkpoint_is_written_is_one_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    def fault(*args: Any, **kwargs: Any) -> None:
        raise ArithmeticError("no more numbers")

    monkeypatch.setattr(CoordinateProbe, "missing_counts", fault)
    trainer = quiet_trainer(callbacks=ThermoMonitor("light", window=8, steps_between_windows=0), logger=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(Regression(), loader(20))
        trainer.save_checkpoint(tmp_path / "last.ckpt")
    [message] = [str(warning.message) for warning in caught if "ThermoMonitor" in str(warning.message)]
    assert "ArithmeticError while copying its state: no more numbers" in message
    assert hooks_on(trainer) == 0
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 20


def test_a_fault_with_the_second_optimizer_leaves_the_first_one_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    original, calls = CoordinateProbe.__init__, []

    def fault(self: CoordinateProbe, *args: Any, **kwargs: Any) -> None:
        calls.append(args)
        if len(calls) == 2:
            raise ArithmeticError("no more numbers")
        original(self, *args, **kwargs)

    monkeypatch.setattr(CoordinateProbe, "__init__", fault)
    monitor = ThermoMonitor("light", window=8, steps_between_windows=0)
    trainer = quiet_trainer(callbacks=monitor)
    with pytest.warns(UserWarning, match="leaves out SGD .*ArithmeticError while looking at the model"):
        trainer.fit(TwoOptimizers(), loader(20))
    assert "thermo_temperature/net.0" in monitor.latest()
    assert "thermo_temperature/net.2" not in monitor.latest()
    assert hooks_on(trainer) == 0


def test_no_warning_in_a_healthy_run() -> None:
    """Enough steps, and a slope to go down."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(Regression(optimizer=lambda p: SGD(p, lr=1e-4)), ThermoMonitor("light", window=100), 240)
    assert [str(warning.message) for warning in caught if "thermo" in str(warning.message).lower()] == []
