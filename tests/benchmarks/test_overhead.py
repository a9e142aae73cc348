"""The benchmark runs and prints its table; what it measures is for people to read, not for a test to judge."""

import importlib.util
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location("overhead", Path(__file__).with_name("overhead.py"))
overhead = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(overhead)


@pytest.mark.filterwarnings("ignore")
def test_prints_ratio_and_memory(capsys, monkeypatch):
    monkeypatch.setattr(overhead.warnings, "simplefilter", lambda *_: None)
    overhead.main(["--model", "mlp", "--pairs", "1", "--scale", "0.02"])
    text = capsys.readouterr().out
    assert "Steps per second of processor time, with / without" in text
    assert "99.9 M" in text


def test_memory_follows_the_sample_and_not_the_model():
    small, large = overhead.memory(600), overhead.memory(2400)
    assert large[0] > 10 * small[0]
    assert large[1] == pytest.approx(small[1], rel=0.05)
