"""The few lines that a terminal shows of a run."""

from __future__ import annotations

import math

import pytest

from thermo_callbacks.display.tables.run_table import run_table

RECORD = {
    "thermo/internal_energy": 0.69,
    "thermo/temperature": 2.5e-4,
    "thermo/temperature_stderr": 1.23e-5,
    "thermo_temperature/a": 1e-4,
    "thermo_temperature/b": math.nan,
    "thermo_temperature/c[1]": 4e-4,
    "thermo_temperature/d": 2e-4,
    "thermo_temperature_stderr/c[1]": 3e-5,
    "thermo_temperature_stderr/d": math.nan,
    "thermo/noise_scale": math.nan,
    "thermo/second_law": -1.0,
    "thermo/laplacian": -12.0,
    "thermo/laplacian_stderr": 0.5,
    "thermo/unknown": 3.0,
}


def rows_of(table):
    return list(zip(*([cell.plain for cell in column.cells] for column in table.columns), strict=True))


def test_shows_values_with_errors_and_the_hottest_layers():
    assert rows_of(run_table(RECORD, layers=2)) == [
        ("mean loss", "0.69", "", "loss"),
        ("temperature", "2.50e-04", "± 1.2e-05", "loss"),
        ("  c[1]", "4.00e-04", "± 3e-05", "loss"),
        ("  d", "2.00e-04", "", "loss"),
        ("noise scale", "-", "", "samples"),
        ("second law", "entropy falls", "", ""),
        ("trace of the Hessian", "-12", "± 0.5", "loss"),
    ]


@pytest.mark.parametrize(("layers", "names"), [(0, []), (1, ["c[1]"]), (9, ["c[1]", "d", "a"])])
def test_counts_the_layers(layers, names):
    shown = [row[0].strip() for row in rows_of(run_table(RECORD, layers=layers)) if row[0].startswith("  ")]
    assert shown == names


@pytest.mark.parametrize(
    ("flag", "said"), [(0.0, "no trend resolved"), (1.0, "entropy grows"), (-1.0, "entropy falls"), (math.nan, "-")]
)
def test_second_law_is_in_words(flag, said):
    assert rows_of(run_table({"thermo/second_law": flag})) == [("second law", said, "", "")]


def test_head_of_the_first_column_is_the_callers():
    assert run_table({}, head="step 7").columns[0].header.plain == "step 7"
    assert rows_of(run_table({})) == []


def test_refuses_a_negative_number_of_layers():
    with pytest.raises(ValueError, match=r"^layers must be a whole number of at least 0, got -1$"):
        run_table({}, layers=-1)
