"""Honest errors of one measurement: intervals cover the curvature of the mean loss over all data."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from curvature_oracles import two_layer_traces
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from thermo_callbacks.functional import Estimate
from thermo_callbacks.probes.curvature import CurvatureProbe, CurvatureSample, SampleCurvatureProbe
from thermo_callbacks.probes.layers import layer_parameters
from thermo_callbacks.probes.replay import Replay

DRAWS, BATCH = 200, 64


def loss_of(net: Any, batch: Any) -> Tensor:
    return cross_entropy(net(batch[0]), batch[1])


@cache
def digits() -> tuple[Tensor, Tensor]:
    data = load_digits()
    return torch.from_numpy(data.data) / 16.0, torch.from_numpy(data.target)


@cache
def trained() -> nn.Module:
    """A network on the digits, half learnt."""
    inputs, target = digits()
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10)).double()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(150):
        rows = torch.randint(len(inputs), (BATCH,), generator=generator)
        optimizer.zero_grad()
        loss_of(net, (inputs[rows], target[rows])).backward()
        optimizer.step()
    return net


def drawn(kind: type[CurvatureProbe], probes: int) -> list[CurvatureSample]:
    """Measurements on fresh batches, with replacement."""
    net, (inputs, target) = trained(), digits()
    probe = kind(Replay(net, loss_of), layer_parameters(net), seed=1, probes=probes)
    generator = torch.Generator().manual_seed(1)
    samples = []
    for step in range(DRAWS):
        rows = torch.randint(len(inputs), (BATCH,), generator=generator)
        samples.append(probe.measure({}, (inputs[rows], target[rows]), step=step))
    return samples


def columns(samples: list[CurvatureSample]) -> Estimate:
    """Traces of the layers and of both, with their errors, ``[draws, 3]``."""
    values = torch.stack([torch.cat([sample.traces, sample.whole[:1]]) for sample in samples])
    variances = torch.stack([torch.cat([sample.trace_variances, sample.whole[1:2]]) for sample in samples])
    return Estimate(values, variances.sqrt(), torch.full_like(values, samples[0].degrees_of_freedom))


def test_the_two_layer_traces_are_those_of_the_whole_hessian() -> None:
    inputs, target = (column[:20] for column in digits())
    net = trained()
    leaves = list(net.parameters())
    gradients = torch.autograd.grad(loss_of(net, (inputs, target)), leaves, create_graph=True)
    diagonals = [
        sum(
            float(torch.autograd.grad(entry, leaf, retain_graph=True)[0].flatten()[place])
            for place, entry in enumerate(gradient.flatten())
        )
        for gradient, leaf in zip(gradients, leaves, strict=True)
    ]
    exact = two_layer_traces(net, inputs, target)
    assert exact.tolist() == pytest.approx([diagonals[0] + diagonals[1], diagonals[2] + diagonals[3]])


def test_intervals_of_samples_cover_the_truth_and_are_narrow() -> None:
    layers = two_layer_traces(trained(), *digits())
    truth = torch.cat([layers, layers.sum(0, keepdim=True)])
    by_samples, common = (columns(drawn(kind, 2)) for kind in (SampleCurvatureProbe, CurvatureProbe))
    low, high = by_samples.interval(0.95)
    covered = ((low < truth) & (truth < high)).double().mean(0)
    assert ((covered >= 0.92) & (covered <= 0.98)).all(), covered
    score = (by_samples.value.mean(0) - truth) / (by_samples.value.std(0) / DRAWS**0.5)
    assert (score.abs() < 3.0).all(), score
    # of common vectors, which hold nothing of the batches, the bound is conservative all the same
    low, high = common.interval(0.95)
    assert ((low < truth) & (truth < high)).double().mean(0).min() >= 0.92
    assert (by_samples.value.std(0) < 0.5 * common.value.std(0)).all()
    relative = by_samples.stderr.mean(0) / truth
    assert (relative < 0.12).all(), relative
