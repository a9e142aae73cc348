"""The findings on the suite: right cause and layer of faults, silence in healthy runs, nothing changed by either."""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from fault_verdicts import parts_table, said_of
from peers_ours import causes
from peers_record import row
from rich.console import Console

from faults import CASES, HEALTHY, PLANTED, Record, measure
from thermo_callbacks.catalog import QUANTITIES
from thermo_callbacks.findings import READS, History, diagnose

pytestmark = pytest.mark.filterwarnings("ignore")  # of Lightning and of diverging runs, as the records keep them
SEED = 0
QUICK = [
    "dead_relus_first", "saturated_tanhs", "softmax_before_cross_entropy", "wrong_sign_adam", "rows_of_nan",
    "sorted_by_label", "inputs_times_1000", "layer_detached", "rate_to_nan", "rate_too_low", "always_clipped",
]  # fmt: skip
"""Faults whose runs take about a second."""


@cache
def recorded(name: str) -> Record:
    torch.set_num_threads(1)
    return measure(CASES[name], SEED)


@pytest.mark.parametrize("name", QUICK)
def test_a_fault_is_found_by_its_cause_and_place(name: str) -> None:
    assert not CASES[name].held
    counted = row([said_of(recorded(name))], CASES, causes)
    assert recorded(name).findings[0]["cause"] == CASES[name].cause
    assert counted.right_layer.true == counted.right_layer.all


@pytest.mark.parametrize("name", ["sgd", "momentum", "adamw", "tanh_mlp", "backbone_frozen_on_purpose"])
def test_a_healthy_run_is_no_alarm(name: str) -> None:
    assert said_of(recorded(name)).alarms == []


@pytest.mark.parametrize("name", ["rate_too_low", "dead_relus_first", "sorted_by_label"])
def test_a_run_with_a_finding_is_bit_for_bit_what_it_was(name: str) -> None:
    assert recorded(name).findings
    assert measure(CASES[name], SEED, watched=False).score == recorded(name).score


@pytest.mark.parametrize("scale", [1e-3, 1e3])
@pytest.mark.parametrize("name", [*QUICK[:4], *QUICK[-3:], "sgd"])
def test_findings_do_not_depend_on_the_scale_of_the_loss(name: str, scale: float) -> None:
    losses = {tag for each in QUANTITIES if each.unit.startswith("loss") for tag in (*each.tags, each.family) if tag}
    losses |= {"val_loss"}
    found = []
    for factor in (1.0, scale):
        history = History(READS, recorded(name).facts)
        for step, values in recorded(name).rows:
            scaled = {tag: factor if tag in losses or tag.partition("/")[0] in losses else 1.0 for tag in values}
            history.add({tag: value * scaled[tag] for tag, value in values.items()}, step)
        found.append([(each.cause, each.layers, each.severity, each.consequences) for each in diagnose(history)])
    assert found[0] == found[1]
    assert bool(found[0]) == (name != "sgd")


@pytest.mark.slow
@pytest.mark.parametrize("held", [False, True])
def test_the_suite(held: bool) -> None:
    records = [recorded(name) for name, case in CASES.items() if case.held is held]
    Console(width=160).print(parts_table(records))
    counted = row(map(said_of, records), CASES, causes)
    assert counted.healthy_alarms.true <= (len(HEALTHY) / 90 if held else 0)
    assert counted.found.true >= 0.9 * counted.found.all
    assert counted.right_cause.true >= 0.8 * counted.right_cause.all
    assert counted.right_layer.true >= math.floor(0.9 * counted.right_layer.all)
    assert counted.found.all == sum(case.held is held for case in PLANTED.values())
