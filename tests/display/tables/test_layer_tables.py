"""The table of a run, as a terminal shows it."""

from __future__ import annotations

import math

import pytest
from rich.console import Console

from thermo_callbacks.catalog import members
from thermo_callbacks.display.tables.layer_tables import format_column, layer_table

NAN = math.nan
RECORD = {
    "thermo/temperature": 2.4e-5,
    "thermo/temperature_stderr": 3.1e-6,
    "thermo/temperature_lower": 1.8e-5,
    "thermo/temperature_upper": 3.0e-5,
    "thermo_temperature/body.0": 1.25e-5,
    "thermo_temperature/head": 1.75e-4,
    "thermo_temperature_stderr/body.0": 2e-6,
    "thermo_temperature_stderr/head": 1.1e-5,
    "thermo/virial_temperature": 9.0,
    "thermo/heat": -2.5,
    "thermo_heat/body.0": -2.25,
    "thermo_heat/head": -0.25,
    "thermo/drift_share": 0.875,
    "thermo_drift_share/body.0": 0.5,
    "thermo_drift_share/head": 0.04,
    "thermo/noise_scale": 850.0,
    "thermo_noise_scale/body.0": NAN,
    "thermo_noise_scale/head": 120.0,
    "thermo/signal_share": 0.125,
    "thermo_signal_share/body.0": -0.01,
    "thermo_signal_share/head": 0.25,
}


CURVATURE = {
    "thermo/laplacian": 42.0,
    "thermo/laplacian_stderr": 2.5,
    "thermo_laplacian/body.0": 12.0,
    "thermo_laplacian/head": 30.0,
    "thermo_laplacian_stderr/body.0": 1.25,
    "thermo_laplacian_stderr/head": 2.0,
    "thermo/entropy_destruction": 0.84,
    "thermo_entropy_destruction/body.0": 0.24,
    "thermo_entropy_destruction/head": NAN,
}
ACTIVATIONS = {
    "thermo/work_efficiency": 0.2,
    "thermo_work_efficiency/relu": 0.5,
    "thermo_work_efficiency/net[1].tanh": 0.4,
    "thermo_learning_efficiency/relu": 0.45,
    "thermo_learning_efficiency/net[1].tanh": NAN,
    "thermo_dead_fraction/relu": 0.125,
    "thermo_dead_fraction/net[1].tanh": 0.0,
    "thermo_saturated_fraction/relu": 0.55,
    "thermo_saturated_fraction/net[1].tanh": NAN,
}


def shown(record, width=80, subject="layers"):
    console = Console(width=width)
    with console.capture() as capture:
        console.print(layer_table(record, subject))
    return capture.get()


def cells(text, name):
    line = next(line for line in text.splitlines() if line.split()[: len(name.split())] == name.split())
    return line.split()[len(name.split()) :]


def test_rows_are_the_layers_in_order_then_the_whole_model_with_its_interval():
    text = shown(RECORD)
    assert cells(text, "body.0") == ["1.25e-05", "2.0e-06", "-2.25", "0.50", "-"]
    assert cells(text, "head") == ["1.75e-04", "1.1e-05", "-0.25", "0.04", "120"]
    assert cells(text, "whole model") == ["2.40e-05", "3.1e-06", "-2.50", "0.88", "850"]
    assert (cells(text, "95 % from"), cells(text, "to")) == (["1.80e-05"], ["3.00e-05"])
    rows = [line.split()[0] for line in text.splitlines() if "e-0" in line]
    assert rows == ["body.0", "head", "whole", "95", "to"]


def test_header_has_the_units():
    assert [column.header.plain.split() for column in layer_table(RECORD).columns[1:]] == [
        ["temperature", "[loss]"],
        ["standard", "error", "[loss]"],
        ["heat", "so", "far", "[loss]"],
        ["drift", "share"],
        ["noise", "scale", "[samples]"],
    ]


def test_value_that_does_not_exist_is_a_dash_with_its_reason():
    text = shown(RECORD)
    assert "- no noise scale: the batches don't tell how many samples they hold" in " ".join(text.split())
    assert text.count("- no ") == 1


def test_each_column_has_a_reason_for_missing_values():
    text = shown(dict.fromkeys(RECORD, NAN), width=200)
    assert cells(text, "head") == cells(text, "whole model") == ["-"] * 5
    for name in ("temperature", "temperature stderr", "heat", "drift share", "noise scale"):
        assert text.count(f"- no {name}: ") == 1
    assert "nan" not in text


def test_no_dash_no_reason():
    record = {tag: value for tag, value in RECORD.items() if not math.isnan(value)}
    assert "- no" not in shown(record)


def test_what_the_record_lacks_is_left_out():
    tags = ("thermo_temperature/body.0", "thermo/temperature", "thermo/temperature_stderr")
    table = layer_table({tag: RECORD[tag] for tag in tags})
    columns = [[cell.plain for cell in column.cells] for column in table.columns]
    assert columns == [["body.0", "whole model"], ["1.25e-05", "2.40e-05"], ["", "3.1e-06"]]


