"""Most curved directions of a network, against its dense Hessian."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.testing import assert_close

from thermo_callbacks.probes.curvature.eigenvectors import Directions, EigenvectorProbe
from thermo_callbacks.probes.layers import layer_parameters
from thermo_callbacks.probes.replay import Replay, SkippedBatch


@cache
def digits() -> tuple[Tensor, Tensor]:
    data = load_digits()
    return torch.tensor(data.data / 16.0, dtype=torch.float64)[:, ::4], torch.tensor(data.target)


def cross_entropy(module: nn.Module, batch: Any) -> Tensor:
    return nn.functional.cross_entropy(module(batch[0]), batch[1])


def network(seed: int = 0, activation: type[nn.Module] = nn.Tanh) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(16, 12), activation(), nn.Linear(12, 10)).double()


def train(module: nn.Module, steps: int, size: int, lr: float, generator: torch.Generator) -> None:
    optimizer = torch.optim.SGD(module.parameters(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        cross_entropy(module, batch(size, generator)).backward()
        optimizer.step()


def batch(size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    inputs, targets = digits()
    chosen = torch.randint(0, len(targets), (size,), generator=generator)
    return inputs[chosen], targets[chosen]


def dense(module: nn.Module) -> Tensor:
    """All second derivatives of the mean loss, [N, N]."""
    parameters = list(module.parameters())
    gradients = torch.autograd.grad(cross_entropy(module, digits()), parameters, create_graph=True)
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    rows = torch.autograd.grad(flat, parameters, torch.eye(len(flat)).double(), is_grads_batched=True)
    return torch.cat([row.reshape(len(flat), -1) for row in rows], 1)


def measure(module: nn.Module, own: Any, fresh: Any, **options: Any) -> Directions:
    probe = EigenvectorProbe(Replay(module, loss_fn=cross_entropy), layer_parameters(module), seed=0, **options)
    present = {parameter: parameter.detach().clone() for parameter in module.parameters()}
    found = probe.directions(
        present, (own, 0), (fresh, 1), step=0, roots=[None], shifts=[torch.tensor(0.0)], starts=[None], counts=[3]
    )
    assert found is not None
    return found[0]


@pytest.mark.parametrize("method", ["double_backward", "finite_difference"])
def test_full_data_give_the_dense_eigenvalues(method: str) -> None:
    module = network()
    train(module, 30, 64, 0.2, torch.Generator().manual_seed(1))
    found = measure(module, digits(), digits(), method=method)
    parameters = list(module.parameters())
    exact = torch.linalg.eigvalsh(dense(module)).flip(0)[:3]
    assert_close(found.own[:2], exact[:2], rtol=0.01, atol=0.0)
    assert_close(found.own, found.fresh, rtol=1e-4, atol=0.0)
    assert all(parameter.grad is not None for parameter in parameters)  # that of the last step, not touched


def test_a_preconditioner_and_a_decay_are_part_of_the_matrix() -> None:
    module = network()
    probe = EigenvectorProbe(Replay(module, loss_fn=cross_entropy), layer_parameters(module), seed=0)
    parameters = list(module.parameters())
    size = sum(parameter.numel() for parameter in parameters)
    root, decay = torch.linspace(0.5, 2.0, size).double(), torch.linspace(0.0, 0.3, size).double()
    present = {parameter: parameter.detach().clone() for parameter in parameters}
    options: dict[str, Any] = {"step": 0, "roots": [root], "shifts": [decay], "counts": [2]}
    found = probe.directions(present, (digits(), 0), (digits(), 0), starts=[None], **options)
    assert found is not None
    again = probe.directions(present, (digits(), 0), (digits(), 0), starts=[found[0].vectors], **options)
    assert again is not None
    hessian = dense(module)
    exact = torch.linalg.eigvalsh(root[:, None] * (hessian + decay.diag()) * root).flip(0)
    assert_close(again[0].own[0], exact[0], rtol=2e-3, atol=0.0)
    assert again[0].residuals[0] < found[0].residuals[0]


@pytest.mark.slow
def test_the_mean_of_both_batches_is_right_where_each_is_not_while_the_run_moves() -> None:
    """Largest eigenvalue of the mean loss, from two batches of 32 at steps 20, 60 and 150 of three runs."""
    rows = []
    for seed in range(3):
        module, generator = network(seed), torch.Generator().manual_seed(seed)
        done = 0
        for step in (20, 60, 150):
            train(module, step - done, 32, 0.2, generator)
            done = step
            exact = torch.linalg.eigvalsh(dense(module))[-1].item()
            for _ in range(2):
                found = measure(module, batch(32, generator), batch(32, generator))
                rows.append((found.own[0].item() / exact, found.fresh[0].item() / exact))
    own, fresh = torch.tensor(rows, dtype=torch.float64).T
    middle = (own + fresh) / 2.0
    error = middle.std() / len(rows) ** 0.5
    assert own.mean() - 1.0 > 4.0 * error  # a batch fits its own direction
    assert 1.0 - fresh.mean() > 2.0 * error
    assert abs(middle.mean() - 1.0) < 3.0 * error + 0.02
    # half the distance of the two is the error that is logged
    assert (middle - 1.0).square().mean().sqrt() < 1.3 * 0.5 * (own - fresh).square().mean().sqrt()


def test_a_skipped_batch_has_no_directions() -> None:
    messages: list[str] = []

    def skip(module: nn.Module, given: Any) -> Tensor:
        raise SkippedBatch("the training step returned None")

    module = network()
    probe = EigenvectorProbe(
        Replay(module, loss_fn=skip),
        layer_parameters(module),
        seed=0,
        warn_once=lambda topic, message: messages.append(message),
    )
    options: dict[str, Any] = {"roots": [None], "shifts": [torch.tensor(0.0)], "starts": [None], "counts": [1]}
    assert probe.directions({}, (digits(), 0), (digits(), 0), step=0, **options) is None
    assert messages == ["the training step returned None"]


def test_an_operation_without_a_second_derivative_is_measured_by_differences() -> None:
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x.tanh()

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            return gradient * (1.0 - x.tanh().square())

    class Custom(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return Once.apply(x)

    told: list[str] = []
    plain, custom = network(), network(activation=Custom)
    expected = measure(plain, digits(), digits())
    found = measure(custom, digits(), digits(), warn_once=lambda topic, message: told.append(topic))
    assert told == ["method"]
    assert_close(found.own[0], expected.own[0], rtol=1e-4, atol=0.0)
