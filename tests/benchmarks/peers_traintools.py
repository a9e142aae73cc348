"""traintools: batch inspector, gradient health and tracker, as in the quick start of its guide.

Early stopping and the regime of the batch size are advice, not alarms. What it has for single examples needs their
numbers, which a loader does not give, and says nothing of the run. Gradient confusion is not in its quick start.
"""

from __future__ import annotations

import math
import re
from typing import Any

from peers_record import Said, Tool, by_phrases
from peers_watch import Watcher, part_of

PHRASES = {
    # of batches
    "has non-finite values": ("broken data",),
    "abs max": ("input scale",),
    "nearly constant": ("broken data", "unshuffled data"),
    "dominant class covers": ("unshuffled data",),
    "labels outside": ("wrong labels",),
    "is empty": ("broken data",),
    # of gradients
    "has non-finite gradients": ("rate too high", "exploding signal", "broken data"),
    "gradient appears vanished": (
        "vanishing signal", "dead units", "saturated units", "layer not trained", "discriminator won"
    ),
    "gradient is very large": ("exploding signal", "rate too high", "input scale", "loss not a mean"),
    "update/weight ratio is high": ("rate too high", "layer rate too high", "no warm-up"),
    "update/weight ratio is tiny": ("rate too low", "decayed too early"),
    "exceeds clipping threshold": ("clipping too strong",),
    "no gradients found": ("layer not trained",),
    # of the tracker
    "dormant": ("dead units",),
    "DORMANT": ("dead units",),
    "rank": ("dead units", "saturated units", "vanishing signal"),
    "under-batched": ("batch too small",),
    "over-batched": (),
    "stopping": ("overfitting",),
}  # fmt: skip
_LAYER = re.compile(r"^(?!global)([\w.]+) (?:has non-finite gradients|gradient |update/weight)")


class Watch(Watcher):
    """Batches, gradients and the tracker of a run; what is said again is counted."""

    def __init__(self, run: Any) -> None:
        super().__init__(run)
        from traintools import BatchInspector, GradientHealthMonitor
        from traintools.callbacks.pytorch import TraintoolsTracker

        module, targets = run.module, getattr(getattr(run, "data", None), "targets", None)
        self.classes = None if targets is None or targets.is_floating_point() else int(targets.max()) + 1
        self.inspector = BatchInspector(expected_num_classes=self.classes)
        self.health = GradientHealthMonitor(max_grad_norm=run.settings.get("gradient_clip_val"))
        self.prefix = "net." if hasattr(module, "net") else ""
        net = getattr(module, "net", module)

        def loss(outputs: Any, expected: Any) -> Any:
            flat = self.classes is not None
            return module.recipe.loss(*((outputs.flatten(0, -2), expected.flatten()) if flat else (outputs, expected)))

        self.tracker = TraintoolsTracker(net, loss, verbose=False)
        self.new_test_loss: float | None = None

    def on_train_batch_start(self, *arguments: Any) -> None:
        super().on_train_batch_start(*arguments)
        inputs, *targets = self.batch
        of_classes = targets[0] if self.classes is not None else None  # it takes numbers for classes
        for sentence in self.inspector.inspect(inputs, of_classes, step=self.step).warnings:
            self.take(sentence)

    def before_step(self, module: Any, optimizer: Any) -> None:
        prefix, part = part_of(module, optimizer)
        for sentence in self.health.inspect(part, step=self.step, lr=optimizer.param_groups[0]["lr"]).warnings:
            layer = _LAYER.match(sentence)
            self.take(f"{prefix}{sentence}", f"{prefix}{layer[1]}") if layer else self.take(sentence)

    def after_step(self, module: Any, optimizer: Any) -> None:
        tracker, before = self.tracker, len(self.tracker.plasticity_history.results)
        inputs, *targets = self.batch
        both = (inputs, targets[0]) if targets else (None, None)
        if tracker.step(self.step, *both, val_loss=self.new_test_loss) is not None:
            self.take("stopping", severity="info")
        self.new_test_loss = None
        for result in tracker.plasticity_history.results[before:]:
            for each in result.layers:
                if each.name in result.critical_layers:
                    self.take(" | ".join(each.flags), self.prefix + each.name)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        loss = self.test_loss()
        if loss is not None and math.isfinite(loss):  # its early stopping ends the run with an error at NaN
            self.new_test_loss = loss

    def said(self) -> list[Said]:
        """In the order in which it was printed; it has no ranks."""
        regimes = [Said(each.regime, "info", (), each.step) for each in self.tracker.gns_history.results]
        return [*self.found.values(), *(each for each in regimes if each.words != "optimal")]


TOOL = Tool("traintools", "traintools", Watch, by_phrases(PHRASES))
