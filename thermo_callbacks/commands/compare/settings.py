"""Settings of a comparison on the command line, checked before anything slow is imported."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from thermo_callbacks.commands.options import FEWEST_STEPS, FOLDER, MOST_EPOCHS, POSITIVE, choice, whole

INPUTS = {"mnist": 4_000, "digits": 1_437, "mnist1d": 4_000}
"""Training inputs of each set of data."""
SIZES = {"mlp": (6, 128), "cnn": (3, 32), "resnet": (2, 16), "transformer": (2, 32)}
"""Depth and width of each model, unless others are given."""
HEADS = 4
"""Attention heads of the transformer, of whose number its width is a multiple."""
_WINDOWS = 20  # measurements in a run: enough for the paths of temperature and entropy
_EXTRA_PASSES = 10  # in a run, each as dear as a few steps


@dataclass(frozen=True, kw_only=True)
class CompareSettings:
    """Settings of a comparison, each named like its option.

    Attributes:
        activations: Activations of torch.nn, by name.
        data: Data, none of which is downloaded.
        model: Network.
        seeds: Runs of each activation.
        max_epochs: Passes over the data.
        depth: Hidden layers, convolutions or blocks. Depth and width of mlp: 6 and 128; cnn: 3 and 32; resnet: 2 and
            16; transformer: 2 and 32.
        width: Neurons, channels or features of each.
        lr: Learning rate of Adam.
        batch_size: Inputs in a step.
        jobs: Runs at a time; one a core unless given.
        directory: Folder of all files; thermo_comparison/DATA-MODEL unless given.
        resume: auto: go on with the finished runs that the folder holds; never: delete them first.

    Raises:
        ValueError: If a run has fewer steps than a measurement takes, or the transformer's width does not fit.

    Example:
        >>> settings = CompareSettings(activations=("ReLU",), batch_size=100, max_epochs=5)
        >>> settings.steps, settings.window, settings.folder
        (200, 10, PosixPath('thermo_comparison/mnist-mlp'))
    """

    activations: tuple[str, ...] = field(
        default=("ReLU", "Tanh", "GELU", "SiLU", "SELU", "Sigmoid"),
        metadata={"nargs": "+", "type": str, "metavar": "NAME"},
    )
    data: str = field(default="mnist", metadata=choice(INPUTS))
    model: str = field(default="mlp", metadata=choice(SIZES))
    seeds: int = field(default=3, metadata=whole(1, 1000))
    max_epochs: int = field(default=10, metadata=whole(1, MOST_EPOCHS))
    depth: int | None = field(default=None, metadata=whole(1, 1000))
    width: int | None = field(default=None, metadata=whole(1, 2**14))
    lr: float = field(default=1e-3, metadata=POSITIVE)
    batch_size: int = field(default=64, metadata=whole(1, 10**6))
    jobs: int | None = field(default=None, metadata=whole(1, 1000))
    directory: Path | None = field(default=None, metadata=FOLDER)
    resume: str = field(default="auto", metadata=choice(("auto", "never")))

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
    def extra_pass_every(self) -> int:
        """Steps between two extra passes."""
        return max(1, self.steps // _EXTRA_PASSES)
