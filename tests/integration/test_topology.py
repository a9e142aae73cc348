"""The topology through a Trainer: logged once at the start, and nothing of the run changes."""

from __future__ import annotations

import copy
import pickle
from functools import partial
from typing import Any

import pytest
import torch
from integration.models import INPUTS, LoggingRegression, RecordingLogger, Regression, fit, loader, quiet_trainer
from integration.observers import Witness, differences, observe
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.optim import SGD

from thermo_callbacks import TemperatureMonitor, ThermoMonitor
from thermo_callbacks.functional.topology import analyse

# windows of 8 noisy steps show no signal now and then
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*no value", "ignore:.*no transition temperature", "ignore:No Laplacian"
)

TAGS = [f"thermo/topology_{name}" for name in ("connections", "disorder", "efficiency", "stability")]


def deep() -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Linear(INPUTS, 7), nn.Tanh(), nn.Linear(7, 4), nn.Tanh(), nn.Linear(4, 1)
    return nn.Sequential(*layers).double()


class Scattered(nn.Module):
    """The same chain, its order known from the forward pass alone."""

    def __init__(self, shortcut: bool = False) -> None:
        super().__init__()
        self.last, self.middle, self.first = (nn.Linear(*size).double() for size in ((4, 1), (7, 4), (INPUTS, 7)))
        self.shortcut = shortcut

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.middle(self.first(inputs).tanh()).tanh()
        return self.last(hidden + 0.1 * inputs[:, :4] if self.shortcut else hidden)


NETWORKS = {"known at once": deep, "known from the first batch": Scattered}
EXPECTED = analyse((INPUTS, 7, 4, 1))
VALUES = [EXPECTED.connections, EXPECTED.disorder, EXPECTED.efficiency, EXPECTED.stability]


def topology_rows(logger: RecordingLogger) -> list[tuple[int | None, dict[str, float]]]:
    return [(step, row) for step, row in logger.rows if any(tag in row for tag in TAGS)]


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("preset", ["light", "standard", "full"])
def test_is_logged_once_before_all_else(network: str, preset: Any) -> None:
    monitor = ThermoMonitor(preset, window=8, curvature_every_n_steps=8)
    logger = fit(LoggingRegression(NETWORKS[network]()), monitor, 24, accumulate_grad_batches=2)
    assert topology_rows(logger) == [(0, dict(zip(TAGS, VALUES, strict=True)))]
    assert logger.thermo_rows[0] == topology_rows(logger)[0]
    assert [monitor.latest()[tag] for tag in TAGS] == VALUES


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: Regression(), id="one hidden layer"),
        pytest.param(lambda: Regression(nn.Linear(INPUTS, 1).double()), id="no hidden layer"),
        pytest.param(lambda: Regression(Scattered(shortcut=True)), id="a shortcut"),
    ],
)
def test_where_there_is_none_nothing_is_logged(make: Any, recwarn: Any) -> None:
    monitor = ThermoMonitor("light", window=8)
    logger = fit(make(), monitor, 10)
    assert topology_rows(logger) == []
    assert len(logger.thermo_rows) == 1
    assert not any(tag in monitor.latest() for tag in TAGS)
    assert not [warning for warning in recwarn if "opology" in str(warning.message)]


def test_narrow_monitors_do_not_log_it() -> None:
    assert topology_rows(fit(Regression(deep()), TemperatureMonitor(8), 10)) == []


class Watch(Callback):
    """What is monitorable when the first batch has ended."""

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        self.seen = getattr(self, "seen", None) or dict(trainer.callback_metrics)


@pytest.mark.parametrize("network", NETWORKS)
def test_is_known_before_the_first_window(network: str) -> None:
    monitor, watch = ThermoMonitor("light", window=50), Watch()
    trainer = quiet_trainer(callbacks=[monitor, watch])
    trainer.fit(Regression(NETWORKS[network]()), loader(4))
    assert [tag for tag, value in watch.seen.items() if not value.isnan()] == TAGS
    assert [float(watch.seen[tag]) for tag in TAGS] == pytest.approx(VALUES, rel=1e-6)
    assert [float(trainer.callback_metrics[tag]) for tag in TAGS] == pytest.approx(VALUES, rel=1e-6)
    assert list(monitor.latest()) == TAGS


def test_the_open_window_is_still_looked_into_for_what_is_monitored() -> None:
    stopping = EarlyStopping("thermo/temperature", patience=5, check_on_train_epoch_end=True)
    trainer = quiet_trainer(callbacks=[ThermoMonitor("light", window=50), stopping])
    trainer.fit(Regression(deep()), loader(12))
    assert float(stopping.best_score) > 0.0


