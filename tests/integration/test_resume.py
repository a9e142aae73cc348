"""A run that is interrupted and resumed from a checkpoint logs what the uninterrupted run does."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from integration.by_hand import Steps, assert_logged, layers_of, train
from integration.models import (
    BATCH_SIZE,
    MakeOptimizer,
    RecordingLogger,
    Regression,
    loader,
    momentum_sgd,
    quiet_trainer,
    sgd,
)
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor
from torch.optim import SGD

from thermo_callbacks import TemperatureMonitor, ThermoMonitor

# windows of 8 noisy steps show no signal now and then
pytestmark = pytest.mark.filterwarnings("ignore:.*noise_scale")
BATCHES = 40


class ResumableLoader:
    """Goes on where it was when the checkpoint was written."""

    def __init__(self, batches: int = BATCHES) -> None:
        self._batches = list(loader(batches))
        self._position = 0
        self.batch_size = BATCH_SIZE

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Any]:
        self._position %= len(self._batches)
        while self._position < len(self._batches):
            self._position += 1
            yield self._batches[self._position - 1]

    def state_dict(self) -> dict[str, int]:
        return {"position": self._position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._position = state["position"]


class SaveAfter(Callback):
    """Saves a checkpoint after some batch, in the middle of an accumulation if it so happens."""

    def __init__(self, batch: int, path: Any) -> None:
        self._batch, self._path = batch, path

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == self._batch:
            trainer.save_checkpoint(self._path)


def run(module: Regression, *callbacks: Any, checkpoint: Any = None, **options: Any) -> RecordingLogger:
    logger = RecordingLogger()
    trainer = quiet_trainer(callbacks=list(callbacks), logger=logger, **options)
    trainer.fit(module, ResumableLoader(), ckpt_path=checkpoint)
    return logger


MOMENTS = {
    "inside the first window": (3, 5),
    "after a window": (8, 0),
    "inside a later window": (12, 0),
    "at rest": (10, 5),
    "as rest ends": (13, 5),
    "inside a window after rest": (17, 5),
    "with growing rest": (19, None),
}


@pytest.mark.filterwarnings("ignore:Checkpoint directory")
@pytest.mark.parametrize("make", [sgd, momentum_sgd], ids=["no momentum", "momentum"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_later_rows_are_identical(moment: str, make: MakeOptimizer, tmp_path: Any) -> None:
    after, rest = MOMENTS[moment]

    def run_with(monitor: ThermoMonitor, checkpoint: Any = None) -> RecordingLogger:
        saving = ModelCheckpoint(tmp_path, every_n_train_steps=after, save_top_k=-1, filename="{step}")
        module = Regression(optimizer=make)
        return run(module, monitor, saving, checkpoint=checkpoint, enable_checkpointing=True)

    monitor, resumed_monitor = (
        ThermoMonitor("light", window=8, steps_between_windows=rest, sample=16) for _ in range(2)
    )
    complete = run_with(monitor)
    resumed = run_with(resumed_monitor, tmp_path / f"step={after}.ckpt")
    later = [(step, row) for step, row in complete.thermo_rows if step is not None and step >= after]
    assert later
    assert repr(resumed.thermo_rows) == repr(later)
    assert repr(resumed_monitor.latest()) == repr(monitor.latest())
    histories = [one._publisher.state_dict()["histories"] for one in (monitor, resumed_monitor)]
    assert repr(histories[0]) == repr(histories[1])


# before the first extra pass, between its two batches, between extra passes, after some
EXTRA_PASSES = [
    after if after in {3, 5, 6, 9, 19} else pytest.param(after, marks=pytest.mark.slow) for after in range(1, 26)
]


@pytest.mark.filterwarnings("ignore:Checkpoint directory", "ignore:.*no value", "ignore:.*no transition temperature")
@pytest.mark.parametrize("make", [sgd, momentum_sgd], ids=["no momentum", "momentum"])
@pytest.mark.parametrize("after", EXTRA_PASSES)
def test_later_looks_are_identical(after: int, make: MakeOptimizer, tmp_path: Any) -> None:
    def run_with(checkpoint: Any = None) -> RecordingLogger:
        saving = ModelCheckpoint(tmp_path, every_n_train_steps=after, save_top_k=-1, filename="{step}")
        monitor = ThermoMonitor("full", window=8, curvature_every_n_steps=4)
        return run(Regression(optimizer=make), monitor, saving, checkpoint=checkpoint, enable_checkpointing=True)

    complete = run_with()
    resumed = run_with(tmp_path / f"step={after}.ckpt")
    later = [(step, row) for step, row in complete.thermo_rows if step is not None and step >= after]
    assert any("thermo/laplacian" in row for _, row in later)
    assert repr(resumed.thermo_rows) == repr(later)


class Dropping(Regression):
    """Draws from all global streams in each step: what was drawn in the step that is measured is drawn again."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        random.seed(batch_idx)
        np.random.seed(batch_idx)  # noqa: NPY002  the global stream is the point
        noise = random.random() + float(np.random.rand()) + torch.nn.functional.dropout(batch[0])  # noqa: NPY002
        return self.loss((batch[0] + 0.1 * noise, batch[1]))


