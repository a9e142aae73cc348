"""DeepTab: transformers for tables, behind scikit-learn's interface."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from deeptab.models import FTTransformerRegressor


def fit(callbacks: list[Any], options: dict[str, Any]) -> None:
    """Fit a noisy sum of columns."""
    table = pd.DataFrame(np.random.randn(200, 4), columns=list("abcd"))  # noqa: NPY002  the seeded global stream
    target = table.sum(axis=1).to_numpy() + 0.1 * np.random.randn(200)  # noqa: NPY002
    options = {name: value for name, value in options.items() if name != "logger"}  # it brings its own, or none
    FTTransformerRegressor().fit(table, target, max_epochs=6, batch_size=16, callbacks=callbacks, **options)
