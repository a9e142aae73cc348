"""thermoclaw: observer, entropy split and collapse detector after each step, and `diagnose` when the run has ended.

Its guide recommends a named group of the optimizer for each layer, so the run's optimizers are given such groups, with
the settings that the parameters had: they make the same steps.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

from faults.case import Recipe
from peers_record import Said, Tool, by_phrases, without_figures
from peers_watch import Watcher, ranked
from torch import nn
from torch.optim import Optimizer

PHRASES = {
    # a cause counts where the sentence, or what the guide says of its quantity, names it; of the fraction at
    # equilibrium it says "check LR schedule and weight decay", and momentum of .999 is found by it
    "of layers at equilibrium": (
        "rate too high", "no warm-up", "decayed too early", "weight decay too strong", "momentum too high"
    ),
    # "over/under-trained relative to others"; "often a sign of noisy labels or an aggressive LR"
    "High inter-layer dispersion": (
        "layer rate too high", "layer not trained", "wrong labels", "rate too high", "vanishing signal",
        "exploding signal",
    ),
    # "check batch size, LR, and data ordering"
    "Negative gradient alignment": ("rate too high", "batch too small", "unshuffled data"),
    "Entropy production": ("rate too high", "exploding signal"),
    "Network-wide entropy ratio": ("rate too high", "weight decay too strong", "momentum too high"),
    "high gradient noise": ("batch too small",),
    "momentum friction": ("momentum too high", "batch too small"),
    "eight decay": ("weight decay too strong",),  # "Weight decay collapse", "weight decay may be too aggressive"
}  # fmt: skip
LEVELS = {"[HIGH]": "critical", "[MEDIUM]": "warning", "[LOW]": "info"}  # the guide: "Informational only"


def by_layer(optimizer: Optimizer, module: nn.Module, prefix: str = "") -> Optimizer:
    """Give an optimizer that has made no step a group, with a name, for each layer of each of its groups."""
    names = {p: prefix + name for name, each in module.named_modules() for p in each.parameters(recurse=False)}
    groups: list[dict[str, Any]] = []
    for group in optimizer.param_groups:
        layers = defaultdict(list)
        for parameter in group["params"]:
            layers[names[parameter]].append(parameter)
        groups += [{**group, "params": parameters, "name": name} for name, parameters in layers.items()]
    optimizer.param_groups[:] = groups
    return optimizer


class Watch(Watcher):
    """The three instruments for each optimizer."""

    def __init__(self, run: Any) -> None:
        super().__init__(run)
        module, self.tools = run.module, {}
        if isinstance(recipe := module.recipe, Recipe):  # before the schedule is made, which counts the groups
            module.recipe = replace(recipe, optimizer=lambda net: by_layer(recipe.optimizer(net), net, "net."))
        else:
            make = module.configure_optimizers
            module.configure_optimizers = lambda: [by_layer(each, module) for each in make()]

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        from thermoclaw import CollapseDetector, EntropySplit, Observer

        for optimizer in trainer.optimizers:
            observer = Observer(pl_module, optimizer)
            split = EntropySplit(pl_module, optimizer, observer)
            self.tools[id(optimizer)] = (observer, split, CollapseDetector(pl_module, optimizer))
        super().on_train_start(trainer, pl_module)

    def after_step(self, module: Any, optimizer: Any) -> None:
        observer, split, collapse = self.tools[id(optimizer)]
        observer.step(loss=self.loss)
        split.step()
        collapse.step()

    def said(self) -> list[Said]:
        """Sorted by its levels, with the layers that it lists as the worst."""
        from thermoclaw import diagnose

        found = []
        for observer, split, collapse in self.tools.values():
            report = diagnose(observer, split, collapse)
            layers = tuple(each["name"] for each in report.worst_R_ie_layers)
            for sentence in report.recommendations:
                level, _, words = sentence.partition(" ")
                found.append(Said(without_figures(words), LEVELS[level], layers, self.step))
        return ranked(found)


TOOL = Tool("thermoclaw", "thermoclaw", Watch, by_phrases(PHRASES))
