"""What a run depends on, in words."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from comparison_models import Data, Net, loaders
from lightning.pytorch.callbacks import EarlyStopping
from torch import nn
from torch.utils.data import DataLoader

from thermo_callbacks.comparison.fingerprint import describe, describe_data, describe_module
from thermo_callbacks.comparison.seeding import seeded


def module(seed=0, **arguments):
    with seeded(seed):
        return describe_module(Net(**arguments))


def test_equal_modules_are_described_alike():
    assert module() == module()


@pytest.mark.parametrize(
    ("changes", "topics"),
    [
        ({"seed": 1}, {"initial weights"}),
        ({"lr": 0.1}, {"hyperparameters", "optimizer"}),
        ({"activation": nn.Tanh()}, {"module"}),
    ],
)
def test_change_is_seen_where_it_is(changes, topics):
    before, after = module(), module(**changes)
    assert {topic for topic in before if before[topic] != after[topic]} == topics


class NeedsTrainer(Net):
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0 / self.trainer.max_epochs)


def test_optimizer_that_asks_for_the_trainer_is_unknown():
    assert describe_module(NeedsTrainer())["optimizer"] == "unknown (RuntimeError)"


class Lazy(Net):
    def __init__(self):
        super().__init__()
        self.first = nn.LazyLinear(6)

    def configure_optimizers(self):
        return torch.optim.SGD(self.head.parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_weights_that_are_not_there_yet_are_no_error():
    assert "first.weight lazy" in describe_module(Lazy())["initial weights"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({1, 2}, "{1, 2}"),
        ({"b": 2.5, "a": [True]}, "{'a': (True), 'b': 2.5}"),
        (nn.ReLU, "torch.nn.modules.activation.ReLU"),
        (torch.float64, "torch.float64"),
        (torch.ones(2, 2), "torch.float32[2, 2] 1"),
        (torch.ones(0), "torch.float32[0] empty"),
    ],
)
def test_values(value, text):
    assert describe(value) == text


class Holding(nn.Module):
    def extra_repr(self):
        return repr(object())


def test_objects_are_described_by_their_public_attributes_without_addresses():
    first, second = EarlyStopping("val_loss", patience=3), EarlyStopping("val_loss", patience=3)
    assert describe(first) == describe(second)
    assert "'patience': 3" in describe(first)
    assert describe(EarlyStopping("val_loss", patience=4)) != describe(first)
    assert "0x" not in describe([first, object(), lambda: 0])
    assert "0x" not in describe(Holding()) + describe_module(Net(Holding()))["module"]


def test_object_that_holds_itself_ends():
    class Ring:
        pass

    ring = Ring()
    ring.self = ring
    assert describe(ring).count("Ring") == 3


@pytest.mark.slow
def test_text_is_the_same_in_every_process():
    code = (
        "from comparison_models import *; from thermo_callbacks.comparison.fingerprint import *\n"
        "print(describe({'b': {'x', 'y', 'z'}, 'a': 1}), describe_data(loaders()))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "ignore", "-c", code]
    text = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert text == f"{describe({'a': 1, 'b': {'z', 'x', 'y'}})} {describe_data(loaders())}\n"


def test_data_that_changes_is_seen():
    training, validation = loaders()
    before = describe_data((training, validation))
    assert before == describe_data(loaders())
    larger = DataLoader(training.dataset, batch_size=8, shuffle=True)
    unshuffled = DataLoader(training.dataset, batch_size=4)
    shifted = DataLoader(type(training.dataset)(training.dataset.tensors[0] + 1), batch_size=4, shuffle=True)
    descriptions = {describe_data((each, validation)) for each in (training, larger, unshuffled, shifted)}
    assert len(descriptions) == 4
    assert describe_data(Data(4)) == describe_data(Data(4)) != describe_data(Data(8))