@pytest.mark.parametrize("network", NETWORKS)
def test_a_run_that_goes_on_does_not_log_it_again(network: str, tmp_path: Any) -> None:
    module, monitor, logger = Regression(NETWORKS[network]()), ThermoMonitor("light", window=8), RecordingLogger()
    trainer = quiet_trainer(callbacks=monitor, logger=logger)
    trainer.fit(module, loader(12))
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    trainer.fit_loop.max_epochs = 2
    trainer.fit(module, loader(12))
    assert len(topology_rows(logger)) == 1
    again, resumed = ThermoMonitor("light", window=8), RecordingLogger()
    quiet_trainer(callbacks=again, logger=resumed, max_epochs=2).fit(
        Regression(NETWORKS[network]()), loader(12), ckpt_path=tmp_path / "end.ckpt"
    )
    assert topology_rows(resumed) == []
    assert repr(again.latest()) == repr(monitor.latest())


def test_a_new_run_logs_it_again() -> None:
    monitor = ThermoMonitor("light", window=8)
    first, second = (topology_rows(fit(Regression(make()), monitor, 10)) for make in (deep, Scattered))
    assert first == second
    assert len(first) == 1


def texts_in(folder: Any, tag: str) -> list[tuple[int, str]]:
    events = EventAccumulator(str(folder)).Reload()
    if f"{tag}/text_summary" not in events.Tags()["tensors"]:
        return []
    return [(one.step, one.tensor_proto.string_val[0].decode()) for one in events.Tensors(f"{tag}/text_summary")]


@pytest.mark.parametrize(
    ("net", "said"),
    [
        (deep, f"### Topology {EXPECTED}"),
        (lambda: Scattered(shortcut=True), "No topology was read: net.last does not follow one layer alone"),
    ],
    ids=["chain", "shortcut"],
)
def test_tensorboard_has_the_table_and_the_legend(net: Any, said: str, tmp_path: Any) -> None:
    logger = TensorBoardLogger(tmp_path)
    fit_into = quiet_trainer(callbacks=ThermoMonitor("light", window=8), logger=logger)
    fit_into.fit(Regression(net()), loader(10))
    ((step, text),) = texts_in(logger.log_dir, "thermo/topology")
    assert step == 0
    assert text.startswith(said)
    _, legend = texts_in(logger.log_dir, "thermo/legend")[-1]
    assert all((f"`{tag}`" in legend) == (net is deep) for tag in TAGS)


def test_convolutions_get_no_text(tmp_path: Any) -> None:
    net = nn.Sequential(nn.Unflatten(1, (1, INPUTS)), nn.Conv1d(1, 2, 3), nn.Flatten(), nn.Linear(6, 1)).double()
    logger = TensorBoardLogger(tmp_path)
    quiet_trainer(callbacks=ThermoMonitor("light", window=8), logger=logger).fit(Regression(net), loader(10))
    assert texts_in(logger.log_dir, "thermo/topology") == []


class DeepWitness(Witness):
    def __init__(self, net: Any, *, manual: bool = False) -> None:
        super().__init__(partial(SGD, lr=0.05), manual=manual)
        torch.manual_seed(0)
        self.net = net().float()

    def configure_optimizers(self) -> Any:
        parameters = list(self.net.parameters())
        groups = [parameters] if self.automatic_optimization else [parameters[::2], parameters[1::2]]
        return [SGD(group, lr=0.05) for group in groups]


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("manual", [False, True], ids=["automatic", "manual"])
def test_training_is_the_same_bit_for_bit(network: str, manual: bool, tmp_path: Any) -> None:
    make = partial(DeepWitness, NETWORKS[network], manual=manual)
    bare = observe(make, tmp_path)
    watched = observe(make, tmp_path, ThermoMonitor("light", window=8))
    assert differences(bare, watched) == []
    assert list(watched["thermo_rows"][0][1]) == TAGS


def test_a_fault_costs_the_topology_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("thermo_callbacks.callbacks.output.topology.read_topology", fail)
    with pytest.warns(
        UserWarning, match=r"^The topology log of ThermoMonitor is switched off .* a bug\. Training goes on"
    ):
        logger = fit(Regression(deep()), ThermoMonitor("light", window=8), 10)
    assert [step for step, _ in logger.thermo_rows] == [7]


class CopyInBatch(Callback):
    """Copies the monitor while the order of the layers is still open."""

    def __init__(self, monitor: ThermoMonitor) -> None:
        self._monitor = monitor

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0:
            assert self._monitor._topology.waiting
            self.size = len(pickle.dumps(self._monitor))
            self.copy = copy.deepcopy(self._monitor)


def test_a_copy_takes_no_layers_along() -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(INPUTS, 4000), nn.Linear(4000, 4), nn.Linear(4, 1)]).double()

        def forward(self, inputs: Tensor) -> Tensor:
            for layer in self.layers:
                inputs = layer(inputs).tanh()
            return inputs

    monitor = ThermoMonitor("light", window=8)
    copying = CopyInBatch(monitor)
    fit(Regression(Wide()), [monitor, copying], 9)
    assert copying.size < 100_000
    assert not copying.copy._topology.waiting
    assert monitor.latest()[TAGS[0]] == INPUTS * 4000 + 4000 * 4 + 4
