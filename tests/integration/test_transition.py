"""Transition temperatures of real fits: values by hand, the logs' axis, nothing changed, resuming, two processes."""

from __future__ import annotations

import math
import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from integration.models import RecordingLogger, quiet_trainer
from integration.observers import leaves, same
from lightning.pytorch import Callback, LightningModule, seed_everything
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.optim import SGD
from torch.utils.data import DataLoader, TensorDataset

from thermo_callbacks import TransitionTemperatureMonitor
from thermo_callbacks.metrics import TransitionTemperature

# the entropies of a small model's first states lie close together now and then
pytestmark = pytest.mark.filterwarnings("ignore:no value .NaN. of thermo/transition_temperature_outputs")
SHIFT, OUTPUTS = "thermo/transition_temperature_shift", "thermo/transition_temperature_outputs"
CLASSES, FEATURES = 3, 4


def points(samples: int, radius: float, seed: int) -> TensorDataset:
    """Clusters about three centres: far apart and easy to tell, or near each other."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (samples,), generator=generator)
    centres = radius * torch.eye(CLASSES, FEATURES, dtype=torch.float64)
    noise = torch.randn(samples, FEATURES, generator=generator, dtype=torch.float64)
    return TensorDataset(centres[labels] + 0.5 * noise, labels)


DATA = {"train": points(512, 3.0, 0), "a": points(100, 3.0, 1), "b": points(130, 0.5, 2)}


def loaders() -> list[DataLoader[Any]]:
    return [DataLoader(DATA[name], batch_size=16) for name in ("a", "b")]


class Classifier(LightningModule):
    """Draws random numbers in every step and logs them: no draw of a stranger stays unseen."""

    def __init__(self, regression: bool = False) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            outputs = 1 if regression else CLASSES
            self.net = nn.Sequential(nn.Linear(FEATURES, 8), nn.Dropout(0.2), nn.Tanh(), nn.Linear(8, outputs)).double()
        self.regression = regression

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        inputs, labels = batch
        outputs = self.net(inputs)
        self.log("noise", float(np.random.rand()) + random.random())  # noqa: NPY002  the global stream is the point
        return mse_loss(outputs[:, 0], labels.double()) if self.regression else cross_entropy(outputs, labels)

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        inputs, labels = batch
        outputs = self.net(inputs)
        if self.regression:
            residuals = outputs[:, 0] - labels
            return {"losses": residuals.square(), "residuals": residuals}
        loss = cross_entropy(outputs, labels)
        self.log("validation_loss", loss)
        return {"loss": loss, "logits": outputs}

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(DATA["train"], batch_size=16, shuffle=True)

    def val_dataloader(self) -> list[DataLoader[Any]]:
        return loaders()

    def configure_optimizers(self) -> Any:
        return SGD(self.parameters(), lr=0.3)


class ByHand(Callback):
    """Losses and outputs of both sets at the end of every validation, computed anew."""

    def __init__(self) -> None:
        self.states: list[list[dict[str, Tensor]]] = []

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if not trainer.sanity_checking:
            with torch.random.fork_rng(devices=[]):
                self.states.append([
                    [pl_module.validation_step(batch, 0) for batch in loader] for loader in pl_module.val_dataloader()
                ])  # fmt: skip


def temperature(first: Any, second: Any) -> list[float]:
    metric = TransitionTemperature()
    for state, steps in (("initial", first), ("final", second)):
        for step in steps:
            metric.update(state, step.get("losses", step.get("loss")), step.get("logits", step.get("residuals")))
    return [float(metric.compute()), float(metric.estimate().stderr)]


def observe(*callbacks: Any, **options: Any) -> dict[str, Any]:
    """Everything about a run that a callback could have changed."""
    seed_everything(5, verbose=False)
    module, logger = Classifier(), RecordingLogger()
    trainer = quiet_trainer(logger=logger, callbacks=list(callbacks), max_epochs=3, **options)
    trainer.fit(module)
    return {
        "state": dict(module.state_dict()),
        "optimizers": [optimizer.state_dict() for optimizer in trainer.optimizers],
        "streams": [random.getstate(), np.random.get_state(), torch.get_rng_state()],  # noqa: NPY002
        "rows": logger.user_rows,
        "thermo": logger.thermo_rows,
    }


@pytest.mark.parametrize("regression", [False, True])
def test_values_by_hand(regression: bool) -> None:
    seed_everything(5, verbose=False)
    logger, hand, monitor = RecordingLogger(), ByHand(), TransitionTemperatureMonitor()
    quiet_trainer(logger=logger, callbacks=[monitor, hand], max_epochs=3).fit(Classifier(regression))
    assert len(logger.thermo_rows) == len(hand.states) == 3
    for index, (_, row) in enumerate(logger.thermo_rows):
        now = hand.states[index]
        assert [row[SHIFT], row[f"{SHIFT}_stderr"]] == pytest.approx(temperature(*now), rel=1e-9)
        if index:
            expected = temperature(hand.states[0][0], now[0])
            assert [row[OUTPUTS], row[f"{OUTPUTS}_stderr"]] == pytest.approx(expected, rel=1e-9, nan_ok=True)
        else:
            assert math.isnan(row[OUTPUTS])
    assert all(math.isfinite(row[SHIFT]) for _, row in logger.thermo_rows)
    assert any(math.isfinite(row[OUTPUTS]) for _, row in logger.thermo_rows)


@pytest.mark.parametrize("options", [{}, {"num_sanity_val_steps": 1}, {"val_check_interval": 0.5}], ids=str)
def test_training_notices_nothing(options: dict[str, Any]) -> None:
    bare = observe(**options)
    watched = observe(TransitionTemperatureMonitor(), **options)
    assert bare.pop("thermo") == []
    assert len(watched.pop("thermo")) == (6 if "val_check_interval" in options else 3)
    first, second = dict(leaves(bare)), dict(leaves(watched))
    assert first.keys() == second.keys()
    assert [place for place in first if not same(first[place], second[place])] == []


def test_a_draw_would_be_noticed() -> None:
    class Drawing(Callback):
        def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            torch.rand(())

    first, second = dict(leaves(observe())), dict(leaves(observe(Drawing())))
    assert any(not same(first[place], second[place]) for place in first if place.startswith("/state"))


@pytest.mark.parametrize("options", [{}, {"val_check_interval": 0.5}], ids=str)
def test_on_the_axis_of_the_validation_loss(options: dict[str, Any]) -> None:
    run = observe(TransitionTemperatureMonitor(), **options)
    losses = [step for step, row in run["rows"] if any(tag.startswith("validation_loss") for tag in row)]
    assert [step for step, _ in run["thermo"]] == losses


def test_validation_before_the_fit_is_the_initial_state() -> None:
    seed_everything(5, verbose=False)
    module, monitor, hand, logger = Classifier(), TransitionTemperatureMonitor(), ByHand(), RecordingLogger()
    trainer = quiet_trainer(callbacks=[monitor, hand], logger=logger, max_epochs=2)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="no value")  # untrained, it knows no difference between the sets
        trainer.validate(module, verbose=False)
    trainer.fit(module)
    values = logger.series(OUTPUTS)
    assert math.isnan(values[0])
    assert values[2] == pytest.approx(temperature(hand.states[0][0], hand.states[2][0])[0], rel=1e-9)
    assert trainer.callback_metrics[OUTPUTS].item() == pytest.approx(values[2], rel=1e-6)


def test_dataloaders_by_name() -> None:
    class Named(Classifier):
        def val_dataloader(self) -> Any:
            return dict(zip(("easy", "hard"), loaders(), strict=True))

    def shift(module: Classifier, datasets: Any) -> float:
        seed_everything(5, verbose=False)
        monitor = TransitionTemperatureMonitor(datasets=datasets)
        quiet_trainer(callbacks=monitor).fit(module)
        return monitor.latest()[SHIFT]

    assert shift(Named(), ("hard", "easy")) == pytest.approx(shift(Classifier(), (0, 1)), rel=1e-12)
    with pytest.raises(ValueError, match=r"datasets holds 'medium'.*choose among \['easy', 'hard'\]"):
        shift(Named(), ("medium", "easy"))


def test_values_can_be_monitored(tmp_path: Path) -> None:
    checkpoint = ModelCheckpoint(tmp_path, monitor=SHIFT, filename="{epoch}", save_top_k=1)
    stopping = EarlyStopping(f"{SHIFT}_stderr", stopping_threshold=math.inf, mode="min")
    observe(TransitionTemperatureMonitor(), stopping, checkpoint, enable_checkpointing=True)
    assert checkpoint.best_model_score is not None
    assert checkpoint.best_model_score.isfinite()
    assert stopping.stopped_epoch == 0


@pytest.mark.parametrize("reference", ["first", "previous"])
def test_a_resumed_run_keeps_its_reference(reference: Any, tmp_path: Path) -> None:
    """Without dropout and shuffling the resumed run is the uninterrupted one."""

    class Even(Classifier):
        def __init__(self) -> None:
            super().__init__()
            self.net[1] = nn.Identity()

        def train_dataloader(self) -> DataLoader[Any]:
            return DataLoader(DATA["train"], batch_size=16)

    def run(epochs: int, checkpoint: Any = None) -> list[Any]:
        logger, monitor = RecordingLogger(), TransitionTemperatureMonitor(reference=reference)
        trainer = quiet_trainer(callbacks=monitor, logger=logger, max_epochs=epochs)
        trainer.fit(Even(), ckpt_path=checkpoint)
        trainer.save_checkpoint(tmp_path / "last.ckpt")
        return logger.thermo_rows

    whole, interrupted = run(4), run(2)
    resumed = run(4, tmp_path / "last.ckpt")
    assert repr(interrupted + resumed) == repr(whole)
    assert math.isfinite(whole[2][1][OUTPUTS])


def test_nothing_to_read_is_said_once() -> None:
    class Silent(Classifier):
        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
            super().validation_step(batch, batch_idx)

    with pytest.warns(UserWarning, match="finds no losses and outputs") as caught:
        quiet_trainer(callbacks=TransitionTemperatureMonitor(), max_epochs=2).fit(Silent())
    assert len([warning for warning in caught if "finds no losses" in str(warning.message)]) == 1


class Report(Callback):
    """Writes down what a process has logged."""

    def __init__(self, folder: Path, monitor: TransitionTemperatureMonitor) -> None:
        self._folder, self._monitor = folder, monitor

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        seen = {"rows": trainer.logger.thermo_rows, "off": self._monitor._guard.disabled}
        torch.save(seen, self._folder / f"{trainer.global_rank}.pt")


class Divided(Classifier):
    """Each process takes its share of the samples, of the validation sets too; no dropout, no order."""

    def __init__(self, regression: bool = False) -> None:
        super().__init__(regression)
        self.net[1] = nn.Identity()

    def _share(self, name: str, batch_size: int) -> DataLoader[Any]:
        rank, processes = self.trainer.global_rank, self.trainer.world_size
        part = TensorDataset(*(column[rank::processes] for column in DATA[name].tensors))
        return DataLoader(part, batch_size=batch_size // processes)

    def train_dataloader(self) -> DataLoader[Any]:
        return self._share("train", 16)

    def val_dataloader(self) -> list[DataLoader[Any]]:
        return [self._share(name, 200) for name in ("a", "b")]

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        step = super().validation_step(batch, batch_idx)
        return step | ({} if self.regression else {"losses": cross_entropy(step["logits"], batch[1], reduction="none")})


def divided(
    module: Classifier, folder: Path, processes: int, *, validate: bool = False, **options: Any
) -> list[dict[str, Any]]:
    if processes > 1:
        options |= {"strategy": "ddp_fork", "devices": processes, "use_distributed_sampler": False}
    monitor = TransitionTemperatureMonitor()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*another process could not read")  # one test is about that
        warnings.filterwarnings("ignore", message=".*sync_dist=True.*")  # of the module's own validation loss
        warnings.filterwarnings("ignore", message=".*multi-threaded, use of fork")
        callbacks = [monitor, Report(folder, monitor)]
        trainer = quiet_trainer(callbacks=callbacks, logger=RecordingLogger(), max_epochs=3, **options)
        (trainer.validate if validate else trainer.fit)(module)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(processes)]


needs_processes = pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch knows no processes")


@needs_processes
@pytest.mark.parametrize("regression", [False, True])
def test_two_processes_are_one_with_all_samples(regression: bool, tmp_path: Path) -> None:
    [alone] = divided(Divided(regression), tmp_path, 1)
    both = divided(Divided(regression), tmp_path, 2)
    assert repr(both[0]) == repr(both[1])
    assert len(alone["rows"]) == 3
    for (step, row), (other_step, other) in zip(alone["rows"], both[0]["rows"], strict=True):
        assert step == other_step
        assert other == pytest.approx(row, rel=1e-8, nan_ok=True)
    assert math.isfinite(alone["rows"][-1][1][SHIFT])


class FailsInOne(Divided):
    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        step = super().validation_step(batch, batch_idx)
        return {"loss": step["loss"]} if self.global_rank else step


@needs_processes
def test_a_process_that_fails_alone_leaves_nobody_waiting(tmp_path: Path) -> None:
    first, second = (seen["rows"] for seen in divided(FailsInOne(), tmp_path, 2))
    assert first == second == []


class OneHasAll(Divided):
    """The first process has all that is to be validated, as Lightning allows where it is told that this is meant."""

    def __init__(self) -> None:
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True

    def _share(self, name: str, batch_size: int) -> DataLoader[Any]:
        if name == "train":
            return super()._share(name, batch_size)
        part = TensorDataset(*(column[: len(column) * (not self.trainer.global_rank)] for column in DATA[name].tensors))
        return DataLoader(part, batch_size=batch_size)


@needs_processes
@pytest.mark.parametrize("every", [1, 2], ids=["known before training", "known after the first validation"])
def test_a_process_without_a_validation_batch_leaves_nobody_waiting(every: int, tmp_path: Path) -> None:
    [alone] = divided(OneHasAll(), tmp_path, 1, check_val_every_n_epoch=every)
    first, second = divided(OneHasAll(), tmp_path, 2, check_val_every_n_epoch=every)
    assert repr(first) == repr(second)
    assert len(alone["rows"]) == 3 // every
    for (_, row), (_, other) in zip(alone["rows"], first["rows"], strict=True):
        assert other == pytest.approx(row, rel=1e-8, nan_ok=True)


@needs_processes
@pytest.mark.parametrize("make", [Divided, OneHasAll])
def test_a_validation_of_its_own_needs_no_batch_in_a_process(make: type[Divided], tmp_path: Path) -> None:
    [alone] = divided(make(), tmp_path, 1, validate=True)
    first, second = divided(make(), tmp_path, 2, validate=True)
    assert repr(first) == repr(second)
    [(_, row)], [(_, other)] = alone["rows"], first["rows"]
    assert other == pytest.approx(row, rel=1e-8, nan_ok=True)
    assert math.isfinite(row[SHIFT])


@needs_processes
def test_loaders_that_are_made_anew_are_validated_when_the_epoch_ends(tmp_path: Path) -> None:
    [alone] = divided(Divided(), tmp_path, 1)
    both = divided(Divided(), tmp_path, 2, reload_dataloaders_every_n_epochs=1)
    assert repr(both[0]) == repr(both[1])
    for (_, row), (_, other) in zip(alone["rows"], both[0]["rows"], strict=True):
        assert other == pytest.approx(row, rel=1e-8, nan_ok=True)
