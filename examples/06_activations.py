"""Activations compared as heat engines in a network and on data of one's own, and layer by layer in one of the runs.

``compare_activations`` trains the module with each activation, over several seeds, and prints tables and what they say
in sentences. An activation takes in the power of its input and passes on that of its output; their ratio is the work
efficiency, and the same of the learning signal on its way back is the learning efficiency. The last table has both for
each layer of one run, beside what they are for a normal input of unit variance.

    python examples/06_activations.py            # three seeds, half a minute
    python examples/06_activations.py --quick    # two seeds, three epochs

A second call reads what is finished in thermo_comparison/digits instead of training again.
"""

import argparse
import copy

import lightning.pytorch as pl
import torch
from rich.console import Console
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset, random_split

from thermo_callbacks import compare_activations
from thermo_callbacks.functional import gaussian_efficiency

ACTIVATIONS = ("ReLU", "GELU", "Tanh", "SELU")


class Classifier(pl.LightningModule):
    """Four layers with the activation that it is given."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        hidden = [nn.Sequential(nn.Linear(64, 64), copy.deepcopy(activation)) for _ in range(3)]
        self.net = nn.Sequential(*hidden, nn.Linear(64, 10))

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Cross-entropy."""
        images, labels = batch
        return nn.functional.cross_entropy(self.net(images), labels)

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """What the comparison looks for in the log."""
        images, labels = batch
        logits = self.net(images)
        self.log("val_loss", nn.functional.cross_entropy(logits, labels))
        self.log("val_accuracy", (logits.argmax(1) == labels).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Plain SGD."""
        return torch.optim.SGD(self.parameters(), lr=0.1)


def loaders() -> tuple[DataLoader, DataLoader]:
    """scikit-learn's digits, for training and validation."""
    images, labels = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(images, dtype=torch.float32) / 16, torch.tensor(labels))
    training, validation = random_split(data, [1400, len(data) - 1400], torch.Generator().manual_seed(0))
    return DataLoader(training, batch_size=32, shuffle=True), DataLoader(validation, batch_size=397)


def main(quick: bool) -> None:
    """Compare, print, and look into the first run."""
    result = compare_activations(
        Classifier,
        ACTIVATIONS,
        loaders(),
        seeds=2 if quick else 3,
        trainer_kwargs={"max_epochs": 3 if quick else 10, "accelerator": "cpu"},
        directory="thermo_comparison/digits-quick" if quick else "thermo_comparison/digits",
    )
    console = Console(width=140)
    for table in result.tables():
        console.print(table)
    for sentence in [*result.notes(), *result.reading()]:
        console.print(f"- {sentence}")
    run = result.records[0]
    normal = gaussian_efficiency(getattr(nn, run.activation)())
    print(f"\n{'layers of ' + run.name:24s} {'work efficiency':>16s} {'learning efficiency':>20s}")
    for (module, work), (_, learning) in zip(run.work_efficiency, run.learning_efficiency, strict=True):
        print(f"{module:24s} {work:16.3f} {learning:20.3f}")
    print(f"{'normal input':24s} {normal.work:16.3f} {normal.learning:20.3f}")
    print(f"\nfiles: {result.directory}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two seeds, three epochs")
    main(parser.parse_args().quick)
