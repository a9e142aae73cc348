"""With the defaults, a run of any length shows its course and its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from integration.models import (
    BATCH_SIZE,
    RecordingLogger,
    Regression,
    TwoOptimizers,
    examples,
    fit,
    loader,
    momentum_sgd,
    quiet_trainer,
)
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, Timer
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from thermo_callbacks import ThermoMonitor, WorkEfficiencyMonitor
from thermo_callbacks.callbacks.planning import plan_extra_passes
from thermo_callbacks.commands.report.configuration import Configurations, configuration_files

# windows of 8 noisy steps show no signal now and then
pytestmark = pytest.mark.filterwarnings("ignore:.*NaN", "ignore:.*noise_scale")


def windows(logger: RecordingLogger) -> list[int]:
    """Steps done when a window ended."""
    return [step + 1 for step, row in logger.thermo_rows if step is not None and "thermo/temperature" in row]


def passes(logger: RecordingLogger) -> list[int]:
    """Steps that were measured: what an extra pass gives comes with the next batch."""
    return [step - 1 for step, row in logger.thermo_rows if step is not None and "thermo/laplacian" in row]


RUNS = {
    40: ({"max_epochs": 4}, 10, [8, 16, 24, 32, 40]),
    100: ({"max_steps": 100, "max_epochs": -1}, 40, [8, 16, 24, 32, 40, 48, 56, 64, 73, 82, 91, 100]),
    300: ({"max_epochs": 2}, 150, [8, *range(20, 249, 12), 261, 274, 287, 300]),
    500: ({"max_epochs": 2}, 250, [8, 24, *range(44, 165, 20), *range(185, 501, 21)]),
    1500: ({"max_epochs": 6}, 250, [15, 45, 105, *range(168, 925, 63), *range(988, 1501, 64)]),
}


@pytest.mark.parametrize("steps", RUNS)
def test_a_run_shows_its_course_and_its_end(steps: int) -> None:
    options, batches, ends = RUNS[steps]
    logger = fit(Regression(), ThermoMonitor(), batches, **options)
    assert windows(logger) == ends
    assert passes(logger) == list(plan_extra_passes(steps, 15 if steps == 1500 else 8))
    assert passes(logger)[-1] == steps - 2


def test_accumulated_batches_are_one_step() -> None:
    logger = fit(Regression(), ThermoMonitor("standard"), 100, max_epochs=2, accumulate_grad_batches=3)
    assert windows(logger) == [8, 16, 24, 32, 41, 50, 59, 68]  # 34 steps an epoch, the last one of one batch
    assert passes(logger)[-1] == 66


def test_each_of_two_optimizers_has_its_windows() -> None:
    logger = fit(TwoOptimizers(), ThermoMonitor("light"), 100, max_epochs=2)
    assert len(windows(logger)) == 25
    assert windows(logger)[-1] == 200
    limited = fit(
        TwoOptimizers(), ThermoMonitor("light"), 200, max_epochs=-1, max_steps=200
    )  # 100 batches of two steps
    assert windows(limited) == RUNS[100][2]


class Thrice(Regression):
    """Steps its optimizer three times a batch, which nobody can know before."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        optimizer: Any = self.optimizers()
        for _ in range(3):
            optimizer.zero_grad()
            self.manual_backward(self.loss(batch))
            optimizer.step()


def test_a_run_of_more_steps_than_planned_goes_on_in_the_same_rhythm() -> None:
    logger = fit(Thrice(), ThermoMonitor("light"), 250)
    assert len(windows(logger)) > 50
    assert 250 - windows(logger)[-1] < 5


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield from zip(*examples(), strict=True)


UNKNOWN: dict[str, tuple[Any, dict[str, Any]]] = {
    "stream": (Endless(), {}),
    "limit on time": (TensorDataset(*examples()), {"max_time": {"hours": 1}}),
    "epochs without end": (TensorDataset(*examples()), {"max_epochs": -1}),
}


class StopAfter(Callback):
    def __init__(self, steps: int) -> None:
        self._steps = steps

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        trainer.should_stop = trainer.global_step >= self._steps


@pytest.mark.parametrize("kind", UNKNOWN)
def test_a_run_of_unknown_length_is_read_as_before(kind: str) -> None:
    data, options = UNKNOWN[kind]
    logger = RecordingLogger()
    trainer = quiet_trainer(logger=logger, callbacks=[ThermoMonitor(), StopAfter(320)], **{"max_epochs": 2, **options})
    trainer.fit(Regression(), DataLoader(data, batch_size=BATCH_SIZE))
    assert windows(logger) == [50, 150, 320]  # and its open window, of 20 steps, is closed when it ends
    assert passes(logger) == [50, 100, 200]


