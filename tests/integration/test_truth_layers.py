"""Logged values are those of the functions on training by hand, whatever the parameters are like."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from integration.by_hand import Steps, assert_logged, batch_by_batch, grouped, layers_of, train
from integration.models import BATCH_SIZE, INPUTS, Regression, fit, loader, perceptron, sgd
from lightning.pytorch.callbacks import BaseFinetuning
from torch import Tensor, nn
from torch.optim import SGD, SparseAdam
from torch.utils.data import DataLoader, TensorDataset

from thermo_callbacks import ThermoMonitor
from thermo_callbacks.functional import equilibrium_ratio

# windows of 8 noisy steps show no signal now and then
pytestmark = pytest.mark.filterwarnings("ignore:.*noise_scale")
WINDOW = 8


def layer_tags(row: dict[str, float]) -> set[str]:
    return {tag.partition("/")[2] for tag in row if not tag.startswith("thermo/")}


class Words(nn.Module):
    """Mean of the vectors of three words, some of which never occur."""

    def __init__(self, *, sparse: bool) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.vectors = nn.Embedding(12, 2, sparse=sparse, dtype=torch.float64)
        self.vectors.weight.data = torch.randn(12, 2, generator=generator, dtype=torch.float64)

    def forward(self, words: Tensor) -> Tensor:
        return self.vectors(words).mean(1).sum(1, keepdim=True)


def texts(batches: int) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(5)
    words = torch.randint(9, (batches * BATCH_SIZE, 3), generator=generator)
    targets = torch.randn(batches * BATCH_SIZE, 1, generator=generator, dtype=torch.float64)
    return DataLoader(TensorDataset(words, targets), batch_size=BATCH_SIZE)


@pytest.mark.parametrize("sample", [None, 10], ids=["all coordinates", "a sample"])
def test_sparse_gradients_are_those_of_dense_training(sample: int | None) -> None:
    sparse, dense = (
        fit(
            Regression(Words(sparse=kind)),
            ThermoMonitor("light", window=WINDOW, steps_between_windows=0, sample=sample),
            texts(16),
        ).thermo_rows
        for kind in (True, False)
    )
    for (_, actual), (_, expected) in zip(sparse, dense, strict=True):
        assert_logged(actual, expected)
    if sample is None:
        module = Regression(Words(sparse=False))
        steps = batch_by_batch(module, {"net.vectors": [module.net.vectors.weight]}, texts(16))
        assert_logged(sparse[1][1], steps.record(WINDOW, 2 * WINDOW, BATCH_SIZE))


def test_sparse_adam_is_watched() -> None:
    """Its step count is a plain number, and words that do not occur have no second moment to divide by."""

    def make(parameters: Any) -> SparseAdam:
        return SparseAdam(list(parameters), lr=0.01)

    [(_, row)] = fit(
        Regression(Words(sparse=True), make), ThermoMonitor("light", window=WINDOW, steps_between_windows=0), texts(8)
    ).thermo_rows
    module = Regression(Words(sparse=True), make)
    steps = batch_by_batch(module, {"net.vectors": [module.net.vectors.weight]}, texts(8), momentum=0.9)
    assert_logged(row, steps.record(0, WINDOW, BATCH_SIZE))
    assert math.isfinite(row["thermo/einstein_temperature"])


class Tied(nn.Module):
    """One weight in two places."""

    def __init__(self) -> None:
        super().__init__()
        self.into = nn.Linear(INPUTS, INPUTS, bias=False, dtype=torch.float64)
        self.out = nn.Linear(INPUTS, INPUTS, bias=False, dtype=torch.float64)
        self.into.weight.data = torch.linspace(-0.5, 0.5, INPUTS**2, dtype=torch.float64).view(INPUTS, INPUTS)
        self.out.weight = self.into.weight

    def forward(self, inputs: Tensor) -> Tensor:
        return self.out(torch.tanh(self.into(inputs))).sum(1, keepdim=True)


def test_tied_weights_count_once() -> None:
    [(_, row)] = fit(
        Regression(Tied()), ThermoMonitor("light", window=WINDOW, steps_between_windows=0), WINDOW
    ).thermo_rows
    module = Regression(Tied())
    steps = batch_by_batch(module, {"net.into": [module.net.into.weight]}, loader(WINDOW))
    assert_logged(row, steps.record(0, WINDOW, BATCH_SIZE))
    assert layer_tags(row) == {"net.into"}


def test_frozen_layers_are_absent_and_frozen_parameters_do_not_count() -> None:
    def frozen() -> Regression:
        module = Regression(nn.Sequential(nn.Linear(INPUTS, INPUTS).double(), *perceptron()))
        module.net[0].requires_grad_(False)
        module.net[1].bias.requires_grad_(False)
        nn.init.eye_(module.net[0].weight)
        nn.init.zeros_(module.net[0].bias)
        return module

    topology, (_, row) = fit(
        frozen(), ThermoMonitor("light", window=WINDOW, steps_between_windows=0), WINDOW
    ).thermo_rows
    assert {tag.partition("_")[0] for tag in topology[1]} == {"thermo/topology"}  # frozen layers pass signals on, too
    module = frozen()
    layers = {"net.1": [module.net[1].weight], "net.3": list(module.net[3].parameters())}
    assert_logged(row, batch_by_batch(module, layers, loader(WINDOW)).record(0, WINDOW, BATCH_SIZE))
    assert layer_tags(row) == {"net.1", "net.3"}


class Idle(nn.Module):
    """A layer that no loss depends on, and a layer with such a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.net = perceptron()
        self.spare = nn.Linear(2, 2, dtype=torch.float64)
        self.net[0].register_parameter("unused", nn.Parameter(torch.ones(3, dtype=torch.float64)))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.net(inputs)


