"""The benchmark runs and prints its table; what it measures is for people to read, not for a test to judge."""

import importlib.util
import sys
from pathlib import Path

import pytest


@pytest.fixture
def benchmark_module(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent)
    path = Path(__file__).with_name("equilibrium_looks.py")
    spec = importlib.util.spec_from_file_location("equilibrium_looks_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    for name in ("stationary_processes", "stationarity"):
        sys.modules.pop(name, None)


def test_prints_a_row_for_each_process(benchmark_module, capsys, monkeypatch):
    module = benchmark_module
    still, _, walking, *_ = module.processes()
    monkeypatch.setattr(module, "processes", lambda: [still, walking])
    module.main(["--replicas", "8", "--steps", "2000"])
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    assert [row[:3] for row in rows[2:]] == [["equilibrium (OU)", "no", "2"], ["random walk", "yes", "2"]]
    assert rows[2][3] != "0 ± 0 %"
    assert rows[2][4] in {"988", "1,482", "1,976"}
    assert rows[3][3:5] == ["0 ± 0 %", "-"]