class Seeding(Callback):
    """Begins the stream anew before each batch, as no checkpoint of Lightning's does."""

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        torch.manual_seed(batch_idx)


def made_in(checkpoint: Any) -> dict[str, Any]:
    """What a checkpoint holds of a step whose extra pass is under way."""
    states = torch.load(checkpoint, weights_only=True)["callbacks"]
    return next(state for name, state in states.items() if "ThermoMonitor" in name)["extra_passes"]["made"]


class Pair:
    """A batch of a class that torch does not load with ``weights_only``."""

    def __init__(self, batch: Any) -> None:
        self.batch = batch


class PairLoader(ResumableLoader):
    def __iter__(self) -> Iterator[Any]:
        return map(Pair, super().__iter__())


class OfPairs(Regression):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return self.loss(batch.batch)


@pytest.mark.filterwarnings("ignore:.*no value", "ignore:.*no transition temperature")
@pytest.mark.parametrize("after", [4, 8])  # steps 4 and 8 are measured, and the checkpoints written right behind them
def test_a_run_that_is_killed_within_an_extra_pass_has_all_its_rows(after: int, tmp_path: Any) -> None:
    def run_with(checkpoint: Any = None) -> RecordingLogger:
        monitor = ThermoMonitor("full", window=8, curvature_every_n_steps=4)
        saving = SaveAfter(after, tmp_path / "within.ckpt")
        return run(Dropping(), Seeding(), monitor, saving, checkpoint=checkpoint)

    complete = run_with()
    made = made_in(tmp_path / "within.ckpt")
    assert [kept["batch_idx"] for kept in made["batches"]] == [after]
    resumed = run_with(tmp_path / "within.ckpt")
    later = [(step, row) for step, row in complete.thermo_rows if step is not None and step > after]
    assert later[0][0] == after + 1
    assert "thermo/laplacian" in later[0][1]
    assert repr(resumed.thermo_rows) == repr(later)


@pytest.mark.filterwarnings("ignore:.*no value", "ignore:.*no transition temperature")
def test_a_batch_that_no_checkpoint_holds_has_its_extra_pass_taken_again(tmp_path: Any) -> None:
    def run_with(checkpoint: Any = None) -> RecordingLogger:
        logger, monitor = RecordingLogger(), ThermoMonitor("full", window=8, curvature_every_n_steps=4)
        trainer = quiet_trainer(callbacks=[monitor, SaveAfter(4, tmp_path / "pairs.ckpt")], logger=logger)
        trainer.fit(OfPairs(), PairLoader(), ckpt_path=checkpoint)
        return logger

    run_with()
    assert made_in(tmp_path / "pairs.ckpt") == {}
    first = next(step for step, row in run_with(tmp_path / "pairs.ckpt").thermo_rows if "thermo/laplacian" in row)
    assert first == 6


EPOCHS = 8  # 320 steps: windows of 8, 13 steps from one to the next


class SaveAtStep(Callback):
    """Saves a checkpoint once so many steps are done."""

    def __init__(self, step: int, path: Any) -> None:
        self._step, self._path = step, path

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == self._step:
            trainer.save_checkpoint(self._path)


@pytest.mark.filterwarnings("ignore:.*NaN", "ignore:.*no transition temperature")
@pytest.mark.parametrize("after", [3, 10, 34, 150, 311])  # in windows, between them, between extra passes
def test_a_planned_run_goes_on_with_its_plan(after: int, tmp_path: Any) -> None:
    path = tmp_path / "planned.ckpt"
    monitor, resumed_monitor = ThermoMonitor(sample=16), ThermoMonitor(sample=16)
    complete = run(Regression(), monitor, SaveAtStep(after, path), max_epochs=EPOCHS)
    resumed = run(Regression(), resumed_monitor, checkpoint=path, max_epochs=EPOCHS)
    later = [(step, row) for step, row in complete.thermo_rows if step is not None and step >= after]
    assert later[-1][0] == 40 * EPOCHS - 1
    assert "thermo/temperature" in later[-1][1]
    assert repr(resumed.thermo_rows) == repr(later)
    assert repr(resumed_monitor.latest()) == repr(monitor.latest())


