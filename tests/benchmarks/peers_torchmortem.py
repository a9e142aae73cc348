"""torchmortem: `with Autopsy(model, optimizer): ... autopsy.step(loss=...)`, and its report when the run has ended."""

from __future__ import annotations

from typing import Any

from peers_record import Said, Tool, by_phrases
from peers_watch import Watcher

PHRASES = {
    # a cause counts where title, explanation or any of the remedies names it
    "Gradient starvation causing unit death": ("vanishing signal", "dead units"),
    "Instability feedback loop": ("rate too high", "exploding signal"),
    "Representation bottleneck": ("weight decay too strong", "dropout too strong", "rate too high"),
    "Training trapped by loss landscape curvature": ("rate too high", "rate too low"),
    "Dead units": ("dead units", "rate too high"),
    "Activation saturation": ("saturated units", "rate too high", "exploding signal"),  # "use Xavier initialization"
    "Vanishing gradients": ("vanishing signal", "saturated units"),  # "sigmoid/tanh ... saturate"
    "Exploding gradients": ("exploding signal", "rate too high"),
    # "effectively frozen": "dead activations, saturated activation functions, or severe vanishing gradients"
    "Gradient stalling": ("layer not trained", "dead units", "saturated units", "vanishing signal"),
    "High gradient noise": ("batch too small", "rate too high"),
    "Training divergence": ("rate too high", "no warm-up", "broken data"),  # "check for NaN"
    "Loss plateau": ("rate too low", "decayed too early"),  # "use a scheduler with restarts"
    "Catapult phase": ("rate too high", "no warm-up"),
    "Edge of stability": ("rate too high",),
    "Rank collapse": ("weight decay too strong", "dropout too strong", "rate too high"),
    "Update ratio too low": ("rate too low", "decayed too early", "vanishing signal", "layer not trained"),
    "Update ratio too high": ("rate too high", "layer rate too high", "no warm-up"),
    "Weight norm explosion": ("rate too high", "exploding signal"),
    "Stagnant weight norms": ("layer not trained", "vanishing signal", "rate too low", "decayed too early"),
    # "different layers may need different init scales", "the single rate may be too large for high-norm layers"
    "Inter-layer weight norm imbalance": ("exploding signal", "vanishing signal", "layer rate too high"),
}


class Watch(Watcher):
    """One autopsy of the whole module. Its measure of curvature, no alarm, needs a graph that a loop has freed."""

    autopsy: Any = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        from torchmortem import Autopsy

        self.autopsy = Autopsy(pl_module, optimizer=trainer.optimizers[0])
        self.autopsy.attach()
        super().on_train_start(trainer, pl_module)

    def after_batch(self, module: Any) -> None:
        self.autopsy.step(loss=self.loss)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self.autopsy.detach()

    def said(self) -> list[Said]:
        report = self.autopsy.get_report()
        insights = [  # the report has them in front
            Said(each.title, "critical", tuple(n for f in each.contributing_findings for n in f.affected_layers))
            for each in report.insights
        ]
        return insights + [
            Said(each.title, each.severity.name.lower(), tuple(each.affected_layers), each.step_range[0])
            for each in report.findings
        ]


TOOL = Tool("torchmortem", "torchmortem", Watch, by_phrases(PHRASES))
