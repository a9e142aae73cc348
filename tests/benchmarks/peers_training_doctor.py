"""training-doctor: `doctor.log(step, loss=..., lr=..., grad_norm=..., eval_loss=...)` after each step.

Its callback for Lightning is no `Callback` and cannot be handed to a trainer, so this is its plain loop.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from peers_record import Said, Tool, by_phrases
from peers_watch import Watcher

PHRASES = {
    # a cause counts where problem, explanation or any suggestion names it; "try lower beta2" is one of these
    "Learning rate likely too high": ("rate too high", "no warm-up", "optimizer constants"),
    # "verify data is being loaded correctly", "a schedule with warmup to a higher peak"
    "Learning rate may be too low": ("rate too low", "decayed too early", "broken data", "no warm-up"),
    # "effective batch size may be too small", "reduce learning rate", "verify data quality"
    "Training plateau detected": ("batch too small", "rate too high", "wrong labels"),
    "Overfitting detected": ("overfitting",),
    # the explanation of an instability says of which kind it is
    "NaN gradients indicate": ("rate too high", "broken data", "exploding signal"),
    "Exploding gradients cause": ("exploding signal", "rate too high"),
    "Vanishing gradients prevent": ("vanishing signal", "saturated units", "dead units"),
    "gradient instability that may prevent": ("rate too high", "batch too small"),  # high variance, or spikes
}


class Watch(Watcher):
    """One doctor for each optimizer. The loss of the test data is handed over after each epoch."""

    def __init__(self, run: Any) -> None:
        super().__init__(run)
        from training_doctor import Doctor

        make: Callable[[], Any] = Doctor
        self.doctors: defaultdict[int, Any] = defaultdict(make)
        self.grad_norm = 0.0
        self.new_test_loss: float | None = None

    def before_step(self, module: Any, optimizer: Any) -> None:
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        self.grad_norm = float(torch.nn.utils.get_total_norm(gradients))

    def after_step(self, module: Any, optimizer: Any) -> None:
        values = {"loss": self.loss, "train_loss": self.loss, "grad_norm": self.grad_norm}
        values["lr"] = optimizer.param_groups[0]["lr"]
        if self.new_test_loss is not None:
            values["eval_loss"], self.new_test_loss = self.new_test_loss, None
        self.doctors[id(optimizer)].log(step=self.step, **values)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.new_test_loss = self.test_loss()

    def said(self) -> list[Said]:
        """Sorted by confidence, as its guide does."""
        found = [each for doctor in self.doctors.values() for each in doctor.diagnoses]
        found.sort(key=lambda each: -each.confidence)
        return [Said(f"{each.problem}: {each.explanation}", each.severity.value, (), each.step or 0) for each in found]


TOOL = Tool("training-doctor", "training_doctor", Watch, by_phrases(PHRASES))
