"""suggest_learning_rate finds the edge on quadratics and networks, and leaves everything as it was, bit for bit."""

from __future__ import annotations

import math
import random
from functools import partial
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import pytest
import torch
from integration.acting_runs import Noisy
from integration.models import INPUTS, RecordingLogger, Regression, TwoOptimizers, loader, perceptron, quiet_trainer
from integration.observers import Witness, differences, leaves
from lightning.pytorch import Callback, seed_everything
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, Dataset

from thermo_callbacks import suggest_learning_rate

QUICK: dict[str, Any] = {"lowest": 1e-4, "highest": 10.0, "steps": 120}


class Counting(Dataset[Any]):
    """Data with a state of its own, in which it writes at each access."""

    def __init__(self) -> None:
        self.inputs = torch.randn(50, INPUTS, generator=torch.Generator().manual_seed(3))
        self.seen, self.noise = torch.zeros(50), torch.Generator().manual_seed(1)

    def __len__(self) -> int:
        return 50

    def __getitem__(self, place: int) -> Any:
        self.seen[place] += 1
        inputs = self.inputs[place] + 0.01 * torch.randn(INPUTS, generator=self.noise)
        return inputs, inputs.sum(0, keepdim=True).sin()


def remains(*, suggested: bool) -> dict[str, Any]:
    """All that is left of a run, before which a rate was suggested or not."""
    seed_everything(17, verbose=False)
    module, logger = Witness(partial(SGD, lr=0.05, momentum=0.9), regularised=True), RecordingLogger()
    data = DataLoader(Counting(), batch_size=5, shuffle=True, generator=torch.Generator().manual_seed(5))
    trainer = quiet_trainer(callbacks=[Callback()], logger=logger, max_epochs=3, gradient_clip_val=1.0)
    if suggested:
        found = suggest_learning_rate(trainer, module, data, **QUICK)
        assert len(found.measurements) > 20
        assert trainer.global_step == 0
        assert module._trainer is None
        assert not any(parameter.grad is not None for parameter in module.parameters())
        assert logger.rows == []
    trainer.fit(module, data)
    return {
        "state_dict": dict(module.state_dict()),
        "optimizers": [optimizer.state_dict() for optimizer in trainer.optimizers],
        "python": random.getstate(),
        "numpy": np.random.get_state(),  # noqa: NPY002
        "torch": torch.get_rng_state(),
        "rows": logger.rows,
        "thermo_rows": [],
        "loader": [data.generator.get_state(), data.dataset.noise.get_state(), data.dataset.seen],
        "callbacks": [type(each).__name__ for each in trainer.callbacks],
        "limits": [trainer.max_epochs, trainer.max_steps, trainer.should_stop],
        "training": [layer.training for layer in module.modules()],
        "grad_enabled": torch.is_grad_enabled(),
    }


def test_everything_is_left_as_it_was_bit_for_bit() -> None:
    one, other = remains(suggested=False), remains(suggested=True)
    assert sum(1 for _ in leaves(one)) > 50
    assert differences(one, other) == []


@pytest.mark.parametrize("stiffness", [1.0, 30.0])
def test_on_a_quadratic_it_scales_as_theory_says(stiffness: float) -> None:
    """With one curvature, the efficiency of a step of gradient descent is 1 - rate x curvature / 2 exactly."""
    module = Noisy(partial(SGD, lr=1.0), curvature=stiffness)
    module.stiffness.fill_(stiffness)
    module.q.data += 30.0
    batches = DataLoader(torch.randn(400, len(module.q) + 1, dtype=torch.float64), batch_size=None)
    found = suggest_learning_rate(quiet_trainer(), module, batches, lowest=1e-5, highest=10.0, steps=200)
    assert found.suggestion == pytest.approx(0.2 / stiffness, rel=0.1)
    assert found.line_search == pytest.approx(1.0 / stiffness, rel=0.1)
    assert found.lower <= found.suggestion <= found.upper
    assert found.suggestion < found.line_search
    assert found.reason == ""


@pytest.mark.slow
@pytest.mark.parametrize("make", [partial(SGD, lr=1.0, momentum=0.9), partial(Adam, lr=1.0)], ids=["momentum", "adam"])
def test_a_suggested_rate_trains_better_than_much_smaller_and_much_larger_ones(make: Any) -> None:
    def final(rate: float) -> float:
        module = Regression(perceptron(dtype=torch.float32), partial(make, lr=rate))
        quiet_trainer(max_epochs=6).fit(module, loader(50, 20, dtype=torch.float32))
        with torch.no_grad():
            return float(np.mean([module.loss(batch).item() for batch in loader(50, 20, dtype=torch.float32)]))

    module = Regression(perceptron(dtype=torch.float32), make)
    found = suggest_learning_rate(quiet_trainer(), module, loader(50, 20, dtype=torch.float32))
    middle = final(found.suggestion)
    assert middle < final(found.suggestion / 30.0)
    assert not middle >= final(found.suggestion * 30.0)  # which may be NaN


