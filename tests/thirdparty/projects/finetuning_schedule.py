"""finetuning-scheduler: layers thaw while the run goes on, and come to the optimizer as groups of their own."""

from __future__ import annotations

from typing import Any

import torch
from finetuning_scheduler import FinetuningScheduler
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset


class Line(LightningModule):
    """A perceptron whose last layer is trained first."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Sequential(nn.Linear(6, 16), nn.Tanh()), nn.Linear(16, 1)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        inputs, targets = batch
        return nn.functional.mse_loss(self.head(self.body(inputs)), targets)

    def configure_optimizers(self) -> Any:
        parameters = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return torch.optim.SGD(parameters, lr=0.05, momentum=0.9)


def fit(callbacks: list[Any], options: dict[str, Any]) -> None:
    """Thaw one layer after the other."""
    inputs = torch.randn(160, 6)
    targets = inputs.sum(1, keepdim=True) + 0.2 * torch.randn(160, 1)
    phases = (["head.weight", "head.bias"], ["body.0.weight", "body.0.bias"])
    schedule = {n: {"params": names, "max_transition_epoch": 3} for n, names in enumerate(phases)}
    scheduler = FinetuningScheduler(ft_schedule=schedule, epoch_transitions_only=True, restore_best=False)
    trainer = Trainer(callbacks=[*callbacks, scheduler], max_epochs=6, **options)
    trainer.fit(Line(), DataLoader(TensorDataset(inputs, targets), batch_size=16, shuffle=True))
