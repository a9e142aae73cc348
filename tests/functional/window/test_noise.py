"""Noise scale and signal share against per-sample gradients of real models on real data."""

from __future__ import annotations

from functools import lru_cache

import pytest
import torch
from oracles import batch_gradients, normal, share_of_signal
from sklearn.datasets import load_diabetes, load_digits
from torch import Tensor

from thermo_callbacks.functional import gradient_moments, gradient_noise_scale, signal_share


@lru_cache(maxsize=1)
def digits() -> tuple[Tensor, Tensor]:
    table = load_digits()
    return torch.as_tensor(table.data, dtype=torch.float64) / 16.0, torch.as_tensor(table.target)


@pytest.fixture(scope="module")
def network_gradients() -> Tensor:
    """Per-sample gradients of a small network at its initial weights, shape [1797, 1210]."""
    inputs, labels = digits()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(64, 16), torch.nn.Tanh(), torch.nn.Linear(16, 10)).double()

    def loss(parameters: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        logits = torch.func.functional_call(model, parameters, (image,))
        return torch.nn.functional.cross_entropy(logits, label)

    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    gradients = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(parameters, inputs, labels)
    return torch.cat([gradient.flatten(1) for gradient in gradients.values()], dim=1)


@pytest.mark.parametrize("batch_size", [8, 64, 512])
def test_noise_share_of_a_network_on_digits(network_gradients: Tensor, batch_size: int) -> None:
    window = batch_gradients(network_gradients, batch_size, steps=400, seed=batch_size)
    exact = 1.0 - share_of_signal(network_gradients, batch_size)
    assert 1.0 - signal_share(window).item() == pytest.approx(exact, rel=0.1)


@pytest.mark.parametrize("batch_size", [8, 64, 512])
def test_noise_scale_of_a_network_on_digits(network_gradients: Tensor, batch_size: int) -> None:
    """One number for all batch sizes: that is what makes it a property of the data and the model."""
    window = batch_gradients(network_gradients, batch_size, steps=400, seed=batch_size + 1)
    signal = network_gradients.mean(0).square().sum()
    exact = (network_gradients.square().sum(1).mean() - signal) / signal
    assert gradient_noise_scale(window, batch_size).item() == pytest.approx(exact.item(), rel=0.1)


def test_noise_scale_of_least_squares_on_diabetes_data() -> None:
    table = load_diabetes()
    inputs, target = (torch.as_tensor(part, dtype=torch.float64) for part in (table.data, table.target))
    inputs, target = ((part - part.mean(0)) / part.std(0, correction=0) for part in (inputs, target))
    per_sample = -target[:, None] * inputs  # at the origin: the residual is minus the target
    covariance = torch.cov(per_sample.T, correction=0)
    exact = (covariance.trace() / per_sample.mean(0).square().sum()).item()
    window = batch_gradients(per_sample, 16, steps=4000, seed=1)
    assert gradient_noise_scale(window, 16).item() == pytest.approx(exact, rel=0.05)
    noise, signal = gradient_moments(window)
    assert noise.item() == pytest.approx(covariance.trace().item() / 16, rel=0.05)
    assert signal.item() == pytest.approx(per_sample.mean(0).square().sum().item(), rel=0.05)


@pytest.mark.parametrize("seed", range(5))
def test_labels_drawn_anew_carry_no_signal(seed: int) -> None:
    """Softmax regression on digits at zero weights: the gradient is (1/10 - y) x, with y drawn anew each step.

    Its mean is exactly 0. The signal estimate is the mean of g_s . g_t over s != t, so its variance is exactly
    2 tr(Sigma^2) / (W (W - 1)); Sigma is the Kronecker product of the label's and the image's second moments.
    """
    inputs, _ = digits()
    steps, batch_size = 50, 64
    generator = torch.Generator().manual_seed(seed)
    images = inputs[torch.randint(len(inputs), (steps, batch_size), generator=generator)]
    labels = torch.randint(10, (steps, batch_size), generator=generator)
    errors = 0.1 - torch.nn.functional.one_hot(labels, 10).double()
    gradients = (errors.transpose(1, 2) @ images / batch_size).flatten(1)
    label_moment = (torch.eye(10, dtype=torch.float64) - 0.1) / 10.0
    image_moment = inputs.T @ inputs / len(inputs)
    noise = label_moment.trace() * image_moment.trace() / batch_size
    noise_squared = label_moment.square().sum() * image_moment.square().sum() / batch_size**2
    standard_error = (2.0 * noise_squared / (steps * (steps - 1))).sqrt() / noise
    assert abs(signal_share(gradients).item()) < 4.0 * standard_error.item()
    assert standard_error.item() < 0.02


def test_moments_by_pairs_of_steps() -> None:
    """Signal is what different steps share; noise is what is left of one step's power."""
    gradients = normal(7, 3, seed=2) + 0.5
    pairs = [(gradients[s] @ gradients[t]).item() for s in range(7) for t in range(7) if s != t]
    expected_signal = sum(pairs) / len(pairs)
    expected_noise = gradients.square().sum(1).mean().item() - expected_signal
    noise, signal = gradient_moments(gradients)
    assert [noise.item(), signal.item()] == pytest.approx([expected_noise, expected_signal], rel=1e-12)
    assert signal_share(gradients).item() == pytest.approx(expected_signal / (expected_signal + expected_noise))


def test_no_signal_has_no_noise_scale() -> None:
    opposite = torch.tensor([[1.0], [-1.0], [1.0], [-1.0]])
    assert gradient_noise_scale(opposite, 8).isnan()
    assert signal_share(opposite).item() == pytest.approx(-1.0 / 3.0)  # the lowest estimate there is: -1 / (W - 1)


def test_no_gradient_has_no_share() -> None:
    assert signal_share(torch.zeros(4, 2)).isnan()
    assert gradient_noise_scale(torch.zeros(4, 2), 8).isnan()
