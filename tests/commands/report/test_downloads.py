"""Figures and tables that a person saves from the page, in a real browser."""

from __future__ import annotations

import csv
import datetime
import math
import xml.etree.ElementTree as ElementTree
from types import SimpleNamespace

import pytest
from browser import open_browser, wait_for

from thermo_callbacks.commands.report.discovery import find_runs
from thermo_callbacks.commands.report.key_numbers import rows_of
from thermo_callbacks.commands.report.page import render_page

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page(logs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    runs = find_runs([logs.both, logs.prefixed])
    target = tmp_path_factory.mktemp("page") / "report.html"
    target.write_text(render_page(runs, datetime.datetime(2026, 1, 2)), encoding="utf-8")
    with open_browser(1280, 900) as driver:
        driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
        driver.get(target.as_uri())
        yield SimpleNamespace(driver=driver, runs=runs, folder=folder)
        assert driver.get_log("browser") == []


def saved(page, selector):
    """The file that a click on the button of an element gives."""
    before = set(page.folder.iterdir())
    page.driver.execute_script(f"document.querySelector({selector!r}).click()")

    def new():
        return [
            each for each in page.folder.iterdir() if each not in before and each.suffix in (".svg", ".csv", ".png")
        ]

    (file,) = wait_for(new)
    return file


def test_every_figure_and_every_table_has_its_button(page):
    count = "return document.querySelectorAll(arguments[0]).length"
    assert page.driver.execute_script(count, "figure") == page.driver.execute_script(count, "figcaption .download") > 40
    tables = page.driver.execute_script(count, "main table")
    assert page.driver.execute_script(count, "main .download") - page.driver.execute_script(count, "figure") == tables


def test_a_chart_is_a_drawing_of_its_own_with_title_and_key(page):
    file = saved(page, ".key-charts figure .download")
    assert file.name == "loss-mean-of-each-window.svg"
    root = ElementTree.fromstring(file.read_text(encoding="utf-8"))
    words = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "Loss, mean of each window" in words
    assert {run.name for run in page.runs} <= set(words)
    paths = [element for element in root.iter("{http://www.w3.org/2000/svg}path") if element.get("d")]
    assert all("var(" not in element.get("style", "") for element in root.iter())
    assert sum("stroke:rgb" in element.get("style", "").replace(" ", "") for element in paths) > 4
    page.driver.execute_script("window.open('about:blank')")
    first, second = page.driver.window_handles
    page.driver.switch_to.window(second)
    page.driver.get(file.as_uri())
    box = page.driver.execute_script(
        "const box = document.documentElement.getBoundingClientRect(); return [box.width, box.height]"
    )
    page.driver.close()
    page.driver.switch_to.window(first)
    assert box[0] >= 400
    assert box[1] >= 250


def test_a_figure_of_matplotlib_is_saved_as_it_is(page):
    file = saved(page, "#drawings figure .download")
    assert ElementTree.fromstring(file.read_text(encoding="utf-8")).tag == "{http://www.w3.org/2000/svg}svg"


def test_the_key_numbers_are_saved_with_all_digits_and_errors(page):
    file = saved(page, "#numbers .download")
    with file.open(newline="", encoding="utf-8") as stream:
        head, *rows = csv.reader(stream)
    names = [run.name for run in page.runs]
    ends = ["", " standard error", " lower", " upper", " step", " difference", " error of the difference"]
    assert head == ["Quantity", *(name + end for name in names for end in ends)]
    expected = [row for row in rows_of(page.runs) if row.key]
    assert [row[0] for row in rows] == [row.tag for row in expected]
    for row, wanted in zip(rows, expected, strict=True):
        assert len(row) == len(head)
        for place, (value, difference) in enumerate(zip(wanted.values, wanted.differences, strict=True)):
            cells = row[1 + 7 * place : 8 + 7 * place]
            if value is not None:
                assert math.isclose(float(cells[0]), value.value, rel_tol=1e-12) or math.isnan(value.value)
                assert int(cells[4]) == value.step
                assert (cells[1] == "") == math.isnan(value.error)
            if difference is not None:
                assert math.isclose(float(cells[5]), difference.value, rel_tol=1e-12)


def test_a_table_of_words_is_saved_as_it_reads(page):
    with saved(page, "#facts .download").open(newline="", encoding="utf-8") as stream:
        rows = {row[0]: row[1:] for row in csv.reader(stream)}
    assert rows["Fact"] == [run.name for run in page.runs]
    assert rows["Preset"] == ["full", "standard"]
    assert rows["Optimizers"][0] == "class SGD, learning rate 0.05, momentum 0, weight decay 0"
