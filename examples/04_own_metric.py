"""A metric of one's own from the package's functions: how much of the loss is noise that a lower learning rate removes.

In equilibrium each of N variables holds the energy T / 2, so stochastic gradient descent at the temperature T stays
N T / 2 above the minimum. The metric is that, from the moves and gradients of an epoch's steps, written as any metric
of torchmetrics; the module logs it with ``self.log``. For least squares under plain SGD it is exact at any learning
rate at which the descent is stable, and the minimum is known: the table compares it with what the loss really lies
above it. For other losses it says what to expect of annealing.
"""

from typing import Any

import lightning.pytorch as pl
import torch
from sklearn.datasets import load_diabetes
from sklearn.decomposition import PCA
from sklearn.preprocessing import scale
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset
from torchmetrics import Metric

from thermo_callbacks.functional import kinetic_temperature

BATCH, STEPS, EPOCHS, LEARNING_RATES = 16, 400, 5, (0.02, 0.05, 0.1)


class AnnealingGain(Metric):
    """Loss above the minimum that the noise of the gradient keeps up, N T / 2, in units of the loss."""

    full_state_update = False
    displacements: list[Tensor]
    gradients: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("displacements", default=[], dist_reduce_fx="cat")
        self.add_state("gradients", default=[], dist_reduce_fx="cat")

    def update(self, displacement: Tensor, gradient: Tensor) -> None:
        """Take in a step: the move of all variables, and their gradient at its start."""
        self.displacements.append(displacement.flatten()[None])
        self.gradients.append(gradient.flatten()[None])

    def compute(self) -> Tensor:
        """All steps so far are one window."""
        gradients = torch.cat(self.gradients)
        temperature = kinetic_temperature(torch.cat(self.displacements), gradients)
        return gradients.shape[1] * temperature / 2


class LeastSquares(pl.LightningModule):
    """Linear model; it starts at the minimum, from which the noise drives it up."""

    def __init__(self, inputs: Tensor, targets: Tensor, lr: float) -> None:
        super().__init__()
        self.inputs, self.targets, self.lr = inputs, targets, lr
        self.layer = nn.Linear(inputs.shape[1], 1, bias=False, dtype=inputs.dtype)
        with torch.no_grad():
            self.layer.weight.copy_(torch.linalg.lstsq(inputs, targets).solution.T)
        self.minimum = float(self.loss(inputs, targets))
        self.before = torch.empty(0)
        self.gain = AnnealingGain()

    def loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error."""
        return (self.layer(inputs) - targets).square().mean()

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Log the true distance from the minimum, on all data."""
        with torch.no_grad():
            self.log("excess_loss", self.loss(self.inputs, self.targets) - self.minimum, on_step=False, on_epoch=True)
        return self.loss(*batch)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Remember where the step begins."""
        self.before = self.layer.weight.detach().clone()

    def on_train_batch_end(self, outputs: Any, batch: list[Tensor], batch_idx: int) -> None:
        """Give the step to the metric, and the metric to the log."""
        self.gain.update(self.layer.weight.detach() - self.before, self.layer.weight.grad)
        self.log("annealing_gain", self.gain, on_step=False, on_epoch=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Plain SGD."""
        return torch.optim.SGD(self.parameters(), lr=self.lr)


class Means(pl.Callback):
    """Means over the epochs of what was logged; the first one, in which the noise builds up, is left out."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the epoch's values."""
        if trainer.current_epoch > 0:
            self.rows.append({name: float(value) for name, value in trainer.callback_metrics.items()})

    def of(self, name: str) -> float:
        """Mean of one quantity."""
        return sum(row[name] for row in self.rows) / len(self.rows)


def main() -> None:
    """A run at each learning rate."""
    features, target = load_diabetes(return_X_y=True)
    # directions of one curvature: all of them are in equilibrium after a few dozen steps
    inputs, targets = torch.tensor(PCA(whiten=True).fit_transform(features)), torch.tensor(scale(target))[:, None]
    data = TensorDataset(inputs, targets)
    print(f"{'learning rate':>13s} {'annealing gain':>15s} {'excess loss':>12s} {'ratio':>6s}")
    for lr in LEARNING_RATES:
        pl.seed_everything(0, verbose=False)
        sampler = RandomSampler(data, replacement=True, num_samples=STEPS * BATCH)
        means = Means()
        trainer = pl.Trainer(
            max_epochs=EPOCHS,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[means],
        )
        trainer.fit(LeastSquares(inputs, targets, lr), DataLoader(data, batch_size=BATCH, sampler=sampler))
        gain, excess = means.of("annealing_gain"), means.of("excess_loss")
        print(f"{lr:13g} {gain:15.5f} {excess:12.5f} {gain / excess:6.3f}")


if __name__ == "__main__":
    main()
