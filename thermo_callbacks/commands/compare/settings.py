"""What a person can choose about a comparison on the command line; nothing slow is imported."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

INPUTS = {"mnist": 4_000, "digits": 1_437, "mnist1d": 4_000}
"""Training inputs of each set of data."""
SIZES = {"mlp": (6, 128), "cnn": (3, 32), "resnet": (2, 16), "transformer": (2, 32)}
"""Depth and width of each model, unless others are given."""
HEADS = 4
"""Attention heads of the transformer, of whose number its width is a multiple."""
FEWEST_STEPS = 8
"""Steps in the shortest window that the monitor takes."""
_WINDOWS = 20  # measurements in a run: enough for the paths of temperature and entropy
_LOOKS = 10  # closer looks in a run, each as dear as a few steps


@dataclass(frozen=True, kw_only=True)
class CompareSettings:
    """Settings of a comparison, each named like its option.

    Attributes:
        activations: Names of the activations.
        data: A key of :data:`INPUTS`.
        model: A key of :data:`SIZES`.
        seeds: Number of seeds.
        max_epochs: Passes over the training data.
        depth: Hidden layers, convolutions or blocks; None for the model's own.
        width: Neurons, channels or features of each; None for the model's own.
        lr: Learning rate of Adam.
        batch_size: Inputs in one optimizer step.
        jobs: Runs at a time; None for one a core.
        directory: Folder of all files; None for one that is named after data and model.

    Raises:
        ValueError: If a run has fewer steps than a measurement takes, or the transformer's width does not fit.

    Example:
        >>> settings = CompareSettings(activations=("ReLU",), batch_size=100, max_epochs=5)
        >>> settings.steps, settings.window, settings.folder
        (200, 10, PosixPath('thermo_comparison/mnist-mlp'))
    """

    activations: tuple[str, ...] = ("ReLU", "Tanh", "GELU", "SiLU", "SELU", "Sigmoid")
    data: str = "mnist"
    model: str = "mlp"
    seeds: int = 3
    max_epochs: int = 10
    depth: int | None = None
    width: int | None = None
    lr: float = 1e-3
    batch_size: int = 64
    jobs: int | None = None
    directory: Path | None = None

    def __post_init__(self) -> None:
        if self.steps < FEWEST_STEPS:
            raise ValueError(
                f"--batch-size {self.batch_size} with --max-epochs {self.max_epochs} makes too few optimizer steps of "
                f"{INPUTS[self.data]} inputs, {self.steps}, and a measurement takes {FEWEST_STEPS}: choose smaller "
                "batches or more epochs"
            )
        if self.model == "transformer" and self.size[1] % HEADS:
            raise ValueError(
                f"--width {self.width} does not fit the transformer, which has {HEADS} heads: give a multiple"
            )

    @property
    def size(self) -> tuple[int, int]:
        """Depth and width."""
        depth, width = SIZES[self.model]
        return self.depth or depth, self.width or width

    @property
    def folder(self) -> Path:
        """Folder of all files."""
        return self.directory or Path("thermo_comparison", f"{self.data}-{self.model}")

    @property
    def steps(self) -> int:
        """Optimizer steps of a run."""
        return self.max_epochs * math.ceil(INPUTS[self.data] / self.batch_size)

    @property
    def window(self) -> int:
        """Steps in one measurement."""
        return max(FEWEST_STEPS, self.steps // _WINDOWS)

    @property
    def look_every(self) -> int:
        """Steps between two extra passes."""
        return max(1, self.steps // _LOOKS)
