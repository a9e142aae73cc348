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
    result = subprocess.run(
        [sys.executable, str(script)], cwd=folder, env=environment, capture_output=True, text=True, check=False
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