def test_one_layer():
    text = shown({"thermo_temperature/root": 0.02, "thermo/temperature": 0.02, "thermo/noise_scale": NAN})
    assert (cells(text, "root"), cells(text, "whole model")) == (["0.0200"], ["0.0200", "-"])


@pytest.mark.parametrize("width", [80, 100, 200])
def test_fits_the_terminal_with_long_names_whole(width):
    name = "encoder.blocks[3].attention.projection.weights_of_a_very_long_name.0"
    record = {**RECORD, f"thermo_temperature/{name}": 1e-5}
    lines = shown(record, width).splitlines()
    assert max(map(len, lines)) <= width
    # folded over lines, yet nothing of it is lost; the brackets are no markup
    assert name in "".join(line[: line.find("  ", 2) if "e-" in line else None].strip() for line in lines)


def test_layers_come_in_the_order_of_the_record():
    record = {"thermo_temperature/b": 1.0, "thermo_temperature_stderr/c": 1.0, "thermo_temperature/a.1": NAN}
    assert list(members(record, "thermo_temperature")) == ["b", "a.1"]
    assert [cell.plain for cell in layer_table(record).columns[0].cells] == ["b", "a.1", "whole model"]


def test_record_without_layers_is_refused():
    with pytest.raises(
        ValueError, match="record holds no temperature of a layer: wait for the end of the first window"
    ):
        layer_table({"thermo/temperature": 1.0})


def test_curvature_of_the_layers_then_of_the_whole_model():
    text = shown(CURVATURE, subject="curvature")
    assert cells(text, "body.0") == ["12", "1.2", "0.24"]
    assert cells(text, "head") == ["30", "2.0", "-"]
    assert cells(text, "whole model") == ["42", "2.5", "0.84"]
    headers = [column.header.plain.split() for column in layer_table(CURVATURE, "curvature").columns[1:]]
    assert headers == [
        ["trace", "of", "the", "Hessian", "[loss]"],
        ["standard", "error"],
        ["destruction", "[nats/step]"],
    ]
    assert "- no entropy destruction: the optimizer does not tell" in " ".join(text.split())
    assert text.count("- no ") == 1


def test_activations_then_the_whole_model():
    text = shown(ACTIVATIONS, subject="activations")
    assert cells(text, "relu") == ["0.500", "0.450", "12.5%", "55.0%"]
    assert cells(text, "net[1].tanh") == ["0.400", "-", "0.0%", "-"]
    assert cells(text, "whole model") == ["0.200"]
    assert "- no learning efficiency: no gradient came back" in text
    assert "- no saturated fraction: no gradient came back" in text
    assert text.count("- no ") == 2
    first = layer_table({"thermo_work_efficiency/relu": 0.5, "thermo_dead_fraction/relu": 0.125}, "activations")
    assert [next(iter(column.cells)).plain for column in first.columns] == ["relu", "0.500", "12.5%"]
    first = layer_table({"thermo_laplacian/body": 30.0, "thermo/laplacian": 30.0}, "curvature")
    assert [next(iter(column.cells)).plain for column in first.columns] == ["body", "30"]


@pytest.mark.parametrize(("subject", "record"), [("curvature", CURVATURE), ("activations", ACTIVATIONS)])
def test_further_tables_leave_out_what_the_record_lacks_and_fit_the_terminal(subject, record):
    first = next(tag for tag in record if tag.startswith(("thermo_laplacian/", "thermo_work_efficiency/")))
    assert len(layer_table({first: record[first]}, subject).columns) == 2
    family, _, name = first.partition("/")
    lines = shown({f"{family}/{name}.{'x' * 60}": 1.0, **record}, subject=subject).splitlines()
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("subject", "message"),
    [
        ("curvature", "record holds no trace of the Hessian of a layer: wait for the first extra pass"),
        (
            "activations",
            "record holds no power ratio of an activation: wait for the first extra pass",
        ),
    ],
)
def test_further_tables_refuse_a_record_without_their_rows(subject, message):
    with pytest.raises(ValueError, match=message):
        layer_table(RECORD, subject)


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0.613, -12.0, NAN, None], ["0.61", "-12.00", "-", ""]),
        ([2.04e-06, 3.1e-05], ["2.0e-06", "3.1e-05"]),
        ([0.61, -12.04, 3.0], ["0.61", "-12.04", "3.00"]),
        ([150.0, -2400.4], ["150", "-2400"]),
        ([12.0, 18921.0], ["12", "18900"]),
        ([1.5, 2e5], ["1.5e+00", "2.0e+05"]),
        ([3.14e-6, -2e-4], ["3.1e-06", "-2.0e-04"]),
        ([1e-6, 1.0], ["1.0e-06", "1.0e+00"]),
        ([0.0, 0.0], ["0", "0"]),
        ([0.0, 0.25], ["0.00", "0.25"]),
        ([NAN, None, math.inf, 4.0], ["-", "", "inf", "4.0"]),
        ([NAN], ["-"]),
        ([-0.00012, 4.0], ["-0.0001", "4.0000"]),
    ],
)
def test_numbers_of_a_column_are_written_in_one_way(values, texts):
    assert format_column(values, digits=2) == texts
