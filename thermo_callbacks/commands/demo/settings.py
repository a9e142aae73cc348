"""Settings of the demo, checked before anything slow is imported."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from thermo_callbacks.commands.digits import TRAINING_IMAGES
from thermo_callbacks.commands.options import FEWEST_STEPS, FOLDER, MOST_EPOCHS, POSITIVE, choice, whole

LEARNING_RATES = {"sgd": 0.02, "momentum": 0.005, "adam": 1e-3, "adamw": 1e-3}
"""Learning rate of each optimizer, unless one is given."""


@dataclass(frozen=True, kw_only=True)
class DemoSettings:
    """Settings of one demo run, each named like its option.

    Attributes:
        max_epochs: Passes over the data.
        logdir: Folder for the TensorBoard files.
        optimizer: Optimizer; momentum is sgd with a momentum of 0.9.
        lr: Learning rate; 0.02 for sgd, 0.005 for momentum, 0.001 for adam, 0.001 for adamw unless given.
        batch_size: Images in a step.
        seed: Seed of all that is random: split, initial weights and order.

    Raises:
        ValueError: If the run has fewer optimizer steps than a measurement takes.

    Example:
        >>> settings = DemoSettings(optimizer="sgd")
        >>> settings.learning_rate, settings.steps
        (0.02, 625)
    """

    max_epochs: int = field(default=5, metadata=whole(1, MOST_EPOCHS))
    logdir: Path = field(default=Path("thermo_logs"), metadata=FOLDER)
    optimizer: str = field(default="adam", metadata=choice(LEARNING_RATES))
    lr: float | None = field(default=None, metadata=POSITIVE)
    batch_size: int = field(default=32, metadata=whole(1, TRAINING_IMAGES))
    seed: int = field(default=0, metadata=whole(0, 2**32 - 1))

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
