"""The examples run, from another folder, and say what they promise."""

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

LONG = {
    "own_metric", "activations", "depth", "tiny_gpt", "initialisation_by_efficiency", "entropy_balance", "topology",
    "transition_temperature", "lightning_cli", "wandb_and_csv", "critical_batch",
}  # fmt: skip
EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("[0-9]*.py"))


def script_named(name):
    (script,) = (example for example in EXAMPLES if example.stem.partition("_")[2] == name)
    return script


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Runs an example once for all tests: what it printed, and the folder in which it ran."""

    @cache
    def run(name):
        script, folder = script_named(name), tmp_path_factory.mktemp(name)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "WANDB_SILENT": "true"}
        for place in ("CACHE", "CONFIG", "DATA"):  # nothing outside the folder
            environment[f"WANDB_{place}_DIR"] = str(folder / "wandb" / place.lower())
        quick = ["--quick"] if '"--quick"' in script.read_text(encoding="utf-8") else []
        command = [sys.executable, str(script), *quick]
        result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        return result.stdout, folder

    return run


def named(script):
    name = script.stem.partition("_")[2]
    return pytest.param(name, marks=[pytest.mark.slow] if name in LONG else [])


@pytest.mark.parametrize("name", [named(script) for script in EXAMPLES])
def test_example_runs(name, run):
    assert run(name)[0].strip()


def test_examples_are_numbered_without_a_gap():
    assert [script.stem[:3] for script in EXAMPLES] == [f"{number:02d}_" for number in range(1, len(EXAMPLES) + 1)]


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda script: script.stem)
def test_first_line_says_what_is_shown_and_the_usage_names_the_file(script):
    first, *rest = script.read_text(encoding="utf-8").splitlines()
    assert re.fullmatch(r'"""[A-Z].+\.(?:""")?', first)
    for named in re.findall(r"examples/(\d\d_\w+\.(?:py|yaml))", "\n".join(rest)):
        assert Path(named).stem == script.stem


def numbers(line):
    return [float(number) for number in re.findall(r"[-+]?\d+\.?\d*(?:e[-+]?\d+)?", line)]


def number_after(words, text):
    return float(re.search(rf"^{words}\s+([-+\d.e]+)", text, re.MULTILINE).group(1))


def test_plain_loop_agrees_with_the_exact_temperature(run):
    text, _ = run("plain_loop")
    assert number_after("measured", text) == pytest.approx(number_after("exact", text), rel=0.05)


@pytest.mark.slow
def test_what_was_logged_is_read_back_and_the_run_of_wandb_is_there(run):
    text, folder = run("wandb_and_csv")
    rows = [numbers(line) for line in text.splitlines() if line.startswith("  step")]
    assert [len(rows), rows[0][0], rows[-1][0]] == [25, 7, 284]  # the last of 285 steps
    assert all(1e-6 < temperature < 1e-4 for _, temperature in rows)
    (record,) = folder.glob("thermo_logs/wandb/offline-run-*/run-*.wandb")
    assert b"thermo/temperature" in record.read_bytes()


@pytest.mark.slow
def test_command_line_interface_keeps_the_configuration(run):
    text, folder = run("lightning_cli")
    assert number_after("thermo/temperature", text) > 0.0
    kept = (folder / "thermo_logs/cli/version_0/config.yaml").read_text(encoding="utf-8")
    assert "class_path: thermo_callbacks.ThermoMonitor" in kept
    assert re.search(r"\bwindow: null\n\s+steps_between_windows: null\n", kept)


@pytest.mark.slow
def test_own_metric_is_the_loss_above_the_minimum(run):
    rows = [numbers(line) for line in run("own_metric")[0].splitlines()[1:]]
    assert [rate for rate, *_ in rows] == [0.02, 0.05, 0.1]
    for _, gain, excess, ratio in rows:
        assert gain == pytest.approx(excess, rel=0.05)
        assert ratio == pytest.approx(gain / excess, rel=0.01)
    assert [gain for _, gain, *_ in rows] == sorted(gain for _, gain, *_ in rows)


@pytest.mark.slow
def test_activations_have_tables_sentences_and_layers(run):
    text, folder = run("activations")
    assert "Lowest validation loss" in text
    layers = [numbers(line.partition(" ")[2]) for line in text.splitlines() if re.match(r"net\.\d\.1 ", line)]
    assert len(layers) == 3
    assert all(0.0 < work <= 1.0 and 0.0 < learning <= 1.0 for work, learning in layers)  # ReLU is passive
    assert number_after("normal input", text) == pytest.approx(0.5, abs=1e-3)
    for name in ("runs.csv", "summary.csv", "report.md", "figure.png"):
        assert (folder / "thermo_comparison/digits-quick" / name).stat().st_size > 0


@pytest.mark.slow
def test_layers_of_the_transformer_make_up_the_whole(run):
    text, _ = run("tiny_gpt")
    loss, guess = numbers(next(line for line in text.splitlines() if line.startswith("loss")))
    assert loss < 0.7 * guess
    rows = [
        line.split() for line in text.splitlines() if "+-" in line and line.startswith(("tok", "pl", "bl", "no", "he"))
    ]
    assert len(rows) == 2 + 2 * 6 + 2
    laplacians = {layer: float(value) for layer, _, value, *_ in rows}
    assert sum(laplacians.values()) == pytest.approx(number_after("Laplacian", text), rel=0.01)
    assert max(laplacians, key=laplacians.get) == "head"
    shares = [numbers(line)[-1] for line in text.splitlines() if line.endswith("of the Laplacian")]
    assert sum(shares) == pytest.approx(100.0, abs=0.5)
    engines = [
        numbers(line.partition(" ")[2]) for line in text.splitlines() if line.endswith("%") and ".mlp.1 " in line
    ]
    assert len(engines) == 2
    assert all(0.0 < work < 1.0 for work, *_ in engines)  # GELU is passive


@pytest.mark.slow
def test_entropy_balance_comes_to_one_and_depends_on_the_start(run):
    lines = [line for line in run("entropy_balance")[0].splitlines() if line.strip()]
    ratios = [numbers(line)[4] for line in lines if "+-" in line]
    assert len(ratios) >= 4
    assert abs(sum(ratios) / len(ratios) - 1.0) < 0.2
    tight, broad = (numbers(line)[-1] for line in lines if line.split()[1:2] == ["ball"])
    assert broad < 0.0 < tight


def test_first_law_residual_halves_with_the_learning_rate(run):
    lines = run("first_law")[0].splitlines()
    residuals = [numbers(line)[3] for line in lines if line.split()[:1] == ["all"]]
    assert residuals[1] == pytest.approx(residuals[0] / 2, rel=0.05)


@pytest.mark.slow
def test_depth_raises_the_laplacian(run):
    text, folder = run("depth")
    means = [numbers(line)[2] for line in text.splitlines()[1:5]]
    assert means == sorted(means)
    assert (folder / "depth.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_noise_scale_is_of_the_size_of_the_knee(run):
    text, _ = run("critical_batch")
    rows = [numbers(line) for line in text.splitlines() if re.match(r"\s+\d", line)]
    assert [batch for batch, *_ in rows] == [16, 64, 256, 1024]
    assert [steps for *_, steps in rows] == sorted((steps for *_, steps in rows), reverse=True)
    knee, scale = number_after("measured", text), number_after("predicted", text)
    assert 16 < knee < 1024
    assert number_after("ratio", text) == pytest.approx(scale / knee, abs=0.02)
    assert 1 / 3 < scale / knee < 3  # one seed


def test_the_play_is_shakespeares_text_and_no_more():
    text = (EXAMPLES[0].parent / "data/shakespeare.txt").read_bytes()
    assert len(text) < 200_000
    assert text.isascii()
    assert text.startswith(b"HAMLET, PRINCE OF DENMARK")
    assert text.endswith(b"ordnance is shot off.]\n")
    assert b"gutenberg" not in text.lower()