def test_a_clock_that_limits_nothing_hides_no_length() -> None:
    assert windows(fit(Regression(), [Timer(), ThermoMonitor("light")], 40)) == RUNS[40][2]


@pytest.mark.parametrize(("stop", "ends"), [(52, [20, 52]), (47, [20]), (60, [20, 60])])
def test_a_run_that_is_stopped_closes_its_open_window(stop: int, ends: list[int]) -> None:
    logger = fit(Regression(), [ThermoMonitor("light"), StopAfter(stop)], 250, max_epochs=8)
    assert windows(logger) == ends  # of 12 steps, none of 7, and a full one once
    chosen = fit(Regression(), [ThermoMonitor("light", window=20), StopAfter(stop)], 250, max_epochs=8)
    assert windows(chosen) == [end for end in ends if end != 52]


def test_a_chosen_length_or_distance_leaves_nothing_to_plan() -> None:
    assert windows(fit(Regression(), ThermoMonitor("light", 8), 100)) == [8, 24, 56]
    assert windows(fit(Regression(), ThermoMonitor("light", steps_between_windows=0), 170)) == [50, 100, 150]
    logger = fit(Regression(), ThermoMonitor(curvature_every_n_steps=50), 170)
    assert (windows(logger)[-1], passes(logger)) == (170, [8, 16, 32, 64, 114, 164])
    logger = fit(Regression(), ThermoMonitor(window=20), 170)
    assert (windows(logger), passes(logger)) == ([20, 60, 140], list(plan_extra_passes(170, 20)))


def test_values_of_planned_windows_can_be_monitored(tmp_path: Any) -> None:
    checkpoint = ModelCheckpoint(tmp_path, monitor="thermo/temperature", save_top_k=-1, filename="{step}")
    stopping = EarlyStopping("thermo/temperature", patience=10)
    logger = fit(Regression(), [ThermoMonitor("light"), stopping, checkpoint], 100, max_epochs=3,
                 enable_checkpointing=True)  # fmt: skip
    rows = {step + 1: row for step, row in logger.thermo_rows if step is not None}
    # the last window of each epoch: 8, 20, 32, ...
    expected = [rows[step]["thermo/temperature"] for step in (92, 200, 300)]
    assert [score.item() for score in checkpoint.best_k_models.values()] == pytest.approx(expected, rel=1e-6)


class Loading(Regression):
    """Brings its own data, in a random order, and counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__(optimizer=momentum_sgd)
        self.asked = 0
        self.seen: list[Tensor] = []

    def train_dataloader(self) -> DataLoader[Any]:
        self.asked += 1
        return DataLoader(TensorDataset(*examples()), batch_size=50, shuffle=True)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.seen.append(batch[0])
        return self.loss(batch)


def test_asking_for_the_length_changes_nothing() -> None:
    def run(*callbacks: Callback) -> tuple[Loading, Tensor]:
        torch.manual_seed(3)
        module = Loading()
        quiet_trainer(callbacks=list(callbacks), max_epochs=3).fit(module)
        return module, torch.get_rng_state()

    (bare, random), (watched, same) = run(), run(ThermoMonitor())
    assert watched.asked == bare.asked == 1
    assert all(torch.equal(one, two) for one, two in zip(bare.seen, watched.seen, strict=True))
    assert all(torch.equal(one, two) for one, two in zip(bare.parameters(), watched.parameters(), strict=True))
    assert torch.equal(random, same)


def test_the_configuration_holds_the_plan(tmp_path: Any) -> None:
    table = CSVLogger(tmp_path)
    monitors = [ThermoMonitor(), WorkEfficiencyMonitor(), ThermoMonitor("light", 9)]
    quiet_trainer(logger=table, callbacks=monitors, max_epochs=2).fit(Regression(), loader(250))
    texts, unread = configuration_files(Path(table.log_dir))
    assert unread == []
    configurations = Configurations(texts)
    first, second, third = configurations.all
    assert (first["window"], first["curvature_every_n_steps"]) == (8, 74)
    assert first["extra_passes"] == {"first": 8, "every": 74}
    assert first["planned"] == {"steps": 500, "windows": 25, "extra_passes": 10}
    assert second["planned"] == {"extra_passes": 10}
    assert (third["window"], "planned" in third) == (9, False)
    assert configurations.number("window") == 8
    assert configurations.facts["Planned"].startswith("steps 500, windows 25, extra passes 10")
