"""Which rows are logged when, where else the values go, and what does nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from integration.models import LoggingRegression, RecordingLogger, Regression, TwoOptimizers, fit, loader, quiet_trainer
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from thermo_callbacks import TemperatureMonitor, ThermoMonitor

# windows of 8 noisy steps show no signal now and then
pytestmark = pytest.mark.filterwarnings("ignore:.*noise_scale")

LAYERS = ("net.0", "net.2")
TEMPERATURE_TAGS = [
    "thermo/temperature",
    "thermo/temperature_stderr",
    "thermo/temperature_lower",
    "thermo/temperature_upper",
    *(f"thermo_temperature/{layer}" for layer in LAYERS),
    "thermo/virial_temperature",
    "thermo/virial_temperature_stderr",
    "thermo/einstein_temperature",
    "thermo/einstein_temperature_stderr",
    "thermo/einstein_excess",
    "thermo/einstein_excess_stderr",
]
ALL_TAGS = [
    *TEMPERATURE_TAGS,
    "thermo/drift_share",
    *(f"thermo_drift_share/{layer}" for layer in LAYERS),
    "thermo/drift_p_value",
    "thermo/update_ratio",
    *(f"thermo_update_ratio/{layer}" for layer in LAYERS),
    "thermo/gradient_norm",
    *(f"thermo_gradient_norm/{layer}" for layer in LAYERS),
    "thermo/weight_norm",
    "thermo/weight_growth",
    "thermo/weight_growth_stderr",
    "thermo/heat",
    "thermo/heat_stderr",
    *(f"thermo_heat/{layer}" for layer in LAYERS),
    "thermo/internal_energy",
    "thermo/first_law_residual",
    "thermo/skipped_steps",
    "thermo/untrained_share",
    "thermo/learning_rate",
    "thermo/kept_gradient",
    "thermo/batch_likeness",
    "thermo/broken_batches",
    "thermo/input_size",
    "thermo/input_shift",
]
FOUND_TAGS = ["thermo/critical_findings"]


NOISE_TAGS = [
    "thermo/signal_share",
    *(f"thermo_signal_share/{layer}" for layer in LAYERS),
    "thermo/signal_share_stderr",
    "thermo/noise_scale",
    *(f"thermo_noise_scale/{layer}" for layer in LAYERS),
    "thermo/noise_scale_lower",
    "thermo/noise_scale_upper",
    "thermo/noise_temperature",
    "thermo/noise_temperature_stderr",
]


@pytest.mark.parametrize(
    ("rest", "batches", "accumulate", "ends"),
    [
        (0, 30, 1, [7, 15, 23]),
        (3, 30, 1, [7, 18, 29]),
        (None, 420, 1, [7, 23, 55, 119, 247, 407]),  # rest as long as the run so far, at most 19 windows
        (0, 50, 3, [7, 15]),  # 17 steps, the last one of two batches
    ],
)
def test_rows_stand_beside_lightnings_own(rest: int | None, batches: int, accumulate: int, ends: list[int]) -> None:
    monitor = ThermoMonitor("light", window=8, steps_between_windows=rest)
    logger = fit(LoggingRegression(), monitor, loader(batches, 2), accumulate_grad_batches=accumulate)
    # the batches of a step tell signal from noise
    noise = [] if accumulate == 1 else NOISE_TAGS
    tags = ALL_TAGS + noise + FOUND_TAGS
    assert [(step, list(row)) for step, row in logger.thermo_rows] == [(end, tags) for end in ends]
    own = [step for step, row in logger.user_rows if "loss" in row]
    assert own == list(range(-(-batches // accumulate)))
    steps = [step for step, _ in logger.rows]
    assert steps == sorted(steps, key=lambda step: -1 if step is None else step)  # no row comes late


def test_two_optimizers_share_lightnings_axis() -> None:
    logger = fit(TwoOptimizers(), ThermoMonitor("light", window=8, steps_between_windows=3), 30)
    by_hand = {"thermo/internal_energy", "thermo/first_law_residual", "thermo/kept_gradient"}
    tags = [tag for tag in ALL_TAGS + FOUND_TAGS if tag not in by_hand]
    assert [(step, list(row)) for step, row in logger.thermo_rows] == [(end, tags) for end in (7, 18, 29)]
    assert [step for step, row in logger.user_rows if "loss" in row] == list(range(30))


@pytest.mark.filterwarnings("ignore:.*rugh_temperature")
def test_temperature_monitor_logs_temperatures() -> None:
    logger = fit(Regression(), TemperatureMonitor(window=8, steps_between_windows=0), 16)
    errors = [f"thermo_temperature_stderr/{layer}" for layer in LAYERS]  # which it is about, unlike the preset light
    complete = fit(Regression(), ThermoMonitor("full", window=8, steps_between_windows=0), 16)
    windows = [(step, row) for step, row in complete.thermo_rows if "thermo/heat" in row]
    assert [step for step, _ in logger.thermo_rows] == [step for step, _ in windows] == [7, 15]
    for (_, row), (_, full) in zip(logger.thermo_rows, windows, strict=True):
        assert set(row) == {*TEMPERATURE_TAGS, *errors}
        assert row == {tag: full[tag] for tag in row}


def test_layer_patterns_choose_layers() -> None:
    logger = fit(
        Regression(), ThermoMonitor("light", window=8, steps_between_windows=0, layers=["*.2", "net.[1-9]"]), 8
    )
    [(_, row)] = logger.thermo_rows
    assert {tag.partition("/")[2] for tag in row if not tag.startswith("thermo/")} == {"net.2"}


def test_all_loggers_get_the_same(tmp_path: Any) -> None:
    first, second = RecordingLogger(), RecordingLogger()
    files = [CSVLogger(tmp_path), TensorBoardLogger(tmp_path)]
    monitor = ThermoMonitor("light", window=8, steps_between_windows=0)
    quiet_trainer(logger=[first, second, *files], callbacks=monitor).fit(LoggingRegression(), loader(24))
    assert len(first.thermo_rows) == 3
    assert repr(first.rows) == repr(second.rows)
    temperatures = first.series("thermo/temperature")
    header, *lines = (tmp_path / "lightning_logs" / "version_0" / "metrics.csv").read_text().splitlines()
    column = header.split(",").index("thermo/temperature")
    assert [float(value) for line in lines if (value := line.split(",")[column])] == temperatures
    events = EventAccumulator(files[1].log_dir).Reload()
    scalars = events.Scalars("thermo/temperature")
    assert [event.step for event in scalars] == [7, 15, 23]
    assert [event.value for event in scalars] == pytest.approx(temperatures, rel=1e-6)
    assert {"thermo_heat/net.0", "loss"} <= set(events.Tags()["scalars"])


# a bare-bones Trainer wants nothing else to be said about what it leaves out
LEFT_OUT = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary", "num_sanity_val_steps")
BAREBONES = {"barebones": True, "log_every_n_steps": None, **dict.fromkeys(LEFT_OUT)}


@pytest.mark.parametrize("options", [{}, BAREBONES], ids=["no logger", "barebones"])
def test_without_a_logger_values_can_still_be_had(options: dict[str, Any]) -> None:
    monitor = ThermoMonitor("light", window=8, steps_between_windows=0)
    trainer = quiet_trainer(callbacks=monitor, **options)
    trainer.fit(Regression(), loader(20))
    reference = fit(Regression(), ThermoMonitor("light", window=8, steps_between_windows=0), 20).thermo_rows
    assert repr(monitor.latest()) == repr(reference[-1][1])
    for tag, value in monitor.latest().items():
        assert repr(trainer.callback_metrics[tag].item()) == repr(torch.tensor(value).item())


@pytest.mark.filterwarnings("ignore:You are trying to `self.log")
def test_fast_dev_run_is_quiet() -> None:
    monitor = ThermoMonitor("light")
    trainer = quiet_trainer(callbacks=monitor, fast_dev_run=True)
    trainer.fit(LoggingRegression(), loader(20), loader(2))
    assert monitor.latest() == {}
    # a dry run of what monitors values finds them too
    offered = [value for tag, value in trainer.callback_metrics.items() if tag.startswith("thermo/")]
    assert offered
    assert all(value.isnan() for value in offered)


def test_run_shorter_than_a_window_is_reported_at_its_end() -> None:
    monitor = ThermoMonitor("light", window=50)
    [(step, row)] = fit(LoggingRegression(), monitor, 12).thermo_rows
    [(_, reference)] = fit(LoggingRegression(), ThermoMonitor("light", window=12), 12).thermo_rows
    assert (step, repr(row)) == (11, repr(reference))
    assert repr(monitor.latest()) == repr(row)


def test_run_of_a_few_steps_has_nothing_to_report() -> None:
    monitor = ThermoMonitor("light")
    assert fit(LoggingRegression(), monitor, 7).thermo_rows == []
    assert monitor.latest() == {}


class Peek(Callback):
    """Keeps what a monitored metric is at the end of each validation."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if not trainer.sanity_checking:
            self.seen.append(trainer.callback_metrics["thermo/temperature"].item())


