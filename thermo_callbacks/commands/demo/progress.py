"""The demo's progress bar."""

from __future__ import annotations

from typing import Any

from thermo_callbacks.callbacks.lightning_names import LightningModule, RichProgressBar, Trainer, rich_progress


class DemoProgressBar(RichProgressBar):
    """Lightning's bar, short enough for 80 columns: loss and accuracy beside it, no speed and no run's number."""

    def __init__(self) -> None:
        super().__init__(theme=rich_progress.RichProgressBarTheme(metrics_format=".2f"))

    def configure_columns(self, trainer: Trainer) -> list[Any]:
        """Lightning's columns but one."""
        return [
            column
            for column in super().configure_columns(trainer)
            if not isinstance(column, rich_progress.ProcessingSpeedColumn)
        ]

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Loss of the last batch, and accuracy of the last validation."""
        names = {"train_loss": "loss", "val_accuracy": "acc"}
        metrics = super().get_metrics(trainer, pl_module)
        return {short: metrics[name] for name, short in names.items() if name in metrics}
