"""The cost of a short run is measured, whole and in parts."""

from __future__ import annotations

import pytest
import short_run
from overhead import CASES, images
from torch import nn


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_parts_of_the_extra_time_are_less_than_the_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CASES, "tiny", (lambda: nn.Linear(784, 10), images, 8, 0, 8))
    (share,) = short_run.shares("tiny", 24, 1)
    assert share.parts.keys() == short_run.PARTS.keys()
    assert share.whole > -0.5
    assert share.parts["on_train_batch_start"] > 0.0
    assert share.parts["_close"] > 0.0
