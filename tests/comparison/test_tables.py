"""Tables of a comparison, as a terminal and Markdown show them."""

from __future__ import annotations

import csv
import math

import pytest
from comparison_runs import DIVERGED, FAILED, run, runs
from rich.console import Console

from thermo_callbacks.comparison.columns import Style, depth_columns, estimate_column, style_of
from thermo_callbacks.comparison.csv_files import runs_csv, summary_csv
from thermo_callbacks.comparison.records import MEASURES, SeedEstimate, estimate
from thermo_callbacks.comparison.tables import comparison_markdown, comparison_tables, run_notes

NAN = math.nan


def shown(records, width=80):
    console = Console(width=width)
    with console.capture() as capture:
        for table in comparison_tables(records):
            console.print(table)
    return capture.get()


def half(values):
    return estimate(values).half_width


def test_row_holds_means_and_intervals():
    text = shown(runs())
    row = next(line.split() for line in text.splitlines() if line.strip().startswith("ReLU"))
    assert row == ["ReLU", "0.310", "±", "0.025", "0.410", "±", "0.025", "0.690", "±", "0.025", "11.0", "±", "2.5", "3"]
    assert half([0.30, 0.31, 0.32]) == pytest.approx(0.025, abs=2e-4)


def test_tables_fit_80_columns_whatever_the_depth():
    deep = [run("ReLU", seed, work_efficiency=[(f"net.{i}", 0.5 + seed / 10) for i in range(40)]) for seed in range(3)]
    for records in (runs(), deep, [run("ReLU", 0), FAILED, DIVERGED]):
        text = shown(records)
        assert max(map(len, text.splitlines())) <= 80
        for row in (line for line in text.splitlines() if "ReLU" in line):
            assert "…" not in row


def test_sections():
    titles = [str(table.title) for table in comparison_tables(runs())]
    assert [title.split(":")[0] for title in titles] == [
        "What training came to",
        "Heat engines",
        "Temperatures and entropy at the end",
        "Power ratio (work efficiency) by depth",
        "Learning efficiency by depth",
    ]
    assert "half of the 95 % interval" in str(comparison_tables(runs())[-1].caption)


def test_engine_types_and_endings_have_columns():
    tables = comparison_tables([run("ReLU", 0, engine=""), run("SELU", 0), FAILED, DIVERGED])
    columns = {
        column.header.plain: [cell.plain for cell in column.cells] for table in tables[:2] for column in table.columns
    }
    assert columns["runs"] == ["1", "1, 1 diverged, 1 failed"]
    assert columns["engine"] == ["-", "driven"]


def test_activation_without_a_finished_run_has_a_row_of_dashes():
    text = shown([run("ReLU", 0), FAILED])
    row = next(line.split() for line in text.splitlines() if line.strip().startswith("SELU"))
    assert row == ["SELU", "-", "-", "-", "-", "0,", "1", "failed"]


def test_what_nobody_measured_is_left_out_and_said():
    records = [run("ReLU", 0, values={"val_loss_best": 0.5}, learning_efficiency=[], work_efficiency=[])]
    assert [column.header.plain for column in comparison_tables(records)[0].columns] == [
        "activation",
        "best validation loss",
        "runs",
    ]
    assert len(comparison_tables(records)) == 2
    (note,) = run_notes(records)
    assert note.startswith("Not measured: final validation loss, accuracy, time, power ratio, temperature")
    assert note.endswith("trace of the Hessian, learning efficiency.")


def test_notes_name_what_did_not_finish():
    notes = run_notes([run("ReLU", 0), FAILED, DIVERGED])
    assert notes[:2] == [
        "SELU, seed 1, failed: RuntimeError: no such luck.",
        "SELU, seed 2, diverged: the loss was nan.",
    ]
    assert notes[2] == "Not measured: virial temperature, transition temperature."
    assert run_notes([FAILED]) == notes[:1]