@pytest.mark.filterwarnings("ignore:.*NaN", "ignore:.*no transition temperature")
def test_a_planned_run_that_is_made_longer_has_windows_up_to_its_new_end(tmp_path: Any) -> None:
    path = tmp_path / "end.ckpt"
    trainer = quiet_trainer(callbacks=ThermoMonitor(), max_epochs=3)
    trainer.fit(Regression(), ResumableLoader())
    trainer.save_checkpoint(path)
    longer = run(Regression(), ThermoMonitor(), checkpoint=path, max_epochs=6)
    windows = [step for step, row in longer.thermo_rows if step is not None and "thermo/temperature" in row]
    assert (len(windows), windows[-1]) == (15, 239)
    passes = [step for step, row in longer.thermo_rows if step is not None and "thermo/laplacian" in row]
    assert (len(passes), passes[-1]) == (10, 239)


@pytest.mark.filterwarnings("ignore:.*NaN", "ignore:.*no transition temperature")
def test_a_run_of_earlier_defaults_goes_on_as_it_was(tmp_path: Any) -> None:
    """Windows of 50 steps and extra passes 200 steps apart, under the key that they had."""

    def former() -> ThermoMonitor:
        return ThermoMonitor(window=50, curvature_every_n_steps=200)

    path = tmp_path / "former.ckpt"
    complete = run(Regression(), former(), max_epochs=EPOCHS)
    run(Regression(), former(), SaveAfter(30, path), max_epochs=3)  # saved last after 111 steps, within a window
    checkpoint = torch.load(path, weights_only=True)
    [state] = [state for key, state in checkpoint["callbacks"].items() if "thermo_callbacks" in key]
    for name in ("plan", "left", "undone"):
        del state["windows"][0][name]
    for name in ("every", "planned"):
        del state["extra_passes"][name]
    torch.save(checkpoint, path)
    with pytest.warns(UserWarning, match="callbacks used to create the checkpoint need to be provided"):
        resumed = run(Regression(), ThermoMonitor(), checkpoint=path, max_epochs=EPOCHS)
    later = [(step, row) for step, row in complete.thermo_rows if step is not None and step >= 111]
    assert [step for step, _ in later] == [149, 200, 201]
    # and the window that its end cuts short is closed, as with all defaults
    assert repr(resumed.thermo_rows[:3]) == repr(later)
    assert [step for step, _ in resumed.thermo_rows[3:]] == [319]


@pytest.mark.parametrize("window", [8, 60], ids=["several windows", "less than one"])
def test_a_finished_run_can_be_made_longer(window: int, tmp_path: Any) -> None:
    """A window that the end of the run cut short goes on as if it had not been."""
    path = tmp_path / "end.ckpt"
    module, trainer = (
        Regression(),
        quiet_trainer(callbacks=ThermoMonitor("light", window=window, steps_between_windows=0)),
    )
    trainer.fit(module, ResumableLoader())
    trainer.save_checkpoint(path)
    longer = run(
        Regression(), ThermoMonitor("light", window=window, steps_between_windows=0), checkpoint=path, max_epochs=3
    )
    complete = run(Regression(), ThermoMonitor("light", window=window, steps_between_windows=0), max_epochs=3)
    later = [(step, row) for step, row in complete.thermo_rows if step is not None and step >= BATCHES]
    assert len(later) == (10 if window == 8 else 2)
    assert repr(longer.thermo_rows) == repr(later)


def test_a_skipped_step_before_the_checkpoint_is_not_forgotten(tmp_path: Any) -> None:
    class Overflow(Regression):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return self.loss(batch) * (torch.inf if batch_idx == 4 else 1.0)

    path = tmp_path / "after.ckpt"
    plugin = MixedPrecision("16-mixed", "cpu")
    complete = run(
        Overflow(), ThermoMonitor("light", window=8, steps_between_windows=0), SaveAfter(4, path), plugins=[plugin]
    )
    plugin = MixedPrecision("16-mixed", "cpu")
    resumed = run(
        Overflow(), ThermoMonitor("light", window=8, steps_between_windows=0), checkpoint=path, plugins=[plugin]
    )
    assert repr(resumed.thermo_rows) == repr(complete.thermo_rows)
    assert resumed.series("thermo/skipped_steps") == [1.0] * 4