def test_values_can_be_monitored_at_validation_before_the_first_window_ends(tmp_path: Any) -> None:
    peek, monitor = Peek(), ThermoMonitor("light", window=20, steps_between_windows=0)
    checkpoint = ModelCheckpoint(tmp_path, monitor="thermo/temperature", save_top_k=-1, filename="{step}")
    stopping = EarlyStopping("thermo/temperature", patience=10, strict=True)
    options = {"val_check_interval": 10, "enable_checkpointing": True, "num_sanity_val_steps": 1}
    trainer = quiet_trainer(callbacks=[peek, stopping, checkpoint, monitor], **options)
    trainer.fit(Regression(), loader(40), loader(2))
    open_window = fit(Regression(), ThermoMonitor("light", window=10, steps_between_windows=0), 10).series(
        "thermo/temperature"
    )
    logged = fit(Regression(), ThermoMonitor("light", window=20, steps_between_windows=0), 40).series(
        "thermo/temperature"
    )
    assert peek.seen == pytest.approx([*open_window, logged[0], logged[0], logged[1]], rel=1e-6)
    assert checkpoint.best_model_score == pytest.approx(min(peek.seen))
    assert sorted(checkpoint.best_k_models.values()) == pytest.approx(sorted(peek.seen))
    assert stopping.best_score == pytest.approx(min(peek.seen))


