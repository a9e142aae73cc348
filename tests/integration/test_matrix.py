"""In each setting of the matrix training is the same bit for bit, and values are there or refused with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from integration.settings_matrix import PAIRS, expected, outcomes

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # of Lightning and torch; what a monitor switches off is looked at
    pytest.mark.skipif(not torch.distributed.is_available(), reason="this build of torch knows no processes"),
]
FAST = {("SingleDevice", "64-true")}


@pytest.mark.parametrize(
    ("strategy", "precision"),
    [pytest.param(*pair, id="-".join(pair), marks=[] if pair in FAST else [pytest.mark.slow]) for pair in PAIRS],
)
def test_training_is_the_same_and_measured(strategy: str, precision: str, tmp_path: Path) -> None:
    for cell, found in outcomes(strategy, precision, tmp_path):
        place = (strategy, precision, *cell)
        assert (place, found.differ) == (place, [])
        wanted = expected(strategy, precision, cell)
        assert (place, found.values) == (place, list(wanted.values))
        assert (place, len(found.off)) == (place, len(wanted.off))
        assert all(reason in text for reason, text in zip(wanted.off, found.off, strict=True))
