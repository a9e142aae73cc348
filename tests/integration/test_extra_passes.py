"""What the monitors measure with extra passes, through a Trainer, against values computed by hand."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import torch
from integration.curvature_models import Once
from integration.models import (
    INPUTS,
    LoggingRegression,
    RecordingLogger,
    Regression,
    TwoOptimizers,
    examples,
    fit,
    loader,
    perceptron,
    sgd,
)
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.optim import SGD, AdamW

from thermo_callbacks import BulkMonitor, EntropyMonitor, FreeEnergyMonitor, ThermoMonitor, WorkEfficiencyMonitor

# short runs of small networks: now and then something has no value
pytestmark = pytest.mark.filterwarnings("ignore:.*no value", "ignore:.*no transition temperature")
RATE = 0.01


class Linear(LightningModule):
    """Least squares, whose Hessian is that of the batch's inputs, whatever the weights."""

    def __init__(self, optimizer: Any = None) -> None:
        super().__init__()
        self.first = nn.Linear(INPUTS, 1, bias=False, dtype=torch.float64)
        self.second = nn.Linear(INPUTS, 1, dtype=torch.float64)
        self._make_optimizer = optimizer or partial(SGD, lr=RATE)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        inputs, targets = batch
        return mse_loss(self.first(inputs) + self.second(inputs), targets)

    def configure_optimizers(self) -> Any:
        return self._make_optimizer(self.parameters())


def curvature(rows: slice = slice(None)) -> float:
    """Trace of the Hessian of one of two layers without bias on some examples: 2 <|x|^2>."""
    return float(2.0 * examples()[0][rows].square().sum(1).mean())


def test_the_laplacian_of_least_squares() -> None:
    logger = fit(Linear(), FreeEnergyMonitor(window=8, curvature_every_n_steps=1), loader(120, 8))
    passes = 118  # the first comes after a step, and after the last step there is no other batch
    truth = {"first": curvature(slice(960)), "second": curvature(slice(960)) + 2.0}  # a bias has curvature 2
    for layer, exact in truth.items():
        values = torch.tensor(logger.series(f"thermo_laplacian/{layer}"))
        stderrs = torch.tensor(logger.series(f"thermo_laplacian_stderr/{layer}"))
        assert len(values) == passes
        assert abs(values.mean() - exact) < 3.0 * values.std() / passes**0.5
        assert 0.9 < stderrs.square().mean().sqrt() / values.std() < 1.1
    values, lowers, uppers = (
        torch.tensor(logger.series(f"thermo/{tag}")) for tag in ("laplacian", "laplacian_lower", "laplacian_upper")
    )
    assert abs(values.mean() - sum(truth.values())) < 3.0 * values.std() / passes**0.5
    covered = (lowers < sum(truth.values())) & (sum(truth.values()) < uppers)
    assert 0.9 <= covered.double().mean() <= 0.99
    value = values[-1].item()
    assert value == pytest.approx(sum(logger.series(f"thermo_laplacian/{layer}")[-1] for layer in truth))
    lower, upper = (logger.series(f"thermo/laplacian_{end}")[-1] for end in ("lower", "upper"))
    assert lower < value < upper


def test_probes_of_a_layer_alone_have_smaller_errors() -> None:
    errors = []
    for within_layers in (False, True):
        monitor = FreeEnergyMonitor(window=8, curvature_every_n_steps=2, within_layers=within_layers)
        logger = fit(Linear(), monitor, 200)
        values = torch.tensor(logger.series("thermo_laplacian/first"))
        errors.append(values.std())
        assert abs(values.mean() - curvature(slice(800))) < 3.0 * errors[-1] / len(values) ** 0.5
    # both layers see the same inputs: half of a global probe's scatter comes through the other layer
    assert errors[1] < 0.9 * errors[0]


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_destruction_is_mobility_times_laplacian_and_decay(decay: float) -> None:
    module = Linear(partial(SGD, lr=RATE, momentum=0.5, weight_decay=decay))
    logger = fit(module, ThermoMonitor("standard", 8, curvature_every_n_steps=5), 60)
    mobility = RATE / 0.5
    for layer, size in {"first": INPUTS, "second": INPUTS + 1}.items():
        destroyed = logger.series(f"thermo_entropy_destruction/{layer}")
        laplacians = logger.series(f"thermo_laplacian/{layer}")
        assert len(destroyed) > 5
        assert destroyed == pytest.approx([mobility * (value + decay * size) for value in laplacians])


