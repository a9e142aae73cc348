"""Libraries that train with copies of the callbacks that they are given, as neuralforecast does."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from typing import Any
from weakref import WeakValueDictionary

import pytest
from integration.models import Regression, loader, quiet_trainer
from torch import Tensor

from thermo_callbacks import ThermoMonitor, TransitionTemperatureMonitor
from thermo_callbacks.callbacks.output import copies


class Classifier(Regression):
    """Returns what the transition monitor reads."""

    def validation_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:  # type: ignore[override]
        residuals = (self.net(batch[0]) - batch[1]).squeeze(1)
        return {"losses": residuals.square(), "residuals": residuals}


def monitor() -> ThermoMonitor:
    return ThermoMonitor("light", window=8, steps_between_windows=0)


def train(*callbacks: Any, batches: int = 24) -> None:
    quiet_trainer(callbacks=list(callbacks)).fit(Classifier(), loader(batches), loader(2))


WAYS = [copy.copy, copy.deepcopy, lambda original: pickle.loads(pickle.dumps(original))]


@pytest.mark.parametrize("way", WAYS, ids=["copy", "deepcopy", "pickle"])
def test_the_original_tells_the_values_of_the_copy_that_is_trained_with(way: Any) -> None:
    original, alone = monitor(), monitor()
    train(way(original))
    train(alone)
    assert repr(original.latest()) == repr(alone.latest()) != "{}"


def test_with_several_copies_it_is_the_last_that_began() -> None:
    original, alone = monitor(), monitor()
    first, second = copy.deepcopy(original), copy.deepcopy(original)
    train(second, batches=40)
    train(first, batches=16)
    train(alone, batches=16)
    assert repr(original.latest()) == repr(first.latest()) == repr(alone.latest())
    assert repr(second.latest()) != repr(first.latest())


def test_a_monitor_that_is_trained_with_itself_tells_its_own() -> None:
    original = monitor()
    other = copy.deepcopy(original)
    train(original)
    own = repr(original.latest())
    train(other, batches=40)
    assert repr(original.latest()) == own != repr(other.latest())


def test_monitors_that_are_no_copies_know_nothing_of_each_other() -> None:
    original = monitor()
    train(monitor())
    assert original.latest() == {}


def test_the_transition_monitor_finds_its_copy_too() -> None:
    original, alone = TransitionTemperatureMonitor(), TransitionTemperatureMonitor()
    train(copy.deepcopy(original))
    train(alone)
    assert repr(original.latest()) == repr(alone.latest()) != "{}"


def test_a_copy_does_not_keep_the_model_alive() -> None:
    original, module = monitor(), Classifier()
    kept = weakref.ref(module)
    quiet_trainer(callbacks=copy.deepcopy(original)).fit(module, loader(24))
    del module
    gc.collect()
    assert original.latest()
    assert kept() is None


def test_in_another_process_it_is_a_monitor_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    original = monitor()
    state = pickle.dumps(original)
    monkeypatch.setattr(copies, "_KNOWN", WeakValueDictionary())  # of another process
    train(pickle.loads(state))
    assert original.latest() == {}
