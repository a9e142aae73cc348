"""What a monitor refuses to watch, and what it watches in part."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from integration.models import Regression, TwoOptimizers, fit, loader
from lightning.pytorch.strategies import FSDPStrategy, SingleDeviceStrategy
from torch.utils.data import DataLoader

from thermo_callbacks import ThermoMonitor
from thermo_callbacks.callbacks.windows.session import Session
from thermo_callbacks.callbacks.windows.window_settings import WindowSettings
from thermo_callbacks.probes.guard import Guard

SETTINGS = WindowSettings(window=8, steps_between_windows=0, sample=None, seed=0)


class DeepSpeedStrategy:
    """Stands for the one of Lightning, which can't be made without DeepSpeed."""


class OwnStrategy(FSDPStrategy):
    """A person's own strategy is sharded if its base is."""


def session_of(strategy: Any, optimizers: list[Any], module: Any, guard: Guard) -> Session:
    trainer = SimpleNamespace(
        strategy=strategy,
        optimizers=optimizers,
        train_dataloader=loader(1),
        accumulate_grad_batches=1,
        world_size=1,
    )
    return Session(trainer, module, guard=guard, settings=SETTINGS, patterns=None)


FLAT = (
    "FSDPStrategy lays all parameters of a module out in one flat tensor and cuts it anywhere, which leaves no layer's "
    "coordinates to watch"
)
HIDDEN = "DeepSpeedStrategy keeps gradients in buffers of its own, where no other code can read them"
REASONS = {FSDPStrategy: FLAT, DeepSpeedStrategy: HIDDEN, OwnStrategy: FLAT}


@pytest.mark.parametrize("kind", REASONS)
def test_strategies_that_hide_their_parameters_are_refused_with_one_warning(kind: type) -> None:
    module, guard = Regression(), Guard("ThermoMonitor")
    optimizer = module.configure_optimizers()
    with pytest.warns(UserWarning, match="ThermoMonitor") as caught:
        session = session_of(kind.__new__(kind), [optimizer], module, guard)
    assert [str(warning.message) for warning in caught] == [
        f"ThermoMonitor is switched off for the rest of this run: {REASONS[kind]}: use ModelParallelStrategy with "
        "fully_shard() instead. Training goes on unchanged."
    ]
    assert guard.disabled
    assert session.windows == []
    assert not optimizer._optimizer_step_post_hooks


def test_optimizer_without_hooks_is_watched_and_has_none() -> None:
    module = TwoOptimizers()
    guard = Guard("ThermoMonitor")
    foreign = SimpleNamespace(param_groups=[{"params": list(module.net[0].parameters())}])
    own = module.configure_optimizers()[1]
    session = session_of(SingleDeviceStrategy(), [foreign, own], module, guard)
    assert [window.probe.names for window in session.windows] == [("net.0",), ("net.2",)]
    assert not guard.disabled
    assert len(own._optimizer_step_post_hooks) == len(own._optimizer_step_pre_hooks) == 1
    session.detach()
    assert len(own._optimizer_step_post_hooks) == len(own._optimizer_step_pre_hooks) == 0


class Unusual(Regression):
    """Hands out something else than a loss."""

    def __init__(self, outputs: Any) -> None:
        super().__init__()
        self.automatic_optimization = False
        self._outputs = outputs

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        optimizer: Any = self.optimizers()
        loss = self.loss(batch)
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        return self._outputs(loss)


OUTPUTS = {
    "nothing": lambda loss: None,
    "no loss": lambda loss: {"predictions": torch.zeros(3)},
    "several losses": lambda loss: {"loss": torch.stack([loss, loss])},
}


@pytest.mark.filterwarnings("ignore:.*noise_scale")
@pytest.mark.parametrize("name", OUTPUTS)
def test_without_a_loss_there_is_no_energy_and_all_else(name: str) -> None:
    [(_, row)] = fit(Unusual(OUTPUTS[name]), ThermoMonitor("light", window=8, steps_between_windows=0), 8).thermo_rows
    [(_, usual)] = fit(Regression(), ThermoMonitor("light", window=8, steps_between_windows=0), 8).thermo_rows
    # nobody says what is kept from step to step by hand
    absent = {"thermo/internal_energy", "thermo/first_law_residual", "thermo/kept_gradient"}
    assert repr(row) == repr({tag: value for tag, value in usual.items() if tag not in absent})


@pytest.mark.filterwarnings("ignore:.*noise_scale")
def test_a_loss_in_a_dictionary_of_any_shape_is_found() -> None:
    module = Unusual(lambda loss: {"other": "things", "loss": loss.reshape(1, 1)})
    [(_, row)] = fit(module, ThermoMonitor("light", window=8, steps_between_windows=0), 8).thermo_rows
    [(_, usual)] = fit(Regression(), ThermoMonitor("light", window=8, steps_between_windows=0), 8).thermo_rows
    assert repr(row) == repr({tag: value for tag, value in usual.items() if tag != "thermo/kept_gradient"})


@pytest.mark.filterwarnings("ignore:.*rugh_temperature")
def test_samples_are_counted_where_the_loader_does_not_tell_its_batch_size() -> None:
    batches: Any = loader(16)
    options: dict[str, Any] = {"window": 8, "steps_between_windows": 0, "curvature_every_n_steps": 4}
    known = fit(Regression(), ThermoMonitor(**options), batches).thermo_rows
    counted = fit(Regression(), ThermoMonitor(**options), DataLoader(list(batches), batch_size=None)).thermo_rows
    scales = [
        [row["thermo/noise_scale"] for _, row in rows if "thermo/noise_scale" in row] for rows in (known, counted)
    ]
    assert scales[0] == scales[1] != []


class Hidden(Regression):
    """Its batches are objects that nobody can look into."""

    def loss(self, batch: Any) -> Any:
        return super().loss(batch())


@pytest.mark.filterwarnings("ignore:.*rugh_temperature")
def test_batches_that_hide_their_samples_have_a_signal_share_and_no_noise_scale() -> None:
    hidden = [lambda batch=batch: batch for batch in loader(16)]
    monitor = ThermoMonitor(window=8, steps_between_windows=0, curvature_every_n_steps=4)
    rows = fit(Hidden(), monitor, DataLoader(hidden, batch_size=None)).thermo_rows
    found = [row for _, row in rows if "thermo/signal_share" in row]
    assert found
    assert all(math.isfinite(row["thermo/signal_share"]) and "thermo/noise_scale" not in row for row in found)
    told = ThermoMonitor(window=8, steps_between_windows=0, curvature_every_n_steps=4, batch_size=4)
    rows = fit(Hidden(), told, DataLoader(hidden, batch_size=None)).thermo_rows
    assert any("thermo/noise_scale" in row for _, row in rows)
