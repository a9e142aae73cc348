"""Second law of learning: stiff directions balance at once, and whether entropy falls is a matter of the start.

A student of one hidden layer learns from a teacher of the same shape whose answers are noisy, by plain SGD. The first
table has one row a window: what curvature destroys of the entropy and noise puts back in one step in the most curved
directions, those that relax within the window, their ratio, and the share of all destruction that they hold. They
balance from the first windows on, while the student still learns: of the other directions a window knows nothing.

The second table has 400 students that learn side by side. The logarithm of the volume that they fill is the entropy of
the ensemble. From a tight ball it grows by tens of nats, from a broad one it falls: learning forgets how it began, and
"learning lowers the entropy" says as much about the start as about learning.

    python examples/12_entropy_balance.py          # about a minute
    python examples/12_entropy_balance.py --quick
"""

import argparse
import logging
import math
import warnings
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.utils.data import DataLoader, TensorDataset

from thermo_callbacks import EntropyMonitor

INPUTS, HIDDEN, NOISE, BATCH, LEARNING_RATE = 3, 4, 0.5, 8, 0.1
STUDENTS = 400


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
        values = self.latest()
        if (batch_idx + 1) % self.window == 0 and "thermo/entropy_production" in values:
            produced, error = (values[f"thermo/entropy_production{end}"] for end in ("", "_stderr"))
            destroyed = produced - values["thermo/entropy_rate"]
            print(
                f"{batch_idx + 1:7d} {destroyed:12.3f} {produced:12.3f} +- {error:.3f} {produced / destroyed:8.2f} "
                f"{values['thermo/resolved_share']:10.0%} {values['thermo/stability_margin']:8.3f}"
            )


def watch(quick: bool) -> None:
    """Train one student, and print the balance window by window."""
    window = 400 if quick else 1000
    print(
        f"{'step':>7s} {'destruction':>12s} {'production':>12s}          {'ratio':>9s} {'resolved':>10s} {'margin':>8s}"
    )
    monitor = Table(window, steps_between_windows=0, curvature_every_n_steps=window)
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, callbacks=[monitor], logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Student(), lessons(6 * window if quick else 10 * window))


def ensemble(quick: bool) -> None:
    """Train 400 students from a tight and from a broad start, and print the entropy that they gain or lose."""
    steps = 400 if quick else 2000
    data = lessons(2000).dataset
    inputs, answers = data.tensors  # type: ignore[attr-defined]
    student = Student()

    def loss(weights: Any, batch: Tensor, targets: Tensor) -> Tensor:
        return 0.5 * (functional_call(student.net, weights, (batch,)) - targets).square().mean()

    slopes = vmap(grad(loss))
    print(f"\n{'start':>12s} {'entropy at first':>18s} {'at last':>10s} {'gain':>8s}  (nats, of 400 students)")
    for name, spread in (("tight ball", 0.01), ("broad ball", 2.0)):
        weights = {
            key: value.detach() + spread * torch.randn(STUDENTS, *value.shape)
            for key, value in student.net.named_parameters()
        }
        first = log_volume(weights)
        for _ in range(steps):
            chosen = torch.randint(0, len(inputs), (STUDENTS, BATCH))
            gradients = slopes(weights, inputs[chosen], answers[chosen])
            weights = {key: value - LEARNING_RATE * gradients[key] for key, value in weights.items()}
        last = log_volume(weights)
        print(f"{name:>12s} {first:18.1f} {last:10.1f} {last - first:+8.1f}")


def log_volume(weights: dict[str, Tensor]) -> float:
    """Entropy of a Gaussian with the covariance of the students' weights."""
    rows = torch.cat([value.flatten(1) for value in weights.values()], 1).double()
    return float(0.5 * torch.logdet(2.0 * math.pi * math.e * torch.cov(rows.T)))


def main(quick: bool = False) -> None:
    """Both tables."""
    seed_everything(1, verbose=False)
    watch(quick)
    ensemble(quick)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a shorter run")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    torch.set_num_threads(1)
    main(parser.parse_args().quick)
