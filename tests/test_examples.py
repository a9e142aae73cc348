"""The examples run, from another folder, and say what they promise."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("[0-9]*.py"))


def run(script, folder):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    quick = ["--quick"] if '"--quick"' in script.read_text(encoding="utf-8") else []
    result = subprocess.run(
        [sys.executable, str(script), *quick], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda script: script.stem)
def test_example_runs(script, tmp_path):
    assert run(script, tmp_path).strip()


def test_plain_loop_agrees_with_the_exact_temperature(tmp_path):
    text = run(EXAMPLES[1], tmp_path)
    measured, exact = (float(re.search(rf"{name}\s+([\d.]+)", text).group(1)) for name in ("measured", "exact"))
    assert measured == pytest.approx(exact, rel=0.05)


def numbers(line):
    return [float(number) for number in re.findall(r"[-+]?\d+\.?\d*(?:e[-+]\d+)?", line)]


def script_named(name):
    (script,) = (example for example in EXAMPLES if example.stem.endswith(name))
    return script


def test_entropy_balance_comes_to_one(tmp_path):
    rows = [numbers(line) for line in run(script_named("entropy_balance"), tmp_path).splitlines()[1:]]
    entropies, ratios = [row[1] for row in rows], [row[-1] for row in rows]
    assert entropies[-1] < entropies[0]
    assert abs(ratios[-1] - 1.0) < 0.3 < abs(ratios[0] - 1.0)


def test_first_law_residual_halves_with_the_learning_rate(tmp_path):
    lines = run(script_named("first_law"), tmp_path).splitlines()
    residuals = [numbers(line)[3] for line in lines if line.split()[:1] == ["all"]]
    assert residuals[1] == pytest.approx(residuals[0] / 2, rel=0.05)


def test_depth_raises_the_laplacian(tmp_path):
    text = run(script_named("depth"), tmp_path)
    means = [numbers(line)[2] for line in text.splitlines()[1:5]]
    assert means == sorted(means)
    assert (tmp_path / "depth.png").stat().st_size > 10_000
