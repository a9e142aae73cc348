"""The benchmark runs and prints its tables; what it measures is for people to read, not for a test to judge."""

import importlib.util
import sys
from pathlib import Path

import pytest
from torch.optim import SGD


@pytest.fixture
def benchmark_module(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent)
    spec = importlib.util.spec_from_file_location("stationarity_benchmark", Path(__file__).with_name("stationarity.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop("stationary_processes", None)


def test_prints_a_row_for_each_span(benchmark_module, capsys, monkeypatch):
    module = benchmark_module
    logistic = module.network(module.perceptron, module.digits(32), lambda p: SGD(p, 0.2))
    chosen = [
        module.Process("equilibrium", module.quadratic(1.0), [(100, 160), (100, 260)]),
        module.Process("digits", logistic, [(0, 60), (0, 160)], network=True),
    ]
    monkeypatch.setattr(module, "processes", lambda: chosen)
    module.main(["--replicas", "3", "--networks", "2"])
    power, alarms = capsys.readouterr().out.split("\n\n")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in power.splitlines() if line.startswith("|")]
    assert [row[:2] for row in rows[2:]] == [
        ["equilibrium", "100-160"],
        ["equilibrium", "100-260"],
        ["digits", "0-60"],
        ["digits", "0-160"],
    ]
    learning = rows[-2]
    assert (learning[4], learning[5]) == ("yes", "0 %")
    assert float(learning[3]) < -1.0  # a loss that falls by more than its noise
    windows = [line.split("|")[1:3] for line in alarms.splitlines()[2:]]
    assert [name.strip() for name, _ in windows] == ["equilibrium"] * 3 + ["digits"] * 3
    assert [steps.strip() for _, steps in windows[:3]] == ["200-208", "200-216", "200-250"]


def test_all_processes_can_be_trained(benchmark_module):
    for process in benchmark_module.processes():
        series = benchmark_module.record(*process.training(2), steps=3, bases={0}, seed=1)
        assert all(field.shape == (3, 2) for field in series)
        assert all(field.isfinite().all() for field in series)
        assert (series.displacement_square > 0.0).all()