def test_values_can_be_monitored_as_soon_as_they_are_logged(tmp_path: Any) -> None:
    checkpoint = ModelCheckpoint(tmp_path, monitor="thermo/temperature", every_n_train_steps=8, save_top_k=-1)
    logger = fit(
        Regression(),
        [ThermoMonitor("light", window=8, steps_between_windows=0), checkpoint],
        24,
        enable_checkpointing=True,
    )
    scores = [score.item() for score in checkpoint.best_k_models.values()]
    assert scores == pytest.approx(logger.series("thermo/temperature"), rel=1e-6)


def test_values_can_be_monitored_at_the_end_of_epochs(tmp_path: Any) -> None:
    monitor, name = ThermoMonitor("light", window=20, steps_between_windows=0), "thermo_temperature/net.2"
    options = {"monitor": name, "save_top_k": -1, "filename": "{epoch}", "save_on_train_epoch_end": True}
    checkpoint = ModelCheckpoint(tmp_path, **options)
    stopping = EarlyStopping(name, patience=0, check_on_train_epoch_end=True)
    trainer = quiet_trainer(callbacks=[stopping, checkpoint, monitor], max_epochs=9, enable_checkpointing=True)
    trainer.fit(Regression(), loader(10))
    [(_, open_window)] = fit(Regression(), ThermoMonitor("light", window=10, steps_between_windows=0), 10).thermo_rows
    scores = [score.item() for score in checkpoint.best_k_models.values()]
    first_window = monitor.latest()[name]  # still the last one in the third epoch, which is why the run was stopped
    assert scores == pytest.approx([open_window[name], first_window, first_window], rel=1e-6)
    assert stopping.stopped_epoch == 2


@pytest.mark.parametrize("stage", ["validate", "test", "predict"])
def test_other_stages_are_left_alone(stage: str) -> None:
    monitor, logger = ThermoMonitor("light", window=8), RecordingLogger()
    trainer = quiet_trainer(callbacks=monitor, logger=logger)
    module = Regression()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    getattr(trainer, stage)(module, loader(10), **({} if stage == "predict" else {"verbose": False}))
    assert logger.thermo_rows == []
    assert monitor.latest() == {}
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    trainer.fit(module, loader(10))
    values = repr(monitor.latest())
    getattr(trainer, stage)(module, loader(10), **({} if stage == "predict" else {"verbose": False}))
    assert repr(monitor.latest()) == values
    assert len(logger.thermo_rows) == 1
