"""How products are made: by double backward as long as that is right, else by finite differences."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from curvature_networks import energy, inputs, message, network, present, probe_of, same
from integration.curvature_models import Detached, Once, Refusing, Twice
from torch import Tensor
from torch.utils.checkpoint import checkpoint

KEPT = 3.0


@pytest.mark.parametrize("method", ["double_backward", "finite_difference"])
def test_a_network_of_16_bits_is_measured_in_32(method: Any) -> None:
    module, batch = network(dtype=torch.bfloat16), inputs(dtype=torch.bfloat16)
    wide = network(dtype=torch.bfloat16).float()
    found = probe_of(module, method=method).measure(present(module), batch, step=0)
    assert same(found, probe_of(wide, method=method).measure(present(wide), batch.float(), step=0))


def test_the_two_methods_agree() -> None:
    module = network(dtype=torch.float32)
    one, other = (
        probe_of(module, method=method).measure(present(module), inputs(dtype=torch.float32), step=0)
        for method in ("double_backward", "finite_difference")
    )
    torch.testing.assert_close(one.traces, other.traces, rtol=1e-2, atol=1e-2)
    assert one.loss == pytest.approx(other.loss, rel=1e-3)


def kinked(batch: Tensor) -> Tensor:
    return Twice.apply(torch.relu(batch))


def test_kinks_are_no_reason_to_distrust_an_operation() -> None:
    module, batch = network(kinked, torch.float32), inputs(2000, torch.float32)
    exact = probe_of(network(lambda z: torch.tanh(torch.relu(z)), torch.float32), seed=1).measure({}, batch, step=0)
    probe = probe_of(module, seed=1)
    torch.testing.assert_close(probe.measure({}, batch, step=0).traces, exact.traces)
    assert probe.method == "double_backward"
    differences = probe_of(module, seed=1, method="finite_difference").measure({}, batch, step=0)
    assert (exact.traces - differences.traces).abs().max() > 0.2 * exact.traces.abs().max()


DISTRUST = "an operation's own backward pass gives no right second derivative, or hides parameters"


@pytest.mark.parametrize(
    ("operation", "reason"), [(Refusing, "no second derivative"), (Once, DISTRUST), (Detached, DISTRUST)]
)
def test_the_change_of_method_is_told_once_with_its_reason(operation: Any, reason: str) -> None:
    said: list[tuple[str, str]] = []
    probe = probe_of(network(operation.apply), warn_once=lambda *both: said.append(both))
    for step in range(2):
        probe.measure({}, inputs(), step=step)
    assert said == [
        (
            "method",
            "curvature comes from finite differences of the gradient; where activations have kinks (ReLU), these can "
            f"be far off. The reason: {reason}",
        )
    ]
    assert probe.method == "finite_difference"


@pytest.mark.parametrize(
    ("operation", "reason"),
    [
        (Refusing, "no second derivative\nof this"),
        (Once, f"{DISTRUST}: use method='auto' or 'finite_difference'"),
        (Detached, f"{DISTRUST}: use method='auto' or 'finite_difference'"),
    ],
)
def test_a_method_that_was_asked_for_is_not_changed(operation: Any, reason: str) -> None:
    probe = probe_of(network(operation.apply), method="double_backward")
    with pytest.raises(RuntimeError, match=message(reason)):
        probe.measure({}, inputs(), step=0)
    assert probe.method == "double_backward"


def test_trust_is_earned_once() -> None:
    module = network(Twice.apply)
    calls: list[bool] = []

    def counted(net: Any, batch: Any) -> Tensor:
        calls.append(True)
        return energy(net, batch)

    probe = probe_of(module, counted)
    for expected in (3, 1, 1):  # the first time with two more, for the difference
        calls.clear()
        probe.measure({}, inputs(), step=expected)
        assert len(calls) == expected


def test_a_fault_of_the_step_itself_is_not_the_methods() -> None:
    def broken(net: Any, batch: Any) -> Tensor:
        raise RuntimeError("out of luck")

    probe = probe_of(network(), broken)
    with pytest.raises(RuntimeError, match=message("out of luck")):
        probe.measure({}, inputs(), step=0)
    assert probe.method == "double_backward"


def test_gradients_of_other_tensors_are_not_added_to() -> None:
    module = network()
    stranger = torch.ones((), dtype=torch.float64, requires_grad=True)
    stranger.grad = kept = torch.tensor(KEPT, dtype=torch.float64)

    def checkpointed(net: Any, batch: Any) -> Tensor:
        return stranger * checkpoint(net, batch.requires_grad_(), use_reentrant=True).sub(1.0).square().mean()

    batch = inputs()
    probe = probe_of(module, checkpointed)
    found = probe.measure({}, batch, step=0)
    assert probe.method == "finite_difference"
    assert stranger.grad is kept
    assert kept.item() == KEPT
    assert batch.grad is None
    assert not batch.requires_grad
    torch.testing.assert_close(found.traces, probe_of(module).measure({}, batch, step=0).traces, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("activation", [torch.tanh, Twice.apply], ids=["plain", "own backward"])
def test_differences_do_not_add_to_gradients_of_other_tensors(activation: Any) -> None:
    stranger = torch.ones((), dtype=torch.float64, requires_grad=True)
    stranger.grad = kept = torch.tensor(KEPT, dtype=torch.float64)
    probe = probe_of(network(activation), lambda net, batch: stranger * energy(net, batch), method="finite_difference")
    found = probe.measure({}, inputs(), step=0)
    assert stranger.grad is kept
    assert kept.item() == KEPT
    torch.testing.assert_close(
        found.traces, probe_of(network()).measure({}, inputs(), step=0).traces, rtol=1e-6, atol=1e-9
    )
