"""The benchmark prints its tables, and again from its file; what they say is for people to read."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import pytest
from fault_quantities import Column, effect, unlike

_SPEC = importlib.util.spec_from_file_location("benchmark_of_faults", Path(__file__).with_name("faults.py"))
benchmark = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(benchmark)


def test_the_tables_can_be_read_again_from_the_file(tmp_path, capsys):
    file = tmp_path / "faults.json"
    benchmark.main(["--cases", "rate_to_nan", "--seeds", "1", "--jobs", "1", "--json", str(file)])
    printed = capsys.readouterr().out
    assert "Does it hurt?" in printed
    assert "inf ± 0.000" in printed
    benchmark.main(["--from", str(file)])
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize(
    ("fault", "twin", "hurts"),
    [
        ([0.5, 0.6, 0.7], [0.1, 0.1, 0.1], True),
        ([0.5, 0.6, 0.7], [0.4, 0.45, 0.5], False),  # one seed is no worse
        ([0.11, 0.111, 0.112], [0.1, 0.1, 0.1], False),  # too near for three seeds
        ([math.inf, 0.2, 0.2], [0.1, 0.2, 0.3], True),
        ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6], False),
    ],
)
def test_a_fault_hurts_where_it_is_worse_beyond_chance(fault, twin, hurts):
    assert benchmark.Verdict(fault, twin).hurts is hurts


def test_an_effect_is_a_difference_in_spreads():
    column = Column("T", "thermo/temperature")
    runs = [[{"thermo/temperature": value} for value in values] for values in ([4.0, 5.0, 6.0], [1.0, 2.0, 3.0])]
    assert effect(column, *runs) == pytest.approx(3.0)
    assert effect(column, [{}], runs[0]) == "gone"
    assert effect(column, runs[0], [{"thermo/temperature": math.nan}]) == "new"
    assert effect(column, [{}], [{}]) == ""


def test_a_quantity_of_layers_is_made_of_those_that_have_a_value():
    column = Column("dead max", "thermo_dead_fraction", max)
    assert column.value({"thermo_dead_fraction/a": 0.25, "thermo_dead_fraction/b": math.nan}) == 0.25
    assert math.isnan(column.value({"thermo_dead_fractions/a": 1.0}))


def test_a_quantity_is_unlike_where_no_healthy_run_has_it():
    column = Column("dead max", "thermo_dead_fraction", max)
    runs = {value: {"thermo_dead_fraction/a": value} for value in (0.1, 0.2, 0.3, 0.9, 1.0)}
    healthy = [runs[0.1], runs[0.3]]
    assert unlike(column, [runs[0.9], runs[1.0]], healthy)
    assert not unlike(column, [runs[0.2], runs[1.0]], healthy)
    assert not unlike(column, [runs[1.0], {}], healthy)  # one seed has no value
    assert not unlike(column._replace(unit=True), [runs[0.9], runs[1.0]], healthy)