def test_layer_without_gradient_is_nan_with_one_warning_and_counts_for_nothing() -> None:
    with pytest.warns(UserWarning, match="no gradient") as caught:
        rows = fit(
            Regression(Idle()), ThermoMonitor("light", window=WINDOW, steps_between_windows=0), 2 * WINDOW
        ).thermo_rows
    messages = [str(warning.message) for warning in caught]
    expected = "no value (NaN) in a window for layer 'net.spare', which received no gradient in it"
    assert [message.partition(";")[0].rstrip(".") for message in messages if "layer" in message] == [expected]
    module = Regression(Idle())
    first, _, last = module.net.net
    layers = {"net.net.0": [first.weight, first.bias], "net.net.2": list(last.parameters())}
    steps = batch_by_batch(module, layers, loader(2 * WINDOW))
    for index, (_, row) in enumerate(rows):
        assert_logged(row, steps.record(index * WINDOW, (index + 1) * WINDOW, BATCH_SIZE))
        idle = {tag: value for tag, value in row.items() if tag.endswith("/net.spare")}
        assert idle.pop("thermo_heat/net.spare") == 0.0
        assert len(idle) >= 3
        assert all(math.isnan(value) for value in idle.values())


class Intermittent(Regression):
    """Has no loss for every other batch."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
        return self.loss(batch) if batch_idx % 2 else None


@pytest.mark.filterwarnings("ignore:`training_step` returned `None`")
def test_batches_without_a_loss_are_no_steps() -> None:
    logger = fit(Intermittent(), ThermoMonitor("light", window=WINDOW, steps_between_windows=3), 40)
    module = Regression()
    steps = batch_by_batch(module, layers_of(module), list(loader(40))[1::2])
    # the three steps of rest are as Lightning counts steps: batches 16, 17 and 18, one of them with a loss
    assert [step for step, _ in logger.thermo_rows] == [15, 33]
    assert_logged(logger.thermo_rows[0][1], steps.record(0, WINDOW, BATCH_SIZE))
    expected = {f"thermo_temperature/{name}": steps.temperature(9, 17, [name]).item() for name in steps.layers}
    assert_logged(logger.thermo_rows[1][1], expected)


class Thaw(BaseFinetuning):
    """Trains the first layer too, from the second epoch on."""

    def freeze_before_training(self, pl_module: Any) -> None:
        self.freeze(pl_module.net[0])

    def finetune_function(self, pl_module: Any, epoch: int, optimizer: Any) -> None:
        if epoch == 1:
            self.unfreeze_and_add_param_group(pl_module.net[0], optimizer, lr=0.01)


def test_layers_that_thaw_are_watched_from_the_next_window_on() -> None:
    logger = fit(
        Regression(), [Thaw(), ThermoMonitor("light", window=WINDOW, steps_between_windows=0)], 12, max_epochs=2
    )
    module = Regression()
    optimizer = SGD(module.net[2].parameters(), lr=0.05)
    head = Steps(layers_of(module, 2))
    train(head, optimizer, module.loss, grouped(list(loader(12)), 1, 1))
    optimizer.add_param_group({"params": list(module.net[0].parameters()), "lr": 0.01})
    train(head, optimizer, module.loss, grouped(list(loader(12))[:4], 1, 1))
    both = train(Steps(layers_of(module)), optimizer, module.loss, grouped(list(loader(12))[4:], 1, 1))
    first, second, third = (row for _, row in logger.thermo_rows)
    assert [layer_tags(row) for row in (first, second, third)] == [{"net.2"}, {"net.2"}, {"net.0", "net.2"}]
    assert_logged(first, head.record(0, WINDOW, BATCH_SIZE))
    assert_logged(second, head.record(WINDOW, 2 * WINDOW, BATCH_SIZE))
    expected = both.record(0, WINDOW, BATCH_SIZE)
    expected["thermo_heat/net.2"] += head.heat(0, 2 * WINDOW)
    expected["thermo/heat"] += head.heat(0, 2 * WINDOW)
    assert_logged(third, expected)


@pytest.mark.filterwarnings("ignore:no value")
@pytest.mark.parametrize("alike", [True, False], ids=["of one class", "of two classes"])
def test_layer_split_between_optimizers_is_a_layer_of_each(alike: bool) -> None:
    class Split(Regression):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            loss = self.loss(batch)
            self.zero_grad()
            self.manual_backward(loss)
            for optimizer in self.optimizers():  # type: ignore[union-attr]
                optimizer.step()
            return loss

        def configure_optimizers(self) -> Any:
            matrices, vectors = ([p for p in self.parameters() if p.ndim == ndim] for ndim in (2, 1))
            return [sgd(matrices), sgd(vectors) if alike else torch.optim.Rprop(vectors)]

    [(_, row)] = fit(Split(), ThermoMonitor("light", window=WINDOW, steps_between_windows=0), WINDOW).thermo_rows
    module = Regression()
    steps = batch_by_batch(module, layers_of(module), loader(WINDOW))
    expected = steps.record(0, WINDOW, BATCH_SIZE)
    labels = ("SGD-0", "SGD-1") if alike else ("SGD", "Rprop")
    for layer in ("net.0", "net.2"):
        assert {tag for tag in row if tag.startswith(f"thermo_heat/{layer}")} == {
            f"thermo_heat/{layer}@{label}" for label in labels
        }
    if alike:
        for layer in ("net.0", "net.2"):
            parts = sum(row[f"thermo_heat/{layer}@{label}"] for label in labels)
            assert parts == pytest.approx(expected[f"thermo_heat/{layer}"], rel=1e-9)
        assert_logged(row, {tag: expected[tag] for tag in ("thermo/heat", "thermo/temperature")})


def test_equilibrium_ratios_of_layers_are_those_of_their_steps() -> None:
    logger = fit(Regression(), ThermoMonitor("full", window=WINDOW, steps_between_windows=0), WINDOW)
    (row,) = [row for _, row in logger.thermo_rows if "thermo/equilibrium_ratio" in row]
    module = Regression()
    steps = batch_by_batch(module, layers_of(module), loader(WINDOW))
    for name in steps.layers:
        q, d, _ = steps.window(0, WINDOW, [name])
        assert row[f"thermo_equilibrium_ratio/{name}"] == pytest.approx(float(equilibrium_ratio(q, d)), rel=1e-9)