@pytest.mark.parametrize(
    ("pairs", "style", "cells"),
    [
        ([(0.3141, 0.0217), (12.0, 0.03)], Style(0, 3, True), ["0.314 ± 0.022", "12.000 ± 0.030"]),
        ([(314.1, 21.0), (NAN, NAN)], Style(0, 0, True), ["314 ± 21", "-"]),
        ([(2.5e-5, 1e-6), (1e-6, NAN)], Style(-5, 2, True), ["2.50 ± 0.10", "0.10 ± -"]),
        ([(-3.25e5, 2e4)], Style(5, 2, True), ["-3.25 ± 0.20"]),
        ([(0.5, NAN), (0.125, NAN)], Style(0, 3, False), ["0.500", "0.125"]),
        ([(0.5, 0.0)], Style(0, 3, False), ["0.500"]),
        ([(0.0, NAN)], Style(0, 1, False), ["0.0"]),
        ([(-0.00001, 0.5)], Style(-5, 0, True), ["-1 ± 50000"]),
        ([(0.5, 1e-7)], Style(0, 3, True), ["0.500 ± 0.000"]),
        ([], Style(0, 1, False), []),
    ],
)
def test_numbers_of_a_column_are_written_in_one_way(pairs, style, cells):
    estimates = [SeedEstimate(mean, width, 3) for mean, width in pairs]
    assert style_of(estimates) == style
    assert estimate_column("x", "", estimates).cells == cells


@pytest.mark.parametrize(
    ("unit", "mean", "header"),
    [("loss", 1e-4, "x [1e-4 loss]"), ("", 1e6, "x [1e6]"), ("s", 1.0, "x [s]"), ("", 1.0, "x"), ("s", 0.01, "x [s]")],
)
def test_header_has_unit_and_power(unit, mean, header):
    assert estimate_column("x", unit, [SeedEstimate(mean, NAN, 1)]).header == header


def test_depths_are_spread_evenly_and_share_a_style():
    rows = [[SeedEstimate(0.5, 0.1 * (depth + 1), 3) for depth in range(10)], [SeedEstimate(0.25, 0.1, 3)]]
    columns = depth_columns(rows, most=4)
    assert [column.header for column in columns] == ["1", "4", "7", "10"]
    assert [column.cells[1] for column in columns] == ["0.25 ± 0.10", "-", "-", "-"]
    assert columns[3].cells[0] == "0.50 ± 1.00"
    assert [column.header for column in depth_columns(rows)] == [str(depth + 1) for depth in range(10)]
    assert [column.header for column in depth_columns([[SeedEstimate(0.5, NAN, 1)]], most=5)] == ["1"]
    assert depth_columns([[], []]) == []


def test_names_are_text_and_not_markup():
    records = [run("ReLU", 0, activation="a[bold]|b")]
    assert "a[bold]|b" in shown(records)
    assert "| a[bold]\\|b |" in comparison_markdown(records)


def test_markdown_has_the_tables_whole():
    deep = [run("ReLU", 0, work_efficiency=[(f"net.{i}", 0.5) for i in range(12)]), FAILED]
    text = comparison_markdown(deep, ["A first sentence."])
    assert text.startswith("# Activations compared\n\nA first sentence.\n\n## What training came to\n\n| activation |")
    header = next(line for line in text.splitlines() if line.startswith("| activation | 1 | 2 |"))
    assert header.endswith("| 11 | 12 |")
    assert "SELU, seed 1, failed" in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.count("|") == lines[0].count("|") for line in lines[:4])


def test_raw_values_are_exact():
    rows = list(csv.DictReader(runs_csv([*runs(["ReLU"]), FAILED]).splitlines()))
    assert [row["seed"] for row in rows] == ["0", "1", "2", "1"]
    for row, record in zip(rows, runs(["ReLU"]), strict=False):
        for key, value in record.values.items():
            assert float(row[key]) == value
        assert row["virial_temperature"] == ""
        assert float(row["work_efficiency_2"]) == record.work_efficiency[1][1]
        assert row["learning_efficiency_2"] == ""
    assert (rows[3]["status"], rows[3]["message"]) == ("failed", "RuntimeError: no such luck.")
    assert rows[3]["val_loss_best"] == rows[3]["work_efficiency_1"] == ""


def test_summary_values_are_the_means():
    rows = list(csv.DictReader(summary_csv([*runs(["ReLU"]), run("SELU", 0), FAILED]).splitlines()))
    relu, selu = rows
    assert (relu["runs"], relu["finished"], selu["runs"], selu["finished"]) == ("3", "3", "2", "1")
    expected = estimate([0.30, 0.31, 0.32])
    assert float(relu["val_loss_best"]) == pytest.approx(expected.mean)
    assert float(relu["val_loss_best_interval"]) == pytest.approx(expected.half_width)
    assert float(relu["work_efficiency_2"]) == pytest.approx(0.51)
    assert selu["val_loss_best_interval"] == ""
    assert {measure.key for measure in MEASURES} < set(relu)