def test_a_schedule_moves_the_destruction_at_once() -> None:
    class Scheduled(Linear):
        def configure_optimizers(self) -> Any:
            optimizer = SGD(self.parameters(), lr=RATE)
            drop = torch.optim.lr_scheduler.MultiStepLR(optimizer, [30], 0.1)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": drop, "interval": "step"}}

    logger = fit(Scheduled(), ThermoMonitor("standard", 8, curvature_every_n_steps=10), 60)
    ratios = [
        destroyed / laplacian
        for destroyed, laplacian in zip(
            logger.series("thermo/entropy_destruction"), logger.series("thermo/laplacian"), strict=True
        )
    ]
    assert ratios[0] == pytest.approx(RATE)
    assert ratios[-1] == pytest.approx(0.1 * RATE)


def test_adam_preconditions_the_destruction() -> None:
    preconditioners: list[Tensor] = []

    class Kept(Linear):
        def on_train_end(self) -> None:
            (optimizer,) = self.trainer.optimizers
            for parameter in self.parameters():
                state = optimizer.state[parameter]
                second_moment = state["exp_avg_sq"] / (1.0 - 0.999 ** state["step"])
                preconditioners.append(1.0 / (second_moment.sqrt() + 1e-8).flatten())

    torch.manual_seed(0)
    # so small a learning rate that the second moment settles and nothing else changes
    logger = fit(Kept(partial(AdamW, lr=1e-5, weight_decay=0.0)), EntropyMonitor(8, curvature_every_n_steps=2), 200)
    squares = 2.0 * examples()[0][:800].square().mean(0)
    exact = 1e-5 * sum(float((m[:INPUTS] * squares).sum()) for m in (preconditioners[0], preconditioners[1]))
    exact += 1e-5 * 2.0 * float(preconditioners[2])
    values, errors = (torch.tensor(logger.series(f"thermo/entropy_destruction{end}")[50:]) for end in ("", "_stderr"))
    assert abs(values.mean() - exact) < 3.0 * values.std() / len(values) ** 0.5 + 0.05 * exact
    assert 0.85 < errors.square().mean().sqrt() / values.std() < 1.15


def test_the_balance_follows_from_its_sides() -> None:
    logger = fit(
        Linear(partial(SGD, lr=0.1)), EntropyMonitor(30, steps_between_windows=0, curvature_every_n_steps=30), 240
    )
    checked = 0
    for _, row in logger.thermo_rows:
        if not math.isnan(row.get("thermo/entropy_rate", math.nan)):
            assert row["thermo/entropy_production"] >= row["thermo/entropy_rate"]
            assert row["thermo/second_law_score"] == pytest.approx(
                row["thermo/entropy_rate"] / row["thermo/entropy_rate_stderr"]
            )
            assert row["thermo/second_law"] in {-1.0, 0.0, 1.0}
            checked += 1
    assert checked > 5


def test_free_energy_is_energy_less_bound_energy() -> None:
    logger = fit(Regression(), FreeEnergyMonitor(window=8, steps_between_windows=0), 40)
    rows = [row for _, row in logger.thermo_rows if "thermo/free_energy" in row]
    assert len(rows) == 5
    for row in rows:
        bound = row["thermo/temperature"] * row["thermo/entropy"]
        assert row["thermo/bound_energy"] == pytest.approx(bound)
        assert row["thermo/free_energy"] == pytest.approx(row["thermo/internal_energy"] - bound)


def test_rugh_temperature_is_that_of_the_true_slope() -> None:
    """Far from the minimum: the slope is nearly the same at all looks, and known from all examples."""
    slopes: list[float] = []

    class Watched(Linear):
        def __init__(self) -> None:
            super().__init__(partial(SGD, lr=1e-6))
            with torch.no_grad():
                self.first.weight.fill_(3.0)

        def on_train_end(self) -> None:
            inputs, targets = (column[:800] for column in examples())
            loss = mse_loss(self.first(inputs) + self.second(inputs), targets)
            gradients = torch.autograd.grad(loss, list(self.parameters()))
            slopes.append(sum(float(gradient.square().sum()) for gradient in gradients))

        def train_dataloader(self) -> Any:
            return None

    # on_train_end runs without a graph
    Watched.on_train_end = torch.enable_grad()(Watched.on_train_end)
    logger = fit(Watched(), FreeEnergyMonitor(window=8, curvature_every_n_steps=2), 200)
    value, stderr = (logger.series(f"thermo/rugh_temperature{end}")[-1] for end in ("", "_stderr"))
    exact = slopes[0] / (2.0 * curvature(slice(800)) + 2.0)
    assert abs(value - exact) < 3.0 * stderr
    assert stderr < 0.3 * exact


