"""The README's example runs as it stands, and its tags are those that are logged."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from thermo_callbacks.reports.legend import QUANTITIES

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


@pytest.mark.filterwarnings("ignore:no value")  # the text below the example speaks of it
def test_example_runs_as_it_stands_and_finds_the_known_temperature(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert code.count("ThermoMonitor()") == 1
    names = {"__name__": "example"}
    exec(compile(code, "README.md", "exec"), names)
    metrics = names["trainer"].callback_metrics
    known = float(re.search(r"batch size = (\d+\.\d+)", README)[1])
    assert abs(float(metrics["thermo/temperature"]) - known) < 4 * float(metrics["thermo/temperature_stderr"])
    assert float(metrics["thermo/temperature_stderr"]) < 0.3 * known
    assert f"temperature {metrics['thermo/temperature']:.5f}\n" in capsys.readouterr().out


def test_table_has_a_row_for_each_quantity():
    table = README.partition("| Tag |")[2].partition("\n\n")[0]
    rows = [row.split(" | ") for row in table.splitlines()[2:]]
    assert {len(row) for row in rows} == {4}
    tags = {tag for row in rows for tag in re.findall(r"`([^`]+)`", row[0])}
    for quantity in QUANTITIES:
        for tag in (*quantity.tags[:1], *filter(None, [quantity.family_tag])):
            assert tag in tags, quantity.name


def test_set_up_commands_are_those_of_the_project():
    commands = re.findall(r"```\n(pip install .*?)\n```", README)
    assert commands == [
        'pip install -c constraints.txt -e ".[demo]" && thermo-callbacks demo',
        'pip install -c constraints.txt -e ".[test]" && pytest',
    ]
