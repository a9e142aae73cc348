"""torchdiag: `verify_step` and `summary` before training; gradients and dead neurons at its start, on its way and end.

It prints what it finds, so its lines are read.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable
from typing import Any

import torch
from peers_record import Said, Tool, by_phrases
from peers_watch import Watcher, modes_kept

EVERY = 100
"""Batches from one check to the next: its guide leaves this open."""
PHRASES = {
    # it gives as possible causes a rate that is too high, and inputs that are shifted
    "neurons dead": ("dead units", "rate too high", "input scale", "data shift"),
    "exploding": ("exploding signal", "rate too high", "input scale", "loss not a mean"),
    "vanishing": ("vanishing signal", "dead units", "saturated units", "discriminator won"),
    "disconnected from graph": ("layer not trained",),
    "None gradients": ("layer not trained",),
    "No parameters changed": ("layer not trained", "rate too low"),
    "ALL parameters are frozen": ("layer not trained",),
    "not finite": ("rate too high", "broken data", "exploding signal"),
    "failed": ("probabilities as logits",),
}
_SENTENCE = re.compile(r"^  • (?:([\w.]+): )?(.*)$", re.MULTILINE)


class Watch(Watcher):
    """Checks of a run; what is said again is counted."""

    def __init__(self, run: Any) -> None:
        super().__init__(run)
        self.batches = 0

    def hear(self, check: Callable[..., Any], *arguments: Any, prefix: str = "") -> None:
        """Run a check and keep what it printed, without figures."""
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            check(*arguments)
        for layer, sentence in _SENTENCE.findall(printed.getvalue()):
            self.take(sentence, f"{prefix}{layer}" if layer else "")

    def before_training(self, module: Any) -> None:
        """One training step of a copy, as the guide has it before a long run."""
        import torchdiag

        self.hear(torchdiag.summary, module)
        if not hasattr(module, "net"):
            return
        copy = type(module)(module.recipe)  # with other weights: a step of it tells as much
        copy.load_state_dict(module.state_dict())
        data = self.run.data  # type: ignore[attr-defined]
        of_classes = not data.targets.is_floating_point()

        def loss(outputs: Any, targets: Any) -> Any:
            return copy.recipe.loss(
                *((outputs.flatten(0, -2), targets.flatten()) if of_classes else (outputs, targets))
            )

        batch = (data.inputs[:32], data.targets[:32])
        self.hear(torchdiag.verify_step, copy.net, copy.recipe.optimizer(copy.net), loss, *batch, prefix="net.")

    def check(self, module: Any) -> None:
        """Gradients, and dead neurons with all training inputs."""
        import torchdiag

        self.hear(torchdiag.check_gradients, module)
        if hasattr(module, "net"):
            with modes_kept(module):
                module.eval()  # so that statistics of BatchNorm stay what they were
                inputs = self.run.data.inputs  # type: ignore[attr-defined]
                change = module.recipe.batch
                if change is not None:
                    inputs = change(inputs, inputs, module.over)[0]
                self.hear(torchdiag.check_dead_neurons, module.net, inputs, prefix="net.")

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        with torch.random.fork_rng(devices=[]):
            self.before_training(pl_module)
        super().on_train_start(trainer, pl_module)

    def after_batch(self, module: Any) -> None:
        last = module.trainer.global_step >= module.trainer.max_steps  # validation after it sets gradients to None
        if self.batches % EVERY == 0 or last:
            self.check(module)
        self.batches += 1

    def said(self) -> list[Said]:
        """In the order in which it was printed."""
        return list(self.found.values())


TOOL = Tool("torchdiag", "torchdiag", Watch, by_phrases(PHRASES))