@pytest.mark.filterwarnings("ignore:.*finite differences")
def test_finite_differences_see_the_same_looks() -> None:
    class Custom(Regression):
        """The same network, with an activation that can be differentiated once."""

        def __init__(self, activation: Any) -> None:
            super().__init__()
            self._activation = activation

        def loss(self, batch: Any) -> Tensor:
            inputs, targets = batch
            return mse_loss(self.net[2](self._activation(self.net[0](inputs))), targets)

    runs = [
        fit(Custom(activation), FreeEnergyMonitor(window=8, curvature_every_n_steps=4), loader(40, 8))
        for activation in (torch.tanh, Once.apply)
    ]
    exact, differences = (torch.tensor(run.series("thermo/laplacian")) for run in runs)
    assert len(exact) == len(differences) == 9  # after the last step there is no other batch
    errors = [torch.tensor(run.series("thermo/laplacian_stderr")) for run in runs]
    # vectors for all samples have another scatter, and the same mean
    assert abs((exact - differences).mean()) < 3.0 * torch.stack(errors).square().mean(1).sum().sqrt() / 3.0
    assert errors[0].mean() < errors[1].mean()


def test_efficiencies_of_the_batch_that_was_looked_at() -> None:
    batches: dict[int, tuple[Tensor, Tensor]] = {}

    class Noted(Regression):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            before = self.net[0](batch[0]).detach()
            batches[batch_idx] = (before, before.tanh())
            return self.loss(batch)

    logger = fit(Noted(), WorkEfficiencyMonitor(10), 45)
    rows = [(step, row) for step, row in logger.thermo_rows if "thermo/work_efficiency" in row]
    assert [step for step, _ in rows] == [10, 20, 30, 40]
    for step, row in rows:
        given, got = batches[step]
        exact = float(got.square().sum() / given.square().sum())
        assert row["thermo_work_efficiency/net.1"] == pytest.approx(exact)
        assert row["thermo/work_efficiency"] == pytest.approx(exact)
        assert row["thermo_engine/Tanh"] == pytest.approx(exact)
        assert row["thermo_implied_gain/net.1"] == pytest.approx(exact**-0.5)
        bound = 1.0 - float(got.var(correction=0) / given.var(correction=0))
        assert row["thermo_temperature_drop/net.1"] == pytest.approx(bound)
    assert "thermo/temperature" not in rows[0][1]


class Wave(nn.Module):
    def forward(self, states: Tensor) -> Tensor:
        return torch.sin(3.0 * states)


def test_activations_of_ones_own_are_looked_at() -> None:
    net = nn.Sequential(nn.Linear(INPUTS, 6), Wave(), nn.Linear(6, 1)).double()
    assert not fit(Regression(net), WorkEfficiencyMonitor(10), 30).series("thermo/work_efficiency")
    logger = fit(Regression(net), WorkEfficiencyMonitor(10, activations=[Wave]), 30)
    assert logger.series("thermo_work_efficiency/net.1") == logger.series("thermo_engine/Wave")
    assert len(logger.series("thermo_work_efficiency/net.1")) == 2


def test_an_activation_that_cant_be_seen_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="activations must hold"):
        WorkEfficiencyMonitor(activations=[lambda states: states])


def test_the_bulk_of_a_chain() -> None:
    logger = fit(Regression(), BulkMonitor(10), 45)
    row = [row for _, row in logger.thermo_rows if "thermo/complexity" in row][-1]
    assert row["thermo/bulk_loss"] > 0.0
    neurons_with_map = 6 + 1
    assert row["thermo/equipartition_temperature"] == pytest.approx(2.0 * row["thermo/bulk_loss"] / neurons_with_map)
    temperature, entropy = row["thermo/equipartition_temperature"], row["thermo/bulk_entropy"]
    energy = 0.5 * (neurons_with_map + INPUTS) * temperature
    assert row["thermo/bulk_free_energy"] == pytest.approx(energy - temperature * entropy)
    total = row["thermo/laplacian"] + temperature * row["thermo/complexity_laplacian"]
    assert row["thermo/total_laplacian"] == pytest.approx(total)


