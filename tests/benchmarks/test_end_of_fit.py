"""The benchmark runs and prints its table; what it measures is for people to read, not for a test to judge."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture
def end_of_fit():
    spec = importlib.util.spec_from_file_location("end_of_fit", Path(__file__).with_name("end_of_fit.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("drawn", [False, True])
def test_a_fit_draws_the_figures_of_a_long_run(end_of_fit, monkeypatch, drawn):
    steps = []
    monkeypatch.setattr(end_of_fit.warnings, "simplefilter", lambda *_: None)
    monkeypatch.setattr(
        "thermo_callbacks.callbacks.output.publisher.write_heat_map",
        lambda _, history, step: steps.append((len(history), step)),
    )
    processor, clock = end_of_fit.fit(3, 100, drawn)
    assert processor > 0.0
    assert clock > 0.0
    assert [length for length, _ in steps] == [102] * (1 + drawn)  # two windows were those of the fit itself


def test_prints_a_row_for_each_depth(end_of_fit, monkeypatch, capsys):
    monkeypatch.setattr(end_of_fit, "measure", lambda layers, windows, drawn, rounds: (layers / 100.0, 0.5))
    end_of_fit.main(["--layers", "16", "100", "--windows", "2000", "--warm"])
    text = capsys.readouterr().out
    assert "figures drawn before" in text
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]
    assert rows == [["16", "2,000", "0.16", "0.50"], ["100", "2,000", "1.00", "0.50"]]
