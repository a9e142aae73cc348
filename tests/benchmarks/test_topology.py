"""The benchmark runs and prints its table; what it measures is for people to read, not for a test to judge."""

import importlib.util
from pathlib import Path

import pytest

from thermo_callbacks.functional.topology import Shell


@pytest.fixture
def benchmark_module():
    spec = importlib.util.spec_from_file_location("topology_benchmark", Path(__file__).with_name("topology.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_prints_a_row_for_each_depth(benchmark_module, capsys, monkeypatch):
    called = []
    monkeypatch.setattr(benchmark_module, "command", called.append)
    monkeypatch.setenv("COLUMNS", "120")
    benchmark_module.main(["--budget", "100000", "--depths", "2", "3", "4", "--rounds", "1"])
    text = capsys.readouterr().out
    assert "100,000 connections, 784 inputs, 10 outputs" in text
    assert [shell.depth for shell in called] == [2, 3, 4]
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]
    assert [row[0] for row in rows] == ["2", "3", "4"]
    assert rows[1][1:3] == ["509", "all"]
    assert rows[2][2:4] == ["10,000 draws", "-"]


@pytest.mark.slow
def test_the_command_is_called_and_has_to_succeed(benchmark_module, capfd):
    benchmark_module.command(Shell(784, 10, 2, 100_000))
    assert capfd.readouterr().err == ""
    with pytest.raises(benchmark_module.subprocess.CalledProcessError):
        benchmark_module.command(Shell(784, 10, 2, 100))