def test_schedulers_take_no_part_and_groups_keep_their_proportions() -> None:
    class Grouped(Noisy):
        def configure_optimizers(self) -> Any:
            optimizer = SGD([{"params": [self.q], "lr": 3.0}], lr=1.0)
            return [optimizer], [{"scheduler": StepLR(optimizer, 1, 0.01), "interval": "step"}]

    batches = DataLoader(torch.randn(300, 21, dtype=torch.float64), batch_size=None)
    found = suggest_learning_rate(quiet_trainer(), Grouped(None), batches, **QUICK)
    rates = [one.learning_rate for one in found.measurements]
    ratios = np.diff(np.log(rates))
    assert ratios == pytest.approx(2 * math.log(1e5) / 119)


def test_says_why_there_is_none() -> None:
    batches = DataLoader(torch.randn(300, 21, dtype=torch.float64), batch_size=None)
    slow = suggest_learning_rate(quiet_trainer(), Noisy(partial(SGD, lr=1.0)), batches, lowest=1e-6, highest=1e-4)
    assert math.isnan(slow.suggestion)
    assert slow.reason.startswith("step efficiency is not below 0.9 up to the highest rate that was tried, 9")
    fast = suggest_learning_rate(quiet_trainer(), Noisy(partial(SGD, lr=1.0)), batches, lowest=0.15, highest=1.0)
    assert math.isnan(fast.suggestion)
    assert fast.reason.startswith("step efficiency is nowhere clearly above 0.9: choose a smaller lowest, or a larger")


def test_by_hand_it_needs_a_loss_function() -> None:
    with pytest.raises(ValueError, match=r"^loss_fn is missing: TwoOptimizers steps its optimizers by hand"):
        suggest_learning_rate(quiet_trainer(), TwoOptimizers(), loader(60), **QUICK)
    found = suggest_learning_rate(
        quiet_trainer(), TwoOptimizers(), loader(60), loss_fn=lambda module, batch: module.loss(batch), **QUICK
    )
    assert len(found.measurements) > 20


def test_a_data_module_is_copied() -> None:
    class Data(lightning.LightningDataModule):
        calls = 0

        def train_dataloader(self) -> Any:
            self.calls += 1
            return loader(60)

    data = Data()
    found = suggest_learning_rate(quiet_trainer(), Regression(), datamodule=data, **QUICK)
    assert found.measurements
    assert data.calls == 0
    assert data.trainer is None


def test_what_cannot_be_copied_is_refused() -> None:
    class Stubborn(Regression):
        def __deepcopy__(self, _: Any) -> Any:
            raise TypeError("not me")

    with pytest.raises(ValueError, match=r"^module \(Stubborn\) can't be copied, so it could not be left as it is"):
        suggest_learning_rate(quiet_trainer(), Stubborn(), loader(60), **QUICK)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lowest": 0.0}, "^lowest must be a learning rate above 0, got 0.0$"),
        ({"highest": math.inf}, "^highest must be a learning rate above 0, got inf$"),
        ({"lowest": 1.0, "highest": 1.0}, "^highest must be above lowest=1.0, got 1.0$"),
        ({"steps": 39}, "^steps must be a whole number of at least 40, got 39$"),
        (
            {"loss_fn": 3},
            "^loss_fn must be a function of the module and a batch that returns the loss, or None, got 3$",
        ),
    ],
    ids=lambda value: str(value)[:30],
)
def test_refuses_wrong_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        suggest_learning_rate(quiet_trainer(), Regression(), loader(60), **arguments)


def test_refuses_several_processes() -> None:
    with pytest.raises(ValueError, match=r"^trainer has 2 processes, and suggest_learning_rate works in one"):
        suggest_learning_rate(SimpleNamespace(world_size=2, strategy=SimpleNamespace(root_device=None)), Regression())


def test_the_plot_shows_suggestion_and_interval(tmp_path: Any) -> None:
    found = suggest_learning_rate(quiet_trainer(), Regression(), loader(60), **QUICK)
    figure = found.plot()
    (axes,) = figure.axes
    labels = axes.get_legend_handles_labels()[1]
    assert labels[:2] == ["efficiency", "transfer"]
    assert f"suggestion {found.suggestion:.2g}" in labels
    assert axes.get_xscale() == "log"
    figure.savefig(tmp_path / "rates.png")
    assert (tmp_path / "rates.png").stat().st_size > 10_000


def test_works_with_the_other_namespace() -> None:
    import pytorch_lightning

    class Other(pytorch_lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = perceptron()

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return torch.nn.functional.mse_loss(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return SGD(self.parameters(), lr=0.1)

    trainer = pytorch_lightning.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    assert suggest_learning_rate(trainer, Other(), loader(60), **QUICK).measurements