def test_preset_full_has_all_of_it() -> None:
    logger = fit(Regression(), ThermoMonitor("full", 8, curvature_every_n_steps=10), 60)
    tags = {tag for _, row in logger.thermo_rows for tag in row}
    for name in ("temperature", "laplacian", "free_energy", "entropy_rate", "work_efficiency", "complexity"):
        assert f"thermo/{name}" in tags


def test_accumulated_batches_are_one_step() -> None:
    logger = fit(Linear(), ThermoMonitor("standard", 8, curvature_every_n_steps=5), 120, accumulate_grad_batches=3)
    value, stderr = (logger.series(f"thermo/{tag}")[-1] for tag in ("laplacian", "laplacian_stderr"))
    assert len(logger.series("thermo/laplacian")) == 7  # after steps 5, 10, ... 35 of 40
    assert abs(value - 2.0 * curvature(slice(480)) - 2.0) < 3.0 * stderr


def test_a_run_goes_on_after_a_fault_in_the_loss_function() -> None:
    def broken(module: Any, batch: Any) -> Tensor:
        raise KeyError("labels")

    monitor = ThermoMonitor("standard", 8, curvature_every_n_steps=5, loss_fn=broken)
    with pytest.warns(UserWarning, match="measurement of curvature is switched off.*KeyError.*labels"):
        logger = fit(Regression(), monitor, 40)
    assert logger.series("thermo/temperature")
    assert logger.series("thermo/work_efficiency")
    assert not logger.series("thermo/laplacian")


def test_manual_optimization_needs_a_loss_function() -> None:
    with pytest.warns(UserWarning, match="steps its optimizers by hand: give loss_fn"):
        logger = fit(TwoOptimizers(), ThermoMonitor("standard", 8, curvature_every_n_steps=5), 40)
    assert not logger.series("thermo/laplacian")
    assert logger.series("thermo/work_efficiency")
    monitor = ThermoMonitor("standard", 8, curvature_every_n_steps=5, loss_fn=lambda module, batch: module.loss(batch))
    logger = fit(TwoOptimizers(), monitor, 40)
    assert logger.series("thermo/laplacian")


def test_a_compiled_network_is_looked_at_in_a_replay() -> None:
    net = perceptron(dtype=torch.float32)
    plain = fit(Regression(perceptron(dtype=torch.float32)), WorkEfficiencyMonitor(5), loader(12, dtype=torch.float32))
    compiled = fit(
        Regression(torch.compile(net, backend="aot_eager")), WorkEfficiencyMonitor(5), loader(12, dtype=torch.float32)
    )
    first, second = (run.series("thermo_work_efficiency/net.1") for run in (plain, compiled))
    assert first
    assert first == pytest.approx(second, rel=1e-4)


def test_the_users_log_has_no_row_of_a_replay() -> None:
    bare = fit(LoggingRegression(), [], 40)
    logger = fit(LoggingRegression(), ThermoMonitor("standard", 8, curvature_every_n_steps=3), 40)
    assert logger.user_rows == bare.user_rows


@pytest.mark.filterwarnings("ignore:.*returned `None`")
def test_a_batch_without_a_loss_is_no_look() -> None:
    class Picky(Regression):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return None if batch_idx == 11 else self.loss(batch)

    logger = fit(Picky(optimizer=sgd), FreeEnergyMonitor(window=8, curvature_every_n_steps=10), 45)
    # the look of step 10 meets batch 11, the next ones meet others
    assert len(logger.series("thermo/laplacian")) >= 2


def test_layers_that_thaw_are_taken_in() -> None:
    class Thawing(Regression):
        def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
            if batch_idx == 30:
                self.net[0].requires_grad_(True)
                self.trainer.optimizers[0].add_param_group({"params": list(self.net[0].parameters())})

    module = Thawing()
    module.net[0].requires_grad_(False)
    logger: RecordingLogger = fit(
        module, FreeEnergyMonitor(window=8, steps_between_windows=0, curvature_every_n_steps=5), 60
    )
    laplacians = [row for _, row in logger.thermo_rows if "thermo/laplacian" in row]
    assert "thermo_laplacian/net.0" not in laplacians[0]
    assert "thermo_laplacian/net.0" in laplacians[-1]
