"""Activations that are shown as one: the value of what they take in and give out together."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn

from thermo_callbacks.probes.activations import ActivationProbe
from thermo_callbacks.probes.activations.groups import common_engine, pooled_values
from thermo_callbacks.probes.activations.records import ActivationRecord

Passed = tuple[list[ActivationRecord], list[tuple[Tensor, Tensor]]]
"""Records of a pass, and what went into and out of each activation."""


class Kept(nn.Module):
    """Activations of several widths, with all that goes through them."""

    def __init__(self) -> None:
        super().__init__()
        self.lines = nn.ModuleList(nn.Linear(a, b) for a, b in ((5, 7), (7, 3), (3, 9), (9, 1)))
        self.acts = nn.ModuleList([nn.ReLU(), nn.Tanh(), nn.Sigmoid()])
        self.kept: list[tuple[Tensor, Tensor]] = []

    def forward(self, values: Tensor) -> Tensor:
        for line, act in zip(self.lines, self.acts, strict=False):
            before = line(values)
            values = act(before)
            self.kept.append((before, values))
        return self.lines[3](values)


@pytest.fixture(scope="module")
def passed() -> Passed:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Kept().double()
        inputs = torch.randn(64, 5, dtype=torch.float64)
    with torch.no_grad():
        model.lines[0].bias[1] = -50.0  # a unit that never opens
        model.lines[1].weight.mul_(20.0)  # mostly flat
    probe = ActivationProbe(model)
    with probe:
        model(inputs).square().mean().backward()
    return list(probe.result().values()), model.kept


def test_ratios_are_those_of_all_members_together(
    passed: Passed,
) -> None:
    records, kept = passed
    values = pooled_values(records)
    heat = sum(float(z.detach().square().sum()) for z, _ in kept)
    work = sum(float(a.detach().square().sum()) for _, a in kept)
    assert values["work_efficiency"] == pytest.approx(work / heat, rel=1e-12)
    assert values["implied_gain"] == pytest.approx(math.sqrt(heat / work), rel=1e-12)
    arrived = sum(float(record.powers.grad_input.sum()) for record in records)  # type: ignore[union-attr]
    sent = sum(float(record.powers.grad_output.sum()) for record in records)  # type: ignore[union-attr]
    assert values["learning_efficiency"] == pytest.approx(arrived / sent, rel=1e-12)


def test_fractions_are_weighted_with_the_units(
    passed: Passed,
) -> None:
    records, kept = passed
    values = pooled_values(records)
    dead = [record.dead_fraction for record in records]
    units = [7, 3, 9]
    assert dead[0] > 0.0
    assert values["dead_fraction"] == pytest.approx(math.fsum(map(math.prod, zip(dead, units, strict=True))) / 19)
    assert records[1].saturated_fraction > 0.1
    reached = [record.ratios["saturated_fraction"][1] for record in records]
    flat = [record.saturated_fraction * count for record, count in zip(records, reached, strict=True)]
    assert reached[1:] == [64.0 * 3, 64.0 * 9]
    assert values["saturated_fraction"] == pytest.approx(math.fsum(flat) / math.fsum(reached))
    hot = [float(z.detach().var(correction=0)) * z.numel() for z, _ in kept]
    cold = [float(a.detach().var(correction=0)) * a.numel() for _, a in kept]
    assert values["carnot_bound"] == pytest.approx(1.0 - math.fsum(cold) / math.fsum(hot))


def test_one_is_shown_as_it_is(passed: Passed) -> None:
    for record in passed[0]:
        assert pooled_values([record]) == {
            name: getattr(record, name)
            for name in (
                *("work_efficiency", "learning_efficiency", "carnot_bound"),
                *("dead_fraction", "saturated_fraction", "implied_gain"),
            )
        }


def test_a_member_without_a_value_has_no_part(
    passed: Passed,
) -> None:
    first, second, third = passed[0]
    unknown = dataclasses.replace(
        first, work_efficiency=math.nan, dead_fraction=math.nan, ratios=dict.fromkeys(first.ratios, (math.nan, 1.0))
    )
    known = pooled_values([second, third])
    found = pooled_values([unknown, second, third])
    assert found["work_efficiency"] == known["work_efficiency"]
    assert found["dead_fraction"] == known["dead_fraction"]
    assert math.isnan(pooled_values([unknown, unknown])["work_efficiency"])
    assert math.isnan(pooled_values([unknown, unknown])["implied_gain"])


def test_the_type_of_engine_is_that_of_all(passed: Passed) -> None:
    first, second, third = passed[0]
    assert (first.engine, second.engine, third.engine) == ("passive", "passive", "driven")
    assert common_engine([first, second]) == "passive"
    assert common_engine([first, third]) is None
