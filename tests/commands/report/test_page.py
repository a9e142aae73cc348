"""The page: complete, self-contained, and with the numbers of the logs."""

from __future__ import annotations

import datetime
import errno
import json
import math
import os
import re
import shutil
from html.parser import HTMLParser
from importlib.metadata import version
from types import SimpleNamespace

import numpy as np
import pytest
from commands.report.conftest import BATCH, WINDOW
from commands.report.test_runs import run_with

from thermo_callbacks.catalog import QUANTITIES
from thermo_callbacks.commands.report.discovery import find_runs
from thermo_callbacks.commands.report.key_numbers import rows_of
from thermo_callbacks.commands.report.page import render_page
from thermo_callbacks.commands.report.summary import facts_of, summary_of
from thermo_callbacks.commands.report.target import GENERATOR, check_target, is_sealed, sealed, write_page
from thermo_callbacks.display.text.configuration import configuration_text

NOW = datetime.datetime(2026, 1, 2, 3, 4)
VOID = {"meta", "link", "img", "br", "hr", "input"}
NAMES_OF_FORMATS = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


class Page(HTMLParser):
    """Elements of a page, and whether they are closed in order."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.elements, self._open, self.faults = [], [], []
        self.feed(html)
        self.faults += [f"{element.tag} is never closed" for element in self._open]

    def handle_starttag(self, tag, attrs):
        element = SimpleNamespace(tag=tag, text="", inside=list(self._open), **{"attributes": dict(attrs)})
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag):
        if self._open and self._open[-1].tag == tag:
            self._open.pop()
        elif self._open and tag in [element.tag for element in self._open] and self._open[-1].tag in ("p", "li"):
            self.handle_endtag(self._open[-1].tag)
            self.handle_endtag(tag)
        else:
            self.faults.append(f"</{tag}> closes nothing")

    def handle_data(self, data):
        for element in self._open:
            element.text += data

    def all(self, tag, **attributes):
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        return [each for each in self.elements if each.tag == tag and wanted.items() <= each.attributes.items()]


@pytest.fixture(scope="module")
def two(logs):
    runs = find_runs([logs.both, logs.prefixed])
    html = render_page(runs, NOW)
    return SimpleNamespace(runs=runs, html=html, page=Page(html))


def test_the_page_is_well_formed(two):
    assert two.page.faults == []
    assert two.html.startswith("<!DOCTYPE html>")
    ids = [element.attributes["id"] for element in two.page.elements if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    targets = [link.attributes["href"] for link in two.page.all("a")]
    assert {target.removeprefix("#") for target in targets} <= set(ids)
    assert all(target.startswith("#") for target in targets)


def test_the_page_refers_to_nothing_outside_of_itself(two):
    for element in two.page.elements:
        for name in ("src", "href", "xlink:href", "data", "action", "poster", "srcset"):
            value = element.attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (element.tag, name, value)
    assert not re.findall(r"@import|url\((?!#)", two.html)
    assert set(re.findall(r"https?://[^\s\"'<]+", two.html)) <= NAMES_OF_FORMATS
    (policy,) = two.page.all("meta", http_equiv="Content-Security-Policy")
    assert policy.attributes["content"].startswith("default-src 'none';")
    assert len(two.html) < 1e6


def test_each_chart_has_the_points_of_the_logs(two):
    figures = two.page.all("figure", class_="chart")
    assert len(figures) > 30
    scripts = two.page.all("script", type="application/json")
    assert len(scripts) == len(figures)
    by_name = {run.name: run for run in two.runs}
    compared = 0
    for figure, script in zip(figures, scripts, strict=True):
        data = json.loads(script.text)
        for line in data["lines"]:
            steps = data["steps"][line["steps"]]
            assert len(steps) == len(line["values"]) > 0
            if (
                figure.text.split("\n")[1].strip() == "Temperature of the run [loss], 95 % band"
                and line["name"] in by_name
            ):
                series = by_name[line["name"]].scalars["thermo/temperature"]
                assert steps == series.steps.tolist()
                np.testing.assert_allclose(line["values"], series.values, rtol=1e-4)
                compared += 1
    assert compared == 2
    lines = two.page.all("g")
    counts = [
        (line.attributes["data-logged"], line.attributes["data-shown"])
        for line in lines
        if "data-logged" in line.attributes
    ]
    assert len(counts) > 100
    assert all(logged == shown != "0" for logged, shown in counts)


def test_each_chart_is_told_in_words(two):
    drawings = two.page.all("svg", role="img")
    assert len(drawings) == len(two.page.all("figure", class_="chart"))
    assert all("Last values: " in drawing.attributes["aria-label"] for drawing in drawings)
    assert all(image.attributes["alt"] for image in two.page.all("img"))


def test_the_table_holds_the_values_of_the_logs(two):
    rows = [row for row in two.page.all("tr") if "data-tag" in row.attributes]
    assert [row.attributes["data-tag"] for row in rows] == [row.tag for row in rows_of(two.runs)]
    for row in rows:
        tag = row.attributes["data-tag"]
        cells = [each for each in two.page.all("td") if row in each.inside]
        assert len(cells) == 2
        for cell, run in zip(cells, two.runs, strict=True):
            if tag in run.scalars:
                last = run.scalars[tag].last
                np.testing.assert_equal(float(cell.attributes["data-value"]), last)
                assert ("–" in cell.text) == math.isnan(last)
            else:
                assert cell.text == "not logged"


def test_differences_stand_below_the_later_run(two):
    (row,) = (row for row in rows_of(two.runs) if row.tag == "thermo/temperature")
    difference = row.differences[1]
    assert f"{difference.text}, {difference.verdict}" in two.html
    assert difference.verdict == "higher"  # six times the learning rate


def test_the_interpretations_are_those_of_the_demo_and_the_terminal(two):
    summaries = [summary_of(run, place) for place, run in enumerate(two.runs)]
    for summary, article in zip(summaries, two.page.all("article"), strict=True):
        words = " ".join(article.text.split())
        for subject, text in summary.interpretations:
            assert f"{subject}{text}" in words
        subjects = [subject for subject, _ in summary.interpretations]
        assert {"Loss:", "Temperature:", "Activations:"} <= set(subjects)
        assert subjects.count("Not told:") == 1


def test_what_was_run(two):
    facts = dict(facts_of(two.runs))
    assert facts["Setting rate"] == ["0.05", "0.3"]
    assert facts["Batch size"] == [f"{BATCH}"] * 2
    assert facts["Measurements"] == [f"8, of {WINDOW} steps each"] * 2
    assert facts["Layers"] == ["3", "3"]
    assert facts["Preset"] == ["full", "standard"]
    assert facts["Optimizers"] == [
        f"class SGD, learning rate {rate}, momentum 0, weight decay 0" for rate in (0.05, 0.3)
    ]
    assert facts["Engine types"] == ["net.1 passive, net.3 passive"] * 2
    assert facts["Extra passes"] == [f"first {WINDOW}, every {WINDOW}"] * 2
    assert facts["Seed"] == ["0", "0"]
    assert facts["Version"] == [version("thermo-callbacks")] * 2
    assert "watched_layers" not in two.html
    assert [row.text.split()[:2] for row in two.page.all("tr", class_="differs") if "Setting" in row.text] == [
        ["Setting", "rate0.050.3"]
    ]


def test_folders_below_the_place_of_the_call_are_named_from_there(logs, monkeypatch):
    runs = find_runs([logs.both])
    assert dict(facts_of(runs))["Folder"] == [str(logs.both.resolve())]
    monkeypatch.chdir(logs.root)
    assert dict(facts_of(runs))["Folder"] == ["digits/slow"]


def test_a_table_alone_does_not_say_when_its_values_were_logged(logs):
    facts = dict(facts_of(find_runs([logs.both, logs.table])))
    assert facts["Logged"][0].startswith("20")
    assert facts["Logged"][1] == ""


def test_the_legend_explains_each_quantity_of_the_page(two):
    (legend,) = two.page.all("table", class_="legend")
    tags = {tag for run in two.runs for tag in run.tags}
    families = {tag.partition("/")[0] for tag in tags}
    for quantity in QUANTITIES:
        assert (quantity.name in legend.text) == bool(quantity.present(tags, families)), quantity.name
    (section,) = two.page.all("section", id="legend")
    assert "Symbols: q weights" in section.text


def test_names_are_shown_and_never_obeyed():
    nasty = "<script>alert(1)</script>"
    record = {f"thermo_temperature/{nasty}": 1.0, "thermo/temperature": 1.0, nasty: 2.0}
    run = run_with({1: record, 2: record}, name=nasty)
    run.texts["thermo/note"] = nasty
    run.notices.append(nasty)
    page = Page(render_page([run], NOW))
    assert page.faults == []
    assert not [script for script in page.all("script") if script.text == "alert(1)"]
    assert page.all("h1")[0].text == nasty
    (note,) = page.all("details", class_="note")
    assert nasty in note.text


def test_what_could_not_be_read_stands_on_top(two):
    assert two.page.all("aside") == []
    run = run_with({1: {"thermo/heat": 1.0}})
    run.notices.append("events.7 is cut off.")
    (notice,) = Page(render_page([run], NOW)).all("aside")
    assert "run was not read in full. What could be read is shown." in notice.text
    assert "events.7 is cut off." in notice.text


def test_a_run_with_a_single_extra_pass():
    page = Page(render_page([run_with({5: {"thermo/work_efficiency": 0.5}})], NOW))
    assert page.faults == []
    assert len(page.all("figure", class_="chart")) == 1


NOISY = {"thermo/noise_scale": 96.0, "thermo/noise_scale_lower": 50.0, "thermo/internal_energy": 1.0}


@pytest.mark.parametrize(
    ("configuration", "known"),
    [
        ({"window": 10, "batch_size": 32}, True),
        ({"window": 10, "batch_size": None}, False),  # a loader that does not tell
        ({"batch_size": 32}, True),
        ({"window": "ten", "batch_size": "many"}, False),
        ({}, False),  # as logs of older versions
    ],
)
def test_the_noise_is_not_spoken_of_where_the_batch_is_not_known(configuration, known):
    run = run_with(dict.fromkeys((9, 19), NOISY))
    if configuration:
        run.texts["thermo/run_configuration"] = configuration_text(configuration)
    said = [text for subject, text in summary_of(run, 0).interpretations if subject == "Noise:"]
    assert bool(said) == known
    assert all("the batch of 32" in text for text in said)
    assert dict(facts_of([run]))["Measurements"] == [
        "2, of 10 steps each" if configuration.get("window") == 10 else "2"
    ]


def test_an_old_log_opens_with_the_facts_that_it_has(logs, tmp_path):
    shutil.copy(logs.table / "metrics.csv", tmp_path)  # older versions wrote nothing beside it
    (run,) = runs = find_runs([tmp_path])
    page = Page(render_page(runs, NOW))
    assert page.faults == []
    assert run.configurations.all == []
    assert [name for name, _ in facts_of(runs)] == ["Steps", "Measurements", "Layers", "Folder", "Files"]
    subjects = {subject for subject, _ in summary_of(run, 0).interpretations}
    assert {"Loss:", "Temperature:", "Activations:"} <= subjects
    assert "Noise:" not in subjects


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("folder", None, "--out must be a file, got '{}', which is a folder: give '{}/report.html'"),
        ("report.pdf", "", "--out must end in .html, got '{}': give '{}'"),
        (
            "mine.html",
            "<html>my own page</html>",
            "--out '{}' exists and is no report of this program, or was changed since: give another name",
        ),
        (
            "copied.html",
            '<meta name="generator" content="thermo-callbacks report 0.1"><p>my own page</p>',
            "--out '{}' exists and is no report of this program, or was changed since: give another name",
        ),
    ],
)
def test_targets_that_are_refused(tmp_path, name, content, message):
    target = tmp_path / name
    if content is None:
        target.mkdir()
    elif content:
        target.write_text(content)
    with pytest.raises(ValueError, match=r"^--out") as fault:
        check_target(target)
    proposal = target.with_suffix(".html") if name.endswith("pdf") else target
    assert str(fault.value) == message.format(target, proposal)


def test_a_report_is_overwritten(tmp_path, two):
    target = tmp_path / "report.html"
    check_target(target)
    write_page(target, two.html)
    check_target(target)
    assert target.read_text(encoding="utf-8") == sealed(two.html)
    assert Page(sealed(two.html)).faults == []
    assert GENERATOR in two.html[:2000]
    write_page(target, "other")
    assert target.read_text() == sealed("other")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert target.stat().st_mode & 0o777 == 0o666 & ~_umask()


def test_a_report_that_was_changed_is_not_overwritten(tmp_path, two):
    target = tmp_path / "report.html"
    write_page(target, two.html)
    changed = target.read_text(encoding="utf-8").replace("</h1>", ", and my notes</h1>")
    target.write_text(changed, encoding="utf-8")
    with pytest.raises(ValueError, match="or was changed since: give another name"):
        write_page(target, two.html)
    assert target.read_text(encoding="utf-8") == changed


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "report.html")
    with pytest.raises(ValueError, match=r"^--out must be a file, got .*, which is none: give another name$"):
        check_target(tmp_path / "report.html")


def test_a_link_to_a_report_stays_one(tmp_path):
    (tmp_path / "link.html").symlink_to(tmp_path / "report.html")
    for page in ("one", "two"):
        write_page(tmp_path / "link.html", page)
        assert (tmp_path / "report.html").read_text() == sealed(page)
    assert (tmp_path / "link.html").is_symlink()


def test_a_name_as_long_as_the_file_system_takes(tmp_path):
    longest = tmp_path / f"{'a' * 250}.html"
    write_page(longest, "page")
    assert is_sealed(longest.read_bytes())
    with pytest.raises(ValueError, match=r"^--out .* of \d+ signs can't be written \(File name too long\): give"):
        check_target(tmp_path / f"{'a' * 251}.html")


def _umask():
    umask = os.umask(0)
    os.umask(umask)
    return umask


def test_a_page_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    target = tmp_path / "report.html"
    write_page(target, "old")
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ValueError, match=r"^--out .* can't be written \(No space left on device\): give another name$"):
        write_page(target, "new")
    assert target.read_text() == sealed("old")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
