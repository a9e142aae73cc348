"""The benchmarks of learning rates run and print their tables; what they measure is for people to read."""

import importlib.util
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent)

    def of(name):
        spec = importlib.util.spec_from_file_location(f"{name}_benchmark", Path(__file__).with_name(f"{name}.py"))
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    yield of
    for name in ("stationary_processes", "schedule_problems", "schedules"):
        sys.modules.pop(name, None)


def rows_of(text):
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]


def test_schedules_print_a_row_each(load, capsys, monkeypatch):
    module = load("schedules")
    monkeypatch.setattr(module, "SPREAD", (1.0,))
    module.main(["--problems", "diabetes", "--seeds", "2", "--steps", "40"])
    header, _, *rows = rows_of(capsys.readouterr().out)
    assert header == ["schedule", "0.02", "regret"]
    assert [row[0] for row in rows] == module.schedules()
    # a line search on batches of 16 swings at first, where its package is installed
    assert all(0.3 < float(row[1].split()[0]) < (10.0 if row[0] == "SALSA" else 1.2) for row in rows)


def test_recorded_runs_are_not_run_again(load, capsys, monkeypatch, tmp_path):
    module = load("schedules")
    monkeypatch.setattr(module, "SPREAD", (1.0, 10.0))
    asked = ["--problems", "diabetes", "--schedules", "constant", "--steps", "20", "--record", str(tmp_path / "runs")]
    module.main([*asked, "--seeds", "1"])
    ran = []

    def diverges_at_the_larger_rate(problem, schedule, rate, seed, steps):
        ran.append(seed)
        return 2.0, float("inf") if rate > 0.1 else 0.5

    monkeypatch.setattr(module, "final_loss", diverges_at_the_larger_rate)
    module.main([*asked, "--seeds", "2"])
    module.main([*asked, "--seeds", "2"])
    assert ran == [1, 1]
    assert rows_of(capsys.readouterr().out)[-1][2:] == ["inf ± nan", "0.0 %"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mnist1d", "mnist", "mnist, more", "text", "text, more"])
def test_all_problems_can_be_trained(load, name):
    module = load("schedules")
    first, last = module.final_loss(module.problems()[name], "equilibrium", 1e-3, 0, 20)
    assert 0.0 < last < first


@pytest.mark.slow
def test_suggested_rates_print_a_row(load, capsys):
    load("suggested_rates").main(["--problems", "diabetes", "--seeds", "1", "--steps", "20"])
    _, _, row = rows_of(capsys.readouterr().out)
    assert row[0] == "diabetes, batch 16"
    assert len(row) == 6
