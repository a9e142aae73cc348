"""With a monitor attached, training is bit for bit what it is without."""

from __future__ import annotations

import random
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from integration.observers import Witness, differences, observe
from lightning.pytorch import Callback
from lightning.pytorch.plugins import MixedPrecision
from torch.optim import SGD, AdamW

from thermo_callbacks import TemperatureMonitor, ThermoMonitor

# windows of 8 noisy steps show no signal now and then
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*no value", "ignore:.*no transition temperature", "ignore:No Laplacian of complexity"
)

OPTIMIZERS = {
    "sgd": partial(SGD, lr=0.05),
    "momentum": partial(SGD, lr=0.02, momentum=0.9),
    "adamw": partial(AdamW, lr=0.01),
}


class Setting(NamedTuple):
    """Options of the module, and of the Trainer (made afresh for each run)."""

    module: dict[str, Any]
    trainer: Any = dict


SETTINGS = {
    "plain": Setting({}),
    "clipping": Setting({}, lambda: {"gradient_clip_val": 0.1}),
    "accumulation": Setting({}, lambda: {"accumulate_grad_batches": 3}),
    "bf16-mixed": Setting({}, lambda: {"precision": "bf16-mixed"}),
    "fp16 scaler with a skipped step": Setting(
        {"overflow": 4}, lambda: {"plugins": [MixedPrecision("16-mixed", "cpu")]}
    ),
    "dropout and batch norm": Setting({"regularised": True}),
    "manual with two optimizers": Setting({"manual": True}),
}


def manual_loss(module: Witness, batch: Any) -> torch.Tensor:
    return torch.nn.functional.mse_loss(module.net(batch[0]), batch[1])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_nothing_but_the_monitors_own_rows_is_new(setting: str, optimizer: str, tmp_path: Any) -> None:
    module, trainer = SETTINGS[setting]
    make = partial(Witness, OPTIMIZERS[optimizer], **module)
    bare = observe(make, tmp_path, **trainer())
    assert bare["thermo_rows"] == []
    for preset, rest in (("light", 0), ("full", 3)):
        loss_fn = manual_loss if module.get("manual") else None
        monitor = ThermoMonitor(
            preset, 8, steps_between_windows=rest, sample=16, curvature_every_n_steps=3, loss_fn=loss_fn
        )
        # drawing the heat map takes longer than the run: once is enough
        watched = observe(make, tmp_path, monitor, tensorboard=rest == 0, **trainer())
        assert watched["thermo_rows"]
        if preset == "full":
            assert {"thermo/laplacian", "thermo/work_efficiency", "thermo/complexity"} <= {
                tag for _, row in watched["thermo_rows"] for tag in row
            }
        assert differences(bare, watched) == []


def regularised_adamw() -> Witness:
    return Witness(OPTIMIZERS["adamw"], regularised=True)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return observe(regularised_adamw, tmp_path_factory.mktemp("undisturbed"))


def test_other_monitors_and_all_coordinates(undisturbed: dict[str, Any], tmp_path: Any) -> None:
    monitors = [
        TemperatureMonitor(window=8, sample=None),
        ThermoMonitor("light", window=9, sample=None, layers=["net.0"]),
    ]
    watched = observe(regularised_adamw, tmp_path, *monitors)
    assert len(watched["thermo_rows"]) >= 4
    assert differences(undisturbed, watched) == []


class Meddler(Callback):
    """Does one thing to the run, after one of its 30 steps."""

    def __init__(self, meddle: Any, step: int) -> None:
        self._meddle, self._step = meddle, step

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self._step:
            with torch.no_grad():
                self._meddle(trainer, pl_module)


def nudge(trainer: Any, pl_module: Any) -> None:
    weight = pl_module.net[-1].bias
    weight.copy_(torch.nextafter(weight, torch.ones_like(weight)))


MEDDLERS = {
    "draws a random number of torch": (lambda *_: torch.rand(()), 20, "/torch"),
    "draws a random number of NumPy": (lambda *_: np.random.rand(), 20, "/numpy/2"),  # noqa: NPY002
    "draws a random number of Python": (lambda *_: random.random(), 20, "/python/1/624"),
    "nudges a weight by one unit in the last place": (nudge, 30, "/state_dict/net.4.bias"),
    "clips a weight": (lambda _, module: module.net[0].weight.clamp_(-0.1, 0.1), 20, "/state_dict/net.0.weight"),
    "moves a running mean": (
        lambda _, module: module.net[1].running_mean.add_(1),
        20,
        "/state_dict/net.1.running_mean",
    ),
    "changes a gradient": (lambda _, module: module.net[0].weight.grad.mul_(2), 30, "/gradients/net.0.weight"),
    "touches the optimizer's state": (
        lambda trainer, module: trainer.optimizers[0].state[module.net[0].weight]["exp_avg"].mul_(2),
        20,
        "/optimizers/0/state/0/exp_avg",
    ),
    "logs a value under the module's name": (lambda _, module: module.log("loss", 1.0), 20, "/rows/20/1/loss"),
    "leaves evaluation mode on": (lambda _, module: module.net[2].eval(), 30, "/training/4"),
}


@pytest.mark.parametrize("name", MEDDLERS)
def test_the_comparison_sees_what_other_callbacks_do(name: str, undisturbed: dict[str, Any], tmp_path: Any) -> None:
    meddle, step, place = MEDDLERS[name]
    assert place in differences(undisturbed, observe(regularised_adamw, tmp_path, Meddler(meddle, step)))
