"""pytorch-forecasting: a temporal fusion transformer. Its batch is a dictionary and a tuple, its optimizer its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from lightning.pytorch import Trainer
from pytorch_forecasting import TemporalFusionTransformer, TimeSeriesDataSet
from pytorch_forecasting.metrics import QuantileLoss


def fit(callbacks: list[Any], options: dict[str, Any]) -> None:
    """Forecast noisy waves."""
    steps = np.tile(np.arange(60), 6)
    series = np.repeat(np.arange(6), 60)
    waves = np.sin(steps / 4 + series) + 0.1 * np.random.randn(len(steps))  # noqa: NPY002  the seeded global stream
    table = pd.DataFrame({"step": steps, "series": series.astype(str), "value": waves})
    dataset = TimeSeriesDataSet(
        table, time_idx="step", target="value", group_ids=["series"], max_encoder_length=12, max_prediction_length=4,
        static_categoricals=["series"], time_varying_unknown_reals=["value"], time_varying_known_reals=["step"],
    )  # fmt: skip
    model = TemporalFusionTransformer.from_dataset(
        dataset, learning_rate=0.01, hidden_size=8, attention_head_size=2, hidden_continuous_size=4, loss=QuantileLoss()
    )
    loader = dataset.to_dataloader(train=True, batch_size=16, num_workers=0)
    Trainer(callbacks=callbacks, max_steps=50, gradient_clip_val=0.1, **options).fit(model, loader)
