"""Second law of learning: a network's entropy falls until noise produces what curvature destroys.

A student of one hidden layer learns from a teacher of the same shape whose answers are noisy, by plain SGD. Near the
teacher every direction has curvature and noise, so there is an equilibrium, and windows of thousands of steps see all
of it. The table has one row a window: the entropy of the weights, what curvature destroys of it and noise puts back in
one step, and their ratio, which starts anywhere and comes to 1.

    python examples/12_entropy_balance.py          # about a minute
    python examples/12_entropy_balance.py --quick
"""

import argparse
import logging
import warnings
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from thermo_callbacks import EntropyMonitor

INPUTS, HIDDEN, NOISE, BATCH, LEARNING_RATE = 3, 4, 0.5, 8, 0.1


class Student(LightningModule):
    """Least squares by plain SGD."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(INPUTS, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 1))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Half the mean squared error."""
        inputs, answers = batch
        return 0.5 * (self.net(inputs) - answers).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Plain SGD at one learning rate."""
        return torch.optim.SGD(self.parameters(), lr=LEARNING_RATE)


def lessons(steps: int) -> DataLoader:
    """Noisy answers of a teacher, none of them given twice."""
    teacher = nn.Sequential(nn.Linear(INPUTS, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 1))
    with torch.no_grad():
        nn.init.orthogonal_(teacher[0].weight, gain=2.0)  # neurons that differ: none is free to drift
        teacher[0].bias.copy_(torch.linspace(-1.0, 1.0, HIDDEN))
        teacher[2].weight.copy_(torch.tensor([[2.0, -1.5, 1.5, -2.0]]))
        inputs = torch.randn(steps * BATCH, INPUTS)
        answers = teacher(inputs) + NOISE * torch.randn(steps * BATCH, 1)
    return DataLoader(TensorDataset(inputs, answers), batch_size=BATCH)


class Table(EntropyMonitor):
    """Prints a row whenever a window has ended."""

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Print after the monitor has logged."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if (batch_idx + 1) % self.window == 0:
            values = self.latest()
            destroyed, produced = (values[f"thermo/entropy_{side}"] for side in ("destruction", "production"))
            print(
                f"{batch_idx + 1:7d} {values['thermo/entropy']:12.1f} {destroyed:12.3f} {produced:12.3f} "
                f"+- {values['thermo/entropy_production_stderr']:.3f} {produced / destroyed:8.2f}"
            )


def main(quick: bool = False) -> None:
    """Train, and print the balance window by window."""
    window = 2000 if quick else 4000
    seed_everything(1, verbose=False)
    data = lessons(4 * window if quick else 6 * window)
    print(f"{'step':>7s} {'entropy':>12s} {'destruction':>12s} {'production':>12s}          {'ratio':>9s}")
    monitor = Table(window, steps_between_windows=0, curvature_every_n_steps=window // 40)
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, callbacks=[monitor], logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Student(), data)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a shorter run")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    torch.set_num_threads(1)
    main(parser.parse_args().quick)
