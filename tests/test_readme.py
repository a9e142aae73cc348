"""The README's example runs as it stands, its table is of what is logged, and its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from thermo_callbacks.catalog import QUANTITIES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


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


def test_table_has_the_tags_and_units_of_key_quantities():
    table = README.partition("| Tag |")[2].partition("\n\n")[0]
    rows = [row.strip("| ").split(" | ") for row in table.splitlines()[2:]]
    assert len(rows) >= 8
    explained = {
        (tag, quantity.unit)
        for quantity in QUANTITIES
        for tag in (*quantity.tags, *filter(None, [quantity.family_tag]))
    }
    assert {(tag, row[2]) for row in rows for tag in re.findall(r"`([^`]+)`", row[0])} <= explained


def test_set_up_commands_are_those_of_the_project():
    commands = re.findall(r"```\n(pip install .*?)\n```", README)
    assert commands == [
        'pip install -c constraints.txt -e ".[demo]" && thermo-callbacks demo',
        'pip install -c constraints.txt -e ".[test]" && pytest',
    ]


def test_links_lead_to_files_of_this_repository():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("https://")]
    assert len(links) >= 10
    assert [link for link in links if not (ROOT / link).exists()] == []
