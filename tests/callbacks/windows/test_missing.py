"""Values that are missing are explained once, in one message, by what the window lacked."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from integration.models import INPUTS, Regression, fit, perceptron
from torch import Tensor, nn
from torch.optim import LBFGS, SGD, Optimizer, RAdam

from thermo_callbacks import ThermoMonitor
from thermo_callbacks.probes.guard import Guard

WINDOW = 16


class Many(nn.Module):
    """Two hundred layers that no loss depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.net = perceptron()
        self.spare = nn.ModuleList(nn.Linear(1, 1).double() for _ in range(200))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.net(inputs)


def said(
    module: Regression, preset: str = "standard", steps: int = 3 * WINDOW, *, layers: str | None = None, **options: Any
) -> list[str]:
    """Warnings of a monitor about values of windows."""
    monitor = ThermoMonitor(preset, window=WINDOW, steps_between_windows=0, curvature_every_n_steps=999, layers=layers)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(module, monitor, steps, **options)
    messages = [str(warning.message) for warning in caught]
    return [text for text in messages if any(word in text for word in ("NaN", "diverged", "in no optimizer"))]


def test_many_layers_without_gradient_are_one_warning() -> None:
    first, *others = said(Regression(Many()), "light", layers="all")
    assert first.startswith(
        "no value (NaN) in a window for 200 layers ('net.spare.0', 'net.spare.1', 'net.spare.2' and 197 more), which "
        "received no gradient in it"
    )
    assert not any("spare" in text for text in others)


class Orthogonal(Regression):
    def configure_optimizers(self) -> Any:
        self.net[0].bias.requires_grad_(False)
        self.net[2].bias.requires_grad_(False)
        return torch.optim.Muon([self.net[0].weight, self.net[2].weight], lr=0.01)


MODULES: dict[str, Callable[[], Regression]] = {
    "RAdam": lambda: Regression(optimizer=partial(RAdam, lr=0.01)),
    "LBFGS": lambda: Regression(optimizer=partial(LBFGS, lr=0.1)),
    "Muon": Orthogonal,
}


@pytest.mark.parametrize("name", MODULES)
def test_an_optimizer_without_known_mobility_is_named_and_nothing_is_said_to_rest(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "thermo_callbacks"):
        text = " ".join(said(MODULES[name]()))
    if name == "RAdam":  # nothing is wrong with the run
        assert text == ""
        text = " ".join(message for message in caplog.messages if "einstein" in message)
    if name == "RAdam":  # its memory is known; eight steps are its first, and no rectification is that of another
        assert f": {name} does not tell how far it moves a weight per unit of gradient" in text
        assert "thermo/einstein_temperature" in text
    else:
        assert f": {name}: its step is no linear response to the gradient" in text
        assert "thermo/temperature" in text
    assert "did not move" not in text
    assert "no weight" not in text


@pytest.mark.parametrize("rate", [1e3, 1e30], ids=["slowly", "at once"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_run_that_diverges_says_so_once_and_blames_nothing_else(rate: float, momentum: float) -> None:
    make = partial(SGD, lr=rate, momentum=momentum, nesterov=momentum > 0)
    messages = said(Regression(optimizer=make), "standard", 6 * WINDOW)
    assert sum("diverged" in text for text in messages) == 1
    after = messages[next(at for at, text in enumerate(messages) if "diverged" in text) + 1 :]
    assert after == []
    assert not any("did not move" in text or "too few" in text for text in messages)


def test_a_loss_that_becomes_nan_is_a_divergence() -> None:
    class Breaking(Regression):
        def loss(self, batch: Any) -> Tensor:
            return super().loss(batch) * (torch.nan if self.global_step == WINDOW + 4 else 1.0)

    [only] = [text for text in said(Breaking(), "light") if "noise_scale" not in text]
    assert only == (
        "the run has diverged: in a window of its steps, weights, gradients or moves are not finite, or too large to "
        "be squared, or the loss has grown a millionfold. Most values are missing (NaN) from here on."
    )


class Careful(Optimizer):
    """Makes no step where the gradient is not finite."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        with torch.enable_grad():
            loss = closure()
        for parameter in self.param_groups[0]["params"]:
            if bool(parameter.grad.isfinite().all()):
                parameter.sub_(0.01 * parameter.grad)
        return loss


def test_steps_that_are_left_out_while_the_weights_are_sound_are_counted() -> None:
    class Faulty(Regression):
        def loss(self, batch: Any) -> Tensor:
            return super().loss(batch) * (torch.nan if self.global_step % WINDOW > 1 else 1.0)

    text = " ".join(said(Faulty(optimizer=partial(Careful, defaults={"lr": 0.01})), "light"))
    assert "14 of 16 steps had a gradient that is not finite" in text
    assert "diverged" not in text


@pytest.mark.parametrize("rate", [0.0, 1e-30], ids=["zero", "too small"])
def test_weights_that_rest_are_told_from_a_rate_of_zero(rate: float) -> None:
    text = " ".join(said(Regression(optimizer=partial(SGD, lr=rate))))
    assert ("the learning rate was zero" in text) == (rate == 0.0)
    assert ("the weights did not move in the window" in text) == (rate > 0.0)


def test_two_layers_that_lose_their_gradient_one_after_the_other_are_both_told() -> None:
    class Leaving(Regression):
        def __init__(self) -> None:
            super().__init__()
            self.spare = nn.ModuleList(nn.Linear(INPUTS, 1).double() for _ in range(2))

        def loss(self, batch: Any) -> Tensor:
            stays = [layer for number, layer in enumerate(self.spare) if self.global_step < (number + 1) * WINDOW]
            return super().loss(batch) + sum((layer(batch[0]).square().mean() for layer in stays), torch.zeros(()))

    idle = [text for text in said(Leaving(), "light") if "no gradient" in text]
    assert ["layer 'spare.0'" in text for text in idle] == [True, False]
    assert ["layer 'spare.1'" in text for text in idle] == [False, True]


def test_news_are_news_once() -> None:
    guard = Guard("here")
    assert guard.news(["a", "b"]) == ["a", "b"]
    assert guard.news(["b", "c"]) == ["c"]
    assert guard.knows("c")
    assert not guard.knows("d")
