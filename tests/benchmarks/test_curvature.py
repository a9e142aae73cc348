"""The benchmark runs and prints its tables; what it measures is for people to read, not for a test to judge."""

import importlib.util
import sys
from pathlib import Path

import pytest


@pytest.fixture
def benchmark_module(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))  # it takes its networks from the benchmark beside it
    spec = importlib.util.spec_from_file_location("curvature_benchmark", Path(__file__).with_name("curvature.py"))
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # where a dataclass looks for its module
    spec.loader.exec_module(module)
    monkeypatch.setattr(module.warnings, "simplefilter", lambda *_: None)
    return module


@pytest.mark.filterwarnings("ignore")
def test_prints_cost_and_accuracy(benchmark_module, capsys, monkeypatch):
    monkeypatch.setitem(benchmark_module.PEERS, "no_such_package", "no-such-package")
    monkeypatch.setattr(benchmark_module.Console, "width", 200, raising=False)
    benchmark_module.main(["--model", "mlp", "--steps", "1", "--rounds", "2", "--repetitions", "2", "--products", "3"])
    text = capsys.readouterr().out
    for title in ("One estimate, in training steps", "Accuracy against cost", "Finite differences against"):
        assert title in text
    assert "no-such-package is not measured" in text


def test_both_ways_are_the_same_trace_of_a_smooth_network(benchmark_module):
    torch = benchmark_module.torch
    net = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3)).double()
    inputs = torch.linspace(-1.0, 1.0, 24, dtype=torch.float64).view(6, 4)
    task = benchmark_module.Task(net, inputs, torch.arange(6) % 3)
    ways = (task.by_double_backward, task.by_finite_differences)
    first, second = (way(3, torch.Generator().manual_seed(1)) for way in ways)
    assert first == pytest.approx(second, rel=1e-6)
    assert first != 0.0
