"""GluonTS: an autoregressive network that samples windows of series without end. The run's loader has no length."""

from __future__ import annotations

from typing import Any

from gluonts.dataset.artificial import constant_dataset
from gluonts.torch import DeepAREstimator


def fit(callbacks: list[Any], options: dict[str, Any]) -> None:
    """Forecast constant series."""
    info, train, _ = constant_dataset()
    trainer = {"max_epochs": 3, "callbacks": callbacks, **options}
    estimator = DeepAREstimator(
        freq=info.metadata.freq, prediction_length=6, hidden_size=12, batch_size=8, num_batches_per_epoch=20,
        trainer_kwargs=trainer,
    )  # fmt: skip
    estimator.train(train)
