"""What a person can choose about the demo, checked before anything slow is imported."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from thermo_callbacks.commands.digits import TRAINING_IMAGES

FEWEST_STEPS = 8
"""Steps in the shortest window that the monitor takes."""
LEARNING_RATES = {"sgd": 0.02, "momentum": 0.005, "adam": 1e-3, "adamw": 1e-3}
"""Learning rate of each optimizer, unless one is given."""


@dataclass(frozen=True, kw_only=True)
class DemoSettings:
    """Settings of one demo run, each named like its option.

    Attributes:
        max_epochs: Passes over the training images.
        logdir: Folder for the TensorBoard files.
        optimizer: A key of :data:`LEARNING_RATES`.
        lr: Learning rate; None for the optimizer's own.
        batch_size: Images in one optimizer step.
        seed: Seed of the split, the initial weights and the order of the images.

    Raises:
        ValueError: If the run has fewer optimizer steps than a measurement takes.

    Example:
        >>> settings = DemoSettings(optimizer="sgd")
        >>> settings.learning_rate, settings.steps, settings.window
        (0.02, 625, 31)
    """

    max_epochs: int = 5
    logdir: Path = Path("thermo_logs")
    optimizer: str = "adam"
    lr: float | None = None
    batch_size: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < FEWEST_STEPS:
            epochs = math.ceil(FEWEST_STEPS / self.steps_per_epoch)
            size = TRAINING_IMAGES // math.ceil(FEWEST_STEPS / self.max_epochs)
            raise ValueError(
                f"--batch-size {self.batch_size} with --max-epochs {self.max_epochs} makes too few optimizer steps of "
                f"{TRAINING_IMAGES} images, {self.steps}, and a measurement takes {FEWEST_STEPS}: choose a batch size "
                f"of at most {size}, or at least {epochs} epochs"
            )

    @property
    def learning_rate(self) -> float:
        """The learning rate given, or else the optimizer's own."""
        return LEARNING_RATES[self.optimizer] if self.lr is None else self.lr

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one pass over the training images."""
        return math.ceil(TRAINING_IMAGES / self.batch_size)

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.max_epochs * self.steps_per_epoch

    @property
    def window(self) -> int:
        """Steps in one measurement.

        The monitor's own choice, windows of 50 steps with growing rests between them, is made for runs of many
        thousand steps. The demo is short and its cost is no matter, so it measures every step, in 15 to 20 windows.
        None is longer than a quarter of an epoch: within an epoch no image comes twice, so the mean over a window close
        to that length scatters less than steps that know nothing of each other, and the signal would be underrated.
        """
        return max(FEWEST_STEPS, min(self.steps // 15, self.steps_per_epoch // 4))
