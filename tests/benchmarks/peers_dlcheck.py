"""DLCheck: `Trainer(callbacks=[DLCheckCallback()])`. Its log and its report are read.

It is in no package index: QEDan/DLCheck on GitHub, with the folder of the checkout in PYTHONPATH. Checks that it has
but that its callback does not make are left out.
"""

from __future__ import annotations

import logging
import re
from typing import Any

from peers_record import Said, Tool, by_phrases, without_figures
from peers_watch import modes_kept
from torch import nn

PHRASES = {
    "very small weight variance": ("vanishing signal",),
    "was not updated with training": ("layer not trained",),  # "confirm that this layer is properly connected"
    "of weights": ("rate too high", "exploding signal"),  # a quarter of them is below or above any reason
    "NaN/Inf gradient": ("rate too high", "exploding signal", "broken data"),
    "had exploding gradients": ("exploding signal", "rate too high"),
    "had vanishing gradients": ("vanishing signal", "saturated units", "dead units", "discriminator won"),
    "had zero gradients": ("dead units", "layer not trained", "saturated units", "vanishing signal"),
    "(slow)": ("rate too low", "decayed too early", "layer not trained", "optimizer constants"),
    "(unstable)": ("rate too high", "layer rate too high", "no warm-up"),
    "dead neurons": ("dead units",),
    "saturated activations": ("saturated units", "vanishing signal"),  # it says so of units near zero as well
}
_LAYER = re.compile(r"(?:Module|Parameter|Layer|detected in) ([\w.]+)")


def said_of(sentence: str, severity: str, module: Any) -> Said:
    """A sentence of the log without figures. A parameter that it has a number for is given its name."""
    found = _LAYER.search(sentence)
    layer = found[1] if found else ""
    if layer.isdigit():
        layer = [name for name, each in module.named_parameters() if each.requires_grad][int(layer)]
    words = without_figures(sentence.replace(found[0], "") if found else sentence)
    return Said(words, severity, (layer,) if layer else ())


class Heard(logging.Handler):
    """Keeps what is said in the log, once each."""

    def __init__(self, module: Any) -> None:
        super().__init__(logging.WARNING)
        self.module = module
        self.found: dict[Said, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        severity = "critical" if record.levelno >= logging.ERROR else "warning"
        self.found.setdefault(said_of(record.getMessage(), severity, self.module))


def settings(module: nn.Module) -> dict[str, Any]:
    """Its defaults; where there are embeddings, all layers but these: it fails at inputs that are integers."""
    embeddings = {name for name, each in module.named_modules() if isinstance(each, nn.Embedding)}
    watched = [
        name for name, each in module.named_modules()
        if name and (not list(each.children()) or list(each.parameters(recurse=False)))
    ]  # fmt: skip
    return {"layers_to_monitor": [name for name in watched if name not in embeddings]} if embeddings else {}


def watch(run: Any) -> Any:
    """The callback, with `said()`."""
    from pytorch_lightning_callback.dlcheck_callback import DLCheckCallback

    module = run.module
    if hasattr(module, "net"):  # it calls the module itself after each batch
        module.forward = module.net.forward
    heard = Heard(module)
    loggers = (logging.getLogger(), logging.getLogger("lightning.pytorch.core"))

    class Watch(DLCheckCallback):  # type: ignore[misc]
        """The callback, with modes of modules as they were: it leaves all of them in eval mode, or none."""

        def on_train_start(self, *arguments: Any) -> None:
            for each in loggers:
                each.addHandler(heard)
            loggers[1].setLevel(logging.WARNING)
            loggers[1].propagate = False
            super().on_train_start(*arguments)

        def on_train_batch_end(self, *arguments: Any) -> None:
            with modes_kept(module):
                super().on_train_batch_end(*arguments)

        def said(self) -> list[Said]:
            """In the order in which it was logged."""
            for each in loggers:
                each.removeHandler(heard)
            return list(heard.found)

    return Watch(settings(module))


TOOL = Tool("DLCheck", "pytorch_lightning_callback", watch, by_phrases(PHRASES))
