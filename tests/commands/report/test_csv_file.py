"""The table of CSVLogger: whole, cut off, damaged, empty."""

from __future__ import annotations

import math
import os

import numpy as np
import pytest

from thermo_callbacks.commands.report.csv_file import CSV_FILE, read_csv
from thermo_callbacks.commands.report.log import Log


def read(tmp_path, content):
    path = tmp_path / CSV_FILE
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    log = Log()
    read_csv(path, log)
    return log


def test_empty_cells_were_not_logged_and_nan_was(tmp_path):
    log = read(tmp_path, "epoch,step,thermo/temperature,train_loss\r\n,9,nan,\r\n0,19,1.5e-6,0.25\r\n")
    np.testing.assert_array_equal(log.scalars["thermo/temperature"].values, [math.nan, 1.5e-6])
    assert log.scalars["train_loss"].steps.tolist() == [19]
    assert log.notices == []


def test_values_count_as_written_when_the_file_was(tmp_path):
    path = tmp_path / CSV_FILE
    path.write_text("step,a\n1,2\n")
    os.utime(path, (100.0, 250.0))
    log = Log()
    read_csv(path, log)
    assert log.scalars["a"].times.tolist() == [250.0]


@pytest.mark.parametrize("rest", ["29,0.12", "29", "29,0.1250"])
def test_a_last_line_without_its_end_is_left_out(tmp_path, rest):
    log = read(tmp_path, "step,a\n9,1.0\n19,0.5\n" + rest)
    assert log.scalars["a"].values.tolist() == [1.0, 0.5]
    assert log.notices == ["metrics.csv ends in the middle of a line, which is left out."]


def test_lines_without_numbers_are_left_out_and_counted(tmp_path):
    log = read(tmp_path, b"step,a,b\n9,1.0,2.0\n\x00\x00\x00\n\xff\xfe!,1,2\n19,x,3.0\n29,4.0\n39,5.0,6.0\n")
    assert log.scalars["a"].steps.tolist() == [9, 39]
    assert log.scalars["b"].values.tolist() == [2.0, 6.0]
    assert log.notices == ["metrics.csv has 4 of 6 lines that hold no numbers; they are left out."]


@pytest.mark.parametrize("broken", ['"19,0.5', f"19,{'5' * 200_000}", "19;0.5"])
def test_a_broken_line_spoils_no_other(tmp_path, broken):
    log = read(tmp_path, f"step,a\n9,1.0\n{broken}\n29,0.25\n")
    assert log.scalars["a"].values.tolist() == [1.0, 0.25]
    assert log.notices == ["metrics.csv has 1 of 3 lines that hold no numbers; they are left out."]


def test_names_with_commas(tmp_path):
    assert read(tmp_path, 'step,"a,b"\n9,1.0\n').scalars["a,b"].values.tolist() == [1.0]


@pytest.mark.parametrize(
    ("content", "notice"),
    [
        ("", "metrics.csv is empty."),
        ("\n", "metrics.csv is empty."),
        ("epoch,ste", "metrics.csv is cut off in its first line."),
        ("epoch,loss\n1,2\n", "metrics.csv has no column named step, and is left out."),
        ('"step,a\n1,2\n', "metrics.csv has no column named step, and is left out."),
    ],
)
def test_a_table_that_holds_nothing_says_why(tmp_path, content, notice):
    log = read(tmp_path, content)
    assert log.scalars == {}
    assert notice in log.notices


def test_a_table_that_vanishes(tmp_path):
    log = Log()
    read_csv(tmp_path / CSV_FILE, log)
    assert log.notices == ["metrics.csv can't be read (No such file or directory)."]
