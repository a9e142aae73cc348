"""Everything about a finished run that a callback could have changed, and how to find a difference in it."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from integration.models import INPUTS, RecordingLogger, quiet_trainer
from lightning.pytorch import LightningModule, seed_everything
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from run_differences import leaves as leaves
from run_differences import places_that_differ
from run_differences import same as same
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, TensorDataset


class Witness(LightningModule):
    """Draws random numbers in every step, and logs them beside its loss: no draw of a stranger stays unseen."""

    def __init__(self, optimizer: Any, *, regularised: bool = False, manual: bool = False, overflow: int = -1) -> None:
        super().__init__()
        self.automatic_optimization = not manual
        between = [nn.BatchNorm1d(8), nn.Dropout(0.3)] if regularised else []
        self.net = nn.Sequential(nn.Linear(INPUTS, 8), *between, nn.Tanh(), nn.Linear(8, 1))
        self._make_optimizer, self._overflow = optimizer, overflow

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        inputs, targets = batch
        loss = mse_loss(self.net(inputs + 0.01 * torch.randn_like(inputs)), targets)
        if batch_idx == self._overflow:
            loss = loss * torch.inf
        self.log("loss", loss, on_step=True, on_epoch=True)
        self.log("python", random.random())
        self.log("numpy", float(np.random.rand()))  # noqa: NPY002  the global stream is the point
        if not self.automatic_optimization:
            self._step_by_hand(loss)
        return loss

    def _step_by_hand(self, loss: Tensor) -> None:
        optimizers: Any = self.optimizers()
        for optimizer in optimizers:
            optimizer.zero_grad()
        self.manual_backward(loss)
        for optimizer in optimizers:
            optimizer.step()

    def configure_optimizers(self) -> Any:
        if self.automatic_optimization:
            return self._make_optimizer(self.parameters())
        return [self._make_optimizer(self.net[index].parameters()) for index in (0, -1)]


def batches() -> DataLoader[Any]:
    """Ten shuffled batches of five."""
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(50, INPUTS, generator=generator)
    return DataLoader(TensorDataset(inputs, inputs.sum(1, keepdim=True).sin()), batch_size=5, shuffle=True)


def observe(make_module: Any, folder: Any, *callbacks: Any, tensorboard: bool = True, **options: Any) -> dict[str, Any]:
    """Train from one seed with several loggers attached, and take down everything that is left."""
    seed_everything(17, verbose=False)
    module = make_module()
    logger = RecordingLogger()
    loggers = [logger, CSVLogger(folder), *([TensorBoardLogger(folder)] if tensorboard else [])]
    trainer = quiet_trainer(logger=loggers, callbacks=list(callbacks), max_epochs=3, **options)
    trainer.fit(module, batches())
    return {
        "state_dict": dict(module.state_dict()),
        "gradients": {name: parameter.grad for name, parameter in module.named_parameters()},
        "optimizers": [optimizer.state_dict() for optimizer in trainer.optimizers],
        "python": random.getstate(),
        "numpy": np.random.get_state(),  # noqa: NPY002
        "torch": torch.get_rng_state(),
        "rows": logger.user_rows,
        "thermo_rows": logger.thermo_rows,
        "hooks": [len(optimizer._optimizer_step_post_hooks) for optimizer in trainer.optimizers],
        "training": [layer.training for layer in module.modules()],
        "grad_enabled": torch.is_grad_enabled(),
    }


def differences(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """Places where two runs differ, the monitors' own rows aside."""
    one, other = ({name: value for name, value in run.items() if name != "thermo_rows"} for run in (first, second))
    return places_that_differ(one, other)