def test_checkpoint_inside_an_accumulation_goes_on_with_the_batches_that_are_left(tmp_path: Any) -> None:
    """The gradient of the batches before it is not in a checkpoint: the first step is that of the others."""
    path = tmp_path / "inside.ckpt"
    run(
        Regression(),
        ThermoMonitor("light", window=8, steps_between_windows=0),
        SaveAfter(9, path),
        accumulate_grad_batches=3,
    )
    resumed = run(
        Regression(),
        ThermoMonitor("light", window=8, steps_between_windows=0),
        checkpoint=path,
        accumulate_grad_batches=3,
    )
    batches = list(loader(BATCHES))
    groups = [batches[start : start + 3] for start in range(0, BATCHES, 3)]
    groups[3] = groups[3][1:]  # batch 9 is lost
    module = Regression()
    steps = train(Steps(layers_of(module)), sgd(module.parameters()), module.loss, groups, accumulate=3)
    [(step, row)] = resumed.thermo_rows
    assert step == 7
    assert_logged(row, steps.record(0, 8, 3 * BATCH_SIZE))


@pytest.mark.filterwarnings("ignore:.*no value", "ignore:.*no transition temperature")
def test_checkpoint_holds_nothing_that_torch_refuses_to_load(tmp_path: Any) -> None:
    path = tmp_path / "small.ckpt"
    monitor = ThermoMonitor("full", window=8, steps_between_windows=0, curvature_every_n_steps=6)
    run(Regression(), monitor, TemperatureMonitor(window=9), SaveAfter(20, path))
    callbacks = torch.load(path, weights_only=True)["callbacks"]
    keys = [key for key in callbacks if "thermo_callbacks" in key]
    assert keys == [
        "thermo_callbacks.ThermoMonitor{'preset': 'full', 'window': 8, 'rest': 0, 'sample': 4096, "
        "'curvature_every_n_steps': 6, 'layers': None, 'seed': 0}",
        "thermo_callbacks.TemperatureMonitor{'window': 9, 'rest': None, 'sample': 4096, 'layers': None, 'seed': 0}",
    ]
    assert all(callbacks[key]["version"] == 3 for key in keys)
    assert len(callbacks[keys[0]]["extra_passes"]["collectors"]) == 5


class Freezable(Regression):
    """Its optimizer holds frozen parameters as well."""

    def configure_optimizers(self) -> Any:
        return SGD(self.parameters(), lr=0.05)


def resume_warnings(module: Regression, monitor: ThermoMonitor, path: Any) -> tuple[list[str], RecordingLogger]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        logger = run(module, monitor, checkpoint=path)
    harmless = ("validation_step", "many workers", "treespec", "noise_scale")
    messages = [str(warning.message) for warning in caught]
    return [message for message in messages if not any(word in message for word in harmless)], logger


@pytest.mark.parametrize("frozen", ["net.0", "net.2", "net.0.bias"])
def test_resuming_with_other_layers_says_so_once_and_starts_afresh(frozen: str, tmp_path: Any) -> None:
    path = tmp_path / "other.ckpt"
    run(Freezable(), ThermoMonitor("light", window=8, steps_between_windows=0), SaveAfter(11, path))
    module = Freezable()
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(not name.startswith(frozen))
    messages, logger = resume_warnings(module, ThermoMonitor("light", window=8, steps_between_windows=0), path)
    assert messages == [
        "ThermoMonitor found statistics of other layers or optimizers in the checkpoint: those that don't fit start "
        "afresh. Give it the model and arguments of the run that wrote the checkpoint to go on."
    ]
    assert [step for step, _ in logger.thermo_rows] == [19, 27, 35]
    assert all(f"thermo_temperature/{frozen}" not in row for _, row in logger.thermo_rows)


def test_resuming_with_another_sample_is_another_monitor(tmp_path: Any) -> None:
    path = tmp_path / "sample.ckpt"
    run(Regression(), ThermoMonitor("light", window=8, steps_between_windows=0), SaveAfter(11, path))
    messages, logger = resume_warnings(
        Regression(), ThermoMonitor("light", window=8, steps_between_windows=0, sample=9), path
    )
    assert len(messages) == 1
    assert "callbacks used to create the checkpoint need to be provided" in messages[0]
    assert [step for step, _ in logger.thermo_rows] == [19, 27, 35]


def test_resuming_from_a_newer_format_switches_off_with_one_warning(tmp_path: Any) -> None:
    path = tmp_path / "newer.ckpt"
    run(Regression(), ThermoMonitor("light", window=8, steps_between_windows=0), SaveAfter(11, path))
    checkpoint = torch.load(path, weights_only=True)
    for key, state in checkpoint["callbacks"].items():
        if "thermo_callbacks" in key:
            state["version"] = 7
    torch.save(checkpoint, path)
    messages, logger = resume_warnings(Regression(), ThermoMonitor("light", window=8, steps_between_windows=0), path)
    (message,) = messages
    assert message == (
        "ThermoMonitor is switched off for the rest of this run: ValueError while loading a checkpoint: the "
        "checkpoint's state has version 7, this package reads 2 and 3. Training goes on unchanged."
    )
    assert logger.thermo_rows == []
