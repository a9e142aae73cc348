"""Losses as people write them: which are sums, and which squash twice."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    log_softmax,
    mse_loss,
    nll_loss,
)

from thermo_callbacks.probes.inspection.loss_graph import LossGraph, read_loss_graph

CLASSES = torch.tensor([0, 1, 2, 0])


def outputs() -> Tensor:
    return nn.Linear(5, 3)(torch.randn(4, 5))


MEANS: dict[str, Callable[[Tensor], Tensor]] = {
    "cross-entropy": lambda z: cross_entropy(z, CLASSES),
    "by hand": lambda z: nll_loss(log_softmax(z, 1), CLASSES),
    "label smoothing": lambda z: cross_entropy(z, CLASSES, label_smoothing=0.1),
    "sum over the batch by its size": lambda z: cross_entropy(z, CLASSES, reduction="sum") / 4,
    "squares": lambda z: mse_loss(z, torch.zeros(4, 3)),
    "with logits": lambda z: binary_cross_entropy_with_logits(z, torch.zeros(4, 3)),
    "probabilities where they belong": lambda z: binary_cross_entropy(z.sigmoid(), torch.zeros(4, 3)),
    "mean of squares": lambda z: (z**2).sum(1).mean(),
    "attention before": lambda z: cross_entropy(z.softmax(1) @ torch.randn(3, 3), CLASSES),
    "of a sum of terms": lambda z: cross_entropy(z, CLASSES) + 1e-3 * (z**2).sum(),
}


@pytest.mark.parametrize("name", MEANS)
def test_usual_losses_are_right(name: str) -> None:
    assert read_loss_graph(MEANS[name](outputs()), divided=False) == LossGraph(False, "")


SUMS: dict[str, Callable[[Tensor], Tensor]] = {
    "cross-entropy": lambda z: cross_entropy(z, CLASSES, reduction="sum"),
    "squares": lambda z: mse_loss(z, torch.zeros(4, 3), reduction="sum"),
    "squares by hand": lambda z: (z**2).sum(),
    "of single losses": lambda z: cross_entropy(z, CLASSES, reduction="none").sum(),
}


@pytest.mark.parametrize("name", SUMS)
@pytest.mark.parametrize("divided", [False, True])
def test_sums_are_seen(name: str, divided: bool) -> None:
    loss = SUMS[name](outputs())
    assert read_loss_graph(loss / 1 if divided else loss, divided=divided).summed


TWICE: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda z: cross_entropy(z.softmax(1), CLASSES),
    "softmax and a shape": lambda z: cross_entropy(z.softmax(1).view(4, 3, 1).squeeze(2), CLASSES),
    "softmax of half the precision": lambda z: cross_entropy(z.softmax(1).bfloat16().float(), CLASSES),
    "sigmoid": lambda z: binary_cross_entropy_with_logits(z.sigmoid(), torch.zeros(4, 3)),
    "beside another term": lambda z: (z**2).mean() + cross_entropy(z.softmax(1), CLASSES),
}


@pytest.mark.parametrize("name", TWICE)
def test_two_squashings_are_seen(name: str) -> None:
    found = read_loss_graph(TWICE[name](outputs()), divided=False)
    assert found == LossGraph(False, "sigmoid" if name == "sigmoid" else "softmax")


def test_a_loss_without_a_graph_says_nothing() -> None:
    assert read_loss_graph(torch.tensor(1.0), divided=True) == LossGraph(False, "")
    assert read_loss_graph(torch.tensor(1.0, requires_grad=True), divided=False) == LossGraph(False, "")


def test_the_graph_is_left_for_the_backward_pass() -> None:
    layer = nn.Linear(5, 3)
    loss = cross_entropy(layer(torch.randn(4, 5)).softmax(1), CLASSES)
    read_loss_graph(loss, divided=False)
    loss.backward()
    assert layer.weight.grad is not None
