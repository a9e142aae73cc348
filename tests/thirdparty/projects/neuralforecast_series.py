"""neuralforecast: forecasts behind an interface of its own, which copies callbacks; knows only pytorch_lightning."""

from __future__ import annotations

from typing import Any

from neuralforecast import NeuralForecast
from neuralforecast.models import NHITS
from neuralforecast.utils import AirPassengersDF


def fit(callbacks: list[Any], options: dict[str, Any]) -> None:
    """Forecast how many fly."""
    model = NHITS(
        h=12, input_size=24, max_steps=50, mlp_units=[[32, 32]] * 3, scaler_type="robust", batch_size=8,
        callbacks=callbacks, **options,
    )  # fmt: skip
    NeuralForecast([model], freq="ME").fit(AirPassengersDF)
